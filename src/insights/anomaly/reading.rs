//! The anomaly score as an insight.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR, Measure, Sample};
use crate::insights::number;
use crate::insights::shape::{Evidence, Insight, Interval, Reason, Status};
use chrono_tz::Tz;

use crate::insights::anomaly::profile::K_WEEK;
use crate::insights::anomaly::state::hour_of_week;
use crate::insights::anomaly::words::{digits, name, time, unit, with_unit};
use crate::insights::anomaly::{Ranged, References, Scored, State, WARM_HOURS, score};
use crate::insights::risk::words::plural;

/// A sentence names the hour of the day when what is said of it rests on the device by this part.
const KNOWN: f64 = 0.5;
/// Silence of so many usual distances between hours with reports makes a reading stale …
const STALE_SPACINGS: f64 = 3.0;
/// … but none shorter than this.
const STALE_HOURS: f64 = 3.0;

/// What is read: a measure in the zone of its site, with the pools that its device belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What was measured.
    pub measure: Measure,
    /// The zone of the site: its hours of the week, and the times in sentences.
    pub zone: Tz,
    /// The pools that the device belongs to.
    pub references: References<'a>,
}

/// What the insight is about: the latest sample, or the closed hour before.
struct Latest {
    scored: Scored,
    /// When what it is about was over.
    until: Instant,
    since: Option<Instant>,
    worst: Option<f64>,
    peak: Option<(Instant, Ranged)>,
}

/// How unusual the latest sample is, as of a time. `open` are samples later than the closed hours,
/// in order of time; those after `as_of` are left out. A counter is judged by its last closed hour.
///
/// The value is [`Scored::news`], the interval the expected range at 90 % in the measure's unit.
#[must_use]
pub fn read(state: &State, subject: &Subject<'_>, open: &[Sample], as_of: Instant) -> Insight {
    let evidence = evidence(state, open, as_of);
    if !state.is_warm() {
        return insufficient(state, subject, evidence, as_of);
    }
    let latest = latest(state, subject, open, as_of);
    let scored = latest.scored;
    let cell = state.profile().cell(hour_of_week(scored.at, subject.zone));
    let silence = number::float(as_of.0 - latest.until.0) / number::float(HOUR);
    let status = if silence > (STALE_SPACINGS * state.spacing_hours()).max(STALE_HOURS) {
        Status::Stale
    } else if cell.seen < K_WEEK {
        Status::Learning
    } else {
        Status::Ok
    };
    let back = back(&latest, subject, as_of);
    let mut reasons = vec![back.unwrap_or_else(|| comparison(state, subject, &scored))];
    reasons.extend(ongoing(&latest, subject.zone));
    if status == Status::Stale {
        reasons.push(stale(&latest, subject, silence));
    }
    Insight {
        value: Some(scored.news),
        interval: Some(Interval {
            low: scored.low,
            high: scored.high,
            level: 0.9,
        }),
        evidence,
        status,
        reasons,
        recommendations: Vec::new(),
        as_of,
    }
}

pub(crate) fn evidence(state: &State, open: &[Sample], as_of: Instant) -> Evidence {
    let last = open
        .iter()
        .rfind(|sample| sample.at <= as_of)
        .map(|sample| sample.at);
    let span = state.span();
    Evidence {
        events: i64::from(state.hours()),
        from: span.map(|span| span.0).or(last),
        to: last.or(span.map(|span| span.1)),
        coverage: span.map(|(from, to)| {
            let hours = number::float(to.0 - from.0) / number::float(HOUR);
            (f64::from(state.hours()) / hours.max(1.0)).min(1.0)
        }),
    }
}

