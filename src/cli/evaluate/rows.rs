//! The answers as CSV.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::cli::print;

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
    pub(super) fn write(self, out: &Path) -> anyhow::Result<()> {
        let answers = self.count.saturating_sub(1);
        let bytes = self.csv.into_inner();
        let bytes = bytes.map_err(csv::IntoInnerError::into_error)?;
        if out.as_os_str() == "-" {
            let written = std::io::stdout().write_all(&bytes);
            return written.context("cannot write to standard output");
        }
        let named = || format!("cannot write {}", out.display());
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
        let name = out.file_name().with_context(named)?.to_string_lossy();
        let half = folder
            .unwrap_or(Path::new("."))
            .join(format!(".{name}.part"));
        std::fs::write(&half, &bytes)
            .and_then(|()| std::fs::rename(&half, out))
            .inspect_err(|_| {
                let _ = std::fs::remove_file(&half);
            })
            .with_context(named)?;
        print(&format!("{answers} answers are in {}", out.display()));
        Ok(())
    }
}
