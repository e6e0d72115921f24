//! Events of one kind as columns, and as files of Parquet that any tool for data reads.
//!
//! A [`Table`] holds events by columns in memory: what is archived or exported is put into one, event by
//! event, and what is read from a file comes out of one. [`write()`] makes a file of it, [`File`] reads one,
//! whole or only some columns of some groups of rows. The columns follow from what a kind says of its
//! fields; they are found by name, so that a file from before a field was added is read as if it was absent.
//!
//! It knows neither the log nor where files lie, and holds no more than one table in memory.

mod column;
mod file;
mod layout;
mod table;
mod write;

use parquet::errors::ParquetError;
use thiserror::Error;

pub use column::{Column, Values};
pub use file::File;
pub use layout::{Form, Layout, Slot};
pub use table::Table;
pub use write::{Writer, Written, write};

/// Why a file cannot be written or read.
#[derive(Debug, Error)]
pub enum ColumnarError {
    /// The library cannot.
    #[error("cannot {doing}")]
    Parquet {
        /// What was being done.
        doing: &'static str,
        /// What the library said.
        source: ParquetError,
    },
    /// A column does not hold what its kind promises.
    #[error("column {0} is not of its kind")]
    Column(String),
}

/// Names what was being done when the library failed.
trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, ColumnarError>;
}

impl<T> Doing<T> for Result<T, ParquetError> {
    fn doing(self, doing: &'static str) -> Result<T, ColumnarError> {
        self.map_err(|source| ColumnarError::Parquet { doing, source })
    }
}
