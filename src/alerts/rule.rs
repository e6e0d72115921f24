//! Rules: what raises alerts, within which bounds, and for which sites and devices. Nothing here does I/O.

use entity::device_metrics::Column;
use serde::{Deserialize, Serialize};

pub use super::insights::rule::{AtRisk, Insight, Unusual, Unwell};
use crate::kinds::{Code, EnumSpec, Refusal, enums};

/// Rules at most, those that exist without being made among them.
pub const RULES_MAX: usize = 200;
/// Rules at most that are for nothing but what one reaches who is bound to a part of the fleet.
pub const RULES_WITHIN_MAX: usize = 20;
/// Seconds at most that something has to last: a day.
pub const FOR_SECONDS_MAX: u32 = 86_400;
/// Seconds at most in which errors are counted: a day.
pub const WINDOW_SECONDS_MAX: u32 = 86_400;
/// Errors at most that are counted.
pub const ERRORS_MAX: u32 = 1_000;
/// Intervals at most that a device may be silent.
pub const INTERVALS_MAX: u32 = 1_000;
/// Sites or devices at most that a rule names.
pub const NAMED_MAX: usize = 1_000;
/// Characters at most of a name.
pub const NAME_CHARACTERS_MAX: usize = 255;
/// Bounds of a threshold, either way.
pub const THRESHOLD_MAX: f64 = 1e15;

/// Id of the rule of silent devices that exists without being made.
pub const GAP_RULE: &str = "collection-gap";
/// Id of the rule of failed jobs that exists without being made.
pub const FAILURE_RULE: &str = "job-failure";

/// A rule as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its id.
    pub rule_id: String,
    /// What people call it.
    pub name: String,
    /// How bad it is when it holds, a word of `AlertSeverity`.
    pub severity: String,
    /// Whether it raises alerts.
    pub is_enabled: bool,
    /// What it watches, and for whom.
    pub spec: Spec,
    /// Position of its last change; 0 when it exists without having been made.
    pub version: i64,
}

/// What a rule watches, and for whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// What it watches for.
    pub watch: Watch,
    /// The sites that it is for; all when it names neither sites nor devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_ids: Vec<String>,
    /// The devices that it is for, beside those of the sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_ids: Vec<String>,
}

/// What a rule watches for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Watch {
    /// A measure of a device is beyond a threshold for a time.
    Metric(Metric),
    /// A device is in a state for a time.
    State(InState),
    /// Errors come more often than they may.
    ErrorRate(ErrorRate),
    /// A device, or all of a site, is silent for longer than it may.
    CollectionGap(Gap),
    /// A job failed.
    JobFailure(Failure),
    /// An insight says something of a device.
    Insight(Insight),
}

/// A measure beyond a threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// What is measured.
    pub measure: Measure,
    /// On which side of the threshold it must not be.
    pub beyond: Beyond,
    /// The threshold, in the unit of the measure.
    pub threshold: f64,
    /// How long it must be so, in seconds; 0: once.
    pub for_seconds: u32,
}

/// On which side of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Beyond {
    /// Greater.
    Above,
    /// Less.
    Below,
}

/// A measure of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Measure {
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
    /// What waits.
    QueueDepth,
}

impl Measure {
    /// Its column in the metrics of devices.
    #[must_use]
    pub const fn column(self) -> Column {
        match self {
            Self::CpuPercent => Column::CpuPercent,
            Self::MemoryPercent => Column::MemoryPercent,
            Self::DiskPercent => Column::DiskPercent,
            Self::NetworkLatencyMs => Column::NetworkLatencyMs,
            Self::ErrorRatePercent => Column::ErrorRatePercent,
            Self::ActiveConnections => Column::ActiveConnections,
            Self::QueueDepth => Column::QueueDepth,
        }
    }

