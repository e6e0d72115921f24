//! A group of errors as an object.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object, SimpleObject};

use super::error_group_parts::{ErrorGroupDevices, ErrorGroupEvents};
use super::shape::{InsightInterval, Reading};
use crate::error_groups::{Cut, Told};
use crate::event::{Instant, Provenance};
use crate::graphql::order::InOrder;
use crate::graphql::scalars::{DateTime, Long};
use crate::graphql::words::{
    ErrorCategories, ErrorGroupDecisions, ErrorGroupStatuses, ErrorSeverities, Provenances, Shown,
    Word,
};
use crate::insights::errors::cause::Suspect;
use crate::insights::errors::group::Status;
use crate::insights::errors::read::BurstSeen;
use crate::insights::input::Severity;
use crate::insights::shape::Interval;

/// The level of the intervals of suspected changes, shared between all that are looked at.
const SUSPECT_LEVEL: f64 = 0.95;

/// The word of a severity.
pub(super) const fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "INFO",
        Severity::Warning => "WARNING",
        Severity::Error => "ERROR",
        Severity::Critical => "CRITICAL",
    }
}

/// The severity of a word.
pub(super) fn severity_of(word: &str) -> Severity {
    let all = [Severity::Info, Severity::Warning, Severity::Critical];
    let known = all
        .into_iter()
        .find(|severity| severity_word(*severity) == word);
    known.unwrap_or(Severity::Error)
}

/// The word of what holds of a group.
pub(super) const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Open => "OPEN",
        Status::Resolved => "RESOLVED",
        Status::Ignored => "IGNORED",
    }
}

/// What holds of a group by its word.
pub(super) fn status_of(word: &str) -> Status {
    let all = [Status::Resolved, Status::Ignored];
    let known = all.into_iter().find(|status| status_word(*status) == word);
    known.unwrap_or(Status::Open)
}

/// How often a group of errors was seen in the last 7 days, against the 7 days before.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ErrorGroupTrend {
    /// Errors of the last 7 days; null when the status is INSUFFICIENT.
    errors: Option<f64>,
    /// As many as the 7 days before let expect; null when the status is INSUFFICIENT. The value is how many times that
    /// came.
    expected_errors: Option<f64>,
}

/// A parameter that changed on devices of a group before it came in a burst.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct BurstChange {
    /// The parameter.
    parameter_name: String,
    /// On how many of the devices that are looked at, within a day before.
    devices: Long,
    /// How long before at the least, in seconds.
    seconds_before: i32,
}

/// Hours in a row in which a group was seen far more often than the week before lets expect.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ErrorBurst {
    /// When the first of the hours begins.
    from: DateTime,
    /// When the last of them ends, or the instant that was asked for.
    to: DateTime,
    /// Errors in them.
    count: Long,
    /// Errors that the week before lets expect in them.
    expected: f64,
    /// The parameter that changed before on most of the devices; null where none did.
    change: Option<InOrder<BurstChange>>,
}

impl ErrorBurst {
    fn of(seen: &BurstSeen) -> InOrder<Self> {
        let change = seen
            .change
            .as_ref()
            .map(|(parameter, devices, seconds)| BurstChange {
                parameter_name: parameter.clone(),
                devices: long(*devices),
                seconds_before: i32::try_from(*seconds).unwrap_or(i32::MAX),
            });
        InOrder(Self {
            from: DateTime(seen.burst.from),
            to: DateTime(seen.burst.to),
            count: long(seen.burst.count),
            expected: seen.burst.expected,
            change: change.map(InOrder),
        })
    }
}

/// A change of a parameter after which errors began more often than at other times.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct SuspectedChange {
    /// The parameter.
    parameter_name: String,
    /// Devices on which it changed, or at their site, within a day before the error was first seen there.
    devices: Long,
    /// The devices that were looked at: at most 64 of the group.
    of_devices: Long,
    /// Half of those devices had the error so many seconds after the change, or sooner.
    median_lag_seconds: i32,
    /// How many times as often the error begins on a device in the day after such a change as at other times.
    ratio: f64,
    /// Between which bounds that lies.
    interval: InOrder<InsightInterval>,
}

impl SuspectedChange {
    fn of(suspect: &Suspect) -> InOrder<Self> {
        InOrder(Self {
            parameter_name: suspect.parameter.clone(),
            devices: long(suspect.devices),
            of_devices: long(suspect.of),
            median_lag_seconds: i32::try_from(suspect.lag_seconds).unwrap_or(i32::MAX),
            ratio: suspect.ratio.value,
            interval: InsightInterval::of(Interval {
                low: suspect.ratio.low,
                high: suspect.ratio.high,
                level: SUSPECT_LEVEL,
            }),
        })
    }
}

