//! The reading `reliability` in the one shape of all insights.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR};
use crate::insights::number::float;
use crate::insights::shape::{Evidence, Insight, Interval, Reason, Status};
use chrono_tz::Tz;

use crate::insights::reliability::counts::nearest;
use crate::insights::reliability::figures::{self, Repair};
use crate::insights::reliability::fleet::{Fleet, Prior, Rate};
use crate::insights::reliability::intervals::{Failures, State, Times};
use crate::insights::reliability::predict::{self, Forecast};
use crate::insights::reliability::words::{lasting, span, time};
use crate::insights::risk::words::plural;

/// From so many hours of watching on a fleet or a device has something to say.
const WATCHED: f64 = 24.0;

/// What is asked of a device.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The device's site.
    pub site: &'a str,
    /// The time zone of the site, for sentences.
    pub zone: Tz,
    /// Which changes count as a failure.
    pub failures: Failures,
    /// With a horizon in hours the value is the number of failures to expect, else the MTBF.
    pub horizon: Option<f64>,
}

/// All figures of one device, of which the reading is made.
#[derive(Clone, Copy, Debug)]
struct Figures {
    times: Times,
    count: f64,
    hours: f64,
    rate: Rate,
    repair: Repair,
}

/// Adds a device to the sums of its fleet. Each device is added once, with the same `as_of`.
pub fn add(fleet: &mut Fleet, state: &State, site: &str, failures: Failures, as_of: Instant) {
    let process = state.process(failures, as_of);
    fleet.add(site, &process, state.repairs(failures));
}

/// The reading of one device. `state` holds nothing later than `as_of`, `prior` is of its fleet.
#[must_use]
pub fn reliability(state: &State, prior: &Prior, ask: &Ask<'_>, as_of: Instant) -> Insight {
    let process = state.process(ask.failures, as_of);
    let times = state.times_until(as_of);
    let evidence = Evidence {
        events: nearest(process.count()),
        from: state.since,
        to: state.last,
        coverage: state.since.map(|_| times.coverage()),
    };
    if let Some(sentence) = missing(state, prior, process.hours, ask.zone) {
        return insufficient(evidence, "watched", sentence, as_of);
    }
    let count = process.count();
    let figures = Figures {
        times,
        count,
        hours: process.hours,
        rate: prior.posterior(ask.site, count, process.hours),
        repair: Repair::new(state.repairs(ask.failures), prior),
    };
    let mut reasons = vec![own_reason(&figures), repair_reason(&figures, prior)];
    reasons.extend([availability_reason(&figures), observed_reason(&times)]);
    let (value, low, high, level) = match ask.horizon {
        None => {
            let (value, low, high) = figures::mtbf(&figures.rate, count, figures.hours);
            (value, low, high, figures::LEVEL)
        }
        Some(hours) => {
            let forecast = predict::forecast(&figures.rate, prior, &figures.repair, hours);
            reasons.insert(0, forecast_reason(&forecast, hours));
            reasons.push(downtime_reason(&forecast, hours));
            let (value, low, high) = forecast.failures;
            (value, low, high, predict::LEVEL)
        }
    };
    reasons.extend(flapping_reason(state, prior, ask, as_of));
    reasons.extend(outage_reason(state, &figures, ask.zone, as_of));
    let silence = stale_reason(state, ask.zone, as_of);
    let status = match &silence {
        Some(_) => Status::Stale,
        None if figures.rate.own < 0.5 => Status::Learning,
        None => Status::Ok,
    };
    reasons.extend(silence);
    Insight {
        value: Some(value),
        interval: Some(Interval { low, high, level }),
        evidence,
        status,
        reasons,
        recommendations: Vec::new(),
        as_of,
    }
}

/// Hours between failures over a whole fleet, from the counts alone.
#[must_use]
pub fn fleet(fleet: &Fleet, as_of: Instant) -> Insight {
    let (count, hours) = fleet.totals();
    let evidence = Evidence {
        events: nearest(count),
        ..Evidence::default()
    };
    let estimate = figures::mtbf_of_count(count, hours);
    let (Some(value), Some(high)) = (estimate.value, estimate.high) else {
        let sentence = format!(
            "No failure in {hours:.0} device hours watched: over {:.0} h between failures. \
             One failure gives a value.",
            estimate.low
        );
        return insufficient(evidence, "failures", sentence, as_of);
    };
    let sentence = format!(
        "{} in {hours:.1} device hours watched: one in {value:.1} h ({:.1}–{high:.1} h).",
        plural(count, "failure"),
        estimate.low
    );
    Insight {
        value: Some(value),
        interval: Some(Interval {
            low: estimate.low,
            high,
            level: figures::LEVEL,
        }),
        evidence,
        status: if count < 5.0 {
            Status::Learning
        } else {
            Status::Ok
        },
        reasons: vec![reason("mtbf.fleet", Some(value), None, "h", sentence)],
        recommendations: Vec::new(),
        as_of,
    }
}

