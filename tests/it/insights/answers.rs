//! Laws of every insight, for random pasts of a device: it has a value unless it is insufficient, the value lies in its
//! interval, and nothing that comes later changes it.

use chrono_tz::Tz;
use homepot_analytics::event::Instant;
use homepot_analytics::insights::anomaly;
use homepot_analytics::insights::device::DeviceHour;
use homepot_analytics::insights::errors::read::Asked;
use homepot_analytics::insights::impact::change::{Peers, Subject, configuration_impact};
use homepot_analytics::insights::impact::trend::{Limit, trend};
use homepot_analytics::insights::impact::whole::whole;
use homepot_analytics::insights::input::{ConfigSeen, DAY, HOUR, Measure, Sample};
use homepot_analytics::insights::jobs::cost::Terms;
use homepot_analytics::insights::jobs::patterns::patterns;
use homepot_analytics::insights::jobs::recommend::{Job, Known, recommend};
use homepot_analytics::insights::jobs::success::FleetJobs;
use homepot_analytics::insights::jobs::tills::Tills;
use homepot_analytics::insights::jobs::window::Limits;
use homepot_analytics::insights::reliability::data::data_quality;
use homepot_analytics::insights::reliability::fleet::Fleet;
use homepot_analytics::insights::reliability::insight::{Ask, add, reliability};
use homepot_analytics::insights::reliability::intervals::Failures;
use homepot_analytics::insights::reliability::summary::Group;
use homepot_analytics::insights::risk::answer::{self, Context};
use homepot_analytics::insights::risk::model::{Horizon, Model, Settings, train};
use homepot_analytics::insights::risk::{self, forecast, health};
use homepot_analytics::insights::shape::{Insight, Status};
use proptest::prelude::*;

use super::devices::{Given, MEASURES, Made, at, device, given, hour, schedule};
use super::risks::{made, trained};
use super::{Dice, MONDAY, for_all};