/// Too little was seen. Says how many hours are missing, and when they will be there.
fn insufficient(
    state: &State,
    subject: &Subject<'_>,
    evidence: Evidence,
    as_of: Instant,
) -> Insight {
    let missing = f64::from(WARM_HOURS.saturating_sub(state.hours()));
    let spacing = state.spacing_hours().max(1.0);
    let until = as_of
        .0
        .saturating_add(number::whole(missing * spacing * number::float(HOUR)));
    let measure = name(subject.measure);
    let when = time(Instant(until), subject.zone, "%-d %B, %H:00");
    let sentence = if state.hours() == 0 {
        format!("{measure} was never reported; {WARM_HOURS} hours with reports are needed first.")
    } else {
        let hours = state.hours();
        format!(
            "{measure} was reported in {}; {WARM_HOURS} are needed, which will be by {when}.",
            plural(f64::from(hours), "hour")
        )
    };
    let reason = Reason {
        factor: "anomaly.history",
        contribution: 0.0,
        observed: Some(f64::from(state.hours())),
        expected: Some(f64::from(WARM_HOURS)),
        unit: Some("h"),
        sentence,
    };
    Insight::insufficient(evidence, reason, as_of)
}

/// The samples later than the closed hours, until a time; none of a counter, of which hours are judged.
pub(crate) fn later(
    state: &State,
    subject: &Subject<'_>,
    open: &[Sample],
    as_of: Instant,
) -> Vec<Sample> {
    if subject.measure.is_counter() {
        return Vec::new();
    }
    let closed = Instant(state.last().0.saturating_add(HOUR));
    let is_open = |sample: &&Sample| sample.at >= closed && sample.at <= as_of;
    open.iter().filter(is_open).copied().collect()
}

fn latest(state: &State, subject: &Subject<'_>, open: &[Sample], as_of: Instant) -> Latest {
    let closed = Instant(state.last().0.saturating_add(HOUR));
    let samples = later(state, subject, open, as_of);
    let mut incident = state.incident();
    let scored = score(
        state,
        subject.zone,
        &subject.references,
        &mut incident,
        &samples,
    );
    let (scored, until) = match scored.last() {
        Some(scored) => (*scored, scored.at),
        None => (last_hour(state, subject), closed),
    };
    Latest {
        scored,
        until,
        since: incident.since(as_of),
        worst: incident.worst(),
        peak: incident.peak(),
    }
}

/// The most unusual value of the last closed hour, as it was scored when the hour closed.
fn last_hour(state: &State, subject: &Subject<'_>) -> Scored {
    let hour = hour_of_week(state.last(), subject.zone);
    let expected = state.expectation(hour, &subject.references);
    let latest = state.latest();
    let seen = state.ranged(latest.value.into(), &expected);
    Scored {
        at: state.last(),
        value: seen.value,
        score: f64::from(latest.score),
        news: f64::from(latest.news),
        expected: expected.value(),
        low: seen.low,
        high: seen.high,
        change: crate::insights::anomaly::Change::Quiet,
    }
}

/// "Latency 412 ms; on Tuesdays at 14:00 it is 80 to 120 ms."
fn comparison(state: &State, subject: &Subject<'_>, scored: &Scored) -> Reason {
    let Subject {
        measure,
        zone,
        references,
    } = *subject;
    let hour = hour_of_week(scored.at, zone);
    let clock = time(scored.at, zone, "%H:00");
    let when = if state.profile().cell(hour).seen >= K_WEEK {
        format!("on {}s at {clock}", time(scored.at, zone, "%A"))
    } else if state.expectation(hour, &references).confidence >= KNOWN {
        format!("at {clock}")
    } else {
        "usually".to_owned()
    };
    let range = range(&scored.ranged(), measure);
    let observed = with_unit(scored.value, measure);
    Reason {
        factor: "anomaly.rarity",
        contribution: scored.score,
        observed: Some(scored.value),
        expected: Some(scored.expected),
        unit: unit(measure),
        sentence: format!("{} {observed}; {when} it is {range}.", name(measure)),
    }
}

/// "80 to 120 ms"
fn range(seen: &Ranged, measure: Measure) -> String {
    format!("{} to {}", digits(seen.low), with_unit(seen.high, measure))
}

