//! What rules of alerts watch for, as it is given and as it is shown.

use async_graphql::{Enum, ID, InputObject, OneofObject, SimpleObject};

use super::insights::{DeviceMeasure, FailureHorizon};
use super::order::InOrder;
use super::words::{DeviceStates, ErrorSeverities, Word};
use crate::alerts::rule::{
    AtRisk, Beyond, ErrorRate, Failure, Gap, InState, Insight, Measure, Metric, Spec, Unusual,
    Unwell, Watch,
};
use crate::insights::risk::model::Horizon;

/// A measure of a device that a rule can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "AlertMeasure", remote = "Measure")]
enum MeasureWord {
    /// Load of the processor, in percent.
    CpuPercent,
    /// Memory in use, in percent.
    MemoryPercent,
    /// Disk in use, in percent.
    DiskPercent,
    /// Latency of the network, in milliseconds.
    NetworkLatencyMs,
    /// Transactions that failed, in percent.
    ErrorRatePercent,
    /// Connections.
    ActiveConnections,
    /// What waits in its queue.
    QueueDepth,
}

/// On which side of a threshold a measure must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "AlertBeyond", remote = "Beyond")]
enum BeyondWord {
    /// Greater than it.
    Above,
    /// Less than it.
    Below,
}

/// What errors are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "AlertPer", remote = "crate::alerts::rule::Per")]
enum PerWord {
    /// Each device.
    Device,
    /// Each site, by its devices.
    Site,
    /// All together, those of no device among them.
    Fleet,
}

/// A measure of a device that is beyond a threshold for a time, by when it was measured.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "AlertMetricInput")]
pub(super) struct AlertMetric {
    /// What is measured.
    measure: MeasureWord,
    /// On which side of the threshold it must not be.
    beyond: BeyondWord,
    /// The threshold, in the unit of the measure; from -1e15 to 1e15.
    threshold: f64,
    /// How long it must be so without a break, in seconds (0 to 86400); 0: once.
    #[graphql(default = 0)]
    for_seconds: i32,
}

/// A device that is in a state for a time.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "AlertInStateInput")]
pub(super) struct AlertInState {
    /// The states, 1 to 5.
    states: Vec<Word<DeviceStates>>,
    /// How long it must be in one of them, in seconds (0 to 86400); 0: at once.
    #[graphql(default = 0)]
    for_seconds: i32,
}

/// Errors that come more often than they may.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "AlertErrorRateInput")]
pub(super) struct AlertErrorRate {
    /// The least severity that counts.
    severity: Word<ErrorSeverities>,
    /// So many of them (1 to 1000).
    errors: i32,
    /// Within so many seconds (1 to 86400).
    window_seconds: i32,
    /// What they are counted for.
    per: PerWord,
}

/// Devices that are silent for longer than they may, or all of a site: then it is one alert of the site.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "AlertGapInput")]
pub(super) struct AlertGap {
    /// Seconds that a device may be silent at least (30 to 86400).
    #[graphql(default = 300)]
    minimum_seconds: i32,
    /// Intervals of its own that a device may be silent at least (1 to 1000).
    #[graphql(default = 10)]
    intervals: i32,
    /// Whether silence counts too while the site is closed or in maintenance, and while the device is in
    /// MAINTENANCE.
    #[graphql(default)]
    always: bool,
}

/// Jobs that failed.
#[derive(Clone, Debug, Default, SimpleObject, InputObject)]
#[graphql(input_name = "AlertJobFailureInput")]
pub(super) struct AlertJobFailure {
    /// The types of jobs, at most 100; all when it is empty.
    #[graphql(default)]
    job_types: Vec<String>,
    /// The part of its devices from which on a job counts as failed, in percent (above 0, at most 100); null:
    /// when it ended as FAILED, ERROR or TIMEOUT.
    failed_percent: Option<f64>,
}

/// A device that is likely to fail, as `failureRisk` says. It is over when the chance falls below 0.8 of the threshold,
/// or when nothing is known of it any more. As long as the risk is the fleet's, alike for all devices, it raises nothing.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "AlertFailureRiskInput")]
pub(super) struct AlertFailureRisk {
    /// How far ahead.
    #[graphql(default_with = "FailureHorizon::Day")]
    horizon: FailureHorizon,
    /// The chance from which on it counts (above 0, at most 1).
    chance: f64,
    /// Whether the lower end of the interval has to come to it too.
    #[graphql(default)]
    certain: bool,
}

/// A device that is not well, as `deviceHealth` says. It is over when its health is 3 points above the threshold, or when
/// nothing is known of it any more.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "AlertHealthInput")]
pub(super) struct AlertHealth {
    /// The health below which it counts (above 0, at most 100).
    below: f64,
    /// Whether the upper end of the interval has to be below it too.
    #[graphql(default)]
    certain: bool,
}

/// Something unusual about a device, as `anomalies` says. It is over when all its incidents are.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "AlertAnomalyInput")]
pub(super) struct AlertAnomaly {
    /// Of which measures; of all when it is empty.
    #[graphql(default)]
    measures: Vec<DeviceMeasure>,
    /// The score that an incident has to come to (0 to 1).
    #[graphql(default)]
    score: f64,
}

/// What a rule watches for.
#[derive(Clone, Debug, OneofObject)]
pub(super) enum AlertWatchInput {
    /// A measure of a device is beyond a threshold for a time.
    Metric(AlertMetric),
    /// A device is in a state for a time.
    State(AlertInState),
    /// Errors come more often than they may.
    ErrorRate(AlertErrorRate),
    /// A device, or all of a site, is silent for longer than it may.
    CollectionGap(AlertGap),
    /// A job failed.
    JobFailure(AlertJobFailure),
    /// A device is likely to fail.
    FailureRisk(AlertFailureRisk),
    /// A device is not well.
    Health(AlertHealth),
    /// Something about a device is unusual.
    Anomaly(AlertAnomaly),
}

