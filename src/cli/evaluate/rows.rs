//! The answers as CSV.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::print;
use crate::export::Target;

/// Why there may be no answer.
const NOTHING: &str = ": the file has nothing that is asked about by itself, or lasts too short for it; the instants of \
    the questions can be given by `--times`";

/// Rows of CSV that are written when there are all.
pub(super) struct Rows {
    csv: csv::Writer<Vec<u8>>,
    count: usize,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self {
            csv: csv::Writer::from_writer(Vec::new()),
            count: 0,
        }
    }

    /// Puts a row; the first one has the names of the columns.
    pub(super) fn put<const N: usize>(
        &mut self,
        fields: [impl AsRef<[u8]>; N],
    ) -> anyhow::Result<()> {
        self.count += 1;
        Ok(self.csv.write_record(fields)?)
    }

    /// Writes all rows, or leaves what is there as it is.
    pub(super) fn write(self, out: Output) -> anyhow::Result<()> {
        let answers = self.count.saturating_sub(1);
        let bytes = self.csv.into_inner();
        let bytes = bytes.map_err(csv::IntoInnerError::into_error)?;
        match out {
            Output::Standard => {
                let written = std::io::stdout().write_all(&bytes);
                written.context("cannot write to standard output")
            }
            Output::Target(path, target) => {
                let is_file = matches!(target, Target::File(_));
                let written = target.put(&bytes);
                written.with_context(|| not_written(&path))?;
                if is_file {
                    let why = if answers == 0 { NOTHING } else { "" };
                    print(&format!("{answers} answers are in {}{why}", path.display()));
                }
                Ok(())
            }
        }
    }
}

/// Where they go.
pub(super) enum Output {
    Standard,
    Target(PathBuf, Target),
}

impl Output {
    /// What a path names; `-` is standard output.
    pub(super) async fn at(path: &Path) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard);
        }
        let target = Target::at(path).await;
        let target = target.with_context(|| not_written(path))?;
        Ok(Self::Target(path.to_owned(), target))
    }
}

fn not_written(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