fn missing(state: &State, prior: &Prior, hours: f64, zone: Tz) -> Option<String> {
    let Some(since) = state.since else {
        let sentence = "Nothing has been received of this device. A first figure comes 24 h after \
                        its first report.";
        return Some(sentence.to_owned());
    };
    // A fleet without a failure has no rate to lend; then the device's own time must do.
    let has_fleet = prior.failures > 0.0 && prior.watched >= WATCHED;
    (!has_fleet && hours < WATCHED).then(|| {
        let day = time(Instant(since.0 + DAY), zone);
        format!("Only {hours:.1} h were watched. 24 h are needed: {day}, if reports go on.")
    })
}

pub(crate) fn insufficient(
    evidence: Evidence,
    factor: &'static str,
    sentence: String,
    as_of: Instant,
) -> Insight {
    let reason = Reason::plain(factor, sentence);
    Insight::insufficient(evidence, reason, as_of)
}

pub(crate) fn reason(
    factor: &'static str,
    observed: Option<f64>,
    expected: Option<f64>,
    unit: &'static str,
    sentence: String,
) -> Reason {
    Reason {
        factor,
        contribution: 0.0,
        observed,
        expected,
        unit: Some(unit),
        sentence,
    }
}

/// `contribution` is the part of the rate's evidence that is the device's own, 0 to 1.
fn own_reason(figures: &Figures) -> Reason {
    let (count, watched) = (figures.count, watched(figures));
    let own = figures::mtbf_of_count(count, figures.hours);
    let sentence = match (own.value, own.high) {
        (Some(value), Some(high)) => format!(
            "{} in {watched}: one in {value:.1} h by its own count ({:.1}–{high:.1} h).",
            plural(count, "failure"),
            own.low
        ),
        _ => format!(
            "No failure in {watched}: over {:.0} h between failures.",
            own.low
        ),
    };
    let mut reason = reason(
        "mtbf.own",
        own.value,
        Some(1.0 / figures.rate.mean()),
        "h",
        sentence,
    );
    reason.contribution = figures.rate.own;
    reason
}

/// The hours that failures are counted in: what was seen of them, and for what its state is vouched for.
fn watched(figures: &Figures) -> String {
    let hours = |time: i64| float(time) / float(HOUR);
    let (times, watched) = (&figures.times, figures.hours);
    if watched < hours(times.watched) - 0.05 {
        return format!("the last {watched:.1} h watched");
    }
    let (seen, vouched) = (hours(times.seen()), hours(times.vouched()));
    if vouched < 0.05 {
        format!("{watched:.1} h seen")
    } else {
        format!("{watched:.1} h ({seen:.1} h seen and {vouched:.1} h vouched for)")
    }
}

fn repair_reason(figures: &Figures, prior: &Prior) -> Reason {
    let (mttr, low, high) = figures.repair.mttr();
    let lasts = format!("a failure lasts {mttr:.1} h on average ({low:.1}–{high:.1} h)");
    let sentence = match figures.repair.count {
        count if count >= 3.0 => format!("By {}, {lasts}.", plural(count, "repair")),
        count if count > 0.0 => format!(
            "By {} of its own and mostly by its fleet, {lasts}.",
            plural(count, "repair")
        ),
        _ if prior.repair_count > 0.0 => {
            format!("No repair of it was seen; by its fleet, {lasts}.")
        }
        _ => format!("No repair was seen yet; beforehand it is thought that {lasts}."),
    };
    reason("mttr", Some(mttr), None, "h", sentence)
}

fn availability_reason(figures: &Figures) -> Reason {
    let (value, low, high) = figures::availability(&figures.rate, &figures.repair);
    let sentence = format!(
        "Not down {:.2} % of the time in the long run ({:.2}–{:.2} %).",
        100.0 * value,
        100.0 * low,
        100.0 * high
    );
    let times = &figures.times;
    let seen = times.up + times.error + times.offline;
    let measured = (seen > 0).then(|| float(times.up) / float(seen));
    reason("availability", measured, Some(value), "share", sentence)
}

