//! What a configuration change did to a device (`configurationImpact`).

use std::ops::Range;

use crate::event::Instant;
use crate::insights::input::DAY;
use crate::insights::input::{ConfigSeen, State as DeviceState, StateSeen};
use crate::insights::shape::Insight;
use chrono_tz::Tz;

use crate::insights::impact::answer::{Context, incident_reason};
use crate::insights::impact::daily::{Day, State, begin, local};
use crate::insights::impact::effect::{Estimate, Missing, Window, estimate};
use crate::insights::impact::verdict::{Better, Series, Verdict, holm, overall};

/// The day before a change is not compared.
pub const LEFT_OUT_DAYS: i32 = 1;
/// The most devices compared with.
const MOST_CONTROLS: usize = 20;
/// An error state in this time before a change makes it one that follows an incident.
pub const INCIDENT: i64 = DAY;

/// A device with what is known of it up to the time asked for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The time zone of its site.
    pub zone: Tz,
    /// Its daily levels.
    pub state: &'a State,
    /// Its changes in order of time.
    pub changes: &'a [ConfigSeen],
    /// Its states in order of time; of the device that was changed no more than those in `INCIDENT` before the change are
    /// looked at, and of others none.
    pub states: &'a [StateSeen],
}

/// The devices that may be compared with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peers<'a> {
    /// The others of the site.
    pub site: &'a [Subject<'a>],
    /// Those of other sites, for when none of the site will do.
    pub fleet: &'a [Subject<'a>],
}

/// The effect on one measure.
#[derive(Clone, Debug)]
pub struct Effect {
    /// What was measured.
    pub series: Series,
    /// `None` where neither way is better; `Unclear` as well when there is too little.
    pub verdict: Option<Verdict>,
    /// The effect in numbers, unless there is too little.
    pub estimate: Option<Estimate>,
    /// The p-value adjusted for the number of measures.
    pub adjusted: Option<f64>,
    /// When an unclear effect will be known.
    pub known_at: Option<Instant>,
    /// The relative change as an insight.
    pub insight: Insight,
}

/// What a change did.
#[derive(Clone, Debug)]
pub struct Impact {
    /// On the whole.
    pub verdict: Verdict,
    /// By measure.
    pub effects: Vec<Effect>,
    /// When an unclear verdict will be known. `None` when it is known or never will be.
    pub known_at: Option<Instant>,
    /// Other changes of the device in the days compared, whose effects cannot be told apart.
    pub overlapping: Vec<ConfigSeen>,
    /// Whether the device was in error within a day before.
    pub follows_incident: bool,
}

/// Compares the days after a change with those before, and with devices that were not changed.
/// What is later than `as_of` is not read. The state keeps 45 days: for a change more than 16 days
/// back, pass a state folded to 15 days after it; by then the reading is final.
#[must_use]
pub fn configuration_impact(
    change: &ConfigSeen,
    device: Subject<'_>,
    peers: Peers<'_>,
    as_of: Instant,
) -> Impact {
    let (day, _) = local(device.zone, change.at);
    let window = between_same(change, device, Window::around(day, LEFT_OUT_DAYS), as_of);
    let others = controls(&change.parameter, peers, &span(device.zone, window, as_of));
    let estimates = estimates(device, &others, window, as_of);
    let context = Context {
        day,
        window,
        as_of,
        zone: device.zone,
    };
    let overlapping = overlapping(change, device, &context);
    let follows_incident = follows_incident(change, device);
    let mut adjusted = holm(&estimates.iter().filter_map(judged_p).collect::<Vec<_>>()).into_iter();
    let effects: Vec<Effect> = estimates
        .iter()
        .map(|row| {
            let p = judged_p(row).and_then(|_| adjusted.next());
            let mut effect = context.effect(row.series, row.found, p, &row.days);
            effect
                .insight
                .reasons
                .extend(overlapping.iter().map(|other| context.overlap(other)));
            if follows_incident {
                effect.insight.reasons.push(incident_reason());
            }
            effect
        })
        .collect();
    // Rates of rare errors can hardly be shown to be the same: they count only when they changed.
    let is_counted = |effect: &&Effect| {
        effect.series != Series::Errors
            || matches!(effect.verdict, Some(Verdict::Improved | Verdict::Worse))
    };
    let verdicts: Vec<Verdict> = effects
        .iter()
        .filter(is_counted)
        .filter_map(|effect| effect.verdict)
        .collect();
    let verdict = overall(&verdicts);
    let known_at = effects.iter().filter_map(|effect| effect.known_at).max();
    Impact {
        verdict,
        known_at: known_at.filter(|_| verdict == Verdict::Unclear),
        effects,
        overlapping,
        follows_incident,
    }
}

/// The time in which another device must not have had the same change to be compared with.
#[must_use]
pub fn compared(change: &ConfigSeen, device: Subject<'_>, as_of: Instant) -> Range<Instant> {
    let (day, _) = local(device.zone, change.at);
    let window = between_same(change, device, Window::around(day, LEFT_OUT_DAYS), as_of);
    span(device.zone, window, as_of)
}