    /// What it is, for people.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::CpuPercent => "processor load in percent",
            Self::MemoryPercent => "memory in use in percent",
            Self::DiskPercent => "disk in use in percent",
            Self::NetworkLatencyMs => "network latency in milliseconds",
            Self::ErrorRatePercent => "failed transactions in percent",
            Self::ActiveConnections => "active connections",
            Self::QueueDepth => "queue depth",
        }
    }
}

impl Metric {
    /// Whether a value is beyond the threshold.
    #[must_use]
    pub fn is_beyond(&self, value: f64) -> bool {
        match self.beyond {
            Beyond::Above => value > self.threshold,
            Beyond::Below => value < self.threshold,
        }
    }
}

/// A device in a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InState {
    /// The states, words of `DeviceState`.
    pub states: Vec<String>,
    /// How long it must be in one of them, in seconds; 0: at once.
    pub for_seconds: u32,
}

/// Errors that come too often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorRate {
    /// The least severity that counts, a word of `ErrorSeverity`.
    pub severity: String,
    /// So many of them.
    pub errors: u32,
    /// Within so many seconds.
    pub window_seconds: u32,
    /// What they are counted for.
    pub per: Per,
}

/// What errors are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Per {
    /// Each device.
    Device,
    /// Each site, by its devices.
    Site,
    /// All together, those of no device among them.
    Fleet,
}

/// Silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Seconds that a device may be silent at least.
    pub minimum_seconds: u32,
    /// Own intervals that a device may be silent at least.
    pub intervals: u32,
    /// Whether silence counts too while the site is closed or in maintenance, and while the device is.
    pub always: bool,
}

impl Default for Gap {
    fn default() -> Self {
        Self {
            minimum_seconds: 300,
            intervals: 10,
            always: false,
        }
    }
}

impl Gap {
    /// How long a device that reports every so many seconds may be silent, in milliseconds.
    #[must_use]
    pub fn limit_ms(&self, interval_seconds: Option<i64>) -> i64 {
        let own = i64::from(self.intervals).saturating_mul(interval_seconds.unwrap_or(0));
        own.max(i64::from(self.minimum_seconds))
            .saturating_mul(1_000)
    }
}

/// A failed job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The types of jobs; all when it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub job_types: Vec<String>,
    /// The part of its devices from which on it counts as failed, in percent; absent: when it ended as
    /// failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_percent: Option<f64>,
}

impl Watch {
    /// The word of `AlertCondition`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Metric(_) => "METRIC",
            Self::State(_) => "STATE",
            Self::ErrorRate(_) => "ERROR_RATE",
            Self::CollectionGap(_) => "COLLECTION_GAP",
            Self::JobFailure(_) => "JOB_FAILURE",
            Self::Insight(insight) => insight.word(),
        }
    }
}

impl Rule {
    /// The rules that exist without being made.
    #[must_use]
    pub fn defaults() -> [Self; 2] {
        let rule = |rule_id: &str, name: &str, watch: Watch| Self {
            rule_id: rule_id.to_owned(),
            name: name.to_owned(),
            severity: "WARNING".to_owned(),
            is_enabled: true,
            spec: Spec {
                watch,
                site_ids: Vec::new(),
                device_ids: Vec::new(),
            },
            version: 0,
        };
        [
            rule(
                GAP_RULE,
                "Silent devices",
                Watch::CollectionGap(Gap::default()),
            ),
            rule(
                FAILURE_RULE,
                "Failed jobs",
                Watch::JobFailure(Failure::default()),
            ),
        ]
    }

    /// Checks its bounds.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), Refusal> {
        let characters = self.name.trim().chars().count();
        within("name", (1, NAME_CHARACTERS_MAX), characters, "characters")?;
        for (field, ids) in [
            ("siteIds", &self.spec.site_ids),
            ("deviceIds", &self.spec.device_ids),
        ] {
            within(field, (0, NAMED_MAX), ids.len(), "ids")?;
        }
        match &self.spec.watch {
            Watch::Metric(metric) => metric.check(),
            Watch::State(state) => state.check(),
            Watch::ErrorRate(rate) => rate.check(),
            Watch::CollectionGap(gap) => gap.check(),
            Watch::JobFailure(failure) => failure.check(),
            Watch::Insight(insight) => insight.check(),
        }
    }

    /// Whether it is for all sites and devices.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        self.spec.site_ids.is_empty() && self.spec.device_ids.is_empty()
    }
}

