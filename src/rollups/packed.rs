//! A row of a rollup in few bytes: what one source said of one thing within one bucket.
//!
//! A rollup is read far more often than it is written, by one measure at a time, so each measure says how
//! long it is and is skipped unless it is asked for. Numbers are written as what they are above others that
//! stand there already. A quarter of an hour of a device with ten measures takes some 400 bytes.
//!
//! A reading may come in parts, each of which is an event. How many readings there were is not known of events
//! alone then: whoever asks has it counted how often each measure came, which is found in any row, so that what
//! is told is the same of whatever rows an answer is made, and in whatever order events came.

use super::bits::{Bytes, Malformed, push_signed, push_varint};
use super::cell::{At, Cell, Sums};
use super::shape::Reading;
use super::sketch::Room;
use super::value::Value;
use crate::kinds::Form;

/// The form that is written; one that is unknown is refused.
const VERSION: u8 = 1;
/// The same, in which it is said behind how many events there were how many of them were parts of readings.
const IN_PARTS: u8 = 2;

/// What was said within a bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    /// Events.
    pub(crate) events: u64,
    /// Those of them that were parts of readings, not whole ones.
    pub(crate) parts: u64,
    /// The first and the last of them: microseconds since 1970, UTC.
    pub(crate) span: Option<(i64, i64)>,
    /// Each measure, in the order of its kind.
    pub(crate) cells: Vec<Option<Cell>>,
    /// Of labels that are not told apart: the least of their ranks; 0, as of any label, where those are not known.
    pub(crate) rank: Option<u128>,
    /// How many events told of each measure, where that is counted: up to the last of which any did.
    told: Vec<u64>,
}

/// Which of a row is read: into one with cells for what is wanted, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// A bit for each measure.
    pub(crate) measures: u64,
    /// Whether how values are distributed is asked for.
    pub(crate) sketches: bool,
    /// Whether it is counted how many events told of each measure, of those too that are not asked for.
    pub(crate) counts: bool,
}

impl Wanted {
    /// All of it; how many events told of a measure is in it already.
    pub(crate) const ALL: Self = Self {
        measures: u64::MAX,
        sketches: true,
        counts: false,
    };

    fn has(self, measure: usize) -> bool {
        self.measures >> measure & 1 == 1
    }

    /// Which of the cells that are wanted that of a measure is.
    pub(crate) fn slot(self, measure: usize) -> Option<usize> {
        let before = (self.measures & ((1 << measure) - 1)).count_ones();
        self.has(measure).then(|| usize::try_from(before).ok())?
    }
}

impl Row {
    /// A row of so many measures, empty.
    pub(crate) fn new(measures: usize) -> Self {
        Self {
            events: 0,
            parts: 0,
            span: None,
            cells: vec![None; measures],
            rank: None,
            told: Vec::new(),
        }
    }

    /// How many readings there were at least, where it was counted how many events told of each measure: all events
    /// unless some of them were parts, else as many as came whole, or as told of the measure of which most did, since
    /// each measure stands in one part of a reading.
    pub(crate) fn readings(&self) -> u64 {
        if self.parts == 0 {
            return self.events;
        }
        let most = self.told.iter().copied().max().unwrap_or_default();
        most.max(self.events.saturating_sub(self.parts))
    }

    fn tell(&mut self, measure: usize, events: u64) {
        if self.told.len() <= measure {
            self.told.resize(measure + 1, 0);
        }
        if let Some(told) = self.told.get_mut(measure) {
            *told = told.saturating_add(events);
        }
    }

    /// Counts events that happened from one instant to another.
    pub(crate) fn count(&mut self, events: u64, (from, to): (i64, i64)) {
        self.events = self.events.saturating_add(events);
        self.span = Some(match self.span {
            Some((first, last)) => (first.min(from), last.max(to)),
            None => (from, to),
        });
    }

    /// Adds what an event says, as far as it is wanted.
    pub(crate) fn add(&mut self, forms: &[Form], reading: &Reading, wanted: Wanted) {
        self.count(1, (reading.at, reading.at));
        self.parts = self.parts.saturating_add(reading.is_part.into());
        for (measure, (value, form)) in reading.values.iter().zip(forms).enumerate() {
            if wanted.counts && value.is_some() {
                self.tell(measure, 1);
            }
            let held = wanted.slot(measure);
            let held = held.and_then(|slot| self.cells.get_mut(slot));
            let (Some(value), Some(held)) = (*value, held) else {
                continue;
            };
            let value = At {
                at: reading.at,
                value,
            };
            match held {
                Some(held) => held.add(*form, value),
                None => *held = Some(Cell::of(*form, value)),
            }
        }
    }

