//! Laws of the machine of a job, under whatever interleaving of devices, people, time and restarts.

use proptest::prelude::*;

use super::machine::{Decision, Ended, JobState, Machine, Moved, Opening, Openings, Step, Target};
use super::plan::{Plan, Start};
use crate::event::{Instant, Position};

/// When devices may be given commands: at all times, or, of a job that is done in maintenance windows alone,
/// twenty seconds of each minute.
struct Hours(Start);

const WINDOW_US: i64 = 20_000_000;
const MINUTE_US: i64 = 60_000_000;

impl Openings for Hours {
    fn opens(&self, _device_key: i64, at: Instant) -> Opening {
        let minute = at.0 - at.0.rem_euclid(MINUTE_US);
        match self.0 {
            Start::InMaintenanceWindow if at.0 < minute + WINDOW_US => {
                Opening::Until(Instant(minute + WINDOW_US))
            }
            Start::InMaintenanceWindow => Opening::From(Instant(minute + MINUTE_US)),
            Start::Now | Start::At(_) | Start::Recurring(_) => Opening::Open,
        }
    }

    fn is_away(&self, _device_key: i64) -> bool {
        false
    }
}

/// What may happen next.
#[derive(Clone, Debug)]
enum Happens {
    /// The orchestrator decides, and so much of what it decides is recorded before it is killed.
    Decided(usize),
    Acknowledged(usize),
    Answered(usize, Ended),
    /// Somebody records an outcome without a command.
    Outcome(usize, Ended),
    Paused,
    Resumed,
    Cancelled,
    /// Time goes by, in seconds.
    Passes(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let device = 0..12_usize;
    let end = prop_oneof![
        6 => Just(Ended::Completed),
        2 => Just(Ended::Failed),
        1 => Just(Ended::Error),
    ];
    prop_oneof![
        8 => (0..12_usize).prop_map(Happens::Decided),
        6 => device.clone().prop_map(Happens::Acknowledged),
        6 => (device.clone(), end.clone()).prop_map(|(d, e)| Happens::Answered(d, e)),
        1 => (device, end).prop_map(|(d, e)| Happens::Outcome(d, e)),
        1 => Just(Happens::Paused),
        2 => Just(Happens::Resumed),
        1 => (0..40_i32).prop_map(|n| if n == 0 { Happens::Cancelled } else { Happens::Decided(12) }),
        4 => (1..90_i64).prop_map(Happens::Passes),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let rollout = (
        proptest::option::of(1..5_u32),
        0..20_u32,
        0..4_u32,
        proptest::option::of(0..4_u32),
        proptest::option::of(0.0..100.0_f64),
    );
    let waits = (5..60_u32, 5..120_u32, 0..3_u32, 0..20_u32);
    let start = prop_oneof![Just(Start::Now), Just(Start::InMaintenanceWindow)];
    (start, rollout, waits).prop_map(
        |(start, (batch, pause, canary, max, percent), waits)| Plan {
            start,
            batch_size: batch,
            batch_pause_seconds: pause,
            canary_devices: canary,
            failures_max: max,
            failures_max_percent: percent,
            timeout_seconds: waits.0,
            time_to_live_seconds: waits.1,
            retries: waits.2,
            retry_backoff_seconds: waits.3,
            ..Plan::default()
        },
    )
}

/// A job whose steps are recorded as the log would, and held to the diagram.
struct Job {
    machine: Machine,
    now: Instant,
    position: i64,
    /// Commands that each device was given.
    given: Vec<u32>,
}

impl Job {
    fn new(plan: Plan, devices: usize) -> Self {
        let keys = (0_i64..).take(devices);
        Self {
            machine: Machine {
                state: JobState::Queued,
                created_at: Instant(1_000_000_000),
                plan,
                targets: keys.map(Target::new).collect(),
            },
            now: Instant(1_000_000_000),
            position: 1,
            given: vec![0; devices],
        }
    }

    fn when(&mut self) -> (Instant, Position) {
        self.position += 1;
        (self.now, Position(self.position))
    }

    fn transit(&mut self, state: JobState) {
        let before = self.machine.state;
        let when = self.when();
        self.machine.transit(state, when);
        let after = self.machine.state;
        assert!(
            before == after || before.may_become(after),
            "{before:?} {after:?}"
        );
        if !after.is_open() {
            let targets = &self.machine.targets;
            assert!(targets.iter().all(|target| target.ended.is_some()));
        }
    }

    fn end(&mut self, place: usize, attempt: u32, ended: Ended) {
        let when = self.when();
        let retries = self.machine.plan.retries;
        let target = &mut self.machine.targets[place];
        let is_last = !(ended.is_retried() && target.failures < retries);
        let is_waiting = target.step == Step::Waiting;
        // one that was taken back, and is too old to be given again, ends too
        let counts = target.attempt == attempt && (!is_waiting || ended == Ended::Timeout);
        let moved = if ended.is_retried() || ended == Ended::Error {
            Moved::Failed
        } else {
            Moved::Ended
        };
        target.command(attempt, moved, when);
        if (is_last || is_waiting) && counts && self.machine.state.is_open() {
            self.machine.targets[place].end(ended, when);
        }
    }

    /// Records what was decided, up to a number of devices.
    fn record(&mut self, decision: &Decision, upto: usize) {
        for place in decision.time_out.iter().take(upto) {
            let attempt = self.machine.targets[*place].attempt;
            self.end(*place, attempt, Ended::Timeout);
        }
        for place in decision.withdraw.iter().take(upto) {
            let when = self.when();
            let target = &mut self.machine.targets[*place];
            assert_eq!((target.step, target.ended), (Step::Issued, None));
            target.command(target.attempt, Moved::Ended, when);
        }
        if let Some((state, _)) = decision.becomes {
            assert!(decision.time_out.is_empty() && decision.withdraw.is_empty());
            if upto > 0 {
                self.transit(state);
            }
            return;
        }
        for (ordinal, place) in decision.issue.iter().take(upto).enumerate() {
            assert_ne!(self.machine.state, JobState::Paused);
            if ordinal == 0 && self.machine.state != JobState::Running {
                self.transit(JobState::Running);
            }
            let when = self.when();
            let target = &mut self.machine.targets[*place];
            assert_eq!((target.step, target.ended), (Step::Waiting, None));
            let attempt = target.attempt + 1;
            target.command(attempt, Moved::Issued, when);
            self.given[*place] += 1;
            assert_eq!(self.given[*place], attempt);
            assert!(target.failures <= self.machine.plan.retries);
            let windows = self.machine.plan.start == Start::InMaintenanceWindow;
            assert!(windows || attempt == target.failures + 1);
            // nobody is given anything again that has waited too long
            let waits_ms = i64::from(self.machine.plan.time_to_live_seconds) * 1_000;
            let is_young = self.now < self.machine.created_at.plus_ms(waits_ms);
            assert!(is_young || attempt == 1 || target.failures + 1 == attempt);
        }
    }

    fn decide(&self) -> Decision {
        let plan = &self.machine.plan;
        let hours = Hours(plan.start.clone());
        let decision = self.machine.decide(self.now, &hours);
        let is_open = matches!(hours.opens(0, self.now), Opening::Open | Opening::Until(_));
        if self.machine.state.is_open() && !is_open {
            let taken_back = decision.time_out.len() + decision.withdraw.len();
            let targets = self.machine.targets.iter();
            let waits = |target: &&Target| target.ended.is_none() && target.step == Step::Issued;
            assert!(decision.issue.is_empty() && targets.filter(waits).count() <= taken_back);
        }
        if let Some(size) = plan.batch_size {
            assert!(decision.issue.len() <= usize::try_from(size).unwrap());
            let works =
                |target: &Target| target.ended.is_none() && target.step == Step::Acknowledged;
            assert!(decision.issue.is_empty() || !self.machine.targets.iter().any(works));
        }
        let canary = usize::try_from(plan.canary_devices).unwrap();
        let canary = canary.min(self.machine.targets.len());
        let canaries = &self.machine.targets[..canary];
        let did = |end: Ended| {
            canaries
                .iter()
                .filter(move |one| one.ended == Some(end))
                .count()
        };
        let (done, passed_over) = (did(Ended::Completed), did(Ended::Cancelled));
        let all_did = done + passed_over == canary && (done > 0 || canary == 0);
        assert!(all_did || decision.issue.iter().all(|place| *place < canary));
        decision
    }

    fn happens(&mut self, happens: &Happens) {
        let devices = self.machine.targets.len();
        match happens {
            Happens::Decided(upto) => {
                let decision = self.decide();
                self.record(&decision, *upto);
            }
            Happens::Acknowledged(device) => {
                let when = self.when();
                let target = &mut self.machine.targets[device % devices];
                let attempt = target.attempt;
                target.command(attempt, Moved::Acknowledged, when);
            }
            Happens::Answered(device, ended) => {
                let place = device % devices;
                let attempt = self.machine.targets[place].attempt;
                self.end(place, attempt, *ended);
            }
            Happens::Outcome(device, ended) => {
                let when = self.when();
                self.machine.targets[device % devices].end(*ended, when);
            }
            Happens::Paused => self.transit(JobState::Paused),
            Happens::Resumed => {
                if self.machine.state == JobState::Paused {
                    let begun = self.machine.targets.iter().any(|target| target.attempt > 0);
                    self.transit(if begun {
                        JobState::Running
                    } else {
                        JobState::Queued
                    });
                }
            }
            Happens::Cancelled => self.transit(JobState::Cancelled),
            Happens::Passes(seconds) => self.now = self.now.plus_ms(seconds * 1_000),
        }
    }
}

proptest! {
    #[test]
    fn the_machine_never_leaves_its_diagram_and_comes_to_its_end(
        plan in plan(),
        devices in 1..12_usize,
        all in proptest::collection::vec(happens(), 0..200),
    ) {
        let mut job = Job::new(plan, devices);
        for one in &all {
            job.happens(one);
        }
        // with nobody answering any more, time alone ends it
        job.happens(&Happens::Resumed);
        let mut steps = 0;
        while job.machine.state.is_open() {
            let decision = job.decide();
            let idle = decision.issue.is_empty()
                && decision.time_out.is_empty()
                && decision.withdraw.is_empty()
                && decision.becomes.is_none();
            if idle {
                let at = decision.look_at;
                prop_assert!(at.is_some_and(|at| at > job.now), "nothing would ever come");
                job.now = at.unwrap();
            } else {
                job.record(&decision, usize::MAX);
            }
            steps += 1;
            prop_assert!(steps < 1_000, "it does not end");
        }
    }

    #[test]
    fn what_is_heard_twice_changes_nothing(
        plan in plan(),
        devices in 1..6_usize,
        all in proptest::collection::vec(happens(), 0..60),
    ) {
        let mut job = Job::new(plan, devices);
        for one in &all {
            job.happens(one);
            let before = job.machine.targets.clone();
            for target in &mut job.machine.targets {
                let when = (job.now, Position(job.position));
                for attempt in 1..=target.attempt {
                    target.command(attempt, Moved::Issued, when);
                }
                for attempt in 1..target.attempt {
                    target.command(attempt, Moved::Acknowledged, when);
                    target.command(attempt, Moved::Failed, when);
                    target.command(attempt, Moved::Ended, when);
                }
            }
            prop_assert_eq!(&before, &job.machine.targets);
        }
    }
}

fn stopped_by(failed: usize, of: usize, plan: &Plan) -> bool {
    plan.is_stopped_by(failed, of)
}

#[test]
fn a_job_is_stopped_when_more_have_failed_than_it_goes_on_with() {
    let by_number = Plan {
        failures_max: Some(2),
        ..Plan::default()
    };
    assert!(!stopped_by(2, 100, &by_number));
    assert!(stopped_by(3, 100, &by_number));
    let by_part = Plan {
        failures_max_percent: Some(5.0),
        ..Plan::default()
    };
    assert!(!stopped_by(50, 1_000, &by_part));
    assert!(stopped_by(51, 1_000, &by_part));
}

#[test]
fn each_retry_waits_twice_as_long_and_a_day_at_most() {
    let plan = Plan {
        retry_backoff_seconds: 30,
        ..Plan::default()
    };
    let waits = [1, 2, 3, 10, 40].map(|attempt| plan.retry_at(attempt, Instant(0)).0 / 1_000_000);
    assert_eq!(waits, [30, 60, 120, 15_360, 86_400]);
}
