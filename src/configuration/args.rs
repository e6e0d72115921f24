//! Where the keys for secret parameters come from.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use thiserror::Error;

use super::{Keyring, KeyringError, SealError};
use crate::places::make_private;

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// A file cannot be read or made.
    #[error("cannot read the configuration keys in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is given is none.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// None can be made.
    #[error("cannot make a configuration key")]
    Make(#[source] SealError),
}

/// The keys by which values of sensitive parameters are sealed.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigurationArgs {
    /// Keys for the values of sensitive parameters, each 32 bytes in Base64, parted by commas: the first
    /// seals, all of them open. Without one such a parameter cannot be set. Prefer a file: other users of
    /// the machine can read the command line.
    #[arg(long, env = "HOMEPOT_CONFIGURATION_KEY", hide_env_values = true)]
    pub configuration_key: Option<String>,
    /// A file with these keys, one a line; it goes before `HOMEPOT_CONFIGURATION_KEY`. Line breaks and blanks
    /// are no part of them.
    #[arg(long, env = "HOMEPOT_CONFIGURATION_KEY_FILE", value_name = "FILE")]
    pub configuration_key_file: Option<PathBuf>,
}

impl ConfigurationArgs {
    /// The keys; none when none is given.
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub fn keyring(&self) -> Result<Keyring, KeysError> {
        let text = match &self.configuration_key_file {
            Some(path) => {
                Some(
                    std::fs::read_to_string(path).map_err(|source| KeysError::File {
                        path: path.clone(),
                        source,
                    })?,
                )
            }
            None => self.configuration_key.clone(),
        };
        Ok(Keyring::read(&text.unwrap_or_default())?)
    }
}

/// The key in a file, which is made when it is not there, for its owner alone.
///
/// # Errors
/// When it can be neither read nor made.
pub fn kept(path: &Path) -> Result<Keyring, KeysError> {
    let failed = |source| KeysError::File {
        path: path.to_owned(),
        source,
    };
    match make_private(path) {
        Ok(mut file) => {
            let key = Keyring::new_key().map_err(KeysError::Make)?;
            let written = file.write_all(format!("{key}\n").as_bytes());
            written.and_then(|()| file.sync_all()).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    Ok(Keyring::read(
        &std::fs::read_to_string(path).map_err(failed)?,
    )?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::super::Place;
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let place = Place {
            entity_type: "SYSTEM",
            entity_id: "system",
            parameter: "p",
        };
        let sealed = kept(&path).unwrap().seal(&json!(1), place).unwrap();
        let again = kept(&path).unwrap();
        assert_eq!(
            again.open(&sealed, "p", &[("SYSTEM", "system")]),
            Some(json!(1))
        );
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let arguments = ConfigurationArgs {
            configuration_key: Some("no key".to_owned()),
            configuration_key_file: Some(path),
        };
        assert!(arguments.keyring().is_ok(), "the file goes before");
    }
}