impl Made {
    fn subject(&self) -> Subject<'_> {
        Subject {
            zone: Tz::UTC,
            state: &self.state.levels,
            changes: &self.changes,
            states: &self.states,
        }
    }

    /// What failure risk, health and forecast say.
    fn risks(
        &self,
        open: &DeviceHour,
        known: &(risk::fleet::Fleet, Model),
        as_of: Instant,
    ) -> Vec<Insight> {
        let device = device();
        let context = Context {
            device: &device,
            zone: Tz::UTC,
            schedule: &schedule(),
            fleet: &known.0,
            model: &known.1,
        };
        let (state, open) = (&self.state.risk, open.open_facts());
        let risk = |horizon| answer::read(state, &context, &open, as_of, horizon);
        let forecast = |days| forecast::read(state, &context, &open, as_of, days);
        vec![
            health::read(state, &context, &open, as_of),
            risk(Horizon::Day),
            risk(Horizon::ThreeDays),
            forecast(1),
            forecast(3),
            forecast(14),
        ]
    }

    /// Trends, and the effect of each change.
    fn levels(&self, peers: Peers<'_>, changes: &[ConfigSeen], as_of: Instant) -> Vec<Insight> {
        let mut said = Vec::new();
        for measure in MEASURES {
            let days = self.state.levels.days(Tz::UTC, measure, as_of);
            let trend = trend(&days, measure, Some(Limit::Above(90.0)), Tz::UTC, as_of);
            said.push(trend.slope);
            said.extend(trend.days_to_limit);
        }
        for change in changes.iter().rev().take(2) {
            let impact = configuration_impact(change, self.subject(), peers, as_of);
            said.push(whole(&impact, as_of));
            said.extend(impact.effects.into_iter().map(|effect| effect.insight));
        }
        said
    }

    /// How reliable it is, alone and as a group, and its data.
    fn reliability(&self, as_of: Instant) -> Vec<Insight> {
        let state = &self.state.reliability;
        let mut said = vec![data_quality(&self.state.quality, Tz::UTC, as_of)];
        for failures in [Failures::Any, Failures::Error, Failures::Offline] {
            let (mut fleet, mut group) = (Fleet::new(720.0), Group::new(failures));
            add(&mut fleet, state, "site", failures, as_of);
            group.add(state, "site", as_of);
            let ask = Ask {
                site: "site",
                zone: Tz::UTC,
                failures,
                horizon: None,
            };
            said.push(reliability(state, &fleet.prior(), &ask, as_of));
            said.push(group.insight(as_of));
        }
        said
    }

    /// How its errors go, as they were heard of until then.
    fn trends(&self, as_of: Instant) -> Vec<Insight> {
        let asked = Asked {
            as_of,
            heard: as_of,
            from: self.state.first,
            devices: 1.0,
            per_site: 1.0,
            zone: Tz::UTC,
        };
        let groups = self.groups.read_all(&[], &asked, 100);
        groups.into_iter().map(|group| group.trend).collect()
    }

    /// How often it will fail, and how many transactions the best start of a job loses: their intervals are of counts.
    fn counts(&self, as_of: Instant) -> Vec<Insight> {
        let (schedule, limits) = (schedule(), Limits::default());
        let demand = [&self.state.demand];
        let known = Known {
            schedule: &schedule,
            demand: Tills::of(&demand),
            site_jobs: &self.jobs,
            fleet_jobs: FleetJobs::sum([&self.jobs], "RESTART"),
        };
        let job = Job {
            job_type: "RESTART",
            duration_minutes: 30,
            limits: &limits,
            terms: Terms::default(),
        };
        let (mut fleet, state) = (Fleet::new(720.0), &self.state.reliability);
        add(&mut fleet, state, "site", Failures::Any, as_of);
        let ahead = |hours| {
            let ask = Ask {
                site: "site",
                zone: Tz::UTC,
                failures: Failures::Any,
                horizon: Some(hours),
            };
            reliability(state, &fleet.prior(), &ask, as_of)
        };
        let best = recommend(&known, &job, as_of).insight;
        vec![best, ahead(24.0), ahead(720.0)]
    }

    fn anomaly(&self, measure: Measure, open: &[Sample], as_of: Instant) -> Insight {
        let subject = anomaly::Subject {
            measure,
            zone: Tz::UTC,
            references: anomaly::References {
                site: None,
                fleet: None,
            },
        };
        let none = anomaly::State::default();
        let state = self.state.anomalies.get(&measure).unwrap_or(&none);
        anomaly::read(state, &subject, open, as_of)
    }
}

fn has_a_value_unless_insufficient(said: &Insight) -> Result<(), TestCaseError> {
    let is_none = said.status == Status::Insufficient;
    prop_assert_eq!(said.value.is_none(), is_none, "{:?}", said);
    prop_assert_eq!(said.interval.is_none(), is_none, "{:?}", said);
    prop_assert!(!said.reasons.is_empty(), "{said:?}");
    prop_assert!(said.value.is_none_or(f64::is_finite), "{said:?}");
    prop_assert!(said.interval.is_none_or(|it| it.low <= it.high), "{said:?}");
    Ok(())
}

/// Whether the same is said, one by one.
fn alike(one: &[Insight], other: &[Insight]) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        prop_assert_eq!(one, other);
    }
    Ok(())
}

#[test]
fn a_value_lies_in_its_interval_and_is_there_unless_it_is_insufficient() {
    let models = [trained(0), trained(3)];
    for_all(48, &given(), |given| {
        let made = Made::new(given);
        let as_of = at(given.hours + given.silent);
        let open = DeviceHour {
            start: as_of,
            ..DeviceHour::default()
        };
        let mut said = made.levels(Peers::default(), &made.changes, as_of);
        for known in &models {
            said.extend(made.risks(&open, known, as_of));
        }
        said.extend(made.reliability(as_of));
        said.extend(made.trends(as_of));
        let schedule = schedule();
        said.push(patterns(&[("site", &made.jobs)], &schedule, as_of).insight);
        for said in &said {
            has_a_value_unless_insufficient(said)?;
            if let Some((value, interval)) = said.value.zip(said.interval) {
                let is_within = interval.low <= value && value <= interval.high;
                prop_assert!(is_within, "{said:?}");
            }
        }
        for said in made.counts(as_of) {
            has_a_value_unless_insufficient(&said)?;
            if let Some((value, interval)) = said.value.zip(said.interval) {
                // a mean is no count, and may lie next to the likeliest ones
                let is_near = interval.low - 1.0 < value && value < interval.high + 1.0;
                prop_assert!(is_near, "{said:?}");
            }
        }
        // the range of an anomaly is of what is measured, and its value is not
        for measure in MEASURES {
            let said = made.anomaly(measure, &[], as_of);
            has_a_value_unless_insufficient(&said)?;
            prop_assert!(said.value.is_none_or(|value| (0.0..=1.0).contains(&value)));
        }
        Ok(())
    });
}

