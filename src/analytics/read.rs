//! Reads what was said over some time: from rollups, and where they are too coarse from the log.
//!
//! It begins with the coarsest level that fits. A row whose events all lie in one bucket of the answer is
//! added to that; one that is cut is looked for on the next level, and in the end event by event. So a range
//! that begins at seven minutes past costs a few rows more, and one that ends now none at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sea_orm::DatabaseTransaction;

use super::cut::Cut;
use super::question::{Groups, Question};
use crate::event::Position;
use crate::projections::rollups::gather::whole;
use crate::projections::rollups::minutes;
use crate::projections::rollups::tables::{
    DEVICE_DAYS, DEVICE_HOURS, DEVICE_QUARTERS, Key, Level, SITE_DAYS, SITE_HOURS, SITE_MINUTES,
    SITE_QUARTERS, all,
};
use crate::rollups::packed::Row;
use crate::rollups::shape::{Reading, Shape};
use crate::rollups::sketch::Room;
use crate::store::{Allowance, Doing, Lent, List, Sql, Store, StoreError};

const HOUR: i64 = 3_600 * 1_000_000;
pub(super) const QUARTER: i64 = HOUR / 4;
/// From the coarsest on.
const OF_DEVICES: [Level; 3] = [DEVICE_DAYS, DEVICE_HOURS, DEVICE_QUARTERS];
const OF_SITES: [Level; 3] = [SITE_DAYS, SITE_HOURS, SITE_QUARTERS];
/// Events at most that are summed up while somebody waits, since they are not yet.
pub(super) const TAIL_MAX: i64 = 50_000;
/// Events at most that are read one by one for an answer, for buckets that are finer than what is summed up.
pub(crate) const EVENTS_MAX: usize = 500_000;
/// What a cell takes in memory, with its distribution.
const CELL_BYTES: usize = 320;
const SKETCH_BYTES: usize = 1_024;
/// Moments at most of which a question is asked anew, while segments are replaced or deleted.
const MOMENTS_MAX: usize = 8;
pub(super) const READ: &str = "read rollups";

/// What was said, and of which moment that is.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) groups: Groups,
    /// All events up to this position are in it, and none after.
    pub(crate) position: Position,
    /// The numbers of the provenances of what was read.
    pub(crate) provenances: BTreeSet<i64>,
}

/// What was read of a time, and what was asked and read of an earlier one, of the same moment.
pub(super) type Compared = (Read, Option<(Question, Read)>);

/// An earlier time, and the ends of its buckets.
pub(super) type Before<'a> = ((i64, i64), &'a [i64]);

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// There are more buckets, in all groups together, than are answered.
    #[error("there are more than {max} buckets in all groups together, {buckets} in each")]
    Buckets {
        /// How many each group has.
        buckets: usize,
        /// How many are answered.
        max: usize,
    },
    /// More events would have to be read one by one.
    #[error(
        "what is no whole quarter of an hour is made of single events, and there are more than {max}"
    )]
    Events {
        /// How many are read.
        max: usize,
    },
    /// The tables cannot be read.
    #[error("cannot read what was summed up")]
    Store(#[from] StoreError),
}

/// Answers a question.
pub(crate) async fn read(
    store: &Store,
    question: &Question,
    allowance: &Allowance,
) -> Result<Read, ReadError> {
    let mut moments = Moments::of(store);
    loop {
        let moment = moments.next().await?;
        let read = moment.read(question, allowance).await;
        if let Some(read) = moments.settled(moment, read).await? {
            return Ok(read);
        }
    }
}

