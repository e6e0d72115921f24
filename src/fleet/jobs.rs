//! What a job does on a till and how it ends, whoever asked for it.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;

use super::device::Device;
use super::random::{Rng, hash_text, pick, stream};

/// How a job ended on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// It did what it was to do.
    Completed,
    /// The device tried and failed.
    Failed,
    /// It could not be run.
    Error,
    /// No answer came in time.
    Timeout,
}

impl JobStatus {
    /// The word of the wire, such as `COMPLETED`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Error => "ERROR",
            Self::Timeout => "TIMEOUT",
        }
    }
}

/// The answer of a device to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// How it ended.
    pub status: JobStatus,
    /// How long it ran, in milliseconds.
    pub duration_ms: u32,
    /// Code of the failure; present unless it completed.
    pub error_code: Option<&'static str>,
    /// What went wrong, for people; present unless it completed.
    pub error_message: Option<&'static str>,
}

type Failure = (JobStatus, &'static str, &'static str);

/// What a job leaves behind when it completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Nothing,
    CleansDisk,
    Restarts,
    Updates,
}

#[derive(Debug)]
struct Profile {
    job_type: &'static str,
    seconds: (u32, u32),
    failure_percent: f64,
    effect: Effect,
    failures: &'static [Failure],
}

const NO_ANSWER: Failure = (
    JobStatus::Timeout,
    "NO_ANSWER",
    "The device did not answer in time",
);
const UNREACHABLE: Failure = (
    JobStatus::Error,
    "DEVICE_UNREACHABLE",
    "The device cannot be reached",
);
const UNKNOWN_DEVICE: Failure = (
    JobStatus::Error,
    "UNKNOWN_DEVICE",
    "The fleet has no such device",
);

/// How long a job waits for a device that does not answer, in milliseconds.
const PATIENCE_MS: u32 = 30_000;

const OTHER: Profile = Profile {
    job_type: "",
    seconds: (3, 40),
    failure_percent: 3.0,
    effect: Effect::Nothing,
    failures: &[
        (
            JobStatus::Failed,
            "COMMAND_FAILED",
            "The command ended with an error",
        ),
        NO_ANSWER,
    ],
};

const PROFILES: [Profile; 5] = [
    Profile {
        job_type: "HEALTH_CHECK",
        seconds: (2, 8),
        failure_percent: 1.0,
        effect: Effect::Nothing,
        failures: &[
            (
                JobStatus::Failed,
                "SELF_TEST_FAILED",
                "The self-test of the card reader failed",
            ),
            NO_ANSWER,
        ],
    },
    Profile {
        job_type: "PRICE_LIST_SYNC",
        seconds: (5, 25),
        failure_percent: 2.0,
        effect: Effect::Nothing,
        failures: &[
            (
                JobStatus::Failed,
                "CHECKSUM_MISMATCH",
                "The price list arrived damaged",
            ),
            NO_ANSWER,
        ],
    },
    Profile {
        job_type: "LOG_CLEANUP",
        seconds: (10, 50),
        failure_percent: 2.0,
        effect: Effect::CleansDisk,
        failures: &[(
            JobStatus::Failed,
            "FILE_IN_USE",
            "A log file could not be removed",
        )],
    },
    Profile {
        job_type: "RESTART",
        seconds: (25, 55),
        failure_percent: 2.0,
        effect: Effect::Restarts,
        failures: &[
            (
                JobStatus::Failed,
                "SALE_IN_PROGRESS",
                "A sale was open, the restart was refused",
            ),
            NO_ANSWER,
        ],
    },
    Profile {
        job_type: "FIRMWARE_UPDATE",
        seconds: (90, 240),
        failure_percent: 6.0,
        effect: Effect::Updates,
        failures: &[
            (
                JobStatus::Failed,
                "DOWNLOAD_INCOMPLETE",
                "The firmware could not be downloaded",
            ),
            (
                JobStatus::Failed,
                "SIGNATURE_INVALID",
                "The signature of the firmware is invalid",
            ),
            NO_ANSWER,
        ],
    },
];

impl Device {
    /// Runs a job from `at` on; the result follows from the device, the job's id and its state,
    /// so that asking again gives the same answer. `load` (0 to 1) makes failures likelier.
    pub(super) fn run_job(
        &mut self,
        (job_type, job_id): (&str, &str),
        load: f64,
        at: DateTime<Utc>,
    ) -> JobResult {
        if self.is_silent(at) {
            return failed(UNREACHABLE, PATIENCE_MS);
        }
        let profile = PROFILES
            .iter()
            .find(|profile| profile.job_type == job_type)
            .unwrap_or(&OTHER);
        let mut rng = stream(&[self.key, hash_text(job_id)]);
        let result = profile.decide(load, &mut rng);
        if result.status == JobStatus::Completed {
            let ends_at = at + TimeDelta::milliseconds(i64::from(result.duration_ms));
            self.keep(profile.effect, at, ends_at);
        }
        result
    }

    fn keep(&mut self, effect: Effect, at: DateTime<Utc>, ends_at: DateTime<Utc>) {
        match effect {
            Effect::Nothing => {}
            Effect::CleansDisk => self.machine.clean_disk(),
            Effect::Restarts | Effect::Updates => {
                self.machine.restart(at, ends_at);
                self.mend_by_restart(ends_at);
                if effect == Effect::Updates {
                    self.updates += 1;
                    self.updated = true;
                }
            }
        }
    }
}

impl Profile {
    fn decide(&self, load: f64, rng: &mut Rng) -> JobResult {
        let (least, most) = self.seconds;
        let duration_ms = rng.random_range(least * 1_000..=most * 1_000);
        let percent = self.failure_percent * (1.0 + 2.0 * load);
        if rng.random_bool((percent / 100.0).clamp(0.0, 1.0)) {
            return failed(*pick(rng, self.failures, &NO_ANSWER), duration_ms);
        }
        JobResult {
            status: JobStatus::Completed,
            duration_ms,
            error_code: None,
            error_message: None,
        }
    }
}

fn failed((status, code, message): Failure, duration_ms: u32) -> JobResult {
    JobResult {
        status,
        duration_ms: match status {
            JobStatus::Timeout => PATIENCE_MS,
            JobStatus::Completed | JobStatus::Failed | JobStatus::Error => duration_ms,
        },
        error_code: Some(code),
        error_message: Some(message),
    }
}

/// The answer for a device that the fleet does not have.
pub(super) fn unknown_device() -> JobResult {
    failed(UNKNOWN_DEVICE, 0)
}