fn span(zone: Tz, window: Window, as_of: Instant) -> Range<Instant> {
    let end = begin(zone, window.to + 1).min(Instant(as_of.0 + 1));
    begin(zone, window.from)..end
}

/// The effect on one series, and the daily levels of the device.
struct Row {
    series: Series,
    found: Result<Estimate, Missing>,
    days: Vec<Day>,
}

fn estimates(
    device: Subject<'_>,
    others: &[Subject<'_>],
    window: Window,
    as_of: Instant,
) -> Vec<Row> {
    let measures = device.state.measures().map(Series::Measure);
    measures
        .chain([Series::Errors])
        .map(|series| {
            let own = days(series, device, as_of);
            let controls: Vec<Vec<Day>> = others
                .iter()
                .map(|other| days(series, *other, as_of))
                .collect();
            let unit = (series == Series::Errors).then_some(1.0);
            Row {
                series,
                found: estimate(&own, &controls, window, unit),
                days: own,
            }
        })
        // A device without any error has no rate to compare.
        .filter(|row| row.series != Series::Errors || row.days.iter().any(|day| day.level > 0.0))
        .collect()
}

/// The p-value of what is judged.
fn judged_p(row: &Row) -> Option<f64> {
    let is_judged = row.series.better() != Better::Neither;
    row.found.ok().filter(|_| is_judged).map(|found| found.p)
}

fn days(series: Series, subject: Subject<'_>, as_of: Instant) -> Vec<Day> {
    match series {
        Series::Measure(measure) => subject.state.days(subject.zone, measure, as_of),
        Series::Errors => subject.state.error_days(subject.zone, as_of),
    }
}

/// The window ends where the same parameter was changed before or after.
fn between_same(
    change: &ConfigSeen,
    device: Subject<'_>,
    window: Window,
    as_of: Instant,
) -> Window {
    let same = || {
        let known = device.changes.iter().filter(|other| other.at <= as_of);
        known.filter(|other| other.parameter == change.parameter)
    };
    let day = |other: &ConfigSeen| local(device.zone, other.at).0;
    let last = same().filter(|other| other.at < change.at).map(day).max();
    let next = same().filter(|other| other.at > change.at).map(day).min();
    Window {
        from: last.map_or(window.from, |last| window.from.max(last + 1)),
        to: next.map_or(window.to, |next| window.to.min(next - 1)),
        ..window
    }
}

/// Devices without a change of the parameter in a span of time: of the site, or else of the fleet.
fn controls<'a>(parameter: &str, peers: Peers<'a>, span: &Range<Instant>) -> Vec<Subject<'a>> {
    let is_unchanged = |peer: &&Subject<'_>| {
        let mut changes = peer.changes.iter();
        !changes.any(|change| change.parameter == parameter && span.contains(&change.at))
    };
    let pick = |peers: &'a [Subject<'a>]| -> Vec<Subject<'a>> {
        peers
            .iter()
            .filter(is_unchanged)
            .take(MOST_CONTROLS)
            .copied()
            .collect()
    };
    let of_site = pick(peers.site);
    if of_site.is_empty() {
        pick(peers.fleet)
    } else {
        of_site
    }
}

fn overlapping(change: &ConfigSeen, device: Subject<'_>, context: &Context) -> Vec<ConfigSeen> {
    let span = begin(context.zone, context.window.from)..begin(context.zone, context.window.to + 1);
    let others = device.changes.iter().filter(|other| *other != change);
    others
        .filter(|other| span.contains(&other.at) && other.at <= context.as_of)
        .cloned()
        .collect()
}

