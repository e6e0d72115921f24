//! The command line of `export`.

use std::path::PathBuf;

use clap::Args;

use super::Format;
use crate::config::{DatabaseArgs, place};
use crate::places::Place;

/// Arguments of `export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// A source, such as `deviceMetrics`; may be repeated. When none is named, all that can be recorded from outside:
    /// what this program alone records (`auditLog`, the steps of jobs, commands and alerts, rules, parameters and their
    /// settings), nothing imports, and it is left out and counted on standard error. `backup` and a data lake have it.
    #[arg(long = "source", value_name = "NAME", conflicts_with = "lake")]
    pub kinds: Vec<String>,
    /// The first instant, such as `2026-11-01T00:00:00Z`, by when it happened.
    #[arg(long, value_name = "TIME", conflicts_with = "lake")]
    pub from: Option<String>,
    /// The first instant after the last; later than `--from`.
    #[arg(long, value_name = "TIME", conflicts_with = "lake")]
    pub to: Option<String>,
    /// REAL, CONTROLLED or SIMULATED.
    #[arg(long, value_name = "WORD", conflicts_with = "lake")]
    pub provenance: Option<String>,
    /// Which events of one source: the filter of its GraphQL field as JSON, such as
    /// `{"severity": {"in": ["CRITICAL", "ERROR"]}}`.
    #[arg(long, value_name = "JSON", conflicts_with = "lake")]
    pub filter: Option<String>,
    /// As what it is written; when left out by the ending of the file, and as JSON lines if it has none. CSV and
    /// Parquet have the columns of one source.
    #[arg(long, value_enum, conflicts_with = "lake")]
    pub format: Option<Format>,
    /// The file, compressed if it ends in `.gz`, which its owner alone can read; `-` is standard output. A link stays,
    /// and what it leads to is written; into a device or a pipe it is written as it comes.
    #[arg(long, value_name = "FILE", required_unless_present = "lake")]
    pub out: Option<PathBuf>,
    /// Write CSV for spreadsheets: a text that begins as a formula does (`=`, `+`, `-`, `@`, a tab, a line break) gets
    /// `'` before it. Without that a spreadsheet runs it, and some texts come from anybody, such as what was searched
    /// for on a page. Leave it out for programs, which want texts as they are.
    #[arg(long, conflicts_with = "lake")]
    pub spreadsheet: bool,
    /// A folder, or `s3://BUCKET/PREFIX` (`AWS_…`), in which the whole log is kept as Parquet, by kind and day
    /// (`kind=…/day=…`), and which is brought up to date. Other tools are to read it: who may is as the umask says.
    #[arg(long, value_name = "PLACE", conflicts_with = "out", value_parser = place)]
    pub lake: Option<Place>,
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// The data lake that a server fills.
#[derive(Clone, Debug, Default, Args)]
pub struct LakeArgs {
    /// Where the whole log is kept as Parquet, as by `export --lake`, and brought up to date every minute: a folder,
    /// or `s3://BUCKET/PREFIX` (`AWS_…`). One of the servers that share a database does so, so each is to be
    /// given it.
    #[arg(long, env = "HOMEPOT_LAKE", value_name = "PLACE", value_parser = place)]
    pub lake: Option<Place>,
}
