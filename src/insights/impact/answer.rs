//! An effect as an insight: its status, its evidence, and its sentences for operators.

use crate::event::Instant;
use crate::insights::input::ConfigSeen;
use crate::insights::number::float;
use crate::insights::shape::{Evidence, Insight, Interval, Reason, Status};
use chrono::NaiveDate;
use chrono_tz::Tz;

use crate::insights::impact::change::Effect;
use crate::insights::impact::daily::{Day, begin, local};
use crate::insights::impact::effect::{
    BEFORE_DAYS, Estimate, LEAST_AFTER, LEAST_BEFORE, LEVEL, Missing, Window,
};
use crate::insights::impact::verdict::{Better, Series, Verdict, days_until_known, verdict};

/// With fewer days after a change a reading is still learning.
const SETTLED_AFTER: usize = 7;
/// With fewer days before a change a reading is still learning.
const SETTLED_BEFORE: usize = 14;
/// An open reading without a day as new as this is stale.
const STALE_DAYS: i32 = 3;

pub(crate) fn incident_reason() -> Reason {
    Reason::plain(
        "incident",
        "The device was in error within a day before the change. The day of the change and the day \
         before it are not compared, so that going back to normal does not look like an effect."
            .to_owned(),
    )
}

fn date(day: i32) -> String {
    let date = NaiveDate::default() + chrono::Days::new(u64::try_from(day).unwrap_or(0));
    date.format("%Y-%m-%d").to_string()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// When and where a change is judged.
pub(crate) struct Context {
    pub(crate) day: i32,
    pub(crate) window: Window,
    pub(crate) as_of: Instant,
    pub(crate) zone: Tz,
}

impl Context {
    fn today(&self) -> i32 {
        local(self.zone, self.as_of).0
    }

    pub(crate) fn effect(
        &self,
        series: Series,
        found: Result<Estimate, Missing>,
        adjusted: Option<f64>,
        days: &[Day],
    ) -> Effect {
        let evidence = self.evidence(days);
        let judged = series.better() != Better::Neither;
        match found {
            Ok(estimate) => {
                let verdict = verdict(series, &estimate, adjusted.unwrap_or(1.0));
                let is_open = verdict == Some(Verdict::Unclear);
                let known_day = days_until_known(&estimate)
                    .map(|after| self.window.after + after)
                    .filter(|day| {
                        is_open && self.today() <= self.window.to && *day <= self.window.to + 1
                    });
                let insight = Insight {
                    value: Some(estimate.relative),
                    interval: Some(Interval {
                        low: estimate.low,
                        high: estimate.high,
                        level: LEVEL,
                    }),
                    status: self.status(&estimate, days),
                    reasons: self.reasons(series, &estimate, is_open, known_day),
                    recommendations: Vec::new(),
                    evidence,
                    as_of: self.as_of,
                };
                let known_at = known_day.map(|day| begin(self.zone, day));
                Effect {
                    series,
                    verdict,
                    estimate: Some(estimate),
                    adjusted,
                    known_at,
                    insight,
                }
            }
            Err(missing) => {
                let (known_day, sentence) = self.missing(missing);
                let reason = Reason::plain("days", sentence);
                let insight = Insight::insufficient(evidence, reason, self.as_of);
                let known_at = known_day.map(|day| begin(self.zone, day));
                let verdict = judged.then_some(Verdict::Unclear);
                Effect {
                    series,
                    verdict,
                    estimate: None,
                    adjusted: None,
                    known_at,
                    insight,
                }
            }
        }
    }

    fn compared<'d>(&self, days: &'d [Day]) -> impl Iterator<Item = &'d Day> {
        let Window {
            from,
            until,
            after,
            to,
        } = self.window;
        days.iter()
            .filter(move |d| (from..=until).contains(&d.day) || (after..=to).contains(&d.day))
    }

    fn evidence(&self, days: &[Day]) -> Evidence {
        let count = self.compared(days).count();
        let after = (self.today().min(self.window.to + 1) - self.window.after).max(0);
        let due = f64::from(BEFORE_DAYS + after);
        let day = |day: Option<&Day>, later: i32| day.map(|day| begin(self.zone, day.day + later));
        Evidence {
            events: i64::try_from(count).unwrap_or(0),
            from: day(self.compared(days).next(), 0),
            to: day(self.compared(days).last(), 1),
            coverage: Some((float(count) / due).min(1.0)),
        }
    }

    fn status(&self, estimate: &Estimate, days: &[Day]) -> Status {
        let newest = self.compared(days).last().map_or(self.day, |day| day.day);
        let due = (self.today() - 1).min(self.window.to);
        if due - newest >= STALE_DAYS {
            Status::Stale
        } else if estimate.days_after < SETTLED_AFTER || estimate.days_before < SETTLED_BEFORE {
            Status::Learning
        } else {
            Status::Ok
        }
    }

    fn missing(&self, missing: Missing) -> (Option<i32>, String) {
        match missing {
            Missing::Before(seen) => (
                None,
                format!(
                    "{} seen before the change; {LEAST_BEFORE} are needed. This change cannot be judged.",
                    full_days(seen)
                ),
            ),
            Missing::After(seen) => {
                let left = i32::try_from(LEAST_AFTER.saturating_sub(seen)).unwrap_or(0);
                let day = self.today().max(self.window.after) + left;
                if day > self.window.to + 1 {
                    return (
                        None,
                        format!(
                            "{} seen after the change, up to {}; {LEAST_AFTER} are needed. This change cannot be \
                             judged.",
                            full_days(seen),
                            date(self.window.to)
                        ),
                    );
                }
                (
                    Some(day),
                    format!(
                        "{} seen after the change; {LEAST_AFTER} are needed. A first reading is possible on {}.",
                        full_days(seen),
                        date(day)
                    ),
                )
            }
        }
    }

    fn reasons(
        &self,
        series: Series,
        found: &Estimate,
        is_open: bool,
        known_day: Option<i32>,
    ) -> Vec<Reason> {
        let way = if found.relative < 0.0 {
            "lower"
        } else {
            "higher"
        };
        let against = match found.controls {
            0 => "no other device was fit to compare with".to_owned(),
            1 => "compared with 1 device that was not changed".to_owned(),
            many => format!("compared with {many} devices that were not changed"),
        };
        let main = Reason {
            factor: series.name(),
            contribution: found.relative,
            observed: Some(found.level_before + found.points()),
            expected: Some(found.level_before),
            unit: Some(series.unit()),
            sentence: format!(
                "{} is {} {way} than expected without the change ({} to {} with 95 % probability; {}), from {} days \
                 before and {} days after; {against}.",
                series.name(),
                percent(found.relative.abs()),
                percent(found.low),
                percent(found.high),
                if found.level_before > 0.0 {
                    format!("{:+.3} {}", found.points(), series.unit())
                } else {
                    "before it there was none, so that a share says little".to_owned()
                },
                found.days_before,
                found.days_after,
            ),
        };
        let outlook = is_open.then(|| {
            let sentence = match known_day {
                Some(day) => format!("Not clear yet; it should be known by {}.", date(day)),
                None => format!(
                    "It stays unclear: the days until {} are over, after which nothing more is compared, and effects \
                     below about {} cannot be seen in this device's day-to-day changes.",
                    date(self.window.to),
                    percent(found.smallest_found())
                ),
            };
            Reason::plain("outlook", sentence)
        });
        std::iter::once(main).chain(outlook).collect()
    }

    pub(crate) fn overlap(&self, other: &ConfigSeen) -> Reason {
        let (day, _) = local(self.zone, other.at);
        let sentence = format!(
            "{} was changed as well, on {}. Its effect cannot be told apart.",
            other.parameter,
            date(day)
        );
        Reason::plain("overlap", sentence)
    }
}

/// So many full days, and that they were.
fn full_days(seen: usize) -> String {
    match seen {
        0 => "No full day was".to_owned(),
        1 => "Only 1 full day was".to_owned(),
        _ => format!("Only {seen} full days were"),
    }
}
