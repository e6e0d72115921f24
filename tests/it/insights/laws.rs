//! Laws of health and failure risk, for random pasts of a device: worse evidence never raises health, and the reasons of
//! a failure risk add up to its log-odds.

use chrono_tz::Tz;
use homepot_analytics::event::Instant;
use homepot_analytics::insights::input::{
    DAY, Device, ErrorSeen, HOUR, Hour, Measure, SECOND, Severity, State as Reported, StateSeen,
};
use homepot_analytics::insights::jobs::schedule::{Day, DayPlan, Schedule};
use homepot_analytics::insights::number::{float, whole};
use homepot_analytics::insights::risk::answer::{self, Context};
use homepot_analytics::insights::risk::features::{Facts, State};
use homepot_analytics::insights::risk::fleet::Fleet;
use homepot_analytics::insights::risk::health;
use homepot_analytics::insights::risk::model::{Horizon, Model};
use homepot_analytics::insights::risk::shut::Shut;
use homepot_analytics::insights::shape::Insight;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::risks::{fleet, trained};
use super::{Dice, MONDAY, for_all};

const MINUTE: i64 = 60 * SECOND;
const SEVERITIES: [Severity; 4] = [
    Severity::Info,
    Severity::Warning,
    Severity::Error,
    Severity::Critical,
];

/// What came of a device until a time. Minutes are those before that.
#[derive(Clone, Debug)]
struct Past {
    seed: u64,
    hours: i64,
    /// Minutes, how severe (an index), and of which group.
    errors: Vec<(i64, usize, u8)>,
    /// The latest first: for how many minutes it has been up since, how long it was down, and whether that was ERROR.
    outages: Vec<(i64, i64, bool)>,
    /// By how much the processor and the disk were above the usual on the last day.
    raised: (f64, f64),
    /// Bits of the last hours, the latest lowest, in which nothing was measured.
    unseen: u64,
    /// From and until which minute of the day its site is open, where that is filed.
    open: Option<(u16, u16)>,
}

fn pasts() -> impl Strategy<Value = Past> {
    let errors = vec((0..2_880_i64, 0..4_usize, 0..6_u8), 0..24);
    let outages = vec((1..2_000_i64, 1..1_500_i64, any::<bool>()), 0..4);
    let raised = (0.0..40.0_f64, 0.0..40.0_f64);
    let seen = prop_oneof![Just(0), 0..1_u64 << 24];
    let open = proptest::option::of((0..1_440_u16, 0..1_440_u16));
    let whole = (
        any::<u64>(),
        1..400_i64,
        errors,
        outages,
        raised,
        seen,
        open,
    );
    whole.prop_map(
        |(seed, hours, errors, outages, raised, unseen, open)| Past {
            seed,
            hours,
            errors,
            outages,
            raised,
            unseen,
            open,
        },
    )
}

impl Past {
    fn as_of(&self) -> Instant {
        Instant(i64::from(MONDAY) * DAY + self.hours * HOUR)
    }

    fn before(&self, minutes: i64) -> Instant {
        Instant(self.as_of().0 - minutes * MINUTE)
    }

    fn schedule(&self) -> Schedule {
        let mut schedule = Schedule::new(Tz::UTC);
        if let Some((from, to)) = self.open {
            (0..7).for_each(|day| schedule.file(Day::Weekday(day), DayPlan::open(from, to)));
        }
        schedule
    }

    /// The errors in order of time.
    fn seen(&self) -> Vec<ErrorSeen> {
        let mut errors = self.errors.clone();
        errors.sort_by_key(|(minutes, _, _)| -minutes);
        let seen = errors
            .into_iter()
            .map(|(minutes, severity, group)| ErrorSeen {
                at: self.before(minutes),
                severity: SEVERITIES[severity],
                category: "HARDWARE".to_owned(),
                code: Some(format!("E{group}")),
                message: String::new(),
            });
        seen.collect()
    }

    /// Changes of state in order of time.
    fn states(&self) -> Vec<StateSeen> {
        let (mut minutes, mut states) = (0, Vec::new());
        for (up, down, is_error) in &self.outages {
            minutes += up;
            if minutes > 0 {
                states.push(StateSeen {
                    at: self.before(minutes),
                    to: Reported::Online,
                });
            }
            minutes += down;
            let to = if *is_error {
                Reported::Error
            } else {
                Reported::Offline
            };
            let at = self.before(minutes);
            states.push(StateSeen { at, to });
        }
        states.reverse();
        states
    }

