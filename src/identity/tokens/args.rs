//! The command line of tokens: who signs them, and for whom they are.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// Seconds of a difference between clocks that are forgiven unless stated.
const LEEWAY_SECONDS: u32 = 60;

/// Which tokens are taken.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// A file with the secret by which tokens are signed (HS256): at least 32 bytes. One line break at the end
    /// of the file, as editors make it, is no part of the secret; all else is.
    #[arg(
        long,
        env = "HOMEPOT_JWT_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "no_authentication"
    )]
    pub jwt_secret_file: Option<PathBuf>,
    /// The public keys by which tokens are proved (RS256, ES256, EdDSA): a JSON Web Key Set, in a file or
    /// at an `https://` address. A file is read again when it changes, an address every 10 minutes and,
    /// at most once a minute, when a token names a key that is not known.
    #[arg(
        long,
        env = "HOMEPOT_JWKS",
        value_name = "FILE-OR-URL",
        requires_all = ["jwt_issuer", "jwt_audience"],
        conflicts_with = "no_authentication"
    )]
    pub jwks: Option<String>,
    /// Who must have issued a token (its claim `iss`).
    #[arg(long, env = "HOMEPOT_JWT_ISSUER", value_parser = NonEmptyStringValueParser::new())]
    pub jwt_issuer: Option<String>,
    /// For whom a token must be (its claim `aud`, or one of it).
    #[arg(long, env = "HOMEPOT_JWT_AUDIENCE", value_parser = NonEmptyStringValueParser::new())]
    pub jwt_audience: Option<String>,
    /// Seconds for which a token holds before and after its time, since clocks differ (0 to 600).
    #[arg(
        long,
        env = "HOMEPOT_JWT_LEEWAY_SECONDS",
        default_value_t = LEEWAY_SECONDS,
        value_parser = clap::value_parser!(u32).range(0..=600)
    )]
    pub jwt_leeway_seconds: u32,
}

impl Default for TokenArgs {
    fn default() -> Self {
        Self {
            jwt_secret_file: None,
            jwks: None,
            jwt_issuer: None,
            jwt_audience: None,
            jwt_leeway_seconds: LEEWAY_SECONDS,
        }
    }
}
