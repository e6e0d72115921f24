//! Reads rows from the coarsest level on: those that lie in one bucket of the answer are added to it, and in
//! place of those that are cut the rows below them are read, and in the end single events.
//!
//! Labels that are not told apart may hide what is asked for by its label. What was said of that owner within
//! that bucket is then read below, where more of them are told apart, and in the end event by event, as far as
//! events are kept: so a label comes to all that there was of it, or the answer is refused, as one of too many
//! events.

use std::collections::{BTreeSet, HashSet};

use futures_util::TryStreamExt;
use sea_orm::{ConnectionTrait, StreamTrait};

use super::read::{READ, ReadError, Reader};
use super::unfolded::Unfolded;
use crate::projections::rollups::tables::{Key, Level, row};
use crate::rollups::labels::OTHERS;
use crate::rollups::packed;
use crate::store::{Doing, Sql, StoreError};

/// What of a level is read below, or event by event.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// All of these buckets and owners.
    owners: BTreeSet<(i64, i64)>,
    /// These rows of others, wherever and in whatever currency they are: a device may have moved to where all
    /// is known.
    rows: HashSet<Key>,
}

/// Rows of some time, and of which rows of the level above they are.
type Below<'a> = ((i64, i64), Option<(Level, &'a Cut)>);

/// Where a row is told.
enum Lies {
    /// Nowhere.
    Beyond,
    /// In a bucket of the answer, as all of that time is.
    In(usize),
    /// In a bucket of the answer, since nothing was said in what is cut.
    Within(usize),
    /// In several.
    Cut,
}

impl Cut {
    /// Has all of an owner be read within a bucket.
    pub(super) fn add_owner(&mut self, bucket: i64, owner: i64) {
        self.owners.insert((bucket, owner));
    }

    /// Whether a row is read below, without its place and currency.
    pub(super) fn has(&self, row: &Key) -> bool {
        self.has_owner(row.bucket, row.owner) || self.rows.contains(row)
    }

    fn has_owner(&self, bucket: i64, owner: i64) -> bool {
        self.owners.contains(&(bucket, owner))
    }

    /// Whose rows they are.
    pub(super) fn owners(&self) -> BTreeSet<i64> {
        let owners = self.owners.iter().map(|(_, owner)| *owner);
        owners
            .chain(self.rows.iter().map(|row| row.owner))
            .collect()
    }

    fn buckets(&self) -> BTreeSet<i64> {
        let buckets = self.owners.iter().map(|(bucket, _)| *bucket);
        let of_rows = self.rows.iter().map(|row| row.bucket);
        buckets.chain(of_rows).collect()
    }
}

