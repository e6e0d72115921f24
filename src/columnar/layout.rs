//! Which columns a file of a kind has: those of its table, in the same order.

use std::borrow::Cow;

use crate::event::{Cell, Event, Instant, Money};
use crate::kinds::{Kind, Storage, Type};

/// For whom a file is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For this program: as the tables have it, sites and devices by their keys.
    Archive,
    /// For others: sites and devices by their ids, words for codes.
    Export,
}

/// What a column is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Position,
    EventId,
    OccurredAt,
    RecordedAt,
    Provenance,
    Field(usize),
    Extra,
}

/// How a column lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    Int,
    Instant,
    /// Units of 10⁻⁴.
    Decimal,
    Bool,
    Float,
    Text,
    Json,
    Id,
}

/// A column of a file.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name: that of the column of the table, or of what it shows instead of a key.
    pub name: String,
    pub(super) source: Source,
    pub(super) lies: Lies,
    /// Whether every event has it.
    pub(super) required: bool,
}

/// The columns of the files of a kind.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The kind.
    pub kind: Kind,
    /// For whom.
    pub form: Form,
    /// The columns.
    pub slots: Vec<Slot>,
}

impl Layout {
    /// Index of the position of an event.
    pub const POSITION: usize = 0;
    /// Index of its id.
    pub const EVENT_ID: usize = 1;
    /// Index of when it happened.
    pub const OCCURRED_AT: usize = 2;
    /// Index of when it was appended.
    pub const RECORDED_AT: usize = 3;
    /// Index of where it comes from.
    pub const PROVENANCE: usize = 4;
    /// Index of the first field of the kind.
    pub const FIELDS: usize = 5;

    /// The columns of files of a kind.
    #[must_use]
    pub fn of(kind: Kind, form: Form) -> Self {
        let required = |name: &str, source, lies| Slot {
            name: name.to_owned(),
            source,
            lies,
            required: true,
        };
        let provenance = if form == Form::Archive {
            Lies::Int
        } else {
            Lies::Text
        };
        let mut slots = vec![
            required("position", Source::Position, Lies::Int),
            Slot {
                required: false,
                ..required("event_id", Source::EventId, Lies::Id)
            },
            required("occurred_at", Source::OccurredAt, Lies::Instant),
            required("recorded_at", Source::RecordedAt, Lies::Instant),
            required("provenance", Source::Provenance, provenance),
        ];
        for (index, field) in kind.spec().fields.iter().enumerate() {
            let column = field.column.name();
            let shows_id = form == Form::Export && field.ty.is_reference();
            let name = match column.strip_suffix("_key") {
                Some(of) if shows_id => format!("{of}_id"),
                _ => column.to_owned(),
            };
            slots.push(Slot {
                name,
                source: Source::Field(index),
                lies: if shows_id { Lies::Text } else { lies(field.ty) },
                required: false,
            });
        }
        slots.push(Slot {
            required: false,
            ..required("extra", Source::Extra, Lies::Json)
        });
        Self { kind, form, slots }
    }

    /// Index of what else a source said.
    #[must_use]
    pub fn extra(&self) -> usize {
        self.slots.len() - 1
    }

    /// Index of the device that an event names, where it is kept by its key.
    #[must_use]
    pub fn device(&self) -> Option<usize> {
        let index = self.kind.spec().device_index()?;
        (self.form == Form::Archive).then_some(Self::FIELDS + index)
    }

    /// Index of which part of a reading an event is.
    #[must_use]
    pub fn part(&self) -> Option<usize> {
        let index = self.kind.spec().part_index()?;
        Some(Self::FIELDS + index)
    }
}

fn lies(ty: Type) -> Lies {
    match ty.storage() {
        Storage::Int if matches!(ty, Type::Money) => Lies::Decimal,
        Storage::Int if matches!(ty, Type::Bool) => Lies::Bool,
        Storage::Int => Lies::Int,
        Storage::Float => Lies::Float,
        Storage::Text if ty.is_json() => Lies::Json,
        Storage::Text => Lies::Text,
    }
}

impl Slot {
    /// Whether it holds texts, as they were given or as words.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.lies == Lies::Text
    }

    /// What an event has in it, for people; empty if it is absent.
    #[must_use]
    pub fn text<'e>(&self, event: &'e Event) -> Cow<'e, str> {
        match self.of(event) {
            Held::Nothing => Cow::Borrowed(""),
            Held::Int(units) => Cow::Owned(match self.lies {
                Lies::Instant => Instant(units).to_string(),
                Lies::Decimal => Money(units).to_string(),
                Lies::Bool => (units != 0).to_string(),
                Lies::Int | Lies::Float | Lies::Text | Lies::Json | Lies::Id => units.to_string(),
            }),
            Held::Float(number) => Cow::Owned(number.to_string()),
            Held::Text(text) => Cow::Borrowed(text),
            Held::Json(json) => Cow::Owned(json.to_string()),
            Held::Id(id) => Cow::Owned(id.to_string()),
        }
    }

    /// What an event has in it.
    pub(super) fn of<'e>(&self, event: &'e Event) -> Held<'e> {
        let fact = &event.fact;
        match self.source {
            Source::Position => Held::Int(event.position.0),
            Source::EventId => fact.event_id.map_or(Held::Nothing, Held::Id),
            Source::OccurredAt => Held::Int(fact.occurred_at.0),
            Source::RecordedAt => Held::Int(event.recorded_at.0),
            Source::Provenance if self.lies == Lies::Text => Held::Text(fact.provenance.word()),
            Source::Provenance => Held::Int(fact.provenance.code()),
            Source::Field(index) => fact
                .cells
                .get(index)
                .map_or(Held::Nothing, |c| self.held(c)),
            Source::Extra => self.held(&fact.extra),
        }
    }

    fn held<'e>(&self, cell: &'e Cell) -> Held<'e> {
        match cell {
            Cell::Null => Held::Nothing,
            Cell::Int(number) => Held::Int(*number),
            Cell::Float(number) => Held::Float(*number),
            Cell::Text(text) => Held::Text(text),
            Cell::Json(json) => Held::Json(json),
            Cell::Reference(reference) if self.lies == Lies::Text => Held::Text(&reference.id),
            Cell::Reference(reference) => Held::Int(reference.key),
        }
    }
}

/// What an event has in a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held<'e> {
    Nothing,
    Int(i64),
    Float(f64),
    Text(&'e str),
    Json(&'e serde_json::Value),
    Id(uuid::Uuid),
}
