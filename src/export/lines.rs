//! Writes JSON lines, as they are imported: what was recorded, and nothing that is derived.

use std::io::{BufWriter, Write};

use super::sink::Out;
use super::{ExportError, Sink};
use crate::event::Event;
use crate::kinds::to_json;

/// Writes one event a line.
pub(super) struct Lines(BufWriter<Box<dyn Out>>);

impl Lines {
    pub(super) fn new(out: Box<dyn Out>) -> Self {
        Self(BufWriter::with_capacity(64 * 1024, out))
    }
}

impl Sink for Lines {
    fn add(&mut self, events: &[Event]) -> Result<(), ExportError> {
        for event in events {
            serde_json::to_writer(&mut self.0, &to_json(event)).map_err(std::io::Error::from)?;
            self.0.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        let out = self
            .0
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        Ok(out.end()?)
    }
}
