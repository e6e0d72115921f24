//! What questions have in common: measures of a kind, of a part of what is recorded, told apart by something.

use std::collections::{BTreeSet, HashMap};

use sea_orm::ConnectionTrait;

use super::ask::{ALL_BUCKETS_MAX, AskError};
use super::question::{By, Groups, Question, Scope};
use super::series::{Aggregate, Bucket, TOLD, What, makes_sense};
use crate::kinds::{Form, Kind, Measure};
use crate::projections::rollups::minutes;
use crate::rollups::packed::{Row, Wanted};
use crate::rollups::shape::Shape;
use crate::store::{Doing, Sql, Store, StoreError};

/// What is measured, of what, and told apart by what.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The kind of the events.
    pub kind: Kind,
    /// The measures, by their places in the kind; none for the events themselves.
    pub measures: Vec<Option<usize>>,
    /// Of which of what is recorded.
    pub scope: Scope,
    /// What answers are told apart by.
    pub by: Vec<By>,
    /// Whether percentiles are told.
    pub percentiles: bool,
}

impl Subject {
    /// What is asked of the rollups over some time that is cut into buckets.
    pub(super) async fn question(
        &self,
        store: &Store,
        range: (i64, i64),
        ends: Vec<i64>,
    ) -> Result<Question, AskError> {
        let mut shape = Shape::of(self.kind).ok_or(AskError::Kind {
            kind: self.kind.spec().wire,
        })?;
        shape.archive = Some(store.archive_of());
        let wanted = self.wanted(&shape);
        Ok(Question {
            is_money: self.has_money(),
            wanted,
            shape: shape.only(wanted),
            range,
            ends,
            now: store.clock().now().0,
            scope: self.scope.clone(),
            by: self.by.clone(),
            types: types(store, &self.by).await?,
            buckets_max: ALL_BUCKETS_MAX,
            kept: None,
        })
    }

    /// The groups of a measure: of what is no money those of all currencies together.
    pub(super) fn of_measure(
        &self,
        question: &Question,
        groups: &Groups,
        measure: Option<usize>,
    ) -> Groups {
        if question.is_money && !self.is_money(measure) {
            groups.clone().of_any_currency()
        } else {
            groups.clone()
        }
    }

    /// Whether a measure is an amount of money.
    pub(super) fn is_money(&self, measure: Option<usize>) -> bool {
        let spec = self.kind.spec();
        let of = measure.and_then(|measure| self.spec_of(measure));
        of.is_some_and(|measure| measure.is_money(spec))
    }

    /// Refuses an aggregate that says nothing of a measure.
    ///
    /// # Errors
    /// When it says nothing.
    pub(super) fn makes_sense(
        &self,
        measure: Option<usize>,
        aggregate: Aggregate,
    ) -> Result<(), AskError> {
        self.sense_of(&[measure], aggregate)
    }

    /// Refuses an aggregate that says nothing of any of the measures: one that says something of one is not told of
    /// the others.
    ///
    /// # Errors
    /// When it says nothing of all of them.
    pub(crate) fn any_makes_sense(&self, aggregate: Aggregate) -> Result<(), AskError> {
        self.sense_of(&self.measures, aggregate)
    }

    fn sense_of(&self, measures: &[Option<usize>], aggregate: Aggregate) -> Result<(), AskError> {
        let specs = measures
            .iter()
            .map(|measure| measure.and_then(|measure| self.spec_of(measure)));
        let what = |spec: &Measure| What::Measure(0, spec.form);
        let of_one = |aggregate: Aggregate| {
            let mut specs = specs.clone();
            specs.any(|spec| makes_sense(spec.map_or(What::Events, what), aggregate))
        };
        if of_one(aggregate) {
            return Ok(());
        }
        let others = TOLD.into_iter().chain([Aggregate::Percentile(50.0)]);
        let others: Vec<String> = others.filter(|one| of_one(*one)).map(word).collect();
        let events = self.kind.spec().measured.as_ref();
        let events = events.map_or("", |measured| measured.events);
        let words: Vec<&str> = specs
            .map(|spec| spec.map_or(events, |measure| measure.word))
            .collect();
        Err(AskError::Senseless {
            aggregate: word(aggregate),
            measures: words.join(" or "),
            others: others.join(", "),
        })
    }

