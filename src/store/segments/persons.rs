//! Those who are erased together, how far that is, and what becomes of it in the table of erasures.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::Segment;
use super::beside::Beside;
use crate::event::{Instant, Position};
use crate::store::error::{Doing, StoreError};
use crate::store::lists::List;
use crate::store::sql::Sql;

/// An erasure that is to be carried out, and how far it is.
#[derive(Clone, Debug)]
pub(crate) struct Erasing {
    /// Its id.
    pub(crate) erasure_id: String,
    /// Of whom.
    pub(crate) person: String,
    /// The last position of what is erased.
    pub(crate) upto: Position,
    /// Up to which position the tables are done.
    pub(crate) rows_upto: i64,
    /// Up to which segment those are done that are looked into.
    pub(crate) segments_done: i64,
    /// The last segment that is looked into, once the tables are done.
    pub(crate) segments_upto: Option<i64>,
}

/// Which segments those who erase have looked into, over all their turns, and also when they have failed: what was
/// looked into then is not read again, but for what was lost.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// The ids of the erasures for which they were.
    erasures: Vec<String>,
    /// Up to which one, be it lost or not.
    upto: i64,
    /// Those of them that were lost the last time, and are still to be looked for this time.
    again: BTreeSet<i64>,
    /// Those of them that are lost this time.
    lost: BTreeSet<i64>,
    /// Why the first of these cannot be read: they are looked into when they are back.
    why: Option<StoreError>,
}

impl Looked {
    /// Begins anew with erasures; if they are those of the last time, with what was lost then, and what is left.
    pub(crate) fn begin(&mut self, erasures: &[String]) {
        if self.erasures == erasures {
            self.again.append(&mut self.lost);
            self.why = None;
        } else {
            *self = Self {
                erasures: erasures.to_vec(),
                ..Self::default()
            };
        }
    }

    /// Whether a segment was looked into.
    pub(super) fn has(&self, segment: i64) -> bool {
        segment <= self.upto && !self.again.contains(&segment)
    }

    /// A segment was looked into, be it lost or not.
    pub(super) fn looked_into(&mut self, segment: i64) {
        self.upto = self.upto.max(segment);
        self.again.remove(&segment);
    }

    /// The file of a segment is lost.
    pub(super) fn lost(&mut self, segment: i64, why: StoreError) {
        self.lost.insert(segment);
        self.why.get_or_insert(why);
    }

    /// Whether the file of one is lost.
    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Why the first one that is lost cannot be read, if one is.
    pub(super) const fn take_why(&mut self) -> Option<StoreError> {
        self.why.take()
    }
}

/// Of which persons something is erased.
#[derive(Debug)]
pub(super) struct Persons {
    /// Of each the erasures, the first one first: up to which position, and its index.
    erasures: HashMap<String, Vec<(i64, usize)>>,
}

impl Persons {
    fn of(erasing: &[Erasing]) -> Self {
        let mut erasures: HashMap<String, Vec<(i64, usize)>> = HashMap::new();
        for (index, erasing) in erasing.iter().enumerate() {
            let of_person = erasures.entry(erasing.person.clone()).or_default();
            of_person.push((erasing.upto.0, index));
        }
        Self { erasures }
    }

    /// The erasure by which an event at a position is erased, if it is.
    pub(super) fn whose(&self, person: &str, position: i64) -> Option<usize> {
        let mut erasures = self.erasures.get(person)?.iter();
        let erasure = erasures.find(|(upto, _)| position <= *upto);
        erasure.map(|(_, index)| *index)
    }

    /// The last erasure of a person.
    pub(super) fn last_of(&self, person: &str) -> Option<usize> {
        let last = self.erasures.get(person)?.last();
        last.map(|(_, index)| *index)
    }

    /// Their ids.
    pub(super) fn names(&self) -> Vec<String> {
        self.erasures.keys().cloned().collect()
    }
}

