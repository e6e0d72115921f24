//! Heat maps: what each hour of the week comes to, on the clock of a zone.
//!
//! An hour is one that the clock shows, so that a day on which it is put back has one of them twice, which counts
//! as two, and a day on which it is put forward lacks one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Datelike, Offset, Timelike};
use chrono_tz::Tz;
use num_traits::AsPrimitive;

use super::ask::{AskError, zone_of};
use super::read::{QUARTER, read};
use super::series::{Aggregate, Bucket, What, merged, usual_rank};
use super::subject::Subject;
use crate::event::{Instant, Position};
use crate::rollups::packed::Row;
use crate::store::{Allowance, Store};

/// Hours of a week.
pub const CELLS: usize = 168;
/// Hours at most of a range: more than five years.
pub const HOURS_MAX: usize = 50_000;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// A heat map that is asked for.
#[derive(Clone, Debug)]
pub struct Week {
    /// What is measured, of one measure, and of what.
    pub subject: Subject,
    /// From an instant until just before another.
    pub range: (Instant, Instant),
    /// On whose clock; left out, that of the sites if they have one, else UTC.
    pub zone: Option<Tz>,
    /// By what; left out, by what suits the measure.
    pub aggregate: Option<Aggregate>,
}

/// Heat maps of a measure: one, and of money one for each currency.
#[derive(Debug)]
pub(crate) struct Weeks {
    /// All events up to this position are in it.
    pub(crate) position: Position,
    /// The numbers of the provenances that are in it.
    pub(crate) provenances: BTreeSet<i64>,
    pub(crate) zone: Tz,
    pub(crate) aggregate: Aggregate,
    pub(crate) maps: Vec<HeatMap>,
}

/// A heat map.
#[derive(Debug)]
pub(crate) struct HeatMap {
    pub(crate) currency: String,
    /// From Monday 00:00 on.
    pub(crate) cells: Vec<HourOfWeek>,
    pub(crate) total: Bucket,
}

/// All of an hour of the week.
#[derive(Debug)]
pub(crate) struct HourOfWeek {
    pub(crate) bucket: Bucket,
    /// How many such hours the range has, as far as it is past.
    pub(crate) hours: f64,
}

/// Answers what is asked.
pub(crate) async fn weeks(
    store: &Store,
    asked: &Week,
    allowance: &Allowance,
) -> Result<Weeks, AskError> {
    let (subject, range) = (&asked.subject, (asked.range.0.0, asked.range.1.0));
    if range.0 >= range.1 {
        return Err(AskError::Reversed);
    }
    let measure = subject.measures.first().copied().flatten();
    if let Some(aggregate) = asked.aggregate {
        subject.makes_sense(measure, aggregate)?;
    }
    let zone = match asked.zone {
        Some(zone) => zone,
        None => zone_of(store, &subject.scope).await?,
    };
    let too_many = AskError::Hours {
        hours: (range.1 - range.0 - 1) / HOUR + 1,
        max: HOURS_MAX,
    };
    let hours = hours(zone, range).ok_or(too_many)?;
    let ends = hours.iter().map(|(start, _)| *start).chain([range.1]);
    let mut question = subject.question(store, range, ends.collect()).await?;
    question.buckets_max = question.buckets_max.max(2 * HOURS_MAX);
    let read = read(store, &question, allowance).await?;
    let what = question.what(measure);
    let times = times(&hours, range.1.min(question.now));
    let mut maps: BTreeMap<String, HeatMap> = BTreeMap::new();
    let map = |rows: &[Option<Arc<Row>>]| heat_map((what, range), &hours, (rows, &times));
    for ((_, key), rows) in &read.groups.rows {
        if rows.iter().flatten().any(|row| what.is_said(row)) {
            maps.insert(key.currency.clone(), map(rows));
        }
    }
    if maps.is_empty() {
        maps.insert(String::new(), map(&[]));
    }
    let named = |(currency, map)| HeatMap { currency, ..map };
    Ok(Weeks {
        position: read.position,
        provenances: read.provenances,
        zone,
        aggregate: asked.aggregate.unwrap_or_else(|| usual_rank(what)),
        maps: maps.into_iter().map(named).collect(),
    })
}

/// An hour of the range as the clock shows it: when it begins, and its place in the week.
type Hour = (i64, usize);

