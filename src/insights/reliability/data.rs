//! The reading `dataQuality` of one device in the one shape of all insights.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR};
use crate::insights::number::{float, whole};
use crate::insights::shape::{Evidence, Insight, Interval, Reason, Status};
use chrono_tz::Tz;

use crate::insights::reliability::counts::nearest;
use crate::insights::reliability::insight::{insufficient, reason};
use crate::insights::reliability::quality;
use crate::insights::reliability::words::{lasting, time};
use crate::insights::risk::words::plural;

/// The reading of the data of one device: the value is the coverage of the last 7 days.
#[must_use]
pub fn data_quality(state: &quality::State, zone: Tz, as_of: Instant) -> Insight {
    let coverage = state.coverage(7, as_of);
    let (from, to) = state.span();
    let share = coverage.share();
    let evidence = Evidence {
        events: nearest(coverage.received),
        from,
        to,
        coverage: share,
    };
    let Some(share) = share else {
        let sentence = "The device's interval is not known yet. It is after 4 reports, or when the \
                        device tells it.";
        return insufficient(evidence, "interval", sentence.to_owned(), as_of);
    };
    let sentence = format!("{}: {:.2} %.", coverage.told(1), 100.0 * share);
    let (received, expected) = (Some(coverage.received), Some(coverage.expected));
    let mut reasons = vec![reason("coverage", received, expected, "reports", sentence)];
    reasons.extend(gap_reasons(state, zone, as_of));
    reasons.extend(count_reasons(state));
    let is_silent = state
        .open_gap(as_of)
        .is_some_and(|gap| gap.length(as_of) > DAY);
    Insight {
        value: Some(share),
        interval: Some(Interval::exact(share)),
        evidence,
        status: match (
            is_silent,
            state.cadence.is_told() || coverage.received >= 30.0,
        ) {
            (true, _) => Status::Stale,
            (false, true) => Status::Ok,
            (false, false) => Status::Learning,
        },
        reasons,
        recommendations: Vec::new(),
        as_of,
    }
}

fn gap_reasons(state: &quality::State, zone: Tz, as_of: Instant) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(gap) = state.open_gap(as_of) {
        let length = gap.length(as_of);
        let hours = float(length) / float(HOUR);
        let sentence = format!(
            "Silent since {}, for {}.",
            time(gap.from, zone),
            lasting(length)
        );
        reasons.push(reason("gap.open", Some(hours), None, "h", sentence));
    }
    let (count, length) = state.gap_totals(as_of);
    if count > 0 {
        let sentence = format!(
            "{} so far, {} together.",
            plural(f64::from(count), "gap"),
            lasting(length)
        );
        reasons.push(reason(
            "gaps",
            Some(f64::from(count)),
            None,
            "gaps",
            sentence,
        ));
    }
    reasons
}

fn count_reasons(state: &quality::State) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if state.duplicates > 0 {
        let sentence = format!(
            "{} recorded with an instant that another one had.",
            reports(state.duplicates)
        );
        let observed = Some(f64::from(state.duplicates));
        reasons.push(reason("duplicates", observed, None, "reports", sentence));
    }
    for (name, times) in &state.refusals {
        let sentence = format!("{} refused: {name}.", reports(*times));
        reasons.push(reason(
            "refusals",
            Some(f64::from(*times)),
            None,
            "reports",
            sentence,
        ));
    }
    let limit = float(quality::LATE) / 1e6;
    if let Some(late) = state.lateness(0.95).filter(|late| *late > limit) {
        let sentence = late_told(late);
        reasons.push(reason("lateness", Some(late), Some(limit), "s", sentence));
    }
    // Clocks are kept to a second or so; transport within one takes seconds.
    if let Some(skew) = state
        .clock_skew()
        .filter(|skew| *skew < -2.0 || *skew > 30.0)
    {
        let side = if skew < 0.0 {
            "ahead by at least"
        } else {
            "behind by up to"
        };
        let off = lasting(whole(1e6 * skew.abs()));
        let sentence = format!("The device's clock is {side} {off}.");
        reasons.push(reason("clock.skew", Some(skew), Some(0.0), "s", sentence));
    }
    reasons
}

/// How many reports, with the verb.
fn reports(count: u32) -> String {
    let were = if count == 1 { "was" } else { "were" };
    format!("{} {were}", plural(f64::from(count), "report"))
}

/// Of the last class of lateness only is known where it begins.
fn late_told(seconds: f64) -> String {
    let of = |seconds: f64| lasting(whole(1e6 * seconds));
    if seconds < quality::LATENESS_MAX {
        return format!(
            "95 of 100 reports arrived within {} of being taken; one in 20 came later.",
            of(seconds)
        );
    }
    let begin = (seconds - 1.0) / 2.0;
    format!(
        "One report in 20 arrived more than {} after it was taken.",
        of(begin)
    )
}