/// Answers a question, and the same of an earlier time.
pub(super) async fn compared(
    store: &Store,
    of: (&Question, Option<Before<'_>>),
    allowance: &Allowance,
) -> Result<Compared, ReadError> {
    let mut moments = Moments::of(store);
    loop {
        let moment = moments.next().await?;
        let read = moment.compared(of, allowance).await;
        if let Some(compared) = moments.settled(moment, read).await? {
            return Ok(compared);
        }
    }
}

/// Moments of a log, each later than the one before. A segment that one names may be replaced or deleted before it is
/// read: then all is asked anew, of the next.
#[derive(Debug)]
pub(super) struct Moments {
    store: Store,
    left: usize,
}

impl Moments {
    /// Those from now on.
    pub(super) fn of(store: &Store) -> Self {
        Self {
            store: store.clone(),
            left: MOMENTS_MAX,
        }
    }

    /// This one.
    pub(super) async fn next(&self) -> Result<Moment, StoreError> {
        Moment::begin(&self.store).await
    }

    /// What was read of a moment, which is let go; `None` if a segment was gone that no newer list names, and it is to
    /// be read of the next. Of a replica that is behind the next is one of the primary.
    pub(super) async fn settled<T>(
        &mut self,
        moment: Moment,
        read: Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        let generation = moment.generation;
        let error = match read {
            Ok(read) => {
                moment.end().await?;
                return Ok(Some(read));
            }
            Err(ReadError::Store(error)) if error.is_of_missing_segment() && self.left > 0 => error,
            Err(error) => return Err(error),
        };
        moment.end().await?;
        self.left -= 1;
        self.store = self.store.of_primary();
        let newest = self.store.archive_of();
        if newest.generation(self.store.readers()).await? == generation {
            return Err(error.into());
        }
        tracing::debug!(%error, "a segment is gone; it is asked of a newer moment");
        Ok(None)
    }
}

/// A moment of the log: what questions are answered of it is of one state.
#[derive(Debug)]
pub(super) struct Moment {
    tx: DatabaseTransaction,
    /// Up to where the log is summed up, and up to where it goes.
    reached: (i64, i64),
    /// Of its list of segments.
    generation: i64,
}

impl Moment {
    /// This one.
    async fn begin(store: &Store) -> Result<Self, StoreError> {
        let tx = store.readers().snapshot().await.doing(READ)?;
        let summed_up = checkpoint(&tx, "rollups").await?;
        let sql = Sql::new("SELECT position, segments FROM log_head WHERE id = 1");
        let head = all(&tx, sql).await?;
        let of_head = |column: usize| {
            let number = head.first().map(|row| row.try_get_by_index(column));
            Ok::<i64, StoreError>(number.transpose().doing(READ)?.unwrap_or_default())
        };
        Ok(Self {
            reached: (summed_up, of_head(0)?),
            generation: of_head(1)?,
            tx,
        })
    }

    /// Answers a question.
    pub(super) async fn read(
        &self,
        question: &Question,
        allowance: &Allowance,
    ) -> Result<Read, ReadError> {
        let (checkpoint, head) = self.reached;
        let mut reader = Reader {
            tx: &self.tx,
            question,
            allowance,
            lent: allowance.lend(),
            of_sites: question.is_of_sites(),
            owners: Vec::new(),
            upto: head,
            groups: Groups::default(),
            buckets: 0,
            provenances: BTreeSet::new(),
            levels: &[],
            raw: BTreeMap::new(),
            least: QUARTER,
            events: 0,
            whole: None,
            room: Room::default(),
        };
        reader.owners = reader.owners().await?;
        reader.levels = reader.levels().await?;
        reader.least = reader.levels.last().map_or(QUARTER, |level| level.width);
        let tail = reader.tail(checkpoint, head).await?;
        reader.preferred(&tail).await?;
        Ok(Read {
            groups: reader.groups,
            position: Position(reader.upto),
            provenances: reader.provenances,
        })
    }

    /// Answers a question, and the same of an earlier time.
    pub(super) async fn compared(
        &self,
        (question, before): (&Question, Option<Before<'_>>),
        allowance: &Allowance,
    ) -> Result<Compared, ReadError> {
        let now = self.read(question, allowance).await?;
        let Some((range, ends)) = before else {
            return Ok((now, None));
        };
        let earlier = question.at(range, ends.to_vec(), &now.provenances);
        let read = self.read(&earlier, allowance).await?;
        Ok((now, Some((earlier, read))))
    }

    /// Lets it go.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        // nothing was written
        self.tx.rollback().await.doing(READ)
    }
}

/// Up to where a projection has folded the log.
pub(super) async fn checkpoint(
    tx: &DatabaseTransaction,
    projection: &str,
) -> Result<i64, StoreError> {
    let mut sql = Sql::new("SELECT position FROM checkpoints WHERE projection = ");
    sql.bind(projection);
    let rows = all(tx, sql).await?;
    let number = rows.first().map(|row| row.try_get_by_index(0));
    Ok(number.transpose().doing(READ)?.unwrap_or_default())
}

pub(super) struct Reader<'a> {
    pub(super) tx: &'a DatabaseTransaction,
    pub(super) question: &'a Question,
    pub(super) allowance: &'a Allowance,
    /// What is taken of it until all is read.
    pub(super) lent: Lent<'a>,
    pub(super) of_sites: bool,
    /// Keys of the sites or devices whose rows are read.
    pub(super) owners: Vec<i64>,
    pub(super) upto: i64,
    pub(super) groups: Groups,
    buckets: usize,
    /// Those that are read.
    pub(super) provenances: BTreeSet<i64>,
    /// Those that are read, from the coarsest on; none if single events are.
    pub(super) levels: &'static [Level],
    /// Buckets of the finest of them of which something is read event by event.
    pub(super) raw: BTreeMap<i64, Cut>,
    /// The length of those.
    pub(super) least: i64,
    /// How many of them were read.
    pub(super) events: usize,
    whole: Option<Arc<Shape>>,
    room: Room,
}

