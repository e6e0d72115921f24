//! Sums up anew what devices measured while they stood elsewhere than was known: a registration has come
//! late, or says something else of a site for a time that is past.
//!
//! Extrema and first values cannot be taken back out of a row, so the rows of the devices are made again from
//! the log, a day at a time, and those above them from the rows below. Where events were deleted for good rows
//! stay as they are: as what was known when they were summed up.
//!
//! One registration may be of years of many devices. So what is to be made again is written down, and worked
//! off in parts that are transactions of their own, while what comes is folded on. Days of devices come first
//! ([`days`](super::days)), then the hours of the sites at which they stood ([`hours`](super::hours)). Until
//! then rows are as they were known before.
//!
//! The events of a part are read before its transaction, so that nobody who writes waits for that; a part of
//! which something has changed meanwhile is read anew.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::super::upsert::upsert;
use super::days::Days;
use super::gather::merge_packed;
use super::hours::Hours;
use super::others;
use super::places::Moved;
use super::tables::{DEVICE_DAYS, Key, Level, all};
use crate::rollups::labels::TOLD_MAX;
use crate::rollups::packed::Row;
use crate::rollups::shape::Shape;
use crate::rollups::sketch::Room;
use crate::store::{Doing, List, Part, Sql, StoreError};

pub(super) const DAY: i64 = DEVICE_DAYS.width;
/// Events and rows after which a part ends.
pub(super) const READ_MAX: usize = 20_000;
pub(super) const READ: &str = "read what is summed up anew";

/// In which it is written down.
pub(super) const TABLES: [&str; 2] = ["rollup_moves", "rollup_moved_sites"];

/// Writes down which devices have stood elsewhere than was known, and when.
pub(super) async fn note(tx: &DatabaseTransaction, moved: &[Moved]) -> Result<(), StoreError> {
    let mut times: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (device, (from, until)) in moved {
        let held = times.entry((*device, *from)).or_insert(*until);
        *held = (*held).max(*until);
    }
    let rows = times.into_iter();
    let rows = rows.map(|((device, from), until)| vec![device.into(), from.into(), until.into()]);
    upsert(tx, INSERT_MOVE, rows.collect(), MERGE_MOVE).await
}

const INSERT_MOVE: &str = "INSERT INTO rollup_moves (device_key, from_at, until_at)";
const MERGE_MOVE: &str = "ON CONFLICT (device_key, from_at) DO UPDATE SET until_at = CASE WHEN \
    excluded.until_at > rollup_moves.until_at THEN excluded.until_at ELSE rollup_moves.until_at END";

/// The days of devices that are still to be summed up anew, with all that is said of them.
#[derive(Debug, Default)]
pub(super) struct Outstanding(BTreeMap<i64, Vec<(i64, i64)>>);

impl Outstanding {
    /// Those of some devices. What happened before a midnight of UTC is not summed up anew.
    pub(super) async fn of(
        db: &impl ConnectionTrait,
        devices: BTreeSet<i64>,
        floor: i64,
    ) -> Result<Self, StoreError> {
        let mut sql = Sql::new("SELECT device_key, from_at, until_at FROM rollup_moves WHERE ");
        sql.among("device_key", List::Int(devices.into_iter().collect()));
        let mut outstanding = Self::default();
        for row in all(db, sql).await? {
            let number = |index| row.try_get_by_index::<i64>(index).doing(READ);
            let (from, until) = (number(1)?, number(2)?);
            let whole = (
                DEVICE_DAYS.bucket(from).max(floor),
                DEVICE_DAYS.bucket(until.saturating_add(DAY - 1)),
            );
            outstanding.0.entry(number(0)?).or_default().push(whole);
        }
        Ok(outstanding)
    }

    /// Whether an instant lies within such a day of a device.
    pub(super) fn has(&self, device: i64, at: i64) -> bool {
        let mut days = self.0.get(&device).into_iter().flatten();
        days.any(|(from, until)| (*from..*until).contains(&at))
    }
}

/// A part, with what it is made of.
#[derive(Debug)]
pub(super) struct Piece {
    shapes: Vec<Shape>,
    /// Of the list of segments of which its events were read.
    generation: Option<i64>,
    what: What,
}

#[derive(Debug)]
enum What {
    Days(Days),
    Hours(Hours),
}

/// Reads what the next part of what is written down is made of, from what was recorded up to a position.
pub(super) async fn next(
    tx: &DatabaseTransaction,
    shapes: Vec<Shape>,
    upto: i64,
) -> Result<Option<Piece>, StoreError> {
    let generation = generation(tx, &shapes).await?;
    let what = if let Some(days) = Days::next(tx, &shapes, upto).await? {
        What::Days(days)
    } else if let Some(hours) = Hours::next(tx, &shapes, upto).await? {
        // all devices that stood at a site are behind it, so that its rows are sums of theirs
        What::Hours(hours)
    } else {
        return Ok(None);
    };
    Ok(Some(Piece {
        shapes,
        generation,
        what,
    }))
}

impl Part for Piece {
    fn put<'a>(&'a self, tx: &'a DatabaseTransaction) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if generation(tx, &self.shapes).await? != self.generation {
                return Ok(());
            }
            match &self.what {
                What::Days(days) => days.put(tx, &self.shapes).await,
                What::Hours(hours) => hours.put(tx, &self.shapes).await,
            }
        })
    }
}

/// The generation of the list of segments. What is deleted for good or erased raises it as well.
async fn generation(tx: &DatabaseTransaction, shapes: &[Shape]) -> Result<Option<i64>, StoreError> {
    match shapes.iter().find_map(|shape| shape.archive.as_ref()) {
        Some(archive) => archive.generation(tx).await.map(Some),
        None => Ok(None),
    }
}

/// Puts the sums of rows in the place of those that a level has for some time.
pub(super) async fn replace(
    tx: &DatabaseTransaction,
    shape: &Shape,
    level: Level,
    (whose, time): ((i64, i64), (i64, i64)),
    below: BTreeMap<Key, Vec<u8>>,
) -> Result<(), StoreError> {
    let mut room = Room::default();
    let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
    for (key, packed) in &below {
        let row = rows.entry(level.above(key));
        let row = row.or_insert_with(|| Row::new(shape.forms.len()));
        merge_packed(row, shape, (key, packed), &mut room)?;
    }
    others::joined(shape, &mut rows, TOLD_MAX);
    level.delete(tx, whose, time).await?;
    let packed = rows.into_iter().map(|(key, row)| {
        let bytes = row.pack(&shape.forms, key.bucket);
        (key, bytes)
    });
    level.put(tx, whose.0, packed).await
}
