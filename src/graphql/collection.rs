//! What is collected of each kind of record, whether it is, and what was refused.

use async_graphql::{Enum, Error, SimpleObject};
use entity::{collection_counters, refusals};

use super::order::InOrder;
use super::scalars::{DateTime, Long};
use super::words::{EventKinds, OutcomeCodes, Shown};
use super::{Api, of_failed};
use crate::event::{Instant, Provenance};
use crate::history::{alerts, collection};
use crate::kinds::Kind;

/// Intervals after which a source that is expected at intervals is stale, and a device silent.
const STALE_INTERVALS: i64 = 10;
/// Silence after which a source that comes as it happens is quiet.
const QUIET_AFTER_MS: i64 = 24 * 3_600 * 1_000;
/// Records from which insights can be read, and the time that they must span.
const INSIGHT_RECORDS: i64 = 100;
const INSIGHT_SPAN_MS: i64 = 7 * 24 * HOUR_MS;
const HOUR_MS: i64 = 3_600 * 1_000;

/// Whether a source is collecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum SourceStatus {
    /// Events come in.
    Collecting,
    /// It comes as it happens, and nothing has happened for a day.
    Quiet,
    /// It is expected at intervals, and nothing has come in for ten of them.
    Stale,
    /// Nothing has ever come in.
    Empty,
}

/// What was refused, and how often.
#[derive(Debug, SimpleObject)]
pub(super) struct RefusedCount {
    /// Kind of the event; null when it was of none that is known.
    kind: Option<Shown<EventKinds>>,
    /// The field at fault; null when it was the event as a whole.
    field: Option<String>,
    /// Why.
    code: Shown<OutcomeCodes>,
    /// The device, when it is registered.
    device_id: Option<String>,
    /// How often.
    count: Long,
    /// The last time.
    last_at: DateTime,
}

/// One source of records: what it collects, and whether it does.
#[derive(Debug, SimpleObject)]
struct SourceState {
    /// The kind of record.
    source: Shown<EventKinds>,
    /// Whether it is collecting.
    status: SourceStatus,
    /// Events recorded, of all provenances.
    records: Long,
    /// Of them, seen in the real world.
    real_records: Long,
    /// Of them, made by an emulator under control.
    controlled_records: Long,
    /// Of them, made up by a simulator.
    simulated_records: Long,
    /// When the oldest happened.
    oldest_at: Option<DateTime>,
    /// When the newest happened.
    newest_at: Option<DateTime>,
    /// How often something is expected, in seconds; null when it comes as it happens.
    expected_interval_seconds: Option<i32>,
    /// Devices in use of which an open alert says that they are silent, by themselves or with all of their
    /// site: longer than the rules allow, while the site is at work; null when it comes as it happens.
    gaps: Option<i32>,
    /// Whether there is enough to read insights from: at least 100 records over at least 7 days.
    insight_ready: bool,
    /// What is lacking until there is enough, in words: records, or the time that they span; empty when
    /// nothing is.
    insight_lacks: Vec<String>,
    /// How it is collected.
    method: &'static str,
    /// What it is collected for.
    purpose: &'static str,
    /// What was refused.
    refused: Vec<InOrder<RefusedCount>>,
}

/// What is collected, and whether it is.
#[derive(Debug, SimpleObject)]
pub(super) struct CollectionStatus {
    /// When this was read.
    as_of: DateTime,
    /// One for each kind of record.
    sources: Vec<InOrder<SourceState>>,
    /// What was refused of no source: registrations, and events of no known kind.
    otherwise_refused: Vec<InOrder<RefusedCount>>,
}

impl CollectionStatus {
    /// Reads it as it stands now.
    pub(super) async fn read(api: &Api) -> Result<Self, Error> {
        let store = api.store();
        let failed = |error| of_failed(api, &error);
        let counters = collection::counters(store).await.map_err(failed)?;
        let refused = collection::refused(store).await.map_err(failed)?;
        let now = api.ingest.clock().now();
        let mut sources = Vec::new();
        for kind in Kind::all().filter(|kind| kind.spec().source.is_some()) {
            let of_kind = counters.iter().filter(|row| row.kind == kind.code());
            let of_kind: Vec<&collection_counters::Model> = of_kind.collect();
            let of_kind_refused = refused.iter().filter(|row| row.kind == kind.spec().wire);
            let silent = match interval_ms(kind) {
                Some(_) => Some(alerts::silent_devices(store).await.map_err(failed)?),
                None => None,
            };
            sources.push(InOrder(SourceState {
                gaps: silent.map(|silent| i32::try_from(silent).unwrap_or(i32::MAX)),
                refused: of_kind_refused.map(RefusedCount::of).map(InOrder).collect(),
                ..SourceState::of(kind, &of_kind, now)
            }));
        }
        let is_source = |row: &refusals::Model| {
            let kind = Kind::of_wire(&row.kind);
            kind.is_some_and(|kind| kind.spec().source.is_some())
        };
        let otherwise = refused.iter().filter(|row| !is_source(row));
        Ok(Self {
            as_of: DateTime(now),
            sources,
            otherwise_refused: otherwise.map(RefusedCount::of).map(InOrder).collect(),
        })
    }
}