    /// Folded hour by hour.
    fn state(&self) -> State {
        let (mut dice, mut state) = (Dice::new(self.seed), State::default());
        let (errors, states) = (self.seen(), self.states());
        for number in 0..self.hours {
            let start = Instant(i64::from(MONDAY) * DAY + number * HOUR);
            let is_last_day = number >= self.hours - 24;
            let mut measured = |usual: f64, raised: f64| {
                let noise = 2.0 * dice.normal();
                hour(
                    start,
                    if is_last_day {
                        usual + raised
                    } else {
                        usual + noise
                    },
                )
            };
            let measures = [
                (Measure::CpuPercent, measured(40.0, self.raised.0)),
                (Measure::DiskPercent, measured(55.0, self.raised.1)),
            ];
            let is_within = |at: Instant| start <= at && at.0 < start.0 + HOUR;
            let of_hour = |error: &&ErrorSeen| is_within(error.at);
            let errors: Vec<_> = errors.iter().filter(of_hour).cloned().collect();
            let of_hour = |change: &&StateSeen| is_within(change.at);
            let states: Vec<_> = states.iter().filter(of_hour).copied().collect();
            state.fold(&Facts {
                start,
                measures: &measures,
                errors: &errors,
                states: &states,
                ..Facts::default()
            });
        }
        state.hours_seen &= !self.unseen;
        state
    }

    /// What is said of it; what came at the very time that is asked for has not been folded yet.
    fn read(
        &self,
        fleet: &Fleet,
        model: &Model,
        read: impl Fn(&State, &Context<'_>, &Facts<'_>) -> Insight,
    ) -> Insight {
        let device = Device {
            id: "device".to_owned(),
            site: "site".to_owned(),
            model: None,
            age_years: Some(2.0),
        };
        let context = Context {
            device: &device,
            zone: Tz::UTC,
            schedule: &self.schedule(),
            fleet,
            model,
        };
        let (errors, states, as_of) = (self.seen(), self.states(), self.as_of());
        let errors: Vec<_> = errors
            .into_iter()
            .filter(|error| error.at >= as_of)
            .collect();
        let states: Vec<_> = states
            .into_iter()
            .filter(|change| change.at >= as_of)
            .collect();
        let open = Facts {
            start: as_of,
            errors: &errors,
            states: &states,
            ..Facts::default()
        };
        read(&self.state(), &context, &open)
    }

    fn health(&self, fleet: &Fleet, model: &Model) -> f64 {
        let as_of = self.as_of();
        let said = self.read(fleet, model, |state, context, open| {
            health::read(state, context, open, as_of)
        });
        said.value.unwrap()
    }
}

fn hour(start: Instant, value: f64) -> Hour {
    Hour {
        start,
        count: 1,
        sum: value,
        sum_squares: value * value,
        min: value,
        max: value,
        increase: 0.0,
    }
}

/// Something that is worse.
#[derive(Clone, Debug)]
enum Worse {
    Error(i64, usize, u8),
    Severity(usize),
    Longer(usize, f64),
    Failed(usize),
    Outage(f64, bool),
    Cpu(f64),
    Disk(f64),
    Silent(u64),
}

fn worse() -> impl Strategy<Value = Worse> {
    prop_oneof![
        (0..2_880_i64, 0..4_usize, 0..6_u8)
            .prop_map(|(at, severity, group)| Worse::Error(at, severity, group)),
        any::<usize>().prop_map(Worse::Severity),
        (any::<usize>(), 0.0..1.0).prop_map(|(which, part)| Worse::Longer(which, part)),
        any::<usize>().prop_map(Worse::Failed),
        (0.0..1.0, any::<bool>()).prop_map(|(part, is_error)| Worse::Outage(part, is_error)),
        (0.0..30.0_f64).prop_map(Worse::Cpu),
        (0.0..30.0_f64).prop_map(Worse::Disk),
        (0..1_u64 << 24).prop_map(Worse::Silent),
    ]
}

