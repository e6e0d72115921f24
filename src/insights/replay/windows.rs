//! When a job is best run.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate, NaiveTime};
use entity::site_operating_schedules::Column;
use serde_json::Value as Json;

use super::filed::Filed;
use super::{Closed, Known, Replayed, Timed, Told, in_order, replay};
use crate::event::{Cell, Fact, Instant};
use crate::insights::input::Measure;
use crate::insights::jobs::cost::Terms;
use crate::insights::jobs::demand::{self, State};
use crate::insights::jobs::recommend::{Job, Known as Knowledge, Recommended, recommend};
use crate::insights::jobs::schedule::{Day, DayPlan, Schedule, Span};
use crate::insights::jobs::success::{self, FleetJobs, SiteJobs};
use crate::insights::jobs::tills::Tills;
use crate::insights::jobs::window::Limits;
use crate::kinds::{DAYS, Kind};
use crate::rollups::days::instant_of;

/// How long the job takes that is asked for, in minutes.
const DURATION_MINUTES: u32 = 60;
/// How often a device reports that does not say so.
const INTERVAL_SECONDS: f64 = 30.0;

/// A device, and when a window in the seven days after it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Week {
    /// The id of the device.
    pub device: String,
    /// From when on.
    pub at: Instant,
}

/// The devices of facts, each with the Mondays at midnight, by the clock of its site, from one date to another.
#[must_use]
pub fn weeks(facts: &[Fact], (from, to): (NaiveDate, NaiveDate)) -> Vec<Week> {
    let mut known = Known::new();
    for fact in in_order(facts) {
        known.take(fact);
    }
    let mut weeks = Vec::new();
    for id in known.devices.keys() {
        let zone = known.zone_of(id);
        let mut monday = from;
        while monday <= to {
            weeks.push(Week {
                device: id.clone(),
                at: Instant(instant_of(monday, NaiveTime::MIN, zone)),
            });
            let Some(next) = monday.checked_add_days(Days::new(7)) else {
                break;
            };
            monday = next;
        }
    }
    weeks
}

/// What is recommended in each of some weeks, from what happened before.
#[must_use]
pub fn recommended(facts: &[Fact], weeks: &[Week]) -> Vec<Option<Recommended>> {
    replay(facts, weeks, &mut Sites::default())
}

/// What is known of the sites and of the devices that stand at them.
#[derive(Debug, Default)]
struct Sites {
    told: Told,
    filed: Filed,
    demands: BTreeMap<String, State>,
    jobs: BTreeMap<String, SiteJobs>,
}

impl Timed for Week {
    fn at(&self) -> Instant {
        self.at
    }
}

impl Replayed<Week, Option<Recommended>> for Sites {
    fn take(&mut self, fact: &Fact) {
        let Self {
            told,
            filed,
            demands,
            jobs,
        } = self;
        let fold = |known: &Known, id: &str, over: &Closed| {
            fold((filed, demands, jobs), (known, id), over);
        };
        if fact.kind == Kind::SiteSchedule {
            // what is over was in the hours that were filed before
            told.close(fact.occurred_at, fold);
            self.filed.take(&self.told.known, fact);
        } else {
            told.take(fact, fold);
        }
    }

    fn answer(&mut self, week: &Week) -> Option<Recommended> {
        let Self {
            told,
            filed,
            demands,
            jobs,
        } = self;
        told.close_of(&week.device, week.at, |known, id, over| {
            fold((filed, demands, jobs), (known, id), over);
        });
        let device = told.known.devices.get(&week.device)?;
        let zone = told.known.zone_of(&week.device);
        let (unfiled, undemanded, none) =
            (Schedule::new(zone), State::default(), SiteJobs::default());
        let demand = [demands.get(&week.device).unwrap_or(&undemanded)];
        let known = Knowledge {
            schedule: filed.of(&told.known, &week.device).unwrap_or(&unfiled),
            demand: Tills::of(&demand),
            site_jobs: jobs.get(&device.site).unwrap_or(&none),
            fleet_jobs: FleetJobs::sum(jobs.values(), ""),
        };
        let limits = Limits::default();
        let job = Job {
            job_type: "",
            duration_minutes: DURATION_MINUTES,
            limits: &limits,
            terms: Terms::default(),
        };
        Some(recommend(&known, &job, week.at))
    }
}

type Kept<'a> = (
    &'a Filed,
    &'a mut BTreeMap<String, State>,
    &'a mut BTreeMap<String, SiteJobs>,
);

fn fold((filed, demands, jobs): Kept<'_>, (known, id): (&Known, &str), over: &Closed) {
    let site = known
        .devices
        .get(id)
        .map_or("", |device| device.site.as_str());
    let unfiled = Schedule::new(known.zone_of(id));
    let schedule = filed.of(known, id).unwrap_or(&unfiled);
    let counted = over.measures.iter();
    let mut counted = counted.filter(|(measure, _)| *measure == Measure::TransactionCount);
    if let Some((_, hour)) = counted.next() {
        let state = demands.entry(id.to_owned()).or_default();
        let seconds = over.interval_seconds.unwrap_or(INTERVAL_SECONDS);
        demand::fold(state, hour, schedule, seconds);
    }
    for job in &over.told.jobs {
        success::fold(jobs.entry(site.to_owned()).or_default(), job, schedule);
    }
}

/// The day that is filed.
pub(crate) fn day_of(fact: &Fact) -> Option<Day> {
    if let Some(date) = fact.cell(Column::Date).text() {
        return date.parse().ok().map(Day::Date);
    }
    let word = fact.cell(Column::DayOfWeek).text()?;
    let weekday = DAYS.iter().position(|day| *day == word)?;
    Some(Day::Weekday(weekday))
}

/// What is filed of it.
pub(crate) fn plan(fact: &Fact) -> DayPlan {
    let (open, close) = (fact.cell(Column::OpenTime), fact.cell(Column::CloseTime));
    let is_closed = matches!(fact.cell(Column::IsClosed), Cell::Int(1));
    let open = open.text().zip(close.text()).and_then(span);
    DayPlan {
        open: open.filter(|_| !is_closed),
        peaks: spans(fact.cell(Column::PeakHours)),
        maintenance: spans(fact.cell(Column::MaintenanceWindows)),
        expected_transactions: fact.cell(Column::ExpectedTransactions).number(),
    }
}

fn spans(cell: &Cell) -> Vec<Span> {
    let Cell::Json(json) = cell else {
        return Vec::new();
    };
    let texts = json.as_array().into_iter().flatten().filter_map(|stretch| {
        let time = |name: &str| stretch.get(name).and_then(Json::as_str);
        span((time("start")?, time("end")?))
    });
    texts.collect()
}

fn span((from, to): (&str, &str)) -> Option<Span> {
    Some(Span {
        from: minute(from)?,
        to: minute(to)?,
    })
}

/// Minutes since midnight of `HH:MM` or `HH:MM:SS`.
fn minute(text: &str) -> Option<u16> {
    let (hour, rest) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, rest.get(..2)?.parse().ok()?);
    Some(hour * 60 + minute)
}

/// The Monday of the week in which a date lies.
#[must_use]
pub fn monday_of(date: NaiveDate) -> NaiveDate {
    date.week(chrono::Weekday::Mon)
        .checked_first_day()
        .unwrap_or(date)
}
