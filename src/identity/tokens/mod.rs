//! Tokens (JSON Web Tokens, RFC 7519), which others sign: who holds one, and which are taken.
//!
//! What proves a token is set when the server starts: a secret (HS256), or public keys (RS256, ES256,
//! EdDSA). The token chooses among these keys and nothing more: a key proves by its own algorithm
//! alone. What is wrong with a token is told only to whoever holds one that is signed.

mod args;
mod claims;
mod set;
mod source;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant as Moment, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Caller, SignInError};
use crate::event::Instant;
use claims::Terms;
use set::VerifyingKey;
use source::Source;

pub use args::TokenArgs;
pub use source::SetError;

/// Bytes of a secret at least: those of what HS256 makes of it.
const SECRET_BYTES_MIN: usize = 32;

/// Why no tokens can be taken as they are to be.
#[derive(Debug, Error)]
pub enum TokensError {
    /// The secret is not read.
    #[error("cannot read the secret of tokens in {}", .path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The secret can be guessed.
    #[error("the secret of tokens in {} has fewer than {SECRET_BYTES_MIN} bytes", .path.display())]
    ShortSecret {
        /// The file.
        path: PathBuf,
    },
    /// The public keys are not read.
    #[error("cannot read the keys of tokens at {named}")]
    Set {
        /// As they are named.
        named: String,
        /// Why.
        source: SetError,
    },
    /// It is said which tokens are taken, but not how one is proved.
    #[error("--jwt-issuer and --jwt-audience need --jwks or --jwt-secret-file")]
    NoKeys,
}

/// The tokens that are taken.
#[derive(Debug)]
pub struct Tokens {
    secret: Option<DecodingKey>,
    public: Option<PublicKeys>,
    terms: Terms,
}

/// Public keys, as they were read last.
#[derive(Debug)]
struct PublicKeys {
    named: String,
    source: Source,
    keys: RwLock<Vec<VerifyingKey>>,
    /// Told when a token names a key that is not among them.
    unknown: Notify,
}

impl Tokens {
    /// What is taken by the arguments; nothing if no key is named.
    ///
    /// # Errors
    /// When a key that is named cannot be used. An address at which none is found now is asked again
    /// later.
    pub async fn open(args: &TokenArgs) -> Result<Option<Arc<Self>>, TokensError> {
        if args.jwt_secret_file.is_none() && args.jwks.is_none() {
            let is_anything_else = args.jwt_issuer.is_some() || args.jwt_audience.is_some();
            return if is_anything_else {
                Err(TokensError::NoKeys)
            } else {
                Ok(None)
            };
        }
        let secret = args.jwt_secret_file.as_deref().map(secret).transpose()?;
        let public = match &args.jwks {
            Some(named) => Some(PublicKeys::open(named).await?),
            None => None,
        };
        Ok(Some(Arc::new(Self {
            secret,
            public,
            terms: Terms {
                issuer: args.jwt_issuer.clone(),
                audience: args.jwt_audience.clone(),
                leeway_ms: i64::from(args.jwt_leeway_seconds) * 1_000,
            },
        })))
    }

    /// Whether a credential has the form of a token.
    pub(super) fn is_one(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Who holds a token, if it holds.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn holder(&self, token: &str, now: Instant) -> Result<Caller, SignInError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| SignInError::Token)?;
        // whoever must understand something that is not understood here takes it for nothing
        if header.crit.is_some() {
            return Err(SignInError::Token);
        }
        let (key, withdrawn) = self.key(&header).ok_or(SignInError::Token)?;
        let claims = proved(token, header.alg, &key).ok_or(SignInError::Token)?;
        let grant = self.terms.grant(claims.get(), now)?;
        let reach = grant.reach();
        Ok(Caller {
            account: Arc::from(account_of_subject(&grant.name)),
            name: Arc::from(grant.name),
            role: grant.role,
            reach,
            expires_at: grant.expires_at,
            revoked: withdrawn,
            network: None,
            registers_devices: false,
            kinds: Arc::default(),
            is_public: false,
        })
    }

    /// The key that a token chooses, and what tells when it proves no more.
    fn key(&self, header: &Header) -> Option<(DecodingKey, CancellationToken)> {
        if header.alg == Algorithm::HS256 {
            let secret = self.secret.clone()?;
            return Some((secret, CancellationToken::new()));
        }
        self.public.as_ref()?.key(header)
    }

    /// Reads public keys again as they change, until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if let Some(public) = &self.public {
            public.run(stop).await;
        }
    }
}

