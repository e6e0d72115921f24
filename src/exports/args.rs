//! Where exports lie, and for how long.

use std::path::Path;

use clap::Args;

use crate::config::place;
use crate::places::Place;

/// How exports are kept that are asked for over the API.
#[derive(Clone, Debug, Args)]
pub struct ExportsArgs {
    /// Where the files of exports lie that are asked for over the API (`createExport`): a folder, or
    /// `s3://BUCKET/PREFIX` (`AWS_…`). Where several servers share a database it is to be one that all of them
    /// share. Beside a file of SQLite it is `FILE.exports` unless it is given; on PostgreSQL nothing is exported
    /// so until it is.
    #[arg(long, env = "HOMEPOT_EXPORTS", value_name = "PLACE", value_parser = place)]
    pub exports: Option<Place>,
    /// Days after which the file of such an export is removed (1 to 365).
    #[arg(long, env = "HOMEPOT_EXPORT_DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub export_days: u32,
}

impl Default for ExportsArgs {
    fn default() -> Self {
        Self {
            exports: None,
            export_days: 7,
        }
    }
}

impl ExportsArgs {
    /// Where they lie, if that is said or there is a file to lie beside.
    #[must_use]
    pub fn place(&self, file: Option<&Path>) -> Option<Place> {
        let beside = || {
            let mut name = file?.to_owned().into_os_string();
            name.push(".exports");
            Some(Place::Folder(name.into()))
        };
        self.exports.clone().or_else(beside)
    }
}
