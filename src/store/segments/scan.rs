//! Looks at the rows of a group, and reads some of them whole.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::ask::{Ask, Best, Exactly, Found, Hits, NO_PARENT};
use super::cache::{Kept, Key};
use super::{FilesError, Segment, Segments};
use crate::columnar::{Column, ColumnarError, File, Form, Layout, Table};
use crate::event::{Instant, Position};
use crate::store::derived::{self, Row};
use crate::store::error::StoreError;
use crate::store::names::Names;
use crate::store::read::{Place, Tables};

/// What is wanted of the rows that are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Rows,
    Count,
}

/// Rows at most of which it is found out at once whether they are like those before: of those that come later in the
/// order fewer are wanted then.
const CHANGES_MAX: usize = 1_000;

/// A row that passes, if it is not like the one before.
struct Candidate {
    /// The parent under which it is asked for.
    key: i64,
    found: Found,
    device: i64,
}

impl Segments {
    /// The file of a segment.
    pub(crate) async fn file(&self, segment: &Segment) -> Result<Arc<File>, StoreError> {
        let key = Key::File(segment.id);
        if let Some(Kept::File(file)) = self.kept(key) {
            return Ok(file);
        }
        let bytes = self.bytes_of(segment).await?;
        let (kind, weight) = (segment.kind, bytes.len());
        let opening = move || File::open(bytes, Arc::new(Layout::of(kind, Form::Archive)));
        let file = Arc::new(blocking(opening).await?);
        self.keep(key, Kept::File(Arc::clone(&file)), weight);
        Ok(file)
    }

    /// The file of a segment as it lies there, whatever is kept of it.
    pub(crate) async fn bytes_of(&self, segment: &Segment) -> Result<Bytes, StoreError> {
        let files = self.files.as_ref().ok_or(FilesError::Nowhere)?;
        Ok(files.get(&segment.path, &segment.sha256).await?)
    }

    fn kept(&self, key: Key) -> Option<Kept> {
        self.cache().get(key)
    }

