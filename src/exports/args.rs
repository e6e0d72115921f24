//! Where exports lie, and for how long.

use std::path::Path;
use std::time::Duration;

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
    /// MiB that one such export may have (1 to 16777216); it fails as `TOO_LARGE` when it would have more.
    #[arg(long, env = "HOMEPOT_EXPORT_MIB_MAX", default_value_t = 10_240, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub export_mib_max: u32,
    /// MiB that the files of all such exports of an account may have (1 to 16777216): then no more are taken from
    /// it, and one that is being made fails as `NO_ROOM`.
    #[arg(long, env = "HOMEPOT_EXPORT_ACCOUNT_MIB_MAX", default_value_t = 20_480, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub export_account_mib_max: u32,
}

impl Default for ExportsArgs {
    fn default() -> Self {
        Self {
            exports: None,
            export_days: 7,
            export_mib_max: 10_240,
            export_account_mib_max: 20_480,
        }
    }
}

/// How long an export may be made, so that others get their turn.
const MADE_WITHIN: Duration = Duration::from_hours(6);

/// Within which exports are made and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Days for which a file is kept.
    pub days: u32,
    /// How long one may be made.
    pub within: Duration,
    /// Bytes that one may have.
    pub bytes_max: i64,
    /// Bytes that those of an account may have together.
    pub account_bytes_max: i64,
}

impl ExportsArgs {
    /// Within which they are kept.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let bytes = |mib: u32| i64::from(mib) * 1024 * 1024;
        Bounds {
            days: self.export_days,
            within: MADE_WITHIN,
            bytes_max: bytes(self.export_mib_max),
            account_bytes_max: bytes(self.export_account_mib_max),
        }
    }

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
