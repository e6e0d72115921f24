//! What an event is, apart from its kind: when, where from, under which key, at which position.
//!
//! An event is one immutable fact. It enters as a [`NewEvent`], gets its place in the log, and is an
//! [`Event`] from then on. Nothing here reads a clock, a database or a request.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use num_traits::AsPrimitive;
use serde_json::Value as Json;
use uuid::{Builder, Uuid, Version};

use crate::kinds::{Kind, Refusal, Spec};

/// Place of an event in the log: 1, 2, 3 … without a hole. 0 is before the first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub i64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of an event that this server gives by itself, always the same for a name: of version 8, which nobody
/// else gives who gives no commands, so that nobody has recorded something else under it beforehand.
pub(crate) fn own_id(namespace: &Uuid, name: &[u8]) -> Uuid {
    let id = Uuid::new_v5(namespace, name).into_bytes();
    let id = Builder::from_bytes(id).with_version(Version::Custom);
    id.into_uuid()
}

/// Whether an id is one that this server gives by itself.
pub(crate) fn is_own_id(id: Uuid) -> bool {
    id.get_version_num() == 8
}

/// An instant: microseconds since 1970-01-01T00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub i64);

impl Instant {
    /// 2000-01-01T00:00Z: nothing older is taken, so that a wrong clock is noticed.
    pub const OLDEST: Self = Self(946_684_800_000_000);
    /// 9999-12-31T23:59:59.999999Z.
    pub const NEWEST: Self = Self(253_402_300_799_999_999);

    /// 0000-01-01T00:00Z.
    pub const FIRST: Self = Self(-62_167_219_200_000_000);

    /// The instant of a date and time; below a microsecond it is cut.
    #[must_use]
    pub fn of(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }

    /// The date and time in UTC.
    #[must_use]
    pub fn date_time(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// Whether RFC 3339 tells it in UTC: it has the years 0 to 9999.
    #[must_use]
    pub fn is_told(self) -> bool {
        (Self::FIRST..=Self::NEWEST).contains(&self)
    }

    /// Reads RFC 3339; `None` when it is not that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self(time.timestamp_micros()))
    }

    /// This instant moved by a number of milliseconds, which may be negative.
    #[must_use]
    pub const fn plus_ms(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds.saturating_mul(1_000)))
    }
}

impl serde::Serialize for Instant {
    /// As RFC 3339 for people, as a number for machines.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> serde::Deserialize<'de> for Instant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("not an RFC 3339 time");
        Self::parse(&text).ok_or_else(wrong)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            &self
                .date_time()
                .to_rfc3339_opts(SecondsFormat::AutoSi, true),
        )
    }
}

/// An amount of money in units of 10⁻⁴: never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub i64);

impl Money {
    const UNITS: u64 = 10_000;

    /// Reads a decimal with at most four places, such as `-12.5`; `None` when it is not that or does
    /// not fit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(whole) || !plain(fraction) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 4 {
            return None;
        }
        let fraction: i64 = format!("{fraction:0<4}").parse().ok()?;
        let units = whole
            .parse::<i64>()
            .ok()?
            .checked_mul(10_000)?
            .checked_add(fraction)?;
        Some(Self(if negative { -units } else { units }))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (units / Self::UNITS, units % Self::UNITS);
        let places = format!("{fraction:04}");
        match places.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            places => write!(f, "{sign}{whole}.{places}"),
        }
    }
}

/// Where a fact comes from. Classes are never mixed in an answer unless that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provenance {
    /// Seen in the real world.
    #[default]
    Real,
    /// Made by an emulator under control.
    Controlled,
    /// Made up by a simulator.
    Simulated,
}

impl Provenance {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Real, Self::Controlled, Self::Simulated];

    /// The word of the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Real => "REAL",
            Self::Controlled => "CONTROLLED",
            Self::Simulated => "SIMULATED",
        }
    }

    /// The number in the tables.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Real => 0,
            Self::Controlled => 1,
            Self::Simulated => 2,
        }
    }

    /// The provenance of a number in the tables.
    #[must_use]
    pub fn of_code(code: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|provenance| provenance.code() == code)
    }

    /// The provenance of a word of the wire.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|provenance| provenance.word() == word)
    }
}

/// The site or device that an event speaks of: the id that people use, and the key of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Key in the tables; 0 until the log has looked it up.
    pub key: i64,
    /// Id that its operator gave it.
    pub id: Arc<str>,
}

/// The value of one field of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell {
    /// Absent.
    #[default]
    Null,
    /// A whole number, a truth (0 or 1), or money in units of 10⁻⁴.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text, a word of a set, a date, a time of day.
    Text(Arc<str>),
    /// JSON.
    Json(Arc<Json>),
    /// A site or a device.
    Reference(Reference),
}