    fn keep(&self, key: Key, kept: Kept, bytes: usize) {
        self.cache().put(key, kept, bytes);
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, super::Cache> {
        let cache = self.cache.lock();
        cache.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Some columns of a group of rows.
    pub(crate) async fn table(
        &self,
        (segment, group): (&Segment, usize),
        slots: &[usize],
    ) -> Result<Table, StoreError> {
        let file = self.file(segment).await?;
        let layout = Arc::new(Layout::of(segment.kind, Form::Archive));
        let mut columns: Vec<Option<Arc<Column>>> = vec![None; layout.slots.len()];
        let mut lacking = Vec::new();
        for slot in slots.iter().copied() {
            match self.kept(Key::Column(segment.id, group, slot)) {
                Some(Kept::Column(column)) => set(&mut columns, slot, column),
                _ => lacking.push(slot),
            }
        }
        let rows = file.rows(group);
        if !lacking.is_empty() {
            let decode = move || {
                let column = |slot| Ok((slot, Arc::new(file.column(group, slot)?)));
                lacking
                    .into_iter()
                    .map(column)
                    .collect::<Result<Vec<_>, _>>()
            };
            for (slot, column) in blocking(decode).await? {
                let kept = Kept::Column(Arc::clone(&column));
                let weight = column.weight_bytes();
                self.keep(Key::Column(segment.id, group, slot), kept, weight);
                set(&mut columns, slot, column);
            }
        }
        Ok(Table::of(layout, columns, rows))
    }

    /// Looks at the rows of a group.
    pub(super) async fn scan(
        &self,
        (segment, group): (&Segment, usize),
        (ask, want): (&Arc<Ask>, Want),
        tables: &Tables,
        mut hits: Hits,
    ) -> Result<Hits, StoreError> {
        let layout = Layout::of(segment.kind, Form::Archive);
        let table = self.table((segment, group), &ask.slots(&layout)).await?;
        let (asked, names, id) = (Arc::clone(ask), Arc::clone(&tables.names), segment.id);
        if ask.is_of_changes() {
            let look = move || candidates((&table, (id, group)), &asked, &names);
            let candidates = blocking(look).await?;
            return changed(tables, (ask, want), candidates, hits).await;
        }
        let look = move || {
            look(&table, &asked, &names, |key, place, row| {
                let row = (id, group, row);
                hits.add((&asked, want), (key, Found { place, row }));
            })?;
            Ok(hits)
        };
        blocking(look).await
    }
}

impl Hits {
    fn add(&mut self, (ask, want): (&Ask, Want), (key, found): (i64, Found)) {
        if want == Want::Count {
            *self.counts.entry(key).or_default() += 1;
            return;
        }
        let query = &ask.query;
        let best = self.best.entry(key);
        let best = best.or_insert_with(|| Best::new(query.order, query.limit));
        best.offer(found);
    }

    /// Whether a row may be among those that are wanted.
    fn wants(&self, want: Want, row: &Candidate) -> bool {
        let best = self.best.get(&row.key);
        want == Want::Count || best.is_none_or(|best| best.wants(&row.found.place))
    }
}

/// The rows of a group that pass, if they are not like those before.
fn candidates(
    (table, (segment, group)): (&Table, (i64, usize)),
    ask: &Ask,
    names: &Names,
) -> Result<Vec<Candidate>, ColumnarError> {
    let devices = table.layout().device().and_then(|slot| table.column(slot));
    let mut rows = Vec::new();
    look(table, ask, names, |key, place, row| {
        let device = devices.and_then(|devices| devices.int(row));
        let row = (segment, group, row);
        rows.extend(device.map(|device| Candidate {
            key,
            found: Found { place, row },
            device,
        }));
    })?;
    Ok(rows)
}

/// Adds those rows that are not like those before, in the order in which they are asked for, as long as they are wanted.
async fn changed(
    tables: &Tables,
    (ask, want): (&Ask, Want),
    mut rows: Vec<Candidate>,
    mut hits: Hits,
) -> Result<Hits, StoreError> {
    let (spec, order) = (ask.query.kind.spec(), ask.query.order);
    rows.sort_unstable_by(|left, right| order.compare(&left.found.place, &right.found.place));
    for rows in rows.chunks(CHANGES_MAX) {
        let wanted = rows.iter().filter(|row| hits.wants(want, row));
        let wanted: Vec<&Candidate> = wanted.collect();
        let looked_for: Vec<Row> = wanted.iter().map(|row| row.row()).collect();
        let changes = derived::changes(&tables.db, spec, &looked_for).await?;
        for row in wanted {
            if changes.contains(&row.found.place.position.0) {
                hits.add((ask, want), (row.key, row.found));
            }
        }
    }
    Ok(hits)
}

impl Candidate {
    const fn row(&self) -> Row {
        let place = &self.found.place;
        [self.device, place.occurred_at.0, place.position.0]
    }
}

fn set(columns: &mut [Option<Arc<Column>>], slot: usize, column: Arc<Column>) {
    if let Some(place) = columns.get_mut(slot) {
        *place = Some(column);
    }
}

/// Hands each row over that is asked for, with the key of its parent.
fn look(
    table: &Table,
    ask: &Ask,
    names: &Names,
    mut each: impl FnMut(i64, Place, usize),
) -> Result<(), ColumnarError> {
    let layout = table.layout();
    let columns = (
        table.column(Layout::POSITION),
        table.column(Layout::OCCURRED_AT),
    );
    let (Some(positions), Some(times)) = columns else {
        return Ok(());
    };
    let devices = layout.device().and_then(|slot| table.column(slot));
    let parts = layout.part().and_then(|slot| table.column(slot));
    for row in 0..table.len() {
        let (position, at) = (positions.int(row), times.int(row));
        let place = Place {
            position: Position(position.unwrap_or_default()),
            occurred_at: Instant(at.unwrap_or_default()),
        };
        if !ask.is_within(&place) {
            continue;
        }
        let is_asked = match &ask.exactly {
            Exactly::Any => true,
            Exactly::Positions(wanted) => wanted.binary_search(&place.position.0).is_ok(),
            Exactly::Readings(wanted) => {
                let device = devices.and_then(|devices| devices.int(row));
                device.is_some_and(|device| {
                    wanted.binary_search(&(device, place.occurred_at.0)).is_ok()
                })
            }
            Exactly::Parts(wanted) => {
                let device = devices.and_then(|devices| devices.int(row));
                let part = parts.and_then(|parts| parts.int(row)).unwrap_or(0);
                device.is_some_and(|device| {
                    let part = [device, place.occurred_at.0, part];
                    wanted.binary_search(&part).is_ok()
                })
            }
        };
        if !is_asked {
            continue;
        }
        if ask.is_plain() {
            each(NO_PARENT, place, row);
        } else if let Some(key) = ask.key_of(&table.event(row)?, names) {
            each(key, place, row);
        }
    }
    Ok(())
}

/// Runs what takes long on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ColumnarError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Panicked),
    }
}
