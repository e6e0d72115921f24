//! What of a kind goes into rollups, and how an event says it.

use sea_orm::QueryResult;

use super::labels::{self, Open, Ranks, written};
use super::packed::Wanted;
use super::value::Value;
use crate::event::{Cell, Event};
use crate::kinds::{Form, Kind, Label, Measured, Spec, Type};
use crate::store::{Archive, Doing, StoreError};

/// Characters of a label at most: what is longer is cut.
const LABEL_CHARACTERS_MAX: usize = 255;

/// What of a kind is kept in rollups.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) measured: &'static Measured,
    /// Of each measure what it is.
    pub(crate) forms: Vec<Form>,
    /// Where its field stands.
    measures: Vec<(usize, Type)>,
    /// Where the field of each label stands.
    labels: Vec<(usize, Label)>,
    /// Which of the labels may be any text, if one may.
    pub(crate) open: Option<usize>,
    /// By which those are ranked, where it was read: nothing is put together without it.
    pub(crate) ranks: Option<Ranks>,
    device: Option<usize>,
    site: Option<usize>,
    part: Option<usize>,
    /// Which of the measures are read; the others are absent in what is read.
    read: Wanted,
    /// What was archived of the log, for whoever reads its events.
    pub(crate) archive: Option<Archive>,
    /// The midnight of UTC since which all that happened is in the log, archived or not, where that was looked
    /// for. What was summed up before it is not made of the log again: some of that was deleted for good.
    pub(crate) whole_from: Option<i64>,
}

/// What an event says that goes into rollups.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    /// When it happened: microseconds since 1970, UTC.
    pub(crate) at: i64,
    /// The number of its provenance.
    pub(crate) provenance: i64,
    /// Key of its device; 0 if it names none.
    pub(crate) device: i64,
    /// Key of the site that it names.
    pub(crate) site: Option<i64>,
    /// Whether it is a part of a reading, not a whole one.
    pub(crate) is_part: bool,
    /// Its labels: a JSON array of texts.
    pub(crate) labels: String,
    /// Its measures.
    pub(crate) values: Vec<Option<Value>>,
}

impl Reading {
    /// Bytes that it takes in memory.
    pub(crate) fn weight_bytes(&self) -> usize {
        let values = size_of::<Option<Value>>() * self.values.len();
        size_of::<Self>() + self.labels.len() + values
    }
}

impl Shape {
    /// That of a kind, if anything of it is summed up.
    pub(crate) fn of(kind: Kind) -> Option<Self> {
        let spec = kind.spec();
        let measured = spec.measured.as_ref()?;
        let measures = measured.measures.iter().filter_map(|measure| {
            let index = spec.index_of(measure.field)?;
            Some((index, spec.fields.get(index)?.ty))
        });
        let labels = measured.dimensions.iter();
        let labels = labels.filter_map(|label| Some((spec.index_of(label.field)?, label.label)));
        Some(Self {
            kind,
            measured,
            forms: measured.measures.iter().map(|m| m.form).collect(),
            measures: measures.collect(),
            labels: labels.collect(),
            open: measured.dimensions.iter().position(|d| d.is_open(spec)),
            ranks: None,
            device: spec.device_index(),
            site: spec.site_index(),
            part: spec.part_index(),
            read: Wanted::ALL,
            archive: None,
            whole_from: None,
        })
    }

    /// Some labels, if one of them may be any text and says something.
    pub(crate) fn open(&self, written: &str) -> Option<Open> {
        labels::open(written, self.open?, self.ranks.as_ref()?)
    }

    /// Whether what is measured may come in parts.
    pub(crate) const fn has_parts(&self) -> bool {
        self.part.is_some()
    }

    /// Before when nothing is made of the log again.
    pub(crate) fn floor(&self) -> i64 {
        self.whole_from.unwrap_or(i64::MIN)
    }

    /// The same, of which no more measures are read than these.
    pub(crate) fn only(&self, read: Wanted) -> Self {
        Self {
            read,
            ..self.clone()
        }
    }

    /// What an event says.
    pub(crate) fn reading(&self, event: &Event) -> Reading {
        let cell = |index: usize| event.fact.cells.get(index).unwrap_or(&Cell::Null);
        let labels = self.labels.iter();
        let labels = labels.map(|(index, label)| labelled(*label, cell(*index)));
        let values = self.measures.iter();
        let values = values.map(|(index, ty)| value(ty, cell(*index)));
        Reading {
            at: event.fact.occurred_at.0,
            provenance: event.fact.provenance.code(),
            device: self.device.and_then(|index| cell(index).int()).unwrap_or(0),
            site: self.site.and_then(|index| cell(index).int()),
            is_part: is_part(self.part.and_then(|index| cell(index).int())),
            labels: written(&labels.collect::<Vec<_>>()),
            values: values.collect(),
        }
    }