fn heat_map(
    (what, range): (What, (i64, i64)),
    hours: &[Hour],
    (rows, times): (&[Option<Arc<Row>>], &[i64]),
) -> HeatMap {
    let mut cells: Vec<Option<Row>> = vec![None; CELLS];
    for ((_, cell), row) in hours.iter().zip(rows) {
        match (cells.get_mut(*cell), row) {
            (Some(Some(held)), Some(row)) => held.merge(row),
            (Some(held), Some(row)) => *held = Some(Row::clone(row)),
            _ => {}
        }
    }
    let whole = merged(cells.iter().flatten());
    let hour: f64 = HOUR.as_();
    let cell = |(row, micros): (&Option<Row>, &i64)| {
        let time: f64 = micros.as_();
        HourOfWeek {
            bucket: Bucket::of_row(range, what, (row.as_ref(), *micros)),
            hours: time / hour,
        }
    };
    HeatMap {
        currency: String::new(),
        cells: cells.iter().zip(times).map(cell).collect(),
        total: Bucket::of_row(range, what, (whole.as_ref(), times.iter().sum())),
    }
}

/// How much of the range lies in each hour of the week, until an instant.
fn times(hours: &[Hour], end: i64) -> Vec<i64> {
    let mut times = vec![0; CELLS];
    let nexts = hours.iter().skip(1).map(|(start, _)| *start).chain([end]);
    for ((start, cell), next) in hours.iter().zip(nexts) {
        if let Some(time) = times.get_mut(*cell) {
            *time += (next.min(end) - start).max(0);
        }
    }
    times
}

/// The hours of a range as a clock shows them; none if there are too many. Where clocks are changed within an
/// hour, it is parted: at a quarter of an hour, as all zones do it since 2012.
fn hours(zone: Tz, (from, to): (i64, i64)) -> Option<Vec<Hour>> {
    let mut hours = Vec::new();
    let mut at = from;
    while at < to {
        if hours.len() > HOURS_MAX {
            return None;
        }
        hours.push((at, cell_of(zone, at)));
        let offset = offset_of(zone, at);
        let next = at + HOUR - (at + offset).rem_euclid(HOUR);
        let mut quarters = (1..=4).map(|many| at - at.rem_euclid(QUARTER) + many * QUARTER);
        let changed = quarters.find(|quarter| offset_of(zone, *quarter) != offset);
        at = changed.filter(|changed| *changed < next).unwrap_or(next);
    }
    Some(hours)
}

/// How far a clock is ahead of UTC, in microseconds.
fn offset_of(zone: Tz, at: i64) -> i64 {
    let time = DateTime::from_timestamp_micros(at).unwrap_or_default();
    let offset = time.with_timezone(&zone).offset().fix();
    i64::from(offset.local_minus_utc()) * SECOND
}

/// Which hour of the week a clock shows.
fn cell_of(zone: Tz, at: i64) -> usize {
    let time = DateTime::from_timestamp_micros(at).unwrap_or_default();
    let local = time.with_timezone(&zone);
    let hour = local.weekday().num_days_from_monday() * 24 + local.hour();
    usize::try_from(hour).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_micros()
    }

    #[test]
    fn a_clock_that_is_changed_shows_an_hour_twice_or_never() {
        let times = |zone, from, to| {
            let range = (at(from), at(to));
            times(&hours(zone, range).unwrap(), range.1)
        };
        let sunday = 6 * 24;
        let spring = times(
            Tz::Europe__Berlin,
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
        );
        assert_eq!(spring[sunday + 1..sunday + 4], [HOUR, 0, HOUR]);
        let autumn = times(
            Tz::Europe__Berlin,
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
        );
        assert_eq!(autumn[sunday + 1..sunday + 4], [HOUR, 2 * HOUR, HOUR]);
        // half an hour
        let half = times(
            Tz::Australia__Lord_Howe,
            "2026-10-03T13:30:00Z",
            "2026-10-04T13:00:00Z",
        );
        assert_eq!(half[sunday + 1..sunday + 4], [HOUR, HOUR / 2, HOUR]);
    }

    #[test]
    fn too_many_hours_are_refused() {
        let range = (at("2000-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        assert_eq!(hours(Tz::UTC, range), None);
    }

    proptest! {
        #[test]
        fn hours_are_those_that_the_clock_shows(
            from in 1_350_000_000_000_000_i64..1_900_000_000_000_000,
            length in 1..4_000_000_000_000_i64,
            zone in prop_oneof![
                Just(Tz::Europe__Berlin),
                Just(Tz::Australia__Lord_Howe),
                Just(Tz::Asia__Kathmandu),
                Just(Tz::America__St_Johns),
            ],
            way in 0.0..1.0_f64,
        ) {
            let range = (from, from + length);
            let hours = hours(zone, range).unwrap();
            prop_assert!(hours.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let way: f64 = way * AsPrimitive::<f64>::as_(length);
            let any = from + AsPrimitive::<i64>::as_(way);
            let place = hours.partition_point(|(start, _)| *start <= any) - 1;
            prop_assert_eq!(hours[place].1, cell_of(zone, any));
        }
    }
}