/// Under which name it is counted what the holder of a token spends: apart from those of keys, whose ids anybody may
/// be called.
pub(crate) fn account_of_subject(subject: &str) -> String {
    format!("token/{subject}")
}

/// The claims of a token that a key has signed by an algorithm. When it holds is not looked at here.
fn proved(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Option<Box<RawValue>> {
    let mut signature_alone = Validation::new(algorithm);
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_nbf = false;
    signature_alone.validate_aud = false;
    let read = jsonwebtoken::decode::<Box<RawValue>>(token, key, &signature_alone);
    read.ok().map(|read| read.claims)
}

fn secret(path: &Path) -> Result<DecodingKey, TokensError> {
    let read = std::fs::read(path);
    let bytes = read.map_err(|source| TokensError::Secret {
        path: path.to_owned(),
        source,
    })?;
    let secret = without_line_break(&bytes);
    if secret.len() < SECRET_BYTES_MIN {
        let path = path.to_owned();
        return Err(TokensError::ShortSecret { path });
    }
    Ok(DecodingKey::from_secret(secret))
}

/// What a file holds without the one line break with which an editor ends it.
fn without_line_break(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\r\n");
    let line = line.or_else(|| bytes.strip_suffix(b"\n"));
    line.unwrap_or(bytes)
}

impl PublicKeys {
    async fn open(named: &str) -> Result<Self, TokensError> {
        let failed = |source| TokensError::Set {
            named: named.to_owned(),
            source,
        };
        let public = Self {
            named: named.to_owned(),
            source: Source::of(named).map_err(failed)?,
            keys: RwLock::default(),
            unknown: Notify::new(),
        };
        match (public.look().await, &public.source) {
            (Ok(()), _) => {}
            (Err(error), Source::File(_)) => return Err(failed(error)),
            (Err(error), Source::Address(..)) => {
                let error = crate::telemetry::chain(&error).to_string();
                tracing::warn!(
                    error,
                    jwks = named,
                    "no token holds until its keys are read"
                );
            }
        }
        Ok(public)
    }

    /// The key that a token names, or the only one of its algorithm when it names none.
    fn key(&self, header: &Header) -> Option<(DecodingKey, CancellationToken)> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut able = keys.iter().filter(|key| key.algorithm == header.alg);
        let key = match &header.kid {
            Some(kid) => able.find(|key| key.kid.as_ref() == Some(kid)),
            None => able.next().filter(|_| able.next().is_none()),
        };
        if let Some(key) = key {
            return Some((key.key.clone(), key.withdrawn.clone()));
        }
        let is_known = keys.iter().any(|key| key.kid == header.kid);
        if !is_known && header.kid.is_some() {
            self.unknown.notify_one();
        }
        None
    }

    /// Reads the keys. Those from before stay when that fails.
    async fn look(&self) -> Result<(), SetError> {
        let text = self.source.read().await?;
        let new = set::keys(&text).map_err(SetError::Form)?;
        if new.is_empty() {
            return Err(SetError::NoKey);
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *keys = set::replaced(&keys, new);
        Ok(())
    }

    async fn run(&self, stop: CancellationToken) {
        let (every, again) = (self.source.every(), self.source.again());
        let mut asked = None;
        let mut told = None;
        let mut next = Moment::now() + if self.is_empty() { again } else { every };
        loop {
            let unknown = async {
                if let Some(asked) = asked {
                    sleep_until(asked + again).await;
                }
                self.unknown.notified().await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(next) => {}
                () = unknown => asked = Some(Moment::now()),
            }
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look() => looked,
            };
            next = Moment::now() + if looked.is_ok() { every } else { again };
            let failure = looked.err();
            let failure = failure.map(|error| crate::telemetry::chain(&error).to_string());
            // what goes on failing in the same way is told once
            if let Some(error) = failure.as_ref().filter(|_| failure != told) {
                tracing::warn!(
                    error,
                    jwks = self.named,
                    "the keys of tokens stay as they were"
                );
            }
            told = failure;
        }
    }

    fn is_empty(&self) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_of_a_file_is_no_part_of_the_secret() {
        for (file, secret) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret\n\n", "secret\n"),
            ("secret\r", "secret\r"),
            (" secret \n", " secret "),
            ("\n", ""),
            ("", ""),
        ] {
            let read = without_line_break(file.as_bytes());
            assert_eq!(read, secret.as_bytes(), "{file:?}");
        }
    }
}