fn within(
    field: &'static str,
    (min, max): (usize, usize),
    given: usize,
    what: &str,
) -> Result<(), Refusal> {
    if (min..=max).contains(&given) {
        return Ok(());
    }
    let message = format!("{field} has not between {min} and {max} {what}");
    Err(Refusal::of(field, Code::OutOfRange, message))
}

fn seconds(field: &'static str, (min, max): (u32, u32), given: u32) -> Result<(), Refusal> {
    if (min..=max).contains(&given) {
        return Ok(());
    }
    let message = format!("{field} is not between {min} and {max}");
    Err(Refusal::of(field, Code::OutOfRange, message))
}

fn known(field: &'static str, word: &str, set: &EnumSpec) -> Result<(), Refusal> {
    if set.values.iter().any(|(known, _)| *known == word) {
        return Ok(());
    }
    let message = format!("{field} has a word that is none of {}", set.name);
    Err(Refusal::of(field, Code::Invalid, message))
}

impl Metric {
    fn check(&self) -> Result<(), Refusal> {
        seconds("forSeconds", (0, FOR_SECONDS_MAX), self.for_seconds)?;
        if self.threshold.abs() <= THRESHOLD_MAX {
            return Ok(());
        }
        let message = format!("threshold is not between -{THRESHOLD_MAX:e} and {THRESHOLD_MAX:e}");
        Err(Refusal::of("threshold", Code::OutOfRange, message))
    }
}

impl InState {
    fn check(&self) -> Result<(), Refusal> {
        seconds("forSeconds", (0, FOR_SECONDS_MAX), self.for_seconds)?;
        within("states", (1, 5), self.states.len(), "states")?;
        let mut states = self.states.iter();
        states.try_for_each(|state| known("states", state, &enums::DEVICE_STATE))
    }
}

impl ErrorRate {
    fn check(&self) -> Result<(), Refusal> {
        seconds(
            "windowSeconds",
            (1, WINDOW_SECONDS_MAX),
            self.window_seconds,
        )?;
        seconds("errors", (1, ERRORS_MAX), self.errors)?;
        known("severity", &self.severity, &enums::ERROR_SEVERITY)
    }
}

impl Gap {
    fn check(&self) -> Result<(), Refusal> {
        seconds(
            "minimumSeconds",
            (30, FOR_SECONDS_MAX),
            self.minimum_seconds,
        )?;
        seconds("intervals", (1, INTERVALS_MAX), self.intervals)
    }
}

impl Failure {
    fn check(&self) -> Result<(), Refusal> {
        within("jobTypes", (0, 100), self.job_types.len(), "types")?;
        match self.failed_percent {
            Some(percent) if !(percent > 0.0 && percent <= 100.0) => {
                let message = "failedPercent is not above 0 and at most 100";
                Err(Refusal::of("failedPercent", Code::OutOfRange, message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_be_silent_for_five_minutes_or_ten_of_its_intervals() {
        let gap = Gap::default();
        for (interval, seconds) in [
            (None, 300),
            (Some(10), 300),
            (Some(30), 300),
            (Some(60), 600),
        ] {
            assert_eq!(gap.limit_ms(interval), seconds * 1_000);
        }
    }

    #[test]
    fn rules_are_read_as_they_were_written() {
        for rule in Rule::defaults() {
            assert_eq!(rule.check(), Ok(()));
            let text = serde_json::to_string(&rule.spec).unwrap();
            assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), rule.spec);
        }
    }
}