/// Erasures that are carried out together.
#[derive(Debug)]
pub(super) struct Pass {
    erasing: Vec<Erasing>,
    pub(super) persons: Arc<Persons>,
    /// What stands beside their events.
    pub(super) beside: Beside,
    /// That of the list of segments, as this pass knows it.
    pub(super) generation: i64,
    /// Up to where it is looked who did what was recorded since.
    reach: i64,
}

impl Pass {
    pub(super) fn of(erasing: Vec<Erasing>, beside: Beside, generation: i64) -> Self {
        Self {
            persons: Arc::new(Persons::of(&erasing)),
            erasing,
            beside,
            generation,
            reach: 0,
        }
    }

    /// The ids of the persons of some erasures, each once.
    pub(super) fn persons_of(&self, whose: impl Iterator<Item = usize>) -> Vec<String> {
        let indexes: BTreeSet<usize> = whose.collect();
        let of = indexes
            .into_iter()
            .filter_map(|index| self.erasing.get(index));
        let persons: BTreeSet<&str> = of.map(|erasing| erasing.person.as_str()).collect();
        persons.into_iter().map(str::to_owned).collect()
    }

    /// The ids of the erasures.
    pub(super) fn ids(&self) -> Vec<String> {
        let ids = self.erasing.iter();
        ids.map(|erasing| erasing.erasure_id.clone()).collect()
    }

    fn in_tables(&self) -> impl Iterator<Item = &Erasing> {
        let erasing = self.erasing.iter();
        erasing.filter(|erasing| erasing.segments_upto.is_none())
    }

    /// The next positions of the tables, so many at most: those behind the first, up to the second.
    pub(super) fn rows(&self, positions_max: i64) -> Option<(i64, i64)> {
        let after = self.in_tables().map(|erasing| erasing.rows_upto).min()?;
        let last = self.in_tables().map(|erasing| erasing.upto.0).max()?;
        let last = last.max(self.reach);
        (after < last).then(|| (after, last.min(after.saturating_add(positions_max))))
    }

    /// The tables are looked through up to a position, though it is after all that is to be erased of persons who
    /// did nothing.
    pub(super) fn reaches(&mut self, upto: Position) {
        self.reach = upto.0;
    }

    /// The tables are done up to a position.
    pub(super) fn rows_are_done(&mut self, upto: i64) {
        for erasing in &mut self.erasing {
            erasing.rows_upto = erasing.rows_upto.max(upto);
        }
    }

    /// Whether it is still to be found out up to which segment it is looked, for any of them.
    pub(super) fn begins_segments(&self) -> bool {
        self.in_tables().next().is_some()
    }

    /// The tables are done, and segments are looked into up to this one.
    pub(super) fn segments_begin(&mut self, last: i64) {
        self.generation += 1;
        for erasing in &mut self.erasing {
            erasing.segments_upto.get_or_insert(last);
        }
    }

    /// Whether a segment is still to be looked into.
    pub(super) fn looks_into(&self, segment: &Segment) -> bool {
        let mut erasing = self.erasing.iter();
        erasing.any(|erasing| {
            let upto = erasing.segments_upto.unwrap_or(i64::MAX);
            segment.positions.0 <= erasing.upto.0
                && segment.id > erasing.segments_done
                && segment.id <= upto
        })
    }

    /// The segments are done up to this one.
    pub(super) fn segments_are_done(&mut self, upto: i64) {
        for erasing in &mut self.erasing {
            erasing.segments_done = erasing.segments_done.max(upto);
        }
    }

    /// A step that erases something of the erasures with these indexes, one for each event.
    pub(super) fn step(
        &self,
        whose: impl Iterator<Item = usize>,
        segments: i64,
        now: Instant,
    ) -> Step {
        let mut events: BTreeMap<usize, i64> = BTreeMap::new();
        for index in whose {
            *events.entry(index).or_default() += 1;
        }
        let of = |(index, events): (usize, i64)| {
            let erasing = self.erasing.get(index)?;
            Some((erasing.erasure_id.clone(), events))
        };
        Step {
            events: events.into_iter().filter_map(of).collect(),
            segments,
            at: now.0,
        }
    }

