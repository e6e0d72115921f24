//! As what events are written.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use clap::ValueEnum;

use super::ExportError;
use super::csv::Csv;
use super::lines::Lines;
use super::parquet::Parquet;
use crate::event::Event;
use crate::kinds::Kind;

/// As what events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON lines, as `import` takes them: one event a line, of whatever kind, as it was recorded.
    Jsonl,
    /// Comma-separated values with a header, as of RFC 4180: the events of one kind.
    Csv,
    /// Apache Parquet, compressed with zstd: the events of one kind.
    Parquet,
}

/// Who reads what is written as CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Programs: it has texts as they are.
    Programs,
    /// People in spreadsheets: a text that a spreadsheet would take for a formula, and run, has `'` before it.
    Spreadsheets,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Jsonl, Self::Csv, Self::Parquet];

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "JSON lines",
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
        }
    }

    /// The ending of names of files.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// The format that has such an ending, in letters of whatever case.
    #[must_use]
    pub fn of_ending(ending: &OsStr) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|format| ending.eq_ignore_ascii_case(format.ending()))
    }

    /// The format of a file by its ending, without a `.gz` behind it; JSON lines if it has none.
    ///
    /// # Errors
    /// When nothing is written with such an ending.
    pub fn of_file(path: &Path) -> Result<Self, ExportError> {
        let plain = if is_packed(path) {
            path.with_extension("")
        } else {
            path.to_owned()
        };
        let Some(ending) = plain.extension() else {
            return Ok(Self::Jsonl);
        };
        Self::of_ending(ending).ok_or_else(|| ExportError::Ending {
            ending: ending.to_string_lossy().into_owned(),
        })
    }

    /// Begins to write events of some kinds.
    ///
    /// # Errors
    /// When it has the columns of one kind and there is another number of them, it is not for those who read it, or the
    /// output cannot be written.
    pub fn begin(
        self,
        (readers, kinds): (Readers, &[Kind]),
        out: Box<dyn Out>,
    ) -> Result<Box<dyn Sink>, ExportError> {
        self.is_for(readers)?;
        let one = || match kinds {
            [kind] => Ok(*kind),
            kinds => Err(ExportError::Kinds {
                format: self.name(),
                kinds: kinds.len(),
            }),
        };
        Ok(match self {
            Self::Jsonl => Box::new(Lines::new(out)),
            Self::Csv => Box::new(Csv::new((one()?, readers), out)?),
            Self::Parquet => Box::new(Parquet::new(one()?, out)),
        })
    }

    /// Makes sure that it can be written for those who read it.
    ///
    /// # Errors
    /// When it is for spreadsheets, and not CSV.
    pub fn is_for(self, readers: Readers) -> Result<(), ExportError> {
        if self != Self::Csv && readers == Readers::Spreadsheets {
            let format = self.name();
            return Err(ExportError::Spreadsheet { format });
        }
        Ok(())
    }
}

/// Whether a file of such a name is compressed: it ends in `.gz`, in letters of whatever case.
pub(super) fn is_packed(path: &Path) -> bool {
    let ending = path.extension();
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}

/// Where bytes go.
pub trait Out: Write + Send {
    /// Ends it: all of it is where it shall be, and on the disk if that is a file.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end(self: Box<Self>) -> std::io::Result<()>;
}

/// Where events are written.
pub trait Sink: Send {
    /// Writes some.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn add(&mut self, events: &[Event]) -> Result<(), ExportError>;

    /// Ends it: all of it is handed on.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// How much was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events.
    pub events: u64,
    /// Bytes, if it is a file.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_as_its_ending_says_and_not_at_all_if_that_is_unknown() {
        let of = |name: &str| Format::of_file(Path::new(name)).ok();
        for (name, format) in [
            ("a.jsonl", Format::Jsonl),
            ("a.csv.gz", Format::Csv),
            ("A.CSV.GZ", Format::Csv),
            ("a.Parquet", Format::Parquet),
            ("A.GZ", Format::Jsonl),
            ("b.c/A.CSV", Format::Csv),
            ("a.b.parquet", Format::Parquet),
            ("-", Format::Jsonl),
            ("b.csv/a", Format::Jsonl),
            ("a.gz", Format::Jsonl),
        ] {
            assert_eq!(of(name), Some(format), "{name}");
        }
        for name in ["a.xlsx", "a.xlsx.gz", "a.csv.tmp"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