impl Reader<'_> {
    pub(super) async fn answer(&mut self, tail: &Unfolded) -> Result<(), ReadError> {
        let [first, finer @ ..] = self.levels else {
            return self.events(self.question.range, None).await;
        };
        self.mark(tail);
        let mut cut = Cut::default();
        self.rows(*first, (self.question.range, None), &mut cut)
            .await?;
        let mut above = *first;
        for level in finer {
            cut = self.below(above, *level, &cut).await?;
            above = *level;
        }
        for (bucket, owner) in cut.owners {
            self.raw.entry(bucket).or_default().add_owner(bucket, owner);
        }
        for row in cut.rows {
            self.raw.entry(row.bucket).or_default().rows.insert(row);
        }
        self.unfolded(tail)?;
        for (begin, cut) in &std::mem::take(&mut self.raw) {
            let (from, to) = self.question.range;
            let within = (from.max(*begin), to.min(begin + self.least));
            self.events(within, Some(cut)).await?;
        }
        Ok(())
    }

    /// Adds the rows of the level below in place of those that are cut; answers what of them is cut again.
    async fn below(&mut self, above: Level, level: Level, cut: &Cut) -> Result<Cut, ReadError> {
        let mut still = Cut::default();
        let (from, to) = self.question.range;
        for (begin, end) in joined(cut.buckets(), above.width) {
            let within = (begin.max(from), end.min(to));
            self.rows(level, (within, Some((above, cut))), &mut still)
                .await?;
        }
        Ok(still)
    }

    /// Adds the rows of a level within some time, if it is said of only some of the level above of those below
    /// these alone, and tells what is cut.
    async fn rows(
        &mut self,
        level: Level,
        below: Below<'_>,
        cut: &mut Cut,
    ) -> Result<(), ReadError> {
        self.hidden(level, below, cut).await?;
        let sql = self.select_below(level, below);
        let statement = sql.statement(ConnectionTrait::get_database_backend(self.tx));
        let rows = self.tx.stream_raw(statement).await.doing(READ)?;
        let mut rows = std::pin::pin!(rows);
        // of what is cut in part it is known only then what is to be read below
        let (mut waiting, mut lent) = (Vec::new(), self.allowance.lend());
        while let Some(found) = rows.try_next().await.doing(READ)? {
            let (key, packed) = row(&found)?;
            let unit = self.unit(&key, key.bucket);
            if !self.is_below(&key, below) || cut.has(&unit) {
                continue;
            }
            match self.lies(level, &key, &packed)? {
                Lies::Beyond => {}
                Lies::In(bucket) => self.add_packed((level, bucket), &key, &packed)?,
                Lies::Within(bucket) => {
                    lent.take(2 * size_of::<Key>() + 2 * key.labels.len() + packed.len())?;
                    waiting.push((bucket, unit, key, packed));
                }
                Lies::Cut => {
                    self.lent.take(size_of::<Key>() + key.labels.len())?;
                    if rank(level, &packed)?.is_some() {
                        // what is not told apart here may be below
                        cut.add_owner(unit.bucket, unit.owner);
                    } else {
                        cut.rows.insert(unit);
                    }
                }
            }
        }
        for (bucket, unit, key, packed) in waiting {
            if !cut.has(&unit) {
                self.add_packed((level, bucket), &key, &packed)?;
            }
        }
        Ok(())
    }

    /// Finds of whom labels are not told apart that are asked for, and has all of them be read below. What is
    /// left of events that were deleted for good tells no more of them.
    async fn hidden(
        &mut self,
        level: Level,
        below: Below<'_>,
        cut: &mut Cut,
    ) -> Result<(), ReadError> {
        if !self.question.asks_open() {
            return Ok(());
        }
        let shape = self.whole().await?;
        let ranks = shape.ranks.as_ref();
        let greatest = ranks.and_then(|ranks| self.question.greatest_rank(ranks));
        let Some(greatest) = greatest else {
            return Ok(());
        };
        let floor = if level.width == self.least {
            shape.floor()
        } else {
            i64::MIN
        };
        let mut sql = self.select_below(level, below);
        sql.push(" AND r.labels LIKE ").bind(format!("%{OTHERS}%"));
        let statement = sql.statement(ConnectionTrait::get_database_backend(self.tx));
        let rows = self.tx.stream_raw(statement).await.doing(READ)?;
        let mut rows = std::pin::pin!(rows);
        while let Some(found) = rows.try_next().await.doing(READ)? {
            let (key, packed) = row(&found)?;
            let is_asked = self.question.has_if(&key, level.of_sites, true);
            let hides = rank(level, &packed)?.is_some_and(|least| least <= greatest);
            if is_asked && hides && key.bucket >= floor && self.is_below(&key, below) {
                self.lent.take(size_of::<(i64, i64)>())?;
                cut.add_owner(key.bucket, self.owner_of(&key));
            }
        }
        Ok(())
    }

    fn select_below(&self, level: Level, (within, of): Below<'_>) -> Sql {
        let provenances = (
            self.provenances.first().copied().unwrap_or(0),
            self.provenances.last().copied().unwrap_or(0),
        );
        let owners = of.map(|(_, cut)| Vec::from_iter(cut.owners()));
        let owners = owners.unwrap_or_else(|| self.owners.clone());
        self.select((level, &owners), provenances, within)
    }

    /// Whether a row is of a provenance that is read, and of what is read below.
    fn is_below(&self, key: &Key, (_, of): Below<'_>) -> bool {
        let is_of = |(above, cut): (Level, &Cut)| {
            let bucket = above.bucket(key.bucket);
            cut.has(&self.unit(key, bucket))
        };
        self.provenances.contains(&key.provenance) && of.is_none_or(is_of)
    }

    /// What of a bucket is read as one: a row without its place and currency.
    pub(super) fn unit(&self, key: &Key, bucket: i64) -> Key {
        Key {
            owner: self.owner_of(key),
            provenance: key.provenance,
            bucket,
            site: 0,
            currency: String::new(),
            labels: key.labels.clone(),
        }
    }

    /// The beginning of the bucket of an instant, of those that may be read event by event.
    pub(super) const fn least(&self, at: i64) -> i64 {
        at - at.rem_euclid(self.least)
    }

    /// Whether what was said at an instant is read event by event.
    pub(super) fn is_raw(&self, key: &Key, at: i64) -> bool {
        let begin = self.least(at);
        let cut = self.raw.get(&begin);
        cut.is_some_and(|cut| cut.has(&self.unit(key, begin)))
    }

    /// Where a row is told.
    fn lies(&self, level: Level, key: &Key, packed: &[u8]) -> Result<Lies, StoreError> {
        if !self.question.has(key, level.of_sites) {
            return Ok(Lies::Beyond);
        }
        let owner = self.owner_of(key);
        let mut within = self.raw.range(key.bucket..key.bucket + level.width);
        if within.any(|(begin, cut)| cut.has_owner(*begin, owner)) {
            return Ok(Lies::Cut);
        }
        let whole = (key.bucket, key.bucket + level.width - 1);
        if let Some(bucket) = self.question.bucket_of_span(whole) {
            return Ok(Lies::In(bucket));
        }
        let span = packed::span(packed, key.bucket).map_err(|_| level.malformed())?;
        if self.question.is_beyond(span) {
            return Ok(Lies::Beyond);
        }
        let bucket = self.question.bucket_of_span(span);
        Ok(bucket.map_or(Lies::Cut, Lies::Within))
    }
}

/// The least rank of the labels that are not told apart in a row, if it is one of those.
fn rank(level: Level, packed: &[u8]) -> Result<Option<u128>, StoreError> {
    packed::rank(packed).map_err(|_| level.malformed())
}

/// Buckets of a length, those that follow each other as one.
fn joined(buckets: BTreeSet<i64>, width: i64) -> Vec<(i64, i64)> {
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for begin in buckets {
        match joined.last_mut().filter(|(_, end)| *end == begin) {
            Some((_, end)) => *end = begin + width,
            None => joined.push((begin, begin + width)),
        }
    }
    joined
}