/// How much of the time was seen, and what becomes of the rest.
pub(crate) fn observed_reason(times: &Times) -> Reason {
    let hours = |time: i64| float(time) / float(HOUR);
    let vouched = hours(times.vouched());
    let of_these = if vouched < 0.05 {
        String::new()
    } else {
        format!(
            "; {vouched:.1} h of these, soon after a sign of life, are vouched for: a failure would have been recorded"
        )
    };
    let sentence = format!(
        "Seen up {:.1} h, in error {:.1} h, offline {:.1} h, in maintenance {:.1} h. \
         Not observed {:.1} h, counted neither as up nor as down{of_these}.",
        hours(times.up),
        hours(times.error),
        hours(times.offline),
        hours(times.maintenance),
        hours(times.unobserved)
    );
    let unobserved = Some(hours(times.unobserved));
    reason(
        "time.unobserved",
        unobserved,
        Some(hours(times.total())),
        "h",
        sentence,
    )
}

fn forecast_reason(forecast: &Forecast, hours: f64) -> Reason {
    let (mean, low, high) = forecast.failures;
    let sentence = format!(
        "{mean:.1} failures to expect in {}, {low:.0} to {high:.0} with 90 % probability; \
         at least one with {:.0} %.",
        span(hours),
        100.0 * forecast.any
    );
    reason("failures.horizon", None, Some(mean), "failures", sentence)
}

fn downtime_reason(forecast: &Forecast, hours: f64) -> Reason {
    let ((mean, low, high), up) = (forecast.downtime, forecast.availability);
    let sentence = format!(
        "{mean:.1} h down to expect in {} ({low:.1}–{high:.1} h), so available {:.2} % of it \
         ({:.2}–{:.2} %).",
        span(hours),
        100.0 * up.0,
        100.0 * up.1,
        100.0 * up.2
    );
    reason("downtime.horizon", None, Some(mean), "h", sentence)
}

/// The last 24 hours against the rate without them.
fn flapping_reason(state: &State, prior: &Prior, ask: &Ask<'_>, as_of: Instant) -> Option<Reason> {
    let recent = state.recent(ask.failures, as_of, 24.0);
    if recent == 0 {
        return None;
    }
    let process = state.process(ask.failures, as_of);
    let count = (process.count() - f64::from(recent)).max(0.0);
    let before = prior.posterior(ask.site, count, (process.hours - 24.0).max(0.0));
    let flapping = figures::flapping(&before, prior.dispersion, recent);
    flapping.is_flapping.then(|| {
        let sentence = format!(
            "Flapping: {recent} failures in the last 24 h, where {:.1} are usual for it.",
            flapping.expected
        );
        let observed = Some(f64::from(recent));
        reason(
            "flapping",
            observed,
            Some(flapping.expected),
            "failures",
            sentence,
        )
    })
}

fn outage_reason(state: &State, figures: &Figures, zone: Tz, as_of: Instant) -> Option<Reason> {
    let since = state.down_since()?;
    let hours = float(as_of.0 - since.0) / float(HOUR);
    let usual = figures.repair.mean.exp();
    let whose = if figures.repair.count > 0.0 {
        "its"
    } else {
        "such"
    };
    let sentence = format!(
        "Down since {}, for {}; half of {whose} repairs take less than {usual:.1} h.",
        time(since, zone),
        lasting(as_of.0 - since.0)
    );
    Some(reason(
        "outage.open",
        Some(hours),
        Some(usual),
        "h",
        sentence,
    ))
}

/// A device that is down is known to be so; of one that was up nothing is known after a while.
fn stale_reason(state: &State, zone: Tz, as_of: Instant) -> Option<Reason> {
    let last = state.last?;
    let silent = as_of.0 - last.0;
    (silent > state.vouched() && state.down_since().is_none()).then(|| {
        let hours = float(silent) / float(HOUR);
        let sentence = format!(
            "No sign of life since {} ({}): failures since then would not be known.",
            time(last, zone),
            lasting(silent)
        );
        reason(
            "silence",
            Some(hours),
            Some(float(state.vouched()) / float(HOUR)),
            "h",
            sentence,
        )
    })
}