    /// Adds what another says.
    pub(crate) fn merge(&mut self, other: &Self) {
        if let Some(span) = other.span {
            self.count(other.events, span);
        }
        self.parts = self.parts.saturating_add(other.parts);
        for (measure, events) in other.told.iter().enumerate() {
            self.tell(measure, *events);
        }
        for (held, more) in self.cells.iter_mut().zip(&other.cells) {
            merge_into(held, more.as_ref());
        }
        self.rank = least(self.rank, other.rank);
    }

    /// Writes it, times as since the start of the bucket.
    pub(crate) fn pack(&self, forms: &[Form], start: i64) -> Vec<u8> {
        let is_whole = self.parts == 0;
        let mut bytes = vec![if is_whole { VERSION } else { IN_PARTS }];
        let span = self.span.unwrap_or((start, start));
        push_varint(&mut bytes, self.events.into());
        if !is_whole {
            push_varint(&mut bytes, self.parts.into());
        }
        push_span(&mut bytes, span, start);
        let present = self.cells.iter().enumerate();
        let present = present.filter(|(_, cell)| cell.is_some());
        let bits = present.fold(0_u128, |bits, (index, _)| bits | 1 << index);
        push_varint(&mut bytes, bits);
        for (cell, form) in self.cells.iter().zip(forms) {
            if let Some(cell) = cell {
                let mut packed = Vec::with_capacity(64);
                push_cell(&mut packed, (cell, *form), (self.events, span), start);
                push_varint(&mut bytes, u128::try_from(packed.len()).unwrap_or(0));
                bytes.append(&mut packed);
            }
        }
        if let Some(rank) = self.rank {
            push_varint(&mut bytes, rank);
        }
        bytes
    }

    /// Adds what was written, or a part of it.
    pub(crate) fn merge_packed(
        &mut self,
        bytes: &[u8],
        (forms, start): (&[Form], i64),
        wanted: Wanted,
        room: &mut Room,
    ) -> Result<(), Malformed> {
        let (begun, mut bytes) = begun(bytes, start)?;
        let (events, span) = begun.of_row;
        if events > 0 {
            self.count(events, span);
        }
        self.parts = self.parts.saturating_add(begun.parts);
        for (index, form) in forms.iter().copied().enumerate() {
            if begun.present >> index & 1 == 0 {
                continue;
            }
            let length = bytes.small()?;
            let of_cell = Bytes(bytes.take(length)?);
            if wanted.counts {
                self.tell(index, read_count(of_cell, events)?);
            }
            let held = wanted.slot(index).and_then(|slot| self.cells.get_mut(slot));
            let Some(held) = held else {
                continue;
            };
            let (mut cell, rest) = read_cell(of_cell, form, (events, span), start)?;
            if form == Form::Gauge && wanted.sketches {
                match held {
                    // added where it is, rather than made to be added
                    Some(held) => held.sketch.merge_packed(rest, room)?,
                    None => cell.sketch.merge_packed(rest, room)?,
                }
            }
            match held {
                Some(held) => held.merge_plain(&cell),
                None => *held = Some(cell),
            }
        }
        self.rank = least(self.rank, read_rank(bytes)?);
        Ok(())
    }
}

fn least(left: Option<u128>, right: Option<u128>) -> Option<u128> {
    left.into_iter().chain(right).min()
}

/// What stands behind all measures, if anything does.
fn read_rank(mut bytes: Bytes<'_>) -> Result<Option<u128>, Malformed> {
    if bytes.0.is_empty() {
        return Ok(None);
    }
    bytes.varint().map(Some)
}

/// The least rank of the labels that are not told apart in a row that was written.
pub(crate) fn rank(bytes: &[u8]) -> Result<Option<u128>, Malformed> {
    let (begun, mut bytes) = begun(bytes, 0)?;
    for _ in 0..begun.present.count_ones() {
        let length = bytes.small()?;
        bytes.take(length)?;
    }
    read_rank(bytes)
}

