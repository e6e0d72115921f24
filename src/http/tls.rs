//! TLS: the certificate and its key, as they lie in files, and the handshake.
//!
//! Certificates are renewed while servers run, so the files are looked at each minute, and what they
//! hold is taken for the connections that come after. They are compared by content: nothing depends
//! on times of files, on links, or on signals. Files that cannot be used change nothing, and that is
//! told once; one look later, since a certificate and its key are not written at the same moment.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval_at, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::telemetry::chain;

/// How long a client may take for the handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Bytes at most of a file: chains of certificates have some thousand.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why TLS cannot be spoken with these files.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no PEM.
    #[error("{path} is not in the form of PEM")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// There is no certificate in it.
    #[error(
        "{path} holds no certificate: it should hold the chain in PEM, that of the server first"
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no key in it.
    #[error("{path} holds no private key: it should hold one in PEM, not encrypted")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is that of another certificate.
    #[error("the key in {key} does not fit the first certificate in {certificate}")]
    OtherKey {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// They cannot be used for another reason.
    #[error("the certificate in {certificate} and the key in {key} cannot be used")]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificate with which this server proves who it is.
#[derive(Clone, Debug)]
pub struct Tls {
    files: Arc<Files>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    /// Of what the files held when they were last taken.
    taken: Mark,
    /// Of what they held since then and could not be taken for.
    refused: Option<Refused>,
}

/// The hash of what both files held.
type Mark = [u8; 32];

#[derive(Debug)]
struct Refused {
    /// `None` when they could not be read.
    mark: Option<Mark>,
    is_told: bool,
}

/// What a look at the files gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    Same,
    Renewed,
    /// They cannot be used, and may be half written.
    Waits,
    /// They cannot be used, and that is told now.
    Told,
}

impl Tls {
    /// Reads the chain of certificates and the key.
    ///
    /// # Errors
    /// When they cannot be read or used together.
    pub fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let files = Files { certificate, key };
        let held = files.read()?;
        let state = State {
            config: files.config(&held)?,
            taken: held.mark(),
            refused: None,
        };
        Ok(Self {
            files: Arc::new(files),
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// Looks at the files until it is told to stop.
    pub(super) async fn keep_current(self, stop: CancellationToken) {
        let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let tls = self.clone();
            // a disk may be slow; what panics there is in the log of the process
            let _ = tokio::task::spawn_blocking(move || tls.look()).await;
        }
    }

    fn look(&self) -> Looked {
        let held = self.files.read();
        let mark = held.as_ref().ok().map(Held::mark);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if mark == Some(state.taken) {
            state.refused = None;
            return Looked::Same;
        }
        let error = match held.and_then(|held| self.files.config(&held)) {
            Ok(config) => {
                state.config = config;
                state.taken = mark.unwrap_or(state.taken);
                state.refused = None;
                let file = self.files.certificate.display();
                tracing::info!(%file, "the certificate was read again");
                return Looked::Renewed;
            }
            Err(error) => error,
        };
        let seen = state.refused.take().filter(|seen| seen.mark == mark);
        let is_told = seen.as_ref().is_some_and(|seen| seen.is_told);
        let is_to_be_told = seen.is_some() && !is_told;
        state.refused = Some(Refused {
            mark,
            is_told: is_told || is_to_be_told,
        });
        if !is_to_be_told {
            return Looked::Waits;
        }
        let error = chain(&error);
        tracing::warn!(%error, "the new certificate cannot be used; the one from before is");
        Looked::Told
    }

    fn config(&self) -> Arc<ServerConfig> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state.config)
    }

    /// Shakes hands with a client.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = TlsAcceptor::from(self.config()).accept(stream);
        let accepted = timeout(HANDSHAKE_WITHIN, accepted).await;
        accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// What the files hold.