impl Reader<'_> {
    /// What is asked of, and since when it is whole in the log: the same for all that is read of one state of it.
    pub(super) async fn whole(&mut self) -> Result<Arc<Shape>, StoreError> {
        if let Some(known) = &self.whole {
            return Ok(Arc::clone(known));
        }
        let shape = Arc::new(whole(self.tx, &self.question.shape).await?);
        self.whole = Some(Arc::clone(&shape));
        Ok(shape)
    }

    pub(super) fn owner_of(&self, key: &Key) -> i64 {
        if self.of_sites { key.site } else { key.owner }
    }

    /// The sites or devices whose rows may be asked for.
    async fn owners(&self) -> Result<Vec<i64>, StoreError> {
        let scope = &self.question.scope;
        let mut sql = match (self.of_sites, &scope.sites, &scope.devices) {
            (false, _, Some(keys)) | (true, Some(keys), _) => {
                return Ok(keys.iter().copied().collect());
            }
            (true, None, _) => Sql::new("SELECT site_key FROM sites"),
            (false, None, None) => Sql::new("SELECT device_key FROM devices"),
            (false, Some(sites), None) => self.devices_at(sites),
        };
        sql.push(" ORDER BY 1");
        let mut keys = keys(self.tx, sql).await?;
        if !self.of_sites && keys.first() != Some(&0) {
            // what names no device
            keys.insert(0, 0);
        }
        Ok(keys)
    }

    /// Asks which devices stood at some sites, as far as is known, or are summed up there: a device that is
    /// found to have stood elsewhere may be summed up where it was thought to be, for a while or for ever.
    fn devices_at(&self, sites: &BTreeSet<i64>) -> Sql {
        let sites = || List::Int(sites.iter().copied().collect());
        let (from, to) = self.question.range;
        let mut sql = Sql::new("SELECT device_key FROM device_stays WHERE ");
        sql.among("site_key", sites());
        sql.push(" UNION SELECT device_key FROM device_rollups_1d WHERE kind = ")
            .bind(self.question.shape.kind.code());
        sql.push(" AND ").among("site_key", sites());
        sql.push(" AND bucket_at >= ")
            .bind(DEVICE_DAYS.bucket(from));
        sql.push(" AND bucket_at < ").bind(to);
        sql
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.question.has(key, false)
    }

    /// The levels that are read.
    async fn levels(&self) -> Result<&'static [Level], StoreError> {
        let ends = &self.question.ends;
        let inner = ends
            .get(1..ends.len().saturating_sub(1))
            .unwrap_or_default();
        let lengths = |ends: &[i64]| {
            let lengths = ends.windows(2).map(|pair| match pair {
                [begin, end] => end - begin,
                _ => 0,
            });
            lengths.min()
        };
        // the first and the last may be cut by the range: their rows are looked for on the levels below
        let least = lengths(inner).or_else(|| lengths(ends)).unwrap_or_default();
        let aligned = |width: i64| inner.iter().all(|at| at % width == 0);
        // of longer buckets few rows are cut
        let fits = |width: i64| least >= width && aligned(width) || least >= 6 * width;
        let all: &'static [Level] = if self.of_sites {
            &OF_SITES
        } else {
            &OF_DEVICES
        };
        let first = all.iter().position(|level| fits(level.width));
        if let Some(first) = first {
            return Ok(all.get(first..).unwrap_or_default());
        }
        let by_minutes = self.of_sites && !self.question.wants_growth() && fits(SITE_MINUTES.width);
        if by_minutes {
            let since = minutes::since(self.tx).await?;
            if since.is_some_and(|since| since <= self.question.range.0) {
                return Ok(&[SITE_MINUTES]);
            }
        }
        Ok(&[])
    }

    /// The rows of a level that may be asked for.
    pub(super) fn select(
        &self,
        (level, owners): (Level, &[i64]),
        provenances: (i64, i64),
        (from, to): (i64, i64),
    ) -> Sql {
        let mut sql = Sql::new(level.select());
        sql.push(" WHERE r.kind = ")
            .bind(self.question.shape.kind.code());
        sql.push(" AND ");
        sql.among(level.owner_column(), List::Int(owners.to_vec()));
        let (least, greatest) = provenances;
        if least == greatest {
            sql.push(" AND r.provenance = ").bind(least);
        } else {
            sql.push(" AND r.provenance IN (0, 1, 2)");
        }
        sql.push(" AND r.bucket_at >= ").bind(level.bucket(from));
        sql.push(" AND r.bucket_at < ").bind(to);
        if let (Some(sites), false) = (&self.question.scope.sites, level.of_sites) {
            let sites = sites.iter().copied().collect();
            sql.push(" AND ").among("r.site_key", List::Int(sites));
        }
        sql
    }

    /// Adds a row to a bucket of the answer.
    pub(super) fn add_packed(
        &mut self,
        (level, bucket): (Level, usize),
        key: &Key,
        packed: &[u8],
    ) -> Result<(), ReadError> {
        let (wanted, forms) = (self.question.wanted, &*self.question.shape.forms);
        let mut room = std::mem::take(&mut self.room);
        let row = self.row(key, bucket)?;
        let merged = row.merge_packed(packed, (forms, key.bucket), wanted, &mut room);
        self.room = room;
        merged.map_err(|_| level.malformed())?;
        Ok(())
    }

    /// The row of an answer to which something is added.
    fn row(&mut self, key: &Key, bucket: usize) -> Result<&mut Row, ReadError> {
        let question = self.question;
        let cells = usize::try_from(question.wanted.measures.count_ones()).unwrap_or_default();
        let (buckets, max) = (question.ends.len().saturating_sub(1), question.buckets_max);
        let group = question.place_of(question.group_of(key));
        if !self.groups.rows.contains_key(&group) {
            self.buckets += buckets;
            if self.buckets > max {
                return Err(ReadError::Buckets { buckets, max });
            }
        }
        let empty = || vec![None; buckets];
        let rows = self.groups.rows.entry(group).or_insert_with(empty);
        let Some(held) = rows.get_mut(bucket) else {
            return Err(ReadError::Buckets { buckets, max });
        };
        if held.is_none() {
            let sketch = if question.wanted.sketches {
                SKETCH_BYTES
            } else {
                0
            };
            let counts = if question.wanted.counts {
                size_of::<u64>() * question.shape.forms.len()
            } else {
                0
            };
            self.allowance
                .take(cells * (CELL_BYTES + sketch) + counts)?;
        }
        Ok(Arc::make_mut(
            held.get_or_insert_with(|| Arc::new(Row::new(cells))),
        ))
    }

    pub(super) fn add_reading(
        &mut self,
        key: &Key,
        bucket: usize,
        reading: &Reading,
    ) -> Result<(), ReadError> {
        let (wanted, forms) = (self.question.wanted, &*self.question.shape.forms);
        self.row(key, bucket)?.add(forms, reading, wanted);
        Ok(())
    }

    pub(super) fn grow_by(
        &mut self,
        key: &Key,
        bucket: usize,
        (measure, more): (usize, i128),
    ) -> Result<(), ReadError> {
        let Some(slot) = self.question.wanted.slot(measure) else {
            return Ok(());
        };
        if let Some(Some(cell)) = self.row(key, bucket)?.cells.get_mut(slot) {
            cell.increase = cell.increase.saturating_add(more);
        }
        Ok(())
    }
}

/// The keys that a statement answers.
pub(super) async fn keys(tx: &DatabaseTransaction, sql: Sql) -> Result<Vec<i64>, StoreError> {
    let rows = all(tx, sql).await?;
    let keys = rows.iter().map(|row| row.try_get_by_index(0));
    keys.collect::<Result<_, _>>().doing(READ)
}