#[test]
fn what_happens_in_the_open_hour_after_the_time_asked_for_changes_nothing() {
    let known = trained(3);
    for_all(48, &(given(), 0..60_i64), |(given, minute)| {
        let made = Made::new(given);
        let start = at(given.hours);
        let as_of = Instant(start.0 + minute * HOUR / 60);
        let mut dice = Dice::new(given.seed ^ 1);
        let later = hour(start, 1.0, &mut dice);
        let mut until = later.clone();
        until.errors.retain(|error| error.at <= as_of);
        until.states.retain(|change| change.at <= as_of);
        until.configs.retain(|change| change.at <= as_of);
        let said = made.risks(&later, &known, as_of);
        alike(&said, &made.risks(&until, &known, as_of))?;
        let samples: Vec<Sample> = (0..12)
            .map(|step| Sample {
                at: Instant(start.0 + step * HOUR / 12),
                value: 50.0 + 30.0 * dice.normal(),
            })
            .collect();
        let until: Vec<Sample> = samples
            .iter()
            .filter(|it| it.at <= as_of)
            .copied()
            .collect();
        for measure in MEASURES {
            let said = made.anomaly(measure, &samples, as_of);
            prop_assert_eq!(said, made.anomaly(measure, &until, as_of));
        }
        Ok(())
    });
}

#[test]
fn days_and_changes_after_the_time_asked_for_change_no_trend_and_no_impact() {
    for_all(24, &(given(), 1..72_i64), |(given, more)| {
        let mut made = Made::new(given);
        let mut peer = Made::new(&Given {
            seed: given.seed ^ 2,
            ..given.clone()
        });
        let as_of = at(given.hours);
        let changes = made.changes.clone();
        let said = |made: &Made, peer: &Made| {
            let fleet = [peer.subject()];
            let peers = Peers {
                site: &[],
                fleet: &fleet,
            };
            made.levels(peers, &changes, as_of)
        };
        let before = said(&made, &peer);
        let mut dice = Dice::new(given.seed ^ 3);
        for number in given.hours..given.hours + more {
            made.take(&hour(at(number), 0.5, &mut dice));
            peer.take(&hour(at(number), 0.5, &mut dice));
        }
        alike(&before, &said(&made, &peer))
    });
}

#[test]
fn a_model_knows_nothing_of_what_came_after_it_was_trained() {
    for_all(6, &(1..40_i64, any::<u64>()), |(days, seed)| {
        let (examples, fleet) = made(2);
        let known_to = Instant((i64::from(MONDAY) + days) * DAY);
        let model = train(&examples, &fleet, known_to, Settings::default());
        let mut dice = Dice::new(*seed);
        let mut other = examples.clone();
        other.retain(|example| example.at <= known_to || dice.is(0.5));
        for example in &mut other {
            let is_later = example
                .next_failure
                .is_none_or(|failure| failure > known_to);
            if is_later {
                let later = Instant(known_to.0 + 1 + DAY * i64::from(dice.poisson(2.0)));
                example.next_failure = dice.is(0.5).then_some(later.max(example.at));
            }
        }
        let again = train(&other, &fleet, known_to, Settings::default());
        prop_assert_eq!(model, again);
        Ok(())
    });
}
