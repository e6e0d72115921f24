//! Writes Parquet, a group of rows at a time, so that a file may be larger than memory.

use std::sync::Arc;

use super::sink::Out;
use super::{ExportError, Sink};
use crate::columnar::{Form, Layout, Table, Writer};
use crate::event::Event;
use crate::kinds::Kind;

/// Events and bytes at which what is held is written.
const TABLE_EVENTS: usize = 100_000;
const TABLE_BYTES: usize = 32 * 1024 * 1024;

/// Writes events of one kind.
pub(super) struct Parquet {
    layout: Arc<Layout>,
    held: Table,
    out: Option<Box<dyn Out>>,
    writer: Option<Writer<Box<dyn Out>>>,
}

impl Parquet {
    pub(super) fn new(kind: Kind, out: Box<dyn Out>) -> Self {
        let layout = Arc::new(Layout::of(kind, Form::Export));
        Self {
            held: Table::new(Arc::clone(&layout)),
            layout,
            out: Some(out),
            writer: None,
        }
    }

    /// Writes what is held. How columns are encoded follows from what comes first.
    fn spill(&mut self) -> Result<(), ExportError> {
        let empty = Table::new(Arc::clone(&self.layout));
        let held = std::mem::replace(&mut self.held, empty);
        let rows: Vec<usize> = (0..held.len()).collect();
        if let Some(out) = self.out.take() {
            self.writer = Some(Writer::begin(&held, &rows, out)?);
        }
        if let Some(writer) = &mut self.writer {
            writer.add(&held, &rows)?;
        }
        Ok(())
    }
}

impl Sink for Parquet {
    fn add(&mut self, events: &[Event]) -> Result<(), ExportError> {
        for event in events {
            self.held.push(event);
        }
        if self.held.len() >= TABLE_EVENTS || self.held.weight_bytes() >= TABLE_BYTES {
            self.spill()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        // of no events there is a file too, with the columns
        self.spill()?;
        if let Some(writer) = self.writer {
            writer.finish()?.end()?;
        }
        Ok(())
    }
}
