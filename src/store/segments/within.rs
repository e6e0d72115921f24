//! The archived events of some time, for those who read tables by statements of their own and need what was
//! archived as well.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::ConnectionTrait;

use super::{Ask, NO_PARENT, Segments};
use crate::event::{Cell, Event, Instant, Position};
use crate::kinds::{Envelope, Filter, Kind, Operand, Operator};
use crate::store::allowance::Allowance;
use crate::store::error::{Doing, StoreError};
use crate::store::joined::anything;
use crate::store::names::Names;
use crate::store::read::PageQuery;
use crate::store::rows::Columns;
use crate::store::sql::Sql;

/// What was archived of a log.
#[derive(Clone, Debug)]
pub struct Archive {
    segments: Arc<Segments>,
}

/// Events of a kind that happened from one instant until before another, recorded up to a position, and of
/// these devices, or of all; 0 stands for those that name none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened<'a> {
    pub(crate) kind: Kind,
    pub(crate) devices: Option<&'a [i64]>,
    pub(crate) time: (i64, i64),
    pub(crate) upto: i64,
}

impl Archive {
    /// What is in these segments.
    pub(crate) const fn of(segments: Arc<Segments>) -> Self {
        Self { segments }
    }

    /// The generation of the list of segments: what was read of tables between two looks at it that agree is
    /// of one state with what is in segments.
    pub(crate) async fn generation(&self, db: &impl ConnectionTrait) -> Result<i64, StoreError> {
        let doing = "look for the list of segments";
        let sql = Sql::new("SELECT segments FROM log_head WHERE id = 1");
        let row = db.query_one_raw(sql.statement(db.get_database_backend()));
        let row = row.await.doing(doing)?;
        let generation = row.map(|row| row.try_get_by_index(0)).transpose();
        Ok(generation.doing(doing)?.unwrap_or_default())
    }

    /// From when on what happened is whole, of each kind of which something was deleted for good.
    pub(crate) async fn whole_since(
        &self,
        db: &impl ConnectionTrait,
    ) -> Result<HashMap<Kind, Instant>, StoreError> {
        let generation = self.generation(db).await?;
        let catalog = self.segments.of_generation(db, generation).await?;
        Ok(catalog.whole_since())
    }

    /// The events of a generation, at most so many and one more. What they refer to has its key and no id.
    pub(crate) async fn events(
        &self,
        db: &impl ConnectionTrait,
        (generation, happened): (i64, Happened<'_>),
        max: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let catalog = self.segments.of_generation(db, generation).await?;
        if catalog.of(happened.kind).is_empty() {
            return Ok(Vec::new());
        }
        let query = PageQuery {
            filter: filter(happened),
            upto: Some(Position(happened.upto)),
            limit: max.saturating_add(1),
            ..anything((happened.kind, Columns::ALL))
        };
        let (names, none) = (Arc::new(Names::default()), HashMap::new());
        let found = self
            .segments
            .find(&catalog, Ask::page(&query), (&names, &none));
        let found = found.await?.remove(&NO_PARENT).unwrap_or_default();
        let allowance = Allowance::of(usize::MAX);
        let of = ((happened.kind, Columns::ALL), &*catalog);
        self.segments.keyed_rows(of, (&found, &allowance)).await
    }
}

fn filter(happened: Happened<'_>) -> Filter {
    let at = |operator| Filter::Is(Operand::Envelope(Envelope::OccurredAt), operator);
    let (from, until) = happened.time;
    let mut all = vec![
        at(Operator::AtLeast(from.into())),
        at(Operator::Less(until.into())),
    ];
    let has_device = happened.kind.spec().device_index().is_some();
    if let (Some(devices), true) = (happened.devices, has_device) {
        let keys = devices.iter().filter(|key| **key != 0);
        let named = Operator::In(keys.map(|key| Cell::Int(*key)).collect());
        let named = Filter::Is(Operand::Device, named);
        all.push(if devices.contains(&0) {
            let none = Filter::Is(Operand::Device, Operator::IsNull);
            Filter::Or(vec![named, none])
        } else {
            named
        });
    }
    Filter::And(all)
}
