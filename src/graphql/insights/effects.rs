//! What a change of the configuration did, as objects.

use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};

use super::measure::DeviceMeasure;
use super::shape::Reading;
use crate::event::{Instant, Provenance};
use crate::graphql::fleet::Device;
use crate::graphql::order::InOrder;
use crate::graphql::scalars::DateTime;
use crate::insights::impact::change::{Effect, Impact};
use crate::insights::impact::verdict::{Series, Verdict};
use crate::insights::impact::whole::whole;
use crate::insights::shape::Recommendation;

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "ImpactVerdict", remote = "Verdict")]
pub(in crate::graphql) enum ImpactVerdict {
    /// It made it better.
    Improved,
    /// It made it worse.
    Worse,
    /// All of the interval lies within 5 %: it made no difference that matters.
    NoMaterialChange,
    /// Neither is known, or not yet: `knownAt` says when it will be, if it will.
    Unclear,
}

/// Another change of a device in the days compared.
#[derive(Clone, Debug, SimpleObject)]
pub(in crate::graphql) struct OverlappingChange {
    /// Name of the parameter.
    parameter_name: String,
    /// When it was changed.
    changed_at: DateTime,
}

/// What a change did to one measure.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct ConfigurationEffect {
    effect: Effect,
}

/// What a change of the configuration did to one measure: `value` is the relative change of its daily level, such as
/// -0.12 for 12 % less, against what was to be expected without the change.
#[Object]
impl ConfigurationEffect {
    /// Its name, such as `networkLatencyMs`, or `errorCount` for the errors of the device.
    async fn name(&self) -> &str {
        self.effect.series.name()
    }

    /// The measure; null for errors.
    async fn measure(&self) -> Option<DeviceMeasure> {
        match self.effect.series {
            Series::Measure(measure) => Some(measure.into()),
            Series::Errors => None,
        }
    }

    /// The unit of its daily level.
    async fn unit(&self) -> &str {
        self.effect.series.unit()
    }

    /// What the change did to it; null where neither way is better, such as of connections.
    async fn verdict(&self) -> Option<ImpactVerdict> {
        self.effect.verdict.map(Into::into)
    }

    /// When it will be known, if it is not yet; null when it is known, or never will be.
    async fn known_at(&self) -> Option<DateTime> {
        self.effect.known_at.map(DateTime)
    }

    /// How likely chance alone shows as much, adjusted for how many measures were looked at; null where there is too
    /// little, or neither way is better.
    async fn p_value(&self) -> Option<f64> {
        self.effect.adjusted
    }

    /// The daily level before the change, in the unit; null where there is too little.
    async fn level_before(&self) -> Option<f64> {
        self.effect.estimate.map(|found| found.level_before)
    }

    /// The change in the unit; null where there is too little.
    async fn difference(&self) -> Option<f64> {
        self.effect.estimate.map(|found| found.points())
    }

    /// Days compared before the change.
    async fn days_before(&self) -> Option<i32> {
        self.effect.estimate.map(|found| small(found.days_before))
    }

    /// Days compared after the change.
    async fn days_after(&self) -> Option<i32> {
        self.effect.estimate.map(|found| small(found.days_after))
    }

    /// Devices that were not changed, with which it was compared.
    async fn devices_compared(&self) -> Option<i32> {
        self.effect.estimate.map(|found| small(found.controls))
    }
}

fn small(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A change of the configuration of a device.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct Changed {
    pub(in crate::graphql) key: i64,
    /// Id of the event, for `node`.
    pub(in crate::graphql) id: String,
    pub(in crate::graphql) parameter: String,
    pub(in crate::graphql) at: Instant,
}

/// What a change did to a device.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct ConfigurationImpact {
    change: Changed,
    impact: Impact,
    provenance: Provenance,
}

/// What a change of the configuration did to its device: the days after it are compared with those before, and with
/// devices that were not changed. `value` is the relative change of the measure that the verdict rests on, such as
/// -0.12 for 12 % less.
#[Object]
impl ConfigurationImpact {
    /// The device.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        Device::load(ctx, self.change.key).await
    }

    /// Id of the change, for `node`.
    async fn change_id(&self) -> ID {
        ID(self.change.id.clone())
    }

    /// Name of the parameter.
    async fn parameter_name(&self) -> &str {
        &self.change.parameter
    }

    /// When it was changed.
    async fn changed_at(&self) -> DateTime {
        DateTime(self.change.at)
    }

    /// What the change did on the whole: what became worse counts before what became better.
    async fn verdict(&self) -> ImpactVerdict {
        self.impact.verdict.into()
    }

    /// When it will be known, if it is not yet; null when it is known, or never will be.
    async fn known_at(&self) -> Option<DateTime> {
        self.impact.known_at.map(DateTime)
    }

    /// Whether the device was in the state ERROR within a day before: going back to normal is no effect.
    async fn follows_incident(&self) -> bool {
        self.impact.follows_incident
    }

    /// Other changes of the device in the days compared, of which the effects cannot be told apart.
    async fn overlapping_changes(&self) -> Vec<InOrder<OverlappingChange>> {
        let others = self.impact.overlapping.iter();
        let others = others.map(|other| OverlappingChange {
            parameter_name: other.parameter.clone(),
            changed_at: DateTime(other.at),
        });
        others.map(InOrder).collect()
    }

    /// What it did to each measure.
    async fn effects(&self) -> Vec<Reading<ConfigurationEffect>> {
        let effects = self.impact.effects.iter();
        let told = effects.map(|effect| {
            let own = ConfigurationEffect {
                effect: effect.clone(),
            };
            let insight = effect.insight.clone();
            Reading::new(insight, Some(self.provenance), own)
        });
        told.collect()
    }
}

/// What a change did, as an insight.
pub(in crate::graphql) fn reading(
    change: Changed,
    impact: Impact,
    (provenance, as_of): (Provenance, Instant),
) -> Reading<ConfigurationImpact> {
    let mut insight = whole(&impact, as_of);
    insight.as_of = as_of;
    if impact.verdict == Verdict::Worse {
        insight.recommendations.push(roll_back(&change));
    }
    let own = ConfigurationImpact {
        change,
        impact,
        provenance,
    };
    Reading::new(insight, Some(provenance), own)
}

fn roll_back(change: &Changed) -> Recommendation {
    let at = change.at.to_string();
    let date = at.get(..10).unwrap_or_default();
    Recommendation {
        action: "roll-back",
        sentence: format!(
            "Set {} back to what it was before {date}, unless it became worse by something else.",
            change.parameter
        ),
        mutation: Some("rollbackConfiguration".to_owned()),
    }
}