impl Cell {
    /// Whether the field is absent.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, or the id of what is referred to.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Reference(reference) => Some(&reference.id),
            Self::Null | Self::Int(_) | Self::Float(_) | Self::Json(_) => None,
        }
    }

    /// The whole number, or the key of what is referred to.
    #[must_use]
    pub const fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Reference(reference) => Some(reference.key),
            Self::Null | Self::Text(_) | Self::Float(_) | Self::Json(_) => None,
        }
    }

    /// The number, as near as a float is.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(number.as_()),
            Self::Float(number) => Some(*number),
            Self::Null | Self::Text(_) | Self::Json(_) | Self::Reference(_) => None,
        }
    }

    /// A reference that is yet to be looked up.
    #[must_use]
    pub fn reference(id: &str) -> Self {
        Self::Reference(Reference {
            key: 0,
            id: Arc::from(id),
        })
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(Arc::from(text))
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<Json> for Cell {
    fn from(json: Json) -> Self {
        Self::Json(Arc::new(json))
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// What an event says, without its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Its kind.
    pub kind: Kind,
    /// The key under which a repeat is known; absent for kinds with a natural key.
    pub event_id: Option<Uuid>,
    /// When it happened, at its source.
    pub occurred_at: Instant,
    /// Where it comes from.
    pub provenance: Provenance,
    /// The values of the kind's fields, in the order of [`Spec::fields`].
    pub cells: Box<[Cell]>,
    /// What else the source said.
    pub extra: Cell,
}

impl Fact {
    /// What the kind says of itself.
    #[must_use]
    pub fn spec(&self) -> &'static Spec {
        self.kind.spec()
    }

    /// The value of a column; absent when the kind has no such column.
    #[must_use]
    pub fn cell(&self, column: impl entity::ColumnName + Copy) -> &Cell {
        const ABSENT: &Cell = &Cell::Null;
        self.spec()
            .index_of_column(column.name())
            .map_or(ABSENT, |index| self.cells.get(index).unwrap_or(ABSENT))
    }

    /// Bytes that an event with this takes in memory, rather more than fewer: what the limits of
    /// queues, batches and pages count.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let heavy = self.cells.iter().chain([&self.extra]);
        let heavy = heavy.map(|cell| match cell {
            Cell::Text(text) => ALLOCATION_BYTES + text.len(),
            Cell::Json(json) => ALLOCATION_BYTES + json_bytes(json),
            // shared with the registry once it is looked up
            Cell::Reference(reference) => ALLOCATION_BYTES + reference.id.len(),
            Cell::Null | Cell::Int(_) | Cell::Float(_) => 0,
        });
        let cells = size_of::<Cell>() * self.cells.len();
        2 * ALLOCATION_BYTES + size_of::<Event>() + cells + heavy.sum::<usize>()
    }
}

/// What an allocation takes beside what is asked for: its header, the counts of what is shared, and
/// what it is rounded up by.
const ALLOCATION_BYTES: usize = 32;

/// Bytes that a JSON value takes in memory, rather more than fewer.
pub(crate) fn json_bytes(json: &Json) -> usize {
    size_of::<Json>() + allocated_bytes(json)
}

/// What a JSON value has allocated. A list has room for 4 values or the next power of two. A map has
/// its entries in a list (hash, name, value) and their places in a table of a power of two that is
/// filled to seven eighths.
fn allocated_bytes(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
        Json::String(text) => ALLOCATION_BYTES + text.len(),
        Json::Array(items) if items.is_empty() => 0,
        Json::Array(items) => {
            let inner: usize = items.iter().map(allocated_bytes).sum();
            ALLOCATION_BYTES + size_of::<Json>() * items.capacity() + inner
        }
        Json::Object(entries) if entries.is_empty() => 0,
        Json::Object(entries) => {
            let places = (entries.len() * 8 / 7 + 1).next_power_of_two().max(4);
            let entry = size_of::<(u64, String, Json)>() + size_of::<usize>() + 1;
            let inner = entries
                .iter()
                .map(|(name, value)| ALLOCATION_BYTES + name.len() + allocated_bytes(value));
            2 * ALLOCATION_BYTES + places * entry + inner.sum::<usize>()
        }
    }
}

/// A checked event that waits to be appended.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What it says.
    pub fact: Fact,
    /// Whether the source said when it happened. If not, the instant was stamped here, and a repeat
    /// that bears another one is a repeat all the same.
    pub occurred_at_given: bool,
    /// Why it is refused unless the log has it already: a repeat is answered as it was when it was recorded.
    pub refused_if_new: Option<Box<Refusal>>,
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place.
    pub position: Position,
    /// When it was appended: never before that of the event before it.
    pub recorded_at: Instant,
    /// What it says.
    pub fact: Fact,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_every_place() {
        for text in ["0", "12.5", "-0.0001", "900719925474099.1234"] {
            assert_eq!(
                Money::parse(text).map(|money| money.to_string()).as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn money_is_refused_when_it_would_be_rounded() {
        for text in [
            "",
            ".",
            "1.",
            "1.00001",
            "1e3",
            "--1",
            "+1",
            "922337203685478",
        ] {
            assert_eq!(Money::parse(text), None, "{text}");
        }
        assert_eq!(Money::parse("1.00000"), Some(Money(10_000)));
    }

    /// What was measured with an allocator that counts, in chunks of the C library.
    #[test]
    fn json_weighs_at_least_what_it_takes_and_not_much_more() {
        let list = |item: &str, times: usize| format!("[{}]", vec![item; times].join(","));
        let names: Vec<String> = (0..1_000).map(|name| format!("\"{name}\":1")).collect();
        for (text, measured) in [
            ("[]".to_owned(), 0),
            ("[1]".to_owned(), 304),
            (list("1", 1_000), 73_744),
            (list("1", 40_000), 4_718_608),
            (list("[1]", 1_000), 377_744),
            (list("{\"a\":1}", 1_000), 489_744),
            (list("\"a\"", 1_000), 105_744),
            (format!("{{{}}}", names.join(",")), 236_848),
        ] {
            let weight = allocated_bytes(&serde_json::from_str(&text).unwrap());
            assert!(weight >= measured, "{weight} {measured}");
            assert!(weight <= measured * 4 / 3, "{weight} {measured}");
        }
    }

    #[test]
    fn instants_keep_microseconds() {
        let text = "2026-11-23T20:01:56.123456Z";
        assert_eq!(
            Instant::parse(text).map(|at| at.to_string()).as_deref(),
            Some(text)
        );
    }
}