    /// The fields that are read, by their indexes.
    pub(crate) fn fields(&self) -> Vec<usize> {
        let places = [self.device, self.site, self.part];
        let places = places.into_iter().flatten();
        let labels = self.labels.iter().map(|(index, _)| *index);
        let measures = self.measures.iter().enumerate();
        let measures = measures.filter(|(measure, _)| self.reads(*measure));
        let measures = measures.map(|(_, (index, _))| *index);
        places.chain(labels).chain(measures).collect()
    }

    fn reads(&self, measure: usize) -> bool {
        self.read.counts || self.read.slot(measure).is_some()
    }

    /// The column of a measure in the table.
    pub(crate) fn column_of(&self, measure: usize) -> Option<&'static str> {
        let (index, _) = self.measures.get(measure)?;
        let field = self.kind.spec().fields.get(*index)?;
        Some(field.column.name())
    }

    /// The columns that [`Shape::row`] reads, of the table as `t`.
    pub(crate) fn columns(&self) -> String {
        let spec = self.kind.spec();
        let named = self.fields().into_iter();
        let mut text = "t.occurred_at, t.provenance".to_owned();
        for field in named.filter_map(|index| spec.fields.get(index)) {
            text.push_str(", t.");
            text.push_str(field.column.name());
        }
        text
    }

    /// What a row of those columns says.
    pub(crate) fn row(&self, row: &QueryResult) -> Result<Reading, StoreError> {
        let spec = self.kind.spec();
        let mut next = 0..;
        let mut at = || next.next().unwrap_or_default();
        let (occurred_at, provenance) = (int(row, at())?, int(row, at())?);
        let (mut device, mut site, mut part) = (None, None, None);
        if self.device.is_some() {
            device = int(row, at())?;
        }
        if self.site.is_some() {
            site = int(row, at())?;
        }
        if self.part.is_some() {
            part = int(row, at())?;
        }
        let mut labels = Vec::with_capacity(self.labels.len());
        for (index, label) in &self.labels {
            labels.push(labelled(*label, &cell(row, at(), spec, *index)?));
        }
        let mut values = Vec::with_capacity(self.measures.len());
        for (measure, (index, ty)) in self.measures.iter().enumerate() {
            values.push(if self.reads(measure) {
                value(ty, &cell(row, at(), spec, *index)?)
            } else {
                None
            });
        }
        Ok(Reading {
            at: occurred_at.unwrap_or_default(),
            provenance: provenance.unwrap_or_default(),
            device: device.unwrap_or_default(),
            site,
            is_part: is_part(part),
            labels: written(&labels),
            values,
        })
    }
}

/// Whether this is the number of a part: one that has none, or 0, is whole.
fn is_part(number: Option<i64>) -> bool {
    number.is_some_and(|number| number != 0)
}

fn int(row: &QueryResult, index: usize) -> Result<Option<i64>, StoreError> {
    row.try_get_by_index(index).doing(READ)
}

const READ: &str = "read what goes into a rollup";

fn cell(row: &QueryResult, at: usize, spec: &Spec, index: usize) -> Result<Cell, StoreError> {
    use crate::kinds::Storage;
    let storage = spec.fields.get(index).map(|field| field.ty.storage());
    Ok(match storage {
        Some(Storage::Int) => int(row, at)?.into(),
        Some(Storage::Float) => {
            let number: Option<f64> = row.try_get_by_index(at).doing(READ)?;
            number.into()
        }
        Some(Storage::Text) => {
            let text: Option<String> = row.try_get_by_index(at).doing(READ)?;
            text.as_deref().into()
        }
        None => Cell::Null,
    })
}

fn value(ty: &Type, cell: &Cell) -> Option<Value> {
    match (ty, cell) {
        (Type::Money, Cell::Int(units)) => Some(Value::of_money(*units)),
        (_, Cell::Int(number)) => Some(Value::of_int(*number)),
        (_, Cell::Float(number)) => Some(Value::of_float(*number)),
        (_, Cell::Null | Cell::Text(_) | Cell::Json(_) | Cell::Reference(_)) => None,
    }
}

fn labelled(label: Label, cell: &Cell) -> Option<String> {
    match label {
        Label::Text => cell.text().map(shortened),
        Label::StatusClass => cell.int().map(|status| format!("{}xx", status / 100)),
        Label::Path => cell.text().map(|address| shortened(path_of(address))),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LABEL_CHARACTERS_MAX).collect()
}

/// The path of an address, whether it names a server or not.
fn path_of(address: &str) -> &str {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((_, rest)) => rest
            .find('/')
            .map_or("/", |at| rest.get(at..).unwrap_or("/")),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_path() {
        for (address, path) in [
            ("https://shop.example/sales?q=1#top", "/sales"),
            ("https://shop.example", "/"),
            ("/sales#top", "/sales"),
            ("", ""),
        ] {
            assert_eq!(path_of(address), path, "{address}");
        }
    }
}