fn follows_incident(change: &ConfigSeen, device: Subject<'_>) -> bool {
    let span = (change.at.0 - INCIDENT)..=change.at.0;
    device
        .states
        .iter()
        .any(|s| s.to == DeviceState::Error && span.contains(&s.at.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::input::HOUR;
    use crate::insights::input::{Hour, Measure};
    use crate::insights::number::float;
    use crate::insights::shape::Status;

    const ZONE: Tz = chrono_tz::Europe::London;
    const CHANGE_DAY: i64 = 1030;

    /// Latency by the hour up to a day, scaled from the change on.
    fn state(salt: i64, until_day: i64, scale: f64) -> State {
        let mut state = State::default();
        for index in 1000 * 24..until_day * 24 {
            let mixed = (index / 24 * 7919 + salt * 104_729).wrapping_mul(0x9E37_79B9) >> 20;
            let noise = 1.0 + 0.03 * (float(mixed.rem_euclid(101)) / 50.0 - 1.0);
            let value = 40.0
                * noise
                * if index >= CHANGE_DAY * 24 + 10 {
                    scale
                } else {
                    1.0
                };
            let hour = Hour {
                start: Instant(index * HOUR),
                count: 1,
                sum: value,
                sum_squares: value * value,
                min: value,
                max: value,
                increase: 0.0,
            };
            state.fold(ZONE, Measure::NetworkLatencyMs, &hour);
        }
        state
    }

    fn config(day: i64, parameter: &str) -> ConfigSeen {
        ConfigSeen {
            at: Instant(day * DAY + 10 * HOUR),
            parameter: parameter.to_owned(),
        }
    }

    fn subject<'a>(state: &'a State, changes: &'a [ConfigSeen]) -> Subject<'a> {
        Subject {
            zone: ZONE,
            state,
            changes,
            states: &[],
        }
    }

    fn read(scale: f64, until: i64, others: &[ConfigSeen]) -> Impact {
        let states: Vec<State> = (2..5).map(|salt| state(salt, until, 1.0)).collect();
        let peers: Vec<Subject<'_>> = states.iter().map(|state| subject(state, &[])).collect();
        let own = state(1, until, scale);
        let peers = Peers {
            site: &peers,
            fleet: &[],
        };
        let as_of = Instant(until * DAY + 2 * HOUR);
        configuration_impact(
            &config(CHANGE_DAY, "retry.limit"),
            subject(&own, others),
            peers,
            as_of,
        )
    }

    fn latency(impact: &Impact) -> &Effect {
        let series = Series::Measure(Measure::NetworkLatencyMs);
        impact
            .effects
            .iter()
            .find(|effect| effect.series == series)
            .unwrap()
    }

    #[test]
    fn less_latency_is_an_improvement() {
        let impact = read(0.8, 1045, &[]);
        assert_eq!(impact.verdict, Verdict::Improved);
        let insight = &latency(&impact).insight;
        assert!((insight.value.unwrap() + 0.2).abs() < 0.03 && insight.status == Status::Ok);
        assert_eq!(insight.evidence.events, 42);
        assert!(
            insight.reasons[0].sentence.contains("lower"),
            "{:?}",
            insight.reasons
        );
    }

    #[test]
    fn nothing_happened_is_said_when_it_is_known() {
        assert_eq!(
            latency(&read(1.0, 1045, &[])).verdict,
            Some(Verdict::NoMaterialChange)
        );
    }

    #[test]
    fn too_early_is_unclear_with_a_date() {
        let impact = read(0.8, 1032, &[]);
        assert_eq!(impact.verdict, Verdict::Unclear);
        let effect = latency(&impact);
        assert_eq!(effect.insight.status, Status::Insufficient);
        assert_eq!(effect.insight.value, None);
        assert_eq!(effect.known_at, Some(begin(ZONE, 1034)));
        assert!(
            effect.insight.reasons[0].sentence.contains("1972-10-31"),
            "{effect:?}"
        );
    }

    #[test]
    fn a_device_too_young_is_never_judged() {
        let own = State::default();
        let as_of = Instant(1060 * DAY);
        let change = config(CHANGE_DAY, "a");
        let impact = configuration_impact(&change, subject(&own, &[]), Peers::default(), as_of);
        assert_eq!((impact.verdict, impact.known_at), (Verdict::Unclear, None));
        assert!(
            impact
                .effects
                .iter()
                .all(|effect| effect.insight.value.is_none())
        );
    }

    #[test]
    fn other_changes_are_named_and_the_same_parameter_ends_the_days() {
        let others = [
            config(1025, "timeout"),
            config(1036, "retry.limit"),
            config(1200, "later"),
        ];
        let impact = read(0.8, 1045, &others);
        let named: Vec<&str> = impact
            .overlapping
            .iter()
            .map(|c| c.parameter.as_str())
            .collect();
        assert_eq!(named, ["timeout"]);
        assert_eq!(latency(&impact).estimate.unwrap().days_after, 5);
        let sentences = latency(&impact).insight.reasons.iter().map(|r| &r.sentence);
        assert!(sentences.filter(|s| s.contains("timeout")).count() == 1);
    }

    #[test]
    fn peers_with_the_same_change_are_not_compared_with() {
        let (own, other) = (state(1, 1045, 0.8), state(2, 1045, 0.8));
        let change = config(CHANGE_DAY, "retry.limit");
        let changes = [change.clone()];
        let site = [subject(&other, &changes)];
        let peers = Peers {
            site: &site,
            fleet: &[],
        };
        let as_of = Instant(1045 * DAY);
        let impact = configuration_impact(&change, subject(&own, &changes), peers, as_of);
        assert_eq!(latency(&impact).estimate.unwrap().controls, 0);
    }

    #[test]
    fn what_is_later_than_asked_for_is_not_read() {
        let (long, short) = (state(1, 1045, 0.8), state(1, 1036, 0.8));
        let change = config(CHANGE_DAY, "a");
        let as_of = Instant(1036 * DAY);
        let read = |state: &State| {
            let impact =
                configuration_impact(&change, subject(state, &[]), Peers::default(), as_of);
            latency(&impact)
                .estimate
                .map(|estimate| (estimate.relative, estimate.days_after))
        };
        assert_eq!(
            read(&long).map(|found| found.1),
            read(&short).map(|found| found.1)
        );
        assert_eq!(read(&long), read(&short));
    }
}