/// What the most unusual value of an open incident was, if the latest one is in its range: "Latency 412 ms on Tuesday
/// at 14:07, when 80 to 120 ms was usual; now 95 ms, which is usual."
fn back(latest: &Latest, subject: &Subject<'_>, as_of: Instant) -> Option<Reason> {
    let (scored, measure) = (latest.scored, subject.measure);
    let is_back = latest.since.is_some() && scored.ranged().is_usual();
    let (at, peak) = latest.peak.filter(|_| is_back)?;
    let when = seen_at(at, subject.zone, as_of);
    let (value, now) = (
        with_unit(peak.value, measure),
        with_unit(scored.value, measure),
    );
    let (name, range) = (name(measure), range(&peak, measure));
    let together = format!("the usual {range}, but unusual together with the values before it");
    let sentence = if !peak.is_usual() {
        format!("{name} {value} {when}, when {range} was usual; now {now}, which is usual.")
    } else if at == scored.at {
        format!("{name} {value}, within {together}.")
    } else {
        format!("{name} {value} {when}, within {together}; now {now}.")
    };
    Some(Reason {
        factor: "anomaly.peak",
        contribution: scored.score,
        observed: Some(peak.value),
        expected: None,
        unit: unit(measure),
        sentence,
    })
}

/// "on Tuesday at 14:07", or of what only its hour is known, "on Tuesday between 14:00 and 15:00".
fn seen_at(at: Instant, zone: Tz, as_of: Instant) -> String {
    let is_near = as_of.0 - at.0 < 6 * DAY;
    let day = time(at, zone, if is_near { "%A" } else { "%-d %B" });
    let clock = |at| time(at, zone, "%H:%M");
    if at.0.rem_euclid(HOUR) == 0 {
        let end = Instant(at.0.saturating_add(HOUR));
        format!("on {day} between {} and {}", clock(at), clock(end))
    } else {
        format!("on {day} at {}", clock(at))
    }
}

/// That an incident is open, and that what goes on is no news.
fn ongoing(latest: &Latest, zone: Tz) -> Option<Reason> {
    let since = latest.since?;
    let when = time(since, zone, "%A %H:%M");
    let tired = latest.scored.score - latest.scored.news;
    let news = if tired > 0.0 {
        "; the score falls while it is no longer news"
    } else {
        ""
    };
    Some(Reason {
        factor: "anomaly.incident",
        contribution: -tired,
        observed: latest.worst,
        expected: None,
        unit: None,
        sentence: format!("Unusual since {when}{news}."),
    })
}