    /// How far each of them is.
    pub(super) fn keeps(&self) -> Keeps {
        let erasing = self.erasing.iter();
        let far = erasing.map(|of| (of.erasure_id.clone(), of.rows_upto, of.segments_done));
        Keeps { far: far.collect() }
    }
}

/// What a step of erasures came to.
#[derive(Debug)]
pub(super) struct Step {
    /// Of each erasure the events that had something.
    events: Vec<(String, i64)>,
    segments: i64,
    pub(super) at: i64,
}

impl Step {
    /// Records it.
    pub(super) async fn write(self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        for (erasure_id, events) in self.events {
            let mut sql =
                Sql::new("UPDATE person_erasures SET state = 'RUNNING', failure = NULL, ");
            sql.push("events = events + ").bind(events);
            sql.push(", segments = segments + ").bind(self.segments);
            sql.push(", changed_at = ").bind(self.at);
            sql.push(" WHERE state <> 'DONE' AND erasure_id = ");
            sql.bind(erasure_id);
            run(tx, sql).await?;
        }
        Ok(())
    }
}

/// How far erasures are, to be gone on with from there.
#[derive(Debug)]
pub(super) struct Keeps {
    far: Vec<(String, i64, i64)>,
}

impl Keeps {
    /// Records it.
    pub(super) async fn write(self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        for (erasure_id, rows, segments) in self.far {
            let mut sql = Sql::new("UPDATE person_erasures SET rows_upto = ");
            sql.bind(rows).push(", segments_done = ").bind(segments);
            sql.push(" WHERE state <> 'DONE' AND erasure_id = ");
            sql.bind(erasure_id);
            run(tx, sql).await?;
        }
        Ok(())
    }
}

/// Records that the tables are done, and up to which segment it is looked.
pub(super) async fn begin_segments(
    tx: &DatabaseTransaction,
    ids: Vec<String>,
    last: i64,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE person_erasures SET segments_upto = ");
    sql.bind(last).push(" WHERE segments_upto IS NULL AND ");
    sql.among("erasure_id", List::Text(ids));
    run(tx, sql).await
}

/// Records that erasures are done: from then on only who knows the id of a person can tell of whom one was.
pub(super) async fn end(
    tx: &DatabaseTransaction,
    ids: Vec<String>,
    now: Instant,
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "UPDATE person_erasures SET state = 'DONE', person = NULL, failure = NULL, changed_at = ",
    );
    sql.bind(now.0).push(" WHERE ");
    sql.among("erasure_id", List::Text(ids));
    run(tx, sql).await
}

async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<(), StoreError> {
    let done = tx.execute_raw(sql.statement(tx.get_database_backend()));
    done.await.doing("record an erasure").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::segments::FilesError;

    fn lost() -> StoreError {
        let name = "a".to_owned();
        StoreError::Files(FilesError::Damaged { name })
    }

    fn left(looked: &Looked) -> Vec<i64> {
        (1..=6).filter(|segment| !looked.has(*segment)).collect()
    }

    #[test]
    fn who_erases_again_looks_for_what_was_lost_and_for_what_is_left() {
        let (mut looked, of) = (Looked::default(), ["a".to_owned()]);
        looked.begin(&of);
        for segment in 1..=5 {
            if [2, 4].contains(&segment) {
                looked.lost(segment, lost());
            }
            looked.looked_into(segment);
        }
        // in the next turn it goes on, and in the next try it begins with what was lost
        assert_eq!(left(&looked), [6]);
        assert!(looked.has_lost() && looked.take_why().is_some());
        looked.begin(&of);
        assert_eq!(left(&looked), [2, 4, 6]);
        assert!(!looked.has_lost() && looked.take_why().is_none());
        looked.looked_into(2);
        looked.lost(4, lost());
        looked.looked_into(4);
        assert_eq!(left(&looked), [6]);
        // one that fails before it comes to them has not looked for them
        looked.begin(&of);
        looked.begin(&of);
        assert_eq!(left(&looked), [4, 6]);
        looked.begin(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(left(&looked), [1, 2, 3, 4, 5, 6]);
    }
}