fn long(number: u64) -> Long {
    Long(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A group of errors, of what was asked for.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct ErrorGroup {
    told: Arc<Told>,
    cut: Arc<Cut>,
    as_of: Instant,
}

impl ErrorGroup {
    /// A group that was read.
    pub(super) fn new(told: Told, as_of: Instant, cut: &Arc<Cut>) -> Self {
        Self {
            told: Arc::new(told),
            cut: Arc::clone(cut),
            as_of,
        }
    }

    /// What was read of it.
    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    fn source(&self) -> Provenance {
        self.told.id.provenance
    }
}

/// Errors that are one error: their messages have one form, or their stack traces one place.
///
/// Where devices, sites or device types were asked for, or the caller reaches only some, what is counted and told is of
/// the errors of those devices. A group keeps its id as long as the log is as it is; where two became one, the id of
/// either leads to it.
#[Object]
impl ErrorGroup {
    /// Its id.
    async fn id(&self) -> ID {
        ID(self.told.id.to_string())
    }

    /// Where its errors come from.
    async fn provenance(&self) -> Shown<Provenances> {
        Shown::new(self.source().word())
    }

    /// What the messages have in common, with `<*>` for what differs.
    async fn template(&self) -> &str {
        &self.told.group.template
    }

    /// The category of its errors.
    async fn category(&self) -> Word<ErrorCategories> {
        Word::known(&self.told.group.category)
    }

    /// The code of its errors, if they have one.
    async fn error_code(&self) -> Option<&str> {
        self.told.group.code.as_deref()
    }

    /// The most severe of its errors so far.
    async fn severity(&self) -> Word<ErrorSeverities> {
        Word::known(severity_word(self.told.group.severity))
    }

    /// What holds of it.
    async fn status(&self) -> Word<ErrorGroupStatuses> {
        Word::known(status_word(self.told.group.status))
    }

    /// When the first error of it came after it was resolved; null when it did not come back.
    async fn regressed_at(&self) -> Option<DateTime> {
        self.told.group.came_back.map(DateTime)
    }

    /// How many errors.
    async fn count(&self) -> Long {
        long(self.told.group.count)
    }

    /// On how many devices; estimated within about 13 % where there are more than 64.
    async fn device_count(&self) -> Long {
        let devices: i64 = num_traits::AsPrimitive::as_(self.told.group.devices.round());
        Long(devices)
    }

    /// Whether the number of devices is counted, and no estimate.
    async fn is_device_count_exact(&self) -> bool {
        self.told.group.is_device_count_exact
    }

    /// When the first of the errors was.
    async fn first_seen_at(&self) -> DateTime {
        DateTime(self.told.group.first)
    }

    /// When the last of the errors was.
    async fn last_seen_at(&self) -> DateTime {
        DateTime(self.told.group.last)
    }

    /// How often it was seen in the last 7 days, over how often in the 7 days before: 2 is twice as often.
    async fn trend(&self) -> Reading<ErrorGroupTrend> {
        let insight = self.told.group.trend.clone();
        let reason = insight.reasons.first().filter(|_| insight.value.is_some());
        let own = ErrorGroupTrend {
            errors: reason.and_then(|reason| reason.observed),
            expected_errors: reason.and_then(|reason| reason.expected),
        };
        Reading::new(insight, Some(self.source()), own)
    }

    /// The bursts of the last 7 days in order of time, the last 8 at most.
    async fn bursts(&self) -> Vec<InOrder<ErrorBurst>> {
        self.told.group.bursts.iter().map(ErrorBurst::of).collect()
    }

    /// The changes of parameters that may have brought it, the most telling first; empty where none stands out.
    async fn suspected_changes(&self) -> Vec<InOrder<SuspectedChange>> {
        let suspects = self.told.group.suspects.iter();
        suspects.map(SuspectedChange::of).collect()
    }

    /// All of that as one sentence.
    async fn sentence(&self) -> &str {
        &self.told.group.sentence
    }

    /// What was last decided about it; null when nothing was.
    async fn decision(&self) -> Option<Word<ErrorGroupDecisions>> {
        let decided = self.told.decided.as_ref()?;
        Some(Word::known(&decided.change))
    }

    /// When that was decided.
    async fn decided_at(&self) -> Option<DateTime> {
        let decided = self.told.decided.as_ref()?;
        Some(DateTime(Instant(decided.occurred_at)))
    }

    /// Who decided it.
    async fn decided_by(&self) -> Option<&str> {
        self.told.decided.as_ref()?.changed_by.as_deref()
    }

    /// Why, as they said.
    async fn decision_reason(&self) -> Option<&str> {
        self.told.decided.as_ref()?.reason.as_deref()
    }

    /// Position of the last decision about it, for `expectedVersion`; 0 when nothing was decided.
    async fn version(&self) -> Long {
        Long(self.told.version)
    }

    /// Of when it is told: nothing that happened later counts. Which messages are one group is as it is known now.
    async fn as_of(&self) -> DateTime {
        DateTime(self.as_of)
    }

    /// Its errors, the newest first; of those that the caller may read.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Rows at most; 50 when it is left out, 1000 at most.")] first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
    ) -> Result<Option<InOrder<ErrorGroupEvents>>, Error> {
        let events = ErrorGroupEvents::read(ctx, (&self.told, &self.cut), (first, after)).await?;
        Ok(Some(InOrder(events)))
    }

    /// The devices on which it was seen, those first that had it most often.
    async fn devices(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Rows at most; 50 when it is left out, 1000 at most.")] first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
    ) -> Result<Option<InOrder<ErrorGroupDevices>>, Error> {
        let devices = ErrorGroupDevices::read(ctx, (&self.told, &self.cut), (first, after)).await?;
        Ok(Some(InOrder(devices)))
    }
}