/// From when until when there were events in a row that was written.
pub(crate) fn span(bytes: &[u8], start: i64) -> Result<(i64, i64), Malformed> {
    begun(bytes, start).map(|(begun, _)| begun.of_row.1)
}

/// What stands before the measures.
struct Begun {
    /// How many events there were, and when.
    of_row: Span,
    /// How many of them were parts of readings.
    parts: u64,
    /// A bit for each measure that there is.
    present: u64,
}

/// What stands before the measures, and the rest.
fn begun(bytes: &[u8], start: i64) -> Result<(Begun, Bytes<'_>), Malformed> {
    let mut bytes = Bytes(bytes);
    let version = bytes.byte()?;
    if version != VERSION && version != IN_PARTS {
        return Err(Malformed);
    }
    let events = bytes.small()?;
    let parts = if version == IN_PARTS {
        bytes.small()?
    } else {
        0
    };
    let begun = Begun {
        of_row: (events, read_span(&mut bytes, start)?),
        parts,
        present: bytes.small()?,
    };
    Ok((begun, bytes))
}

/// Adds a cell to what is there.
pub(crate) fn merge_into(held: &mut Option<Cell>, more: Option<&Cell>) {
    match (held.as_mut(), more) {
        (Some(held), Some(more)) => held.merge(more),
        (None, Some(more)) => *held = Some(more.clone()),
        (_, None) => {}
    }
}

/// Instants that are whole milliseconds take fewer bytes.
fn push_time(bytes: &mut Vec<u8>, since: i64) {
    let written = if since % 1_000 == 0 {
        i128::from(since / 1_000) << 1
    } else {
        i128::from(since) << 1 | 1
    };
    push_varint(bytes, written.cast_unsigned());
}

fn read_time(bytes: &mut Bytes<'_>) -> Result<i64, Malformed> {
    let written: i64 = bytes.small()?;
    let unit = if written & 1 == 0 { 1_000 } else { 1 };
    (written >> 1).checked_mul(unit).ok_or(Malformed)
}

fn push_span(bytes: &mut Vec<u8>, (first, last): (i64, i64), start: i64) {
    push_time(bytes, (first - start).max(0));
    push_time(bytes, (last - first).max(0));
}

fn read_span(bytes: &mut Bytes<'_>, start: i64) -> Result<(i64, i64), Malformed> {
    let first = start.checked_add(read_time(bytes)?).ok_or(Malformed)?;
    let last = first.checked_add(read_time(bytes)?).ok_or(Malformed)?;
    Ok((first, last))
}

/// It has a count and times of its own, not those of the row.
const OWN_SPAN: u8 = 1;
/// Its least, greatest, first and last values are decimals.
const DECIMAL: u8 = 2;
/// Some of its values are decimals.
const DECIMALS: u8 = 4;
/// Some of its values are not.
const BINARIES: u8 = 8;
/// The power of ten by which all its decimals are divided, above the other flags.
const SCALE_SHIFT: u8 = 4;

type Span = (u64, (i64, i64));

fn push_cell(bytes: &mut Vec<u8>, (cell, form): (&Cell, Form), of_row: Span, start: i64) {
    let span = (cell.count, (cell.first.at, cell.last.at));
    let values = [cell.least, cell.greatest, cell.first.value, cell.last.value];
    let decimals = values.map(|value| match value {
        Value::Decimal(units) => Some(i128::from(units)),
        Value::Binary(_) => None,
    });
    let power = power_of(cell, &decimals);
    let scale = 10_i128.pow(power.into());
    let mut flags = power << SCALE_SHIFT;
    let mut flag = |is_set: bool, flag: u8| flags |= if is_set { flag } else { 0 };
    flag(span != of_row, OWN_SPAN);
    flag(decimals.iter().all(Option::is_some), DECIMAL);
    flag(cell.decimals != Sums::default(), DECIMALS);
    flag(cell.binaries != Sums::default(), BINARIES);
    bytes.push(flags);
    if span != of_row {
        push_varint(bytes, cell.count.into());
        push_span(bytes, span.1, start);
    }
    push_values(bytes, values, decimals, scale);
    let unscaled = (flags & DECIMALS != 0).then_some((cell.decimals, scale));
    let binaries = (flags & BINARIES != 0).then_some((cell.binaries, 1));
    for (sums, scale) in [unscaled, binaries].into_iter().flatten() {
        push_signed(bytes, sums.sum / scale);
        if form == Form::Gauge {
            push_signed(bytes, sums.squares / (scale * scale));
        }
    }
    match form {
        Form::Gauge => cell.sketch.push(bytes),
        Form::Counter => push_signed(bytes, cell.increase / scale),
    }
}

