//! The part of the command line that says which server is spoken to.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use thiserror::Error;

use super::api::ClientConfig;

/// Longest time to reach the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a key file at most.
const KEY_BYTES_MAX: u64 = 4_096;

/// Which server, and as whom.
#[derive(Args, Clone)]
pub struct ServerArgs {
    /// Address of the server
    #[arg(long, env = "HOMEPOT_SERVER", default_value = "http://127.0.0.1:8080")]
    pub server: String,

    /// File with the access key, of which line breaks and blanks around it are no part; without one no
    /// key is sent
    #[arg(long, env = "HOMEPOT_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// The access key itself: by the environment only, since others see command lines
    #[arg(long, env = "HOMEPOT_KEY", hide = true, hide_env_values = true)]
    pub key: Option<String>,

    /// PEM file with the certificates of the authorities that alone may vouch for the server; without
    /// it those that this machine trusts
    #[arg(long, env = "HOMEPOT_CA_CERTIFICATE", value_name = "FILE")]
    pub ca_certificate: Option<PathBuf>,

    /// Longest time for a request with its answer, in seconds (1 to 600)
    #[arg(
        long,
        env = "HOMEPOT_REQUEST_TIMEOUT_SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=600)
    )]
    pub request_timeout_seconds: u64,
}

impl std::fmt::Debug for ServerArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerArgs")
            .field("server", &self.server)
            .field("key_file", &self.key_file)
            .field("key", &self.key.as_ref().map(|_| "…"))
            .field("ca_certificate", &self.ca_certificate)
            .field("request_timeout_seconds", &self.request_timeout_seconds)
            .finish()
    }
}

/// A command line that cannot be followed.
#[derive(Debug, Error)]
pub enum ArgsError {
    /// The key file cannot be read.
    #[error("cannot read the key file {path}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file with the certificates of authorities cannot be read.
    #[error("cannot read the certificates in {path}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key file holds no key.
    #[error("the key file {path} holds no key: it should hold one line of at most 4096 bytes")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
}

impl ServerArgs {
    /// What a client needs to know. The key file goes before a key from the environment.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn config(&self) -> Result<ClientConfig, ArgsError> {
        let key = match &self.key_file {
            Some(path) => Some(read_key(path)?),
            None => self.key.clone().filter(|key| !key.trim().is_empty()),
        };
        let ca = self.ca_certificate.as_deref().map(read_authorities);
        Ok(ClientConfig {
            server: self.server.clone(),
            ca: ca.transpose()?,
            key,
            connect_timeout: CONNECT_TIMEOUT,
            timeout: Duration::from_secs(self.request_timeout_seconds),
        })
    }
}

fn read_authorities(path: &std::path::Path) -> Result<Vec<u8>, ArgsError> {
    std::fs::read(path).map_err(|source| ArgsError::Authorities {
        path: path.to_owned(),
        source,
    })
}

fn read_key(path: &std::path::Path) -> Result<String, ArgsError> {
    use std::io::Read as _;
    let cannot = |source| ArgsError::KeyFile {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut text = String::new();
    file.take(KEY_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    let key = text.trim();
    if key.is_empty() || key.lines().count() != 1 || text.len() > 4_096 {
        return Err(ArgsError::NoKey {
            path: path.to_owned(),
        });
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(key_file: Option<PathBuf>, key: Option<&str>) -> ServerArgs {
        ServerArgs {
            server: "http://127.0.0.1:8080".to_owned(),
            key_file,
            key: key.map(str::to_owned),
            ca_certificate: None,
            request_timeout_seconds: 30,
        }
    }

    #[test]
    fn key_file_goes_before_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "from-file\n").unwrap();
        let config = args(Some(path), Some("from-environment")).config().unwrap();
        assert_eq!(config.key.as_deref(), Some("from-file"));
    }

    #[test]
    fn empty_or_missing_key_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let config = || args(Some(path.clone()), None).config();
        assert!(matches!(config(), Err(ArgsError::KeyFile { .. })));
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(config(), Err(ArgsError::NoKey { .. })));
    }

    #[test]
    fn key_is_never_shown_in_debug_output() {
        assert!(!format!("{:?}", args(None, Some("secret"))).contains("secret"));
    }
}
