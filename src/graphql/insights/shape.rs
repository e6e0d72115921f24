//! The one shape of every insight as an interface, and objects that implement it.
//!
//! An insight is a [`Reading`]: an object that says what is its own, with the fields that all insights have beside
//! it. These are written once, in [`Told`], and added to the type of that object.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::parser::types::Field;
use async_graphql::registry::{MetaField, MetaType, Registry};
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Enum, Object, ObjectType, OutputType, Positioned,
    ServerResult, SimpleObject, Value,
};
use futures_util::future::BoxFuture;

use crate::event::{Instant, Provenance};
use crate::graphql::meta;
use crate::graphql::order::{self, InOrder, or_null};
use crate::graphql::scalars::{DateTime, Long};
use crate::graphql::words::{Provenances, Shown};
use crate::insights::shape::{Evidence, Insight, Interval, Reason, Recommendation, Status};

/// The name of the interface.
const NAME: &str = "Insight";
/// What it is.
const DESCRIPTION: &str = "What the log says of something, with its evidence: a value, between which bounds the \
    truth lies, what it rests on and what it comes of. Where there is too little to go by it has no value.";

/// How far an insight can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "InsightStatus")]
pub(in crate::graphql) enum InsightStatus {
    /// There is enough to go by.
    Ok,
    /// It holds, but rests mostly on what is known of others; it is sharper the more of its own is known.
    Learning,
    /// There is too little: there is no value, and a reason says what is missing and when it will suffice.
    Insufficient,
    /// What it rests on is old.
    Stale,
}

impl From<Status> for InsightStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => Self::Ok,
            Status::Learning => Self::Learning,
            Status::Insufficient => Self::Insufficient,
            Status::Stale => Self::Stale,
        }
    }
}

/// Between which bounds the truth lies.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub(in crate::graphql) struct InsightInterval {
    /// The lower bound, in the unit of what it is of.
    pub(in crate::graphql) low: f64,
    /// The upper bound.
    pub(in crate::graphql) high: f64,
    /// How likely the truth lies between them, such as 0.9.
    pub(in crate::graphql) level: f64,
}

impl InsightInterval {
    /// The interval of a reading.
    pub(in crate::graphql) fn of(interval: Interval) -> InOrder<Self> {
        InOrder(Self {
            low: interval.low,
            high: interval.high,
            level: interval.level,
        })
    }
}

/// What an insight rests on.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub(in crate::graphql) struct InsightEvidence {
    /// How many events were read for it, since it began to be kept.
    events: Long,
    /// When the first of them happened; null without any.
    from: Option<DateTime>,
    /// When the last of them happened; null without any.
    to: Option<DateTime>,
    /// Which part came of what was to come, from 0 to 1; null where nothing is to come regularly.
    coverage: Option<f64>,
}

impl InsightEvidence {
    fn of(evidence: &Evidence) -> InOrder<Self> {
        let at = |at: Option<Instant>| at.map(DateTime);
        InOrder(Self {
            events: Long(evidence.events),
            from: at(evidence.from),
            to: at(evidence.to),
            coverage: evidence.coverage,
        })
    }
}

/// One thing that an insight comes of.
#[derive(Clone, Debug, SimpleObject)]
pub(in crate::graphql) struct InsightReason {
    /// A word for what it is, such as `errors.24h`.
    factor: &'static str,
    /// What it adds to the value, in the unit that the insight says.
    contribution: f64,
    /// What was seen, if it is a number.
    observed: Option<f64>,
    /// What was to be expected.
    expected: Option<f64>,
    /// The unit of both.
    unit: Option<&'static str>,
    /// The same as a sentence for whoever looks after the fleet.
    sentence: String,
}

impl InsightReason {
    /// A reason of a reading.
    pub(in crate::graphql) fn of(reason: &Reason) -> InOrder<Self> {
        InOrder(Self {
            factor: reason.factor,
            contribution: reason.contribution,
            observed: reason.observed,
            expected: reason.expected,
            unit: reason.unit,
            sentence: reason.sentence.clone(),
        })
    }
}

/// What can be done.
#[derive(Clone, Debug, SimpleObject)]
pub(in crate::graphql) struct InsightRecommendation {
    /// A word for it.
    action: &'static str,
    /// The same as a sentence for whoever looks after the fleet.
    sentence: String,
    /// The mutation of this API that does it, if there is one.
    mutation: Option<String>,
}

impl InsightRecommendation {
    fn of(recommendation: &Recommendation) -> InOrder<Self> {
        InOrder(Self {
            action: recommendation.action,
            sentence: recommendation.sentence.clone(),
            mutation: recommendation.mutation.clone(),
        })
    }
}