/// The greatest power of ten, up to four, that divides all decimals of a cell, and its square their squares.
fn power_of(cell: &Cell, decimals: &[Option<i128>; 4]) -> u8 {
    let divides = |power: &u8| {
        let scale = 10_i128.pow((*power).into());
        let mut units = decimals.iter().flatten();
        units.all(|units| units % scale == 0)
            && cell.decimals.sum % scale == 0
            && cell.decimals.squares % (scale * scale) == 0
            && cell.increase % scale == 0
    };
    (1..=4).rev().find(divides).unwrap_or(0)
}

fn push_values(bytes: &mut Vec<u8>, values: [Value; 4], decimals: [Option<i128>; 4], scale: i128) {
    if let [Some(least), Some(greatest), Some(first), Some(last)] = decimals {
        push_signed(bytes, least / scale);
        for units in [greatest, first, last] {
            push_varint(bytes, ((units - least) / scale).cast_unsigned());
        }
        return;
    }
    for (value, units) in values.into_iter().zip(decimals) {
        bytes.push(u8::from(units.is_some()));
        match units {
            Some(units) => push_signed(bytes, units / scale),
            None => bytes.extend(value.number().to_le_bytes()),
        }
    }
}

/// How many events told of a measure, of so many of its row.
fn read_count(mut bytes: Bytes<'_>, events: u64) -> Result<u64, Malformed> {
    if bytes.byte()? & OWN_SPAN == 0 {
        return Ok(events);
    }
    bytes.small()
}

/// A cell, and where it says how its values are distributed.
fn read_cell(
    mut bytes: Bytes<'_>,
    form: Form,
    of_row: Span,
    start: i64,
) -> Result<(Cell, Bytes<'_>), Malformed> {
    let flags = bytes.byte()?;
    let scale = 10_i128.pow((flags >> SCALE_SHIFT).into());
    let (mut count, mut span) = of_row;
    if flags & OWN_SPAN != 0 {
        count = bytes.small()?;
        span = read_span(&mut bytes, start)?;
    }
    let [least, greatest, first, last] = read_values(&mut bytes, flags, scale)?;
    let mut sums = [Sums::default(); 2];
    for (held, (flag, scale)) in sums.iter_mut().zip([(DECIMALS, scale), (BINARIES, 1)]) {
        if flags & flag != 0 {
            held.sum = times(bytes.signed()?, scale)?;
            if form == Form::Gauge {
                held.squares = times(bytes.signed()?, scale * scale)?;
            }
        }
    }
    let increase = match form {
        Form::Gauge => 0,
        Form::Counter => times(bytes.signed()?, scale)?,
    };
    let at = |at, value| At { at, value };
    let [decimals, binaries] = sums;
    let cell = Cell {
        count,
        decimals,
        binaries,
        least,
        greatest,
        first: at(span.0, first),
        last: at(span.1, last),
        increase,
        sketch: super::sketch::Sketch::default(),
    };
    Ok((cell, bytes))
}

fn times(number: i128, scale: i128) -> Result<i128, Malformed> {
    number.checked_mul(scale).ok_or(Malformed)
}

fn read_values(bytes: &mut Bytes<'_>, flags: u8, scale: i128) -> Result<[Value; 4], Malformed> {
    let decimal = |units: i128| {
        let units = i64::try_from(times(units, scale)?).map_err(|_| Malformed)?;
        Ok(Value::Decimal(units))
    };
    let mut values = [Value::Decimal(0); 4];
    if flags & DECIMAL == 0 {
        for value in &mut values {
            *value = match bytes.byte()? {
                0 => Value::Binary(bytes.float()?),
                _ => decimal(bytes.signed()?)?,
            };
        }
        return Ok(values);
    }
    let least = bytes.signed()?;
    let [lowest, above @ ..] = &mut values;
    *lowest = decimal(least)?;
    for value in above {
        let more = i128::try_from(bytes.varint()?).map_err(|_| Malformed)?;
        *value = decimal(least.checked_add(more).ok_or(Malformed)?)?;
    }
    Ok(values)
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