fn stale(latest: &Latest, subject: &Subject<'_>, silence: f64) -> Reason {
    let when = time(latest.until, subject.zone, "%-d %B, %H:%M");
    Reason {
        factor: "anomaly.silence",
        contribution: 0.0,
        observed: Some(silence),
        expected: None,
        unit: Some("h"),
        sentence: format!("{} was last reported on {when}.", name(subject.measure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::anomaly::state::tests::{daily, fed, hour};
    use crate::insights::anomaly::{OPEN, fold};

    const SUBJECT: Subject<'static> = Subject {
        measure: Measure::NetworkLatencyMs,
        zone: Tz::UTC,
        references: References {
            site: None,
            fleet: None,
        },
    };

    fn at(hours: i64) -> Instant {
        Instant(hours * HOUR + HOUR / 2)
    }

    #[test]
    fn too_little_is_said_with_the_time_when_it_will_do() {
        let insight = read(&State::default(), &SUBJECT, &[], at(0));
        assert_eq!(
            (insight.status, insight.value),
            (Status::Insufficient, None)
        );
        let state = fed(0, daily);
        let few = read(
            &state,
            &SUBJECT,
            &[Sample {
                at: at(0),
                value: 1.0,
            }],
            at(0),
        );
        assert_eq!((few.status, few.reasons.len()), (Status::Insufficient, 1));
        let some = read(&fed(1, daily), &SUBJECT, &[], at(24));
        assert!(some.value.is_some());
    }

    #[test]
    fn the_sentence_names_the_hour_and_the_range() {
        let state = fed(21, daily);
        let now = at(21 * 24 + 12);
        let insight = read(
            &state,
            &SUBJECT,
            &[Sample {
                at: now,
                value: 412.0,
            }],
            now,
        );
        assert_eq!(insight.status, Status::Ok);
        assert!(insight.value.is_some_and(|value| value >= OPEN));
        let sentence = &insight.reasons[0].sentence;
        assert!(
            sentence.starts_with("Latency 412 ms; on Thursdays at 12:00 it is 7"),
            "{sentence}"
        );
        assert!(
            insight.reasons[1]
                .sentence
                .starts_with("Unusual since Thursday 12:30")
        );
    }

    #[test]
    fn what_is_back_in_its_range_is_told_by_its_peak() {
        let state = fed(21, daily);
        let (then, now) = (at(21 * 24 + 12), Instant(at(21 * 24 + 12).0 + HOUR / 60));
        let samples = [(then, 412.0), (now, 81.0)].map(|(at, value)| Sample { at, value });
        let insight = read(&state, &SUBJECT, &samples, now);
        let sentence = &insight.reasons[0].sentence;
        assert!(
            sentence.starts_with("Latency 412 ms on Thursday at 12:30, when 7")
                && sentence.ends_with(" ms was usual; now 81 ms, which is usual."),
            "{sentence}"
        );
        assert_eq!(insight.reasons[0].observed, Some(412.0));
        // of an hour that is over
        let mut state = state;
        for (at, value) in [(504, 900.0), (505, daily(505))] {
            fold(&mut state, SUBJECT.measure, Tz::UTC, &hour(at, value));
        }
        let sample = Sample {
            at: at(506),
            value: daily(506),
        };
        let insight = read(&state, &SUBJECT, &[sample], at(506));
        let sentence = &insight.reasons[0].sentence;
        assert!(
            sentence.starts_with("Latency 902 ms on Thursday between 00:00 and 01:00, when ")
                && sentence.ends_with(" ms was usual; now 21 ms, which is usual."),
            "{sentence}"
        );
    }

    #[test]
    fn what_is_unusual_only_together_is_not_told_as_beyond_its_range() {
        let seen = |at, value| Latest {
            scored: Scored {
                at,
                value,
                score: 0.5,
                news: 0.5,
                expected: 30.0,
                low: 20.0,
                high: 40.0,
                change: crate::insights::anomaly::Change::Continues,
            },
            until: at,
            since: Some(at),
            worst: Some(0.5),
            peak: Some((
                Instant(HOUR / 2),
                Ranged {
                    value: 39.0,
                    low: 20.0,
                    high: 40.0,
                },
            )),
        };
        let told = |at, value| back(&seen(at, value), &SUBJECT, at).unwrap().sentence;
        assert_eq!(
            told(at(0), 39.0),
            "Latency 39 ms, within the usual 20 to 40 ms, but unusual together with the values before it."
        );
        assert_eq!(
            told(at(200), 31.0),
            "Latency 39 ms on 1 January at 00:30, within the usual 20 to 40 ms, but unusual together with the values \
             before it; now 31 ms."
        );
        assert_eq!(back(&seen(at(1), 41.0), &SUBJECT, at(1)), None);
    }

    #[test]
    fn nothing_after_the_time_asked_for_is_read() {
        let state = fed(21, daily);
        let samples = [
            Sample {
                at: at(504),
                value: 22.0,
            },
            Sample {
                at: at(505),
                value: 9_999.0,
            },
        ];
        assert_eq!(
            read(&state, &SUBJECT, &samples, at(504)),
            read(&state, &SUBJECT, &samples[..1], at(504))
        );
    }

    #[test]
    fn silence_makes_it_stale() {
        let insight = read(&fed(21, daily), &SUBJECT, &[], at(21 * 24 + 5));
        assert_eq!(insight.status, Status::Stale);
        assert!(
            insight
                .reasons
                .iter()
                .any(|reason| reason.factor == "anomaly.silence")
        );
    }

    #[test]
    fn the_first_weeks_are_learning() {
        assert_eq!(
            read(&fed(3, daily), &SUBJECT, &[], at(72)).status,
            Status::Learning
        );
    }
}
