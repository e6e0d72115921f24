//! Reads an error group with its evidence.

use std::collections::BTreeMap;

use crate::event::Instant;
use crate::insights::input::Severity;
use crate::insights::input::{DAY, HOUR};
use crate::insights::number::float;
use crate::insights::shape::{
    Evidence, Insight, Interval, Reason, Recommendation, Status as Reliance,
};
use chrono_tz::Tz;

use crate::insights::errors::cause::{Changes, Suspect, Watched};
use crate::insights::errors::fingerprint::Fingerprint;
use crate::insights::errors::group::{Group, Status};
use crate::insights::errors::sentence;
use crate::insights::errors::state::{Fact, State};
use crate::insights::errors::trend::{self, Burst, LEVEL, Trend};
use crate::insights::errors::whole::Whole;

/// Fewer events in both weeks leave the ratio mostly to its prior.
const EVENTS_MIN: u64 = 5;
/// Silence of the whole fleet after which counts say nothing about now.
const STALE_AFTER: i64 = DAY;
/// Of the week before, what must have been observed.
const DAYS_NEEDED: i64 = 8;
/// Devices that are named.
const NAMES_MAX: usize = 20;

/// What to read for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The time of the reading.
    pub as_of: Instant,
    /// When any device was last heard of.
    pub heard: Instant,
    /// Since when there was something to see, if that is known to be before the first error.
    pub from: Option<Instant>,
    /// Devices of the fleet.
    pub devices: f64,
    /// Devices at a site, as a rule: for so many a change at a site counts.
    pub per_site: f64,
    /// In which times are told.
    pub zone: Tz,
}

/// A burst with the setting that changed on the most devices of the group within a day before.
#[derive(Clone, Debug, PartialEq)]
pub struct BurstSeen {
    /// The burst.
    pub burst: Burst,
    /// The setting, the devices, and the least time before in seconds.
    pub change: Option<(String, u64, u32)>,
}

/// An error group as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorGroup {
    /// Its id, which stays.
    pub id: Fingerprint,
    /// The message with `<*>` for what varies.
    pub template: String,
    /// The category of its events.
    pub category: String,
    /// The code of its events, where given.
    pub code: Option<String>,
    /// The most severe so far.
    pub severity: Severity,
    /// Whether it is open, resolved or ignored.
    pub status: Status,
    /// When it came back after it was resolved.
    pub came_back: Option<Instant>,
    /// Its events.
    pub count: u64,
    /// The number of devices; an estimate beyond 64.
    pub devices: f64,
    /// Whether the number of devices is counted, and no estimate.
    pub is_device_count_exact: bool,
    /// Some of the devices, those with most events first.
    pub device_names: Vec<String>,
    /// When the first event came.
    pub first: Instant,
    /// When the latest came.
    pub last: Instant,
    /// The rate of the last 7 days over that of the 7 before.
    pub trend: Insight,
    /// The bursts of the last 7 days.
    pub bursts: Vec<BurstSeen>,
    /// The changes that may have brought it, the most telling first.
    pub suspects: Vec<Suspect>,
    /// The same as one plain sentence.
    pub sentence: String,
}

