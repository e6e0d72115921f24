//! Logs: as text for people or as JSON for programs.

use std::error::Error;
use std::fmt;

/// Shows an error with all that caused it, on one line.
#[derive(Debug)]
pub struct Chain<'a>(&'a dyn Error);

/// Shows an error with all that caused it, on one line.
#[must_use]
pub fn chain(error: &dyn Error) -> Chain<'_> {
    Chain(error)
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