/// What all insights say.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct Told {
    insight: Arc<Insight>,
    provenance: Option<Provenance>,
}

#[Object(name = "Insight")]
impl Told {
    /// The value, in the unit that the type says; null exactly when the status is INSUFFICIENT.
    async fn value(&self) -> Option<f64> {
        self.insight.value
    }

    /// Between which bounds the truth lies; null where there is no value, or it is a count and no estimate.
    async fn interval(&self) -> Option<InOrder<InsightInterval>> {
        self.insight.interval.map(InsightInterval::of)
    }

    /// What it rests on.
    async fn evidence(&self) -> InOrder<InsightEvidence> {
        InsightEvidence::of(&self.insight.evidence)
    }

    /// How far it can be relied on.
    async fn status(&self) -> InsightStatus {
        self.insight.status.into()
    }

    /// What it comes of, the weightiest first.
    async fn reasons(&self) -> Vec<InOrder<InsightReason>> {
        let reasons = self.insight.reasons.iter();
        reasons.map(InsightReason::of).collect()
    }

    /// What can be done; empty where nothing is to be done, or nothing is known that helps.
    async fn recommendations(&self) -> Vec<InOrder<InsightRecommendation>> {
        let recommendations = self.insight.recommendations.iter();
        recommendations.map(InsightRecommendation::of).collect()
    }

    /// Of when it is: nothing that happened later was read.
    async fn as_of(&self) -> DateTime {
        DateTime(self.insight.as_of)
    }

    /// Where the events come from that it was made of; null where there are none.
    async fn provenance(&self) -> Option<Shown<Provenances>> {
        let provenance = self.provenance?;
        Some(Shown::new(provenance.word()))
    }
}

/// The fields of the interface, which is added to the schema if it is not there.
fn fields(registry: &mut Registry) -> Vec<MetaField> {
    <Told as OutputType>::create_type_info(registry);
    let ty = registry.types.get(NAME);
    if let Some(MetaType::Object { fields, .. } | MetaType::Interface { fields, .. }) = ty {
        fields.values().cloned().collect()
    } else {
        Vec::new()
    }
}

/// Has an object of the schema implement the interface.
fn implement(registry: &mut Registry, object: &str) {
    let fields = fields(registry);
    if let Some(MetaType::Object { fields: own, .. }) = registry.types.get_mut(object) {
        own.extend(fields.iter().map(|of| (of.name.clone(), of.clone())));
    }
    registry.add_implements(object, NAME);
    add(registry, fields);
}

/// Adds the interface, with all objects that are known to implement it.
fn add(registry: &mut Registry, fields: Vec<MetaField>) {
    let implements = registry.implements.iter();
    let implements = implements.filter(|(_, interfaces)| interfaces.contains(NAME));
    let mut possible: Vec<String> = implements.map(|(object, _)| object.clone()).collect();
    possible.sort_unstable();
    meta::interface(registry, NAME, DESCRIPTION, fields, &possible);
}

/// The interface, of which no field is: it is kept in the schema by its name.
#[derive(Debug)]
pub(in crate::graphql) struct Interface;

impl OutputType for Interface {
    fn type_name() -> Cow<'static, str> {
        NAME.into()
    }

    /// Adds what was taken out of the schema since no field is of it: the objects that implement it are in it.
    fn create_type_info(registry: &mut Registry) -> String {
        let fields = fields(registry);
        add(registry, fields);
        Self::qualified_type_name()
    }

    async fn resolve(
        &self,
        _ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        Ok(Value::Null)
    }
}

/// An insight as an object: what `T` says, and beside it what all insights say.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct Reading<T> {
    told: Told,
    own: T,
}

impl<T> Reading<T> {
    /// A reading of events of a provenance, with what is its own.
    pub(in crate::graphql) fn new(
        insight: impl Into<Arc<Insight>>,
        provenance: Option<Provenance>,
        own: T,
    ) -> Self {
        let insight = insight.into();
        let told = Told {
            insight,
            provenance,
        };
        Self { told, own }
    }
}

impl<T: ObjectType> ContainerType for Reading<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let told: BoxFuture<'_, _> = Box::pin(self.told.resolve_field(ctx));
        let resolved = match told.await {
            Ok(None) => {
                let own: BoxFuture<'_, _> = Box::pin(self.own.resolve_field(ctx));
                own.await
            }
            told => told,
        };
        Ok(or_null(ctx, resolved))
    }
}

impl<T: ObjectType> OutputType for Reading<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let name = T::create_type_info(registry);
        implement(registry, &T::type_name());
        name
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        order::resolve(ctx, self).await
    }
}

impl<T: ObjectType> ObjectType for Reading<T> {}