struct Held {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Held {
    fn mark(&self) -> Mark {
        let parts = [&self.certificate, &self.key].map(Sha256::digest);
        Sha256::digest(parts.concat()).into()
    }
}

impl Files {
    fn read(&self) -> Result<Held, TlsError> {
        Ok(Held {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    fn config(&self, held: &Held) -> Result<Arc<ServerConfig>, TlsError> {
        let (chain, key) = (self.chain(held)?, self.key(held)?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config =
            versions.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|source| self.unusable(source))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn chain(&self, held: &Held) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let path = self.certificate.clone();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&held.certificate).collect();
        match chain {
            Ok(chain) if chain.is_empty() => Err(TlsError::NoCertificate { path }),
            Ok(chain) => Ok(chain),
            Err(source) => Err(TlsError::Malformed { path, source }),
        }
    }

    fn key(&self, held: &Held) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = self.key.clone();
        PrivateKeyDer::from_pem_slice(&held.key).map_err(|source| {
            if matches!(source, pem::Error::NoItemsFound) {
                TlsError::NoKey { path }
            } else {
                TlsError::Malformed { path, source }
            }
        })
    }

    fn unusable(&self, source: rustls::Error) -> TlsError {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        if source == rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
            return TlsError::OtherKey { certificate, key };
        }
        TlsError::Unusable {
            certificate,
            key,
            source,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let cannot = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    struct Pair {
        folder: tempfile::TempDir,
    }

    impl Pair {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let pair = Self { folder };
            pair.write(&made());
            pair
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, (certificate, key): &(String, String)) {
            std::fs::write(self.path("certificate"), certificate).unwrap();
            std::fs::write(self.path("key"), key).unwrap();
        }

        fn tls(&self) -> Result<Tls, TlsError> {
            Tls::read(self.path("certificate"), self.path("key"))
        }
    }

    fn made() -> (String, String) {
        let names = vec!["localhost".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn files_that_cannot_be_used_are_told_by_name() {
        let pair = Pair::new();
        let good = made();
        pair.tls().unwrap();
        pair.write(&(made().0, good.1.clone()));
        assert!(matches!(pair.tls(), Err(TlsError::OtherKey { .. })));
        pair.write(&("nothing".to_owned(), good.1.clone()));
        assert!(matches!(pair.tls(), Err(TlsError::NoCertificate { .. })));
        pair.write(&(good.0.clone(), good.0.clone()));
        assert!(matches!(pair.tls(), Err(TlsError::NoKey { .. })));
        let cut = good.0.replace("-----END CERTIFICATE-----", "");
        pair.write(&(cut, good.1));
        assert!(matches!(pair.tls(), Err(TlsError::Malformed { .. })));
        std::fs::remove_file(pair.path("certificate")).unwrap();
        let error = pair.tls().unwrap_err();
        let name = pair.path("certificate").display().to_string();
        assert!(error.to_string().contains(&name), "{error}");
    }

    #[test]
    fn a_new_certificate_is_taken_and_a_broken_one_is_told_once() {
        let pair = Pair::new();
        let tls = pair.tls().unwrap();
        let (first, second) = (tls.config(), made());
        assert_eq!(tls.look(), Looked::Same);
        // the certificate is there before its key
        std::fs::write(pair.path("certificate"), &second.0).unwrap();
        assert_eq!(tls.look(), Looked::Waits);
        assert!(Arc::ptr_eq(&first, &tls.config()));
        pair.write(&second);
        assert_eq!(tls.look(), Looked::Renewed);
        let second = tls.config();
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::write(pair.path("key"), "").unwrap();
        let looked = [(); 4].map(|()| tls.look());
        assert_eq!(
            looked,
            [Looked::Waits, Looked::Told, Looked::Waits, Looked::Waits]
        );
        assert!(Arc::ptr_eq(&second, &tls.config()));
        std::fs::remove_file(pair.path("key")).unwrap();
        assert_eq!(tls.look(), Looked::Waits);
        pair.write(&made());
        assert_eq!(tls.look(), Looked::Renewed);
    }
}
