//! Writes comma-separated values: a header with the names of the columns, then a line for each event.
//!
//! The columns are those of the files of Parquet. Instants are RFC 3339, amounts of money decimals, what has
//! parts JSON; what is absent is empty.
//!
//! For spreadsheets no text begins as a formula does: some texts come from anybody, such as what was searched for on a
//! page, and a spreadsheet would run them for whoever opens the file. Programs get texts as they are.

use std::borrow::Cow;

use super::sink::Out;
use super::{ExportError, Readers, Sink};
use crate::columnar::{Form, Layout, Slot};
use crate::event::Event;
use crate::kinds::Kind;

/// With what a text begins that a spreadsheet may take for a formula, also behind what it leaves out (OWASP, "CSV
/// Injection"): the last four are as they are typed in Japanese.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Writes events of one kind.
pub(super) struct Csv {
    layout: Layout,
    readers: Readers,
    out: csv::Writer<Box<dyn Out>>,
}

impl Csv {
    pub(super) fn new(
        (kind, readers): (Kind, Readers),
        out: Box<dyn Out>,
    ) -> Result<Self, ExportError> {
        let layout = Layout::of(kind, Form::Export);
        let mut out = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(out);
        let names = layout.slots.iter().map(|slot| slot.name.as_str());
        out.write_record(names).map_err(std::io::Error::from)?;
        Ok(Self {
            layout,
            readers,
            out,
        })
    }
}

/// What an event has in a column, as some read it.
fn shown<'e>(slot: &Slot, event: &'e Event, readers: Readers) -> Cow<'e, str> {
    let text = slot.text(event);
    match readers {
        Readers::Spreadsheets if slot.is_text() && text.starts_with(FORMULA) => {
            Cow::Owned(format!("'{text}"))
        }
        Readers::Programs | Readers::Spreadsheets => text,
    }
}

impl Sink for Csv {
    fn add(&mut self, events: &[Event]) -> Result<(), ExportError> {
        for event in events {
            let values = self
                .layout
                .slots
                .iter()
                .map(|slot| shown(slot, event, self.readers).into_owned());
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