fn interval_ms(kind: Kind) -> Option<i64> {
    let source = kind.spec().source.as_ref()?;
    Some(i64::from(source.expected_interval_seconds?) * 1_000)
}

impl SourceState {
    fn of(kind: Kind, counters: &[&collection_counters::Model], now: Instant) -> Self {
        let source = kind.spec().source.as_ref();
        let records = |provenance: Option<Provenance>| {
            let of = counters.iter().filter(|row| {
                provenance.is_none_or(|provenance| row.provenance == provenance.code())
            });
            of.map(|row| row.records).sum::<i64>()
        };
        let oldest = counters.iter().map(|row| Instant(row.oldest_at)).min();
        let newest = counters.iter().map(|row| Instant(row.newest_at)).max();
        let spanned = oldest.zip(newest);
        let spanned = spanned.map_or(0, |(oldest, newest)| newest.0 - oldest.0) / 1_000;
        let lacks = insight_lacks(records(None), spanned);
        Self {
            source: Shown::new(kind.spec().wire),
            status: status(newest, interval_ms(kind), now),
            records: Long(records(None)),
            real_records: Long(records(Some(Provenance::Real))),
            controlled_records: Long(records(Some(Provenance::Controlled))),
            simulated_records: Long(records(Some(Provenance::Simulated))),
            oldest_at: oldest.map(DateTime),
            newest_at: newest.map(DateTime),
            expected_interval_seconds: source.and_then(|s| s.expected_interval_seconds),
            gaps: None,
            insight_ready: lacks.is_empty(),
            insight_lacks: lacks,
            method: source.map_or("", |source| source.method),
            purpose: source.map_or("", |source| source.purpose),
            refused: Vec::new(),
        }
    }
}

/// What so many records over a time lack until insights can be read from them.
fn insight_lacks(records: i64, spanned_ms: i64) -> Vec<String> {
    let more = (records < INSIGHT_RECORDS).then(|| {
        let more = INSIGHT_RECORDS - records;
        format!("{more} more records: there are {records} of {INSIGHT_RECORDS}")
    });
    let longer = (spanned_ms < INSIGHT_SPAN_MS).then(|| {
        // rounded, but never to nothing
        let hours = |ms: i64| (ms + HOUR_MS - 1) / HOUR_MS;
        let more = hours(INSIGHT_SPAN_MS - spanned_ms);
        let (has, of) = (hours(INSIGHT_SPAN_MS) - more, hours(INSIGHT_SPAN_MS));
        format!("{more} more hours: they span {has} of {of}")
    });
    more.into_iter().chain(longer).collect()
}

fn status(newest: Option<Instant>, interval_ms: Option<i64>, now: Instant) -> SourceStatus {
    let silent_for = |newest: Instant, ms: i64| newest.plus_ms(ms) < now;
    match (newest, interval_ms) {
        (None, _) => SourceStatus::Empty,
        (Some(at), Some(ms)) if silent_for(at, STALE_INTERVALS * ms) => SourceStatus::Stale,
        (Some(at), None) if silent_for(at, QUIET_AFTER_MS) => SourceStatus::Quiet,
        (Some(_), _) => SourceStatus::Collecting,
    }
}

impl RefusedCount {
    /// What is counted in a row.
    pub(super) fn of(row: &refusals::Model) -> Self {
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            kind: Kind::of_wire(&row.kind).map(|kind| Shown::new(kind.spec().wire)),
            field: given(&row.field),
            code: Shown::new(&row.code),
            device_id: given(&row.device_id),
            count: Long(row.refused),
            last_at: DateTime(Instant(row.last_at)),
        }
    }
}
