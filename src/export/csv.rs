//! Writes comma-separated values: a header with the names of the columns, then a line for each event.
//!
//! The columns are those of the files of Parquet. Instants are RFC 3339, amounts of money decimals, what has
//! parts JSON; what is absent is empty.

use super::sink::Out;
use super::{ExportError, Sink};
use crate::columnar::{Form, Layout};
use crate::event::Event;
use crate::kinds::Kind;

/// Writes events of one kind.
pub(super) struct Csv {
    layout: Layout,
    out: csv::Writer<Box<dyn Out>>,
}

impl Csv {
    pub(super) fn new(kind: Kind, out: Box<dyn Out>) -> Result<Self, ExportError> {
        let layout = Layout::of(kind, Form::Export);
        let mut out = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(out);
        let names = layout.slots.iter().map(|slot| slot.name.as_str());
        out.write_record(names).map_err(std::io::Error::from)?;
        Ok(Self { layout, out })
    }
}

impl Sink for Csv {
    fn add(&mut self, events: &[Event]) -> Result<(), ExportError> {
        for event in events {
            let values = self
                .layout
                .slots
                .iter()
                .map(|slot| slot.text(event).into_owned());
            self.out
                .write_record(values)
                .map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        let out = self
            .out
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)?;
        Ok(out.end()?)
    }
}
