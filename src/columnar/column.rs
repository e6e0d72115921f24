//! A column in memory: a value for each row, and whether the row has one.

use uuid::Uuid;

use super::layout::{Held, Lies};

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Whether a row has a value.
    pub present: Vec<bool>,
    /// A value for each row; of a row that has none, whatever is least.
    pub values: Values,
}

/// Values of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Whole numbers, truths, instants, keys.
    Int(Vec<i64>),
    /// Numbers.
    Float(Vec<f64>),
    /// Texts, also those of JSON.
    Text(Texts),
    /// Ids of events.
    Id(Vec<Uuid>),
}

/// Texts, one behind the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    /// The bytes of a text.
    #[must_use]
    pub fn bytes(&self, row: usize) -> &[u8] {
        let begin = row.checked_sub(1).and_then(|before| self.ends.get(before));
        let (begin, end) = (begin.copied().unwrap_or(0), self.ends.get(row).copied());
        self.bytes.get(begin..end.unwrap_or(begin)).unwrap_or(&[])
    }

    /// A text.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        std::str::from_utf8(self.bytes(row)).ok()
    }
}

impl Column {
    /// An empty one.
    pub(super) fn new(lies: Lies) -> Self {
        let values = match lies {
            Lies::Int | Lies::Instant | Lies::Decimal | Lies::Bool => Values::Int(Vec::new()),
            Lies::Float => Values::Float(Vec::new()),
            Lies::Text | Lies::Json => Values::Text(Texts::default()),
            Lies::Id => Values::Id(Vec::new()),
        };
        let present = Vec::new();
        Self { present, values }
    }

    /// One without a value in any row.
    pub(super) fn absent(lies: Lies, rows: usize) -> Self {
        let mut column = Self::new(lies);
        for _ in 0..rows {
            column.push(Held::Nothing);
        }
        column
    }

    /// Adds a row. What is not of the type of the column counts as absent.
    pub(super) fn push(&mut self, held: Held<'_>) {
        let present = match (&mut self.values, held) {
            (Values::Int(values), Held::Int(value)) => push(values, value),
            (Values::Float(values), Held::Float(value)) => push(values, value),
            (Values::Id(values), Held::Id(value)) => push(values, value),
            (Values::Text(texts), Held::Text(text)) => {
                texts.push(text.as_bytes());
                true
            }
            (Values::Text(texts), Held::Json(json)) => {
                texts.push(json.to_string().as_bytes());
                true
            }
            (values, _) => {
                values.push_nothing();
                false
            }
        };
        self.present.push(present);
    }

    /// The whole number of a row.
    #[must_use]
    pub fn int(&self, row: usize) -> Option<i64> {
        match &self.values {
            Values::Int(values) if self.has(row) => values.get(row).copied(),
            Values::Int(_) | Values::Float(_) | Values::Text(_) | Values::Id(_) => None,
        }
    }

    /// The text of a row.
    #[must_use]
    pub fn text(&self, row: usize) -> Option<&str> {
        match &self.values {
            Values::Text(texts) if self.has(row) => texts.get(row),
            Values::Int(_) | Values::Float(_) | Values::Text(_) | Values::Id(_) => None,
        }
    }

    /// The id of a row.
    #[must_use]
    pub fn id(&self, row: usize) -> Option<Uuid> {
        match &self.values {
            Values::Id(values) if self.has(row) => values.get(row).copied(),
            Values::Int(_) | Values::Float(_) | Values::Text(_) | Values::Id(_) => None,
        }
    }

    /// Whether a row has a value.
    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        self.present.get(row).copied().unwrap_or(false)
    }

    /// Bytes that it takes in memory.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let values = match &self.values {
            Values::Int(values) => size_of_val(&**values),
            Values::Float(values) => size_of_val(&**values),
            Values::Text(texts) => texts.bytes.len() + size_of_val(&*texts.ends),
            Values::Id(values) => size_of_val(&**values),
        };
        values + self.present.len()
    }
}

impl Values {
    fn push_nothing(&mut self) {
        match self {
            Self::Int(values) => values.push(0),
            Self::Float(values) => values.push(0.0),
            Self::Text(texts) => texts.push(&[]),
            Self::Id(values) => values.push(Uuid::nil()),
        }
    }
}

fn push<T>(values: &mut Vec<T>, value: T) -> bool {
    values.push(value);
    true
}
