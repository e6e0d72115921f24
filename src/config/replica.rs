//! A replica of the database on the command line.

use std::path::PathBuf;

use clap::Args;

/// A replica of the database.
#[derive(Clone, Debug, Args)]
pub struct ReplicaArgs {
    /// A streaming replica of the database, `postgres://USER:PASSWORD@HOST/DATABASE`, which queries over
    /// HTTP are read from as far as it has come; the database answers what it does not know within 100 ms.
    #[arg(long, env = "HOMEPOT_DATABASE_READ", hide_env_values = true)]
    pub database_read: Option<String>,
    /// A file with the address of the replica; it goes before `HOMEPOT_DATABASE_READ`. Line breaks and blanks
    /// around it are no part of it.
    #[arg(long, env = "HOMEPOT_DATABASE_READ_FILE")]
    pub database_read_file: Option<PathBuf>,
}

impl ReplicaArgs {
    /// The address of the replica, if there is one.
    ///
    /// # Errors
    /// When the file with the address cannot be read.
    pub fn address(&self) -> std::io::Result<Option<String>> {
        match &self.database_read_file {
            Some(file) => Ok(Some(std::fs::read_to_string(file)?.trim().to_owned())),
            None => Ok(self.database_read.clone()),
        }
    }
}