impl Worse {
    fn make(&self, past: &mut Past) {
        let (errors, outages) = (past.errors.len(), past.outages.len());
        match *self {
            Self::Error(at, severity, group) => past.errors.push((at, severity, group)),
            Self::Severity(which) if errors > 0 => {
                let severity = &mut past.errors[which % errors].1;
                *severity = (*severity + 1).min(3);
            }
            // it lasts on, but not into the next one
            Self::Longer(which, part) if outages > 0 => {
                let which = which % outages;
                let (up, down, _) = &mut past.outages[which];
                let spare = (*up - i64::from(which > 0)).max(0);
                let more = whole(float(spare) * part);
                *up -= more;
                *down += more;
            }
            Self::Failed(which) if outages > 0 => past.outages[which % outages].2 = true,
            Self::Outage(part, is_error) => {
                let up = past.outages.first().map_or(3_000, |(up, _, _)| *up);
                let down = whole(float(up - 2) * part);
                if up > 3 && down > 0 {
                    let since = (up - down) / 2;
                    if let Some(first) = past.outages.first_mut() {
                        first.0 = up - down - since;
                    }
                    past.outages.insert(0, (since, down, is_error));
                }
            }
            Self::Cpu(more) => past.raised.0 += more,
            Self::Disk(more) => past.raised.1 = (past.raised.1 + more).min(45.0),
            Self::Silent(hours) => past.unseen |= hours,
            Self::Severity(_) | Self::Longer(..) | Self::Failed(_) => {}
        }
    }
}

/// A fleet with a rate of errors, and no model.
fn fleets() -> impl Strategy<Value = Fleet> {
    (0.0..50.0_f64, 1.0..500.0_f64).prop_map(|(errors, error_days)| Fleet {
        errors,
        error_days,
        ..fleet(0.0, 100.0)
    })
}

#[test]
fn worse_evidence_never_raises_health() {
    let (_, model) = trained(0);
    let given = (pasts(), fleets(), vec(worse(), 1..8));
    for_all(256, &given, |(past, fleet, steps)| {
        let mut past = past.clone();
        let mut health = past.health(fleet, &model);
        for step in steps {
            step.make(&mut past);
            let then = past.health(fleet, &model);
            prop_assert!(then <= health + 1e-9, "{step:?}: {health} then {then}");
            health = then;
        }
        Ok(())
    });
}

#[test]
fn a_longer_silence_never_raises_health() {
    let (fleet, _) = trained(0);
    for_all(48, &(1..200_i64, 0.0..60.0_f64), |(hours, value)| {
        let mut state = State::default();
        for number in 0..*hours {
            let start = Instant(i64::from(MONDAY) * DAY + number * HOUR);
            let measures = [(Measure::CpuPercent, hour(start, *value))];
            state.fold(&Facts {
                start,
                measures: &measures,
                ..Facts::default()
            });
        }
        let mut before = f64::INFINITY;
        for silent in 0..40 {
            let as_of = Instant(i64::from(MONDAY) * DAY + (hours + silent) * HOUR);
            let never = Shut::default();
            let health = health::factors(&state, &fleet, &never, as_of).health();
            prop_assert!(health <= before, "{silent} hours: {before} then {health}");
            before = health;
        }
        Ok(())
    });
}

#[test]
fn the_reasons_of_a_failure_risk_add_up_to_its_log_odds() {
    let models: Vec<(Fleet, Model)> = (0..4).map(trained).collect();
    let horizons = select(vec![Horizon::Day, Horizon::ThreeDays]);
    for_all(
        96,
        &(pasts(), 0..4_usize, horizons),
        |(past, model, horizon)| {
            let (fleet, model) = &models[*model];
            let as_of = past.as_of();
            let said = past.read(fleet, model, |state, context, open| {
                answer::read(state, context, open, as_of, *horizon)
            });
            let (chance, interval) = (said.value.unwrap(), said.interval.unwrap());
            prop_assert!(0.0 < chance && chance < 1.0);
            prop_assert!(
                interval.low <= chance && chance <= interval.high,
                "{interval:?}"
            );
            prop_assert!(interval.low < interval.high);
            let sum: f64 = said.reasons.iter().map(|reason| reason.contribution).sum();
            let odds = (chance / (1.0 - chance)).ln();
            prop_assert!((sum - odds).abs() < 1e-9, "{sum} and {odds}");
            Ok(())
        },
    );
}

#[test]
fn the_reasons_of_health_add_up_to_what_it_lacks_and_the_weightiest_is_first() {
    let models: Vec<(Fleet, Model)> = (0..4).map(trained).collect();
    for_all(96, &(pasts(), 0..4_usize), |(past, model)| {
        let (fleet, model) = &models[*model];
        let as_of = past.as_of();
        let said = past.read(fleet, model, |state, context, open| {
            health::read(state, context, open, as_of)
        });
        let reasons = said.reasons.iter();
        let points: Vec<f64> = reasons
            .filter(|reason| reason.factor != "evidence.age")
            .map(|reason| reason.contribution)
            .collect();
        prop_assert!(points.is_sorted_by(|one, next| one.abs() >= next.abs()));
        let sum: f64 = points.iter().sum();
        prop_assert!((100.0 + sum - said.value.unwrap()).abs() < 1e-9, "{sum}");
        Ok(())
    });
}