    fn spec_of(&self, measure: usize) -> Option<&'static Measure> {
        let measured = self.kind.spec().measured.as_ref()?;
        measured.measures.get(measure)
    }

    fn wanted(&self, shape: &Shape) -> Wanted {
        let measures = self.measures.iter().flatten();
        let forms = |measure: &usize| shape.forms.get(*measure);
        let is_gauge = measures.clone().any(|m| forms(m) == Some(&Form::Gauge));
        Wanted {
            measures: measures.fold(0, |bits, measure| bits | 1 << measure),
            sketches: self.percentiles && is_gauge,
            counts: false,
        }
    }

    /// Whether all of it is summed up by minutes since an instant.
    pub(super) async fn has_minutes(&self, store: &Store, from: i64) -> Result<bool, StoreError> {
        let is_counter = |measure: &usize| {
            let of = self.spec_of(*measure);
            of.is_some_and(|measure| measure.form == Form::Counter)
        };
        let measured = self.kind.spec().measured.as_ref();
        if !measured.is_some_and(|measured| measured.by_site)
            || !self.scope.is_of_sites(&self.by)
            || self.measures.iter().flatten().any(is_counter)
        {
            return Ok(false);
        }
        let since = minutes::since(store.readers()).await?;
        Ok(since.is_some_and(|since| since <= from))
    }

    fn has_money(&self) -> bool {
        self.measures.iter().any(|measure| self.is_money(*measure))
    }
}

impl Question {
    /// What of its answer tells of a measure.
    pub(super) fn what(&self, measure: Option<usize>) -> What {
        let of_measure = |measure: usize| {
            let form = self.shape.forms.get(measure)?;
            Some(What::Measure(self.wanted.slot(measure)?, *form))
        };
        measure.and_then(of_measure).unwrap_or(What::Events)
    }

    /// The same, with it counted how many readings came, of what may come in parts.
    pub(super) fn counting_readings(mut self) -> Self {
        self.wanted.counts = self.shape.has_parts();
        self.shape = self.shape.only(self.wanted);
        self
    }

    /// All of its range as one bucket, of which a row tells.
    pub(super) fn whole(&self, what: What, row: Option<&Row>) -> Bucket {
        Bucket::of_row(self.range, what, (row, self.past(self.range)))
    }

    /// The same of another time, of the same provenances if there are any: the same is compared with the same.
    pub(super) fn at(&self, range: (i64, i64), ends: Vec<i64>, like: &BTreeSet<i64>) -> Self {
        let mut other = Self {
            range,
            ends,
            ..self.clone()
        };
        if !like.is_empty() {
            other.scope.provenances = Some(like.clone());
        }
        other
    }
}

/// By what an aggregate is asked for.
fn word(aggregate: Aggregate) -> String {
    if matches!(aggregate, Aggregate::Percentile(_)) {
        "PERCENTILE".to_owned()
    } else {
        format!("{aggregate:?}").to_uppercase()
    }
}

/// The types of devices, if they are asked for.
pub(super) async fn types(store: &Store, by: &[By]) -> Result<HashMap<i64, String>, StoreError> {
    if !by.contains(&By::DeviceType) {
        return Ok(HashMap::new());
    }
    let doing = "read the types of devices";
    let sql = Sql::new("SELECT device_key, device_type FROM devices");
    let rows = store
        .readers()
        .query_all_raw(sql.statement(store.backend()))
        .await;
    let read =
        |row: &sea_orm::QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    rows.doing(doing)?
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .doing(doing)
}