impl State {
    /// Reads one group, with the facts of the open hour.
    #[must_use]
    pub fn read(&self, id: Fingerprint, open: &[Fact<'_>], asked: &Asked) -> Option<ErrorGroup> {
        if open.is_empty() {
            return self.read_closed(id, asked);
        }
        let mut now = self.clone();
        now.fold(open);
        now.read_closed(id, asked)
    }

    /// Reads all groups, the latest first, at most so many, with the facts of the open hour.
    #[must_use]
    pub fn read_all(&self, open: &[Fact<'_>], asked: &Asked, at_most: usize) -> Vec<ErrorGroup> {
        let mut now = self.clone();
        now.fold(open);
        now.list()
            .into_iter()
            .take(at_most)
            .filter_map(|(id, _)| now.read_closed(id, asked))
            .collect()
    }

    fn read_closed(&self, id: Fingerprint, asked: &Asked) -> Option<ErrorGroup> {
        let whole = self.current(self.label(id)?)?;
        let id = whole.id();
        self.tell(id, whole, &self.changes, asked)
    }

    /// Tells a group as an operator sees it: what it comes to, be it of a part of the fleet, by the changes that are
    /// known of its devices.
    #[must_use]
    pub fn tell(
        &self,
        id: Fingerprint,
        whole: Whole,
        changes: &Changes,
        asked: &Asked,
    ) -> Option<ErrorGroup> {
        let Whole { founder, group, .. } = whole;
        let (from, _) = self.watched?;
        let from = asked.from.map_or(from, |known| known.min(from));
        let trend = trend::trend(&group, from, asked.as_of);
        let watched = Watched {
            devices: asked.devices,
            per_site: asked.per_site,
            from,
            to: asked.as_of,
        };
        let suspects = changes.suspects(&group, &watched);
        let bursts = trend::bursts(&group, from, asked.as_of).into_iter();
        let bursts = bursts
            .map(|burst| BurstSeen {
                burst,
                change: changes.of_devices(burst.from, &group),
            })
            .collect();
        let (devices, is_exact) = group.device_count();
        Some(ErrorGroup {
            id,
            template: self.template(founder, &group),
            status: group.status(),
            came_back: group.mark.and_then(|mark| mark.reopened),
            devices,
            is_device_count_exact: is_exact,
            device_names: self.device_names(&group),
            first: group.founder.0,
            last: group.last,
            trend: insight(&group, trend.as_ref(), from, asked),
            bursts,
            sentence: sentence::whole(&group, trend.as_ref(), suspects.first(), asked),
            suspects,
            severity: group.severity,
            count: group.count,
            category: group.category,
            code: group.code,
        })
    }

    /// What the messages of a group have in common, with `<*>` for what varies.
    #[must_use]
    pub fn template(&self, label: u64, group: &Group) -> String {
        let text = self.drain.template(label);
        text.map_or_else(|| sentence::other(group), |text| sentence::readable(&text))
    }

    fn device_names(&self, group: &Group) -> Vec<String> {
        let by_count: BTreeMap<_, _> = group
            .devices
            .iter()
            .map(|(device, seen)| ((std::cmp::Reverse(seen.count), *device), *device))
            .collect();
        by_count
            .into_values()
            .filter_map(|device| self.names.get(&device).cloned())
            .take(NAMES_MAX)
            .collect()
    }
}

/// The trend as an insight.
fn insight(group: &Group, trend: Option<&Trend>, from: Instant, asked: &Asked) -> Insight {
    let evidence = Evidence {
        events: trend.map_or(0, |trend| {
            i64::try_from(trend.now + trend.before).unwrap_or(i64::MAX)
        }),
        from: Some(Instant(from.0.max(asked.as_of.0 - 14 * DAY))),
        to: Some(asked.as_of),
        coverage: trend.map(|trend| (f64::from(trend.hours_before) + 168.0) / 336.0),
    };
    let Some(trend) = trend else {
        // Whole hours count, and the hour of asking is the last of the 7 days.
        let until = Instant((from.0.div_euclid(HOUR) - 1) * HOUR + DAYS_NEEDED * DAY);
        let reason = reason(None, sentence::too_early(until, asked.zone));
        return Insight::insufficient(evidence, reason, asked.as_of);
    };
    if trend.now + trend.before == 0 {
        let reason = reason(None, sentence::NOTHING_TO_COMPARE.to_owned());
        return Insight::insufficient(evidence, reason, asked.as_of);
    }
    let is_stale = asked.as_of.0 - asked.heard.0 > STALE_AFTER;
    let status = match trend.now + trend.before {
        _ if is_stale => Reliance::Stale,
        events if events < EVENTS_MIN => Reliance::Learning,
        _ => Reliance::Ok,
    };
    let mut reasons = vec![reason(Some(trend), sentence::weeks(trend))];
    if is_stale {
        reasons.push(reason(None, sentence::stale(asked.heard, asked.zone)));
    }
    Insight {
        value: Some(trend.ratio.value),
        interval: Some(Interval {
            low: trend.ratio.low,
            high: trend.ratio.high,
            level: LEVEL,
        }),
        status,
        reasons,
        evidence,
        recommendations: recommendations(group),
        as_of: asked.as_of,
    }
}

fn reason(trend: Option<&Trend>, sentence: String) -> Reason {
    let expected = trend.map(|trend| float(trend.before) * 168.0 / f64::from(trend.hours_before));
    Reason {
        factor: "events.7d",
        contribution: trend.map_or(0.0, |trend| trend.ratio.value.ln()),
        observed: trend.map(|trend| float(trend.now)),
        expected,
        unit: Some("events"),
        sentence,
    }
}

fn recommendations(group: &Group) -> Vec<Recommendation> {
    match (group.status(), group.mark.and_then(|mark| mark.reopened)) {
        (Status::Open, Some(_)) => vec![Recommendation {
            action: "investigate",
            sentence: "It came back after it was resolved: look at what was done then.".into(),
            mutation: None,
        }],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::errors::state::Seen;
    use crate::insights::input::ErrorSeen;

    const MINUTE: i64 = HOUR / 60;
    /// Tuesday 2026-03-03, 08:54 UTC.
    const CHANGED: i64 = 1_772_528_040_000_000;

    fn asked(as_of: i64) -> Asked {
        Asked {
            as_of: Instant(as_of),
            heard: Instant(as_of),
            from: None,
            devices: 40.0,
            per_site: 1.0,
            zone: Tz::UTC,
        }
    }

    fn error(at: i64) -> ErrorSeen {
        let message = format!("receipt {} not printed", at / MINUTE);
        ErrorSeen {
            at: Instant(at),
            severity: Severity::Error,
            category: "DEVICE".into(),
            code: None,
            message,
        }
    }

    /// Nine of twelve devices get the error 20 minutes after a setting changed on them; each then goes on for so many days.
    fn story(days: i64) -> (State, Fingerprint) {
        let mut state = State::default();
        let devices: Vec<String> = (0..12).map(|number| format!("dev-{number:03}")).collect();
        state.fold(&[Fact::Heard {
            at: Instant(CHANGED - 40 * DAY),
        }]);
        for device in &devices[..9] {
            state.fold(&[Fact::Change {
                at: Instant(CHANGED),
                parameter: "receipt.printer",
                entity: device,
                devices: 1,
            }]);
        }
        let first = error(CHANGED + 20 * MINUTE);
        for step in 0..days * 2 {
            for (number, device) in devices.iter().enumerate() {
                let late = if number < 9 { 0 } else { 3 * DAY };
                let error = error(CHANGED + 20 * MINUTE + step * DAY / 2 + late);
                state.fold(&[Fact::Error(Seen {
                    error: &error,
                    stack: None,
                    device: Some(device),
                    site: None,
                })]);
            }
        }
        let id = state.group_of(&Seen {
            error: &first,
            stack: None,
            device: None,
            site: None,
        });
        (state, id)
    }

    #[test]
    fn a_new_group_is_told_with_its_cause() {
        let (state, id) = story(2);
        let group = state.read(id, &[], &asked(CHANGED + 5 * DAY)).unwrap();
        assert_eq!(
            group.sentence,
            "Seen 48 times on 12 devices since Tuesday 09:14, not once in the week before; it began 20 minutes after \
             receipt.printer changed on 9 of them"
        );
        assert_eq!(group.template, "receipt <*> not printed");
        assert_eq!(group.suspects.len(), 1);
        assert!(group.suspects[0].ratio.low > 10.0);
        assert_eq!(group.device_names.len(), 12);
    }

    #[test]
    fn a_growing_group_is_told_with_its_ratio() {
        let (mut state, id) = story(8);
        let extra: Vec<ErrorSeen> = (0..400)
            .map(|number| error(CHANGED + 9 * DAY + number * 17 * MINUTE))
            .collect();
        for error in &extra {
            state.fold(&[Fact::Error(Seen {
                error,
                stack: None,
                device: Some("dev-001"),
                site: None,
            })]);
        }
        let group = state.read(id, &[], &asked(CHANGED + 14 * DAY)).unwrap();
        assert!(
            group.sentence.contains("since 3 March 09:14, "),
            "{}",
            group.sentence
        );
        assert!(
            group.sentence.contains("times as often as the week before"),
            "{}",
            group.sentence
        );
        assert_eq!(group.trend.status, Reliance::Ok);
    }

    #[test]
    fn a_group_comes_back() {
        let (mut state, id) = story(2);
        state.fold(&[Fact::Decision {
            at: Instant(CHANGED + 6 * DAY),
            group: id,
            status: Status::Resolved,
        }]);
        assert_eq!(
            state
                .read(id, &[], &asked(CHANGED + 7 * DAY))
                .map(|group| group.status),
            Some(Status::Resolved)
        );
        let again = error(CHANGED + 8 * DAY);
        let open = [Fact::Error(Seen {
            error: &again,
            stack: None,
            device: Some("dev-001"),
            site: None,
        })];
        let group = state
            .read(id, &open, &asked(CHANGED + 8 * DAY + HOUR))
            .unwrap();
        assert_eq!(
            (group.status, group.came_back),
            (Status::Open, Some(again.at))
        );
        assert!(
            group
                .sentence
                .ends_with("it came back on Wednesday 08:54 after it was resolved"),
            "{}",
            group.sentence
        );
        assert_eq!(group.trend.recommendations.len(), 1);
    }

    #[test]
    fn cold_start_says_until_when() {
        let (mut state, only) = (State::default(), error(CHANGED));
        assert!(state.read_all(&[], &asked(CHANGED), 10).is_empty());
        state.fold(&[Fact::Error(Seen {
            error: &only,
            stack: None,
            device: None,
            site: None,
        })]);
        let groups = state.read_all(&[], &asked(CHANGED + HOUR), 10);
        assert_eq!(groups[0].sentence, "Seen once on Tuesday 08:54");
        assert_eq!(
            (groups[0].trend.status, groups[0].trend.value),
            (Reliance::Insufficient, None)
        );
        assert!(
            groups[0].trend.reasons[0]
                .sentence
                .contains("from 11 March 2026")
        );
        assert!(groups[0].suspects.is_empty());
    }

    #[test]
    fn silence_of_all_devices_is_stale() {
        let (state, id) = story(8);
        let asked = Asked {
            heard: Instant(CHANGED + 8 * DAY),
            ..asked(CHANGED + 12 * DAY)
        };
        assert_eq!(
            state.read(id, &[], &asked).map(|group| group.trend.status),
            Some(Reliance::Stale)
        );
    }

    #[test]
    fn the_trend_will_be_told_when_it_was_said() {
        let (mut state, only) = (State::default(), error(CHANGED));
        state.fold(&[Fact::Error(Seen {
            error: &only,
            stack: None,
            device: None,
            site: None,
        })]);
        let start = (CHANGED.div_euclid(HOUR) - 1) * HOUR;
        let status = |at: i64| state.read_all(&[], &asked(at), 1)[0].trend.status;
        assert_eq!(status(start + 8 * DAY - 1), Reliance::Insufficient);
        assert_ne!(status(start + 8 * DAY), Reliance::Insufficient);
    }
}