/// What a rule watches for: one of the fields is not null.
#[derive(Clone, Debug, Default, SimpleObject)]
pub(super) struct AlertWatch {
    /// A measure of a device is beyond a threshold for a time.
    metric: Option<InOrder<AlertMetric>>,
    /// A device is in a state for a time.
    state: Option<InOrder<AlertInState>>,
    /// Errors come more often than they may.
    error_rate: Option<InOrder<AlertErrorRate>>,
    /// A device, or all of a site, is silent for longer than it may.
    collection_gap: Option<InOrder<AlertGap>>,
    /// A job failed.
    job_failure: Option<InOrder<AlertJobFailure>>,
    /// A device is likely to fail.
    failure_risk: Option<InOrder<AlertFailureRisk>>,
    /// A device is not well.
    health: Option<InOrder<AlertHealth>>,
    /// Something about a device is unusual.
    anomaly: Option<InOrder<AlertAnomaly>>,
}

/// A number that is not negative; another is one that no rule takes.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn shown(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl From<AlertWatchInput> for Watch {
    fn from(input: AlertWatchInput) -> Self {
        match input {
            AlertWatchInput::Metric(metric) => Self::Metric(Metric {
                measure: metric.measure.into(),
                beyond: metric.beyond.into(),
                threshold: metric.threshold,
                for_seconds: count(metric.for_seconds),
            }),
            AlertWatchInput::State(state) => Self::State(InState {
                states: state.states.iter().map(Word::word).collect(),
                for_seconds: count(state.for_seconds),
            }),
            AlertWatchInput::ErrorRate(rate) => Self::ErrorRate(ErrorRate {
                severity: rate.severity.word(),
                errors: count(rate.errors),
                window_seconds: count(rate.window_seconds),
                per: rate.per.into(),
            }),
            AlertWatchInput::CollectionGap(gap) => Self::CollectionGap(Gap {
                minimum_seconds: count(gap.minimum_seconds),
                intervals: count(gap.intervals),
                always: gap.always,
            }),
            AlertWatchInput::JobFailure(failure) => Self::JobFailure(Failure {
                job_types: failure.job_types,
                failed_percent: failure.failed_percent,
            }),
            AlertWatchInput::FailureRisk(risk) => Self::Insight(Insight::FailureRisk(AtRisk {
                horizon_hours: Horizon::from(risk.horizon).hours(),
                chance: risk.chance,
                certain: risk.certain,
            })),
            AlertWatchInput::Health(health) => Self::Insight(Insight::Health(Unwell {
                below: health.below,
                certain: health.certain,
            })),
            AlertWatchInput::Anomaly(unusual) => Self::Insight(Insight::Anomaly(Unusual {
                measures: unusual.measures.into_iter().map(Into::into).collect(),
                score: unusual.score,
            })),
        }
    }
}

impl AlertWatch {
    /// What a rule watches for, as it is shown.
    pub(super) fn of(spec: &Spec) -> Self {
        let mut shows = Self::default();
        match &spec.watch {
            Watch::Metric(metric) => {
                shows.metric = Some(InOrder(AlertMetric {
                    measure: metric.measure.into(),
                    beyond: metric.beyond.into(),
                    threshold: metric.threshold,
                    for_seconds: shown(metric.for_seconds),
                }));
            }
            Watch::State(state) => {
                let words = state.states.iter();
                shows.state = Some(InOrder(AlertInState {
                    states: words.map(|word| Word::known(word)).collect(),
                    for_seconds: shown(state.for_seconds),
                }));
            }
            Watch::ErrorRate(rate) => {
                shows.error_rate = Some(InOrder(AlertErrorRate {
                    severity: Word::known(&rate.severity),
                    errors: shown(rate.errors),
                    window_seconds: shown(rate.window_seconds),
                    per: rate.per.into(),
                }));
            }
            Watch::CollectionGap(gap) => {
                shows.collection_gap = Some(InOrder(AlertGap {
                    minimum_seconds: shown(gap.minimum_seconds),
                    intervals: shown(gap.intervals),
                    always: gap.always,
                }));
            }
            Watch::JobFailure(failure) => {
                shows.job_failure = Some(InOrder(AlertJobFailure {
                    job_types: failure.job_types.clone(),
                    failed_percent: failure.failed_percent,
                }));
            }
            Watch::Insight(insight) => shows.show(insight),
        }
        shows
    }

    fn show(&mut self, insight: &Insight) {
        match insight {
            Insight::FailureRisk(risk) => {
                self.failure_risk = Some(InOrder(AlertFailureRisk {
                    horizon: risk.horizon().unwrap_or(Horizon::Day).into(),
                    chance: risk.chance,
                    certain: risk.certain,
                }));
            }
            Insight::Health(health) => {
                self.health = Some(InOrder(AlertHealth {
                    below: health.below,
                    certain: health.certain,
                }));
            }
            Insight::Anomaly(unusual) => {
                let measures = unusual.measures.iter().copied();
                self.anomaly = Some(InOrder(AlertAnomaly {
                    measures: measures.map(Into::into).collect(),
                    score: unusual.score,
                }));
            }
        }
    }
}

/// Ids as texts.
pub(super) fn ids(ids: Vec<ID>) -> Vec<String> {
    ids.into_iter().map(|id| id.0).collect()
}
