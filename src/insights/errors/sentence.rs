//! What an operator reads about an error group.

use std::fmt::Write;

use crate::event::Instant;
use crate::insights::input::DAY;
use crate::insights::number::index;
use chrono::{DateTime, Datelike};
use chrono_tz::Tz;

use crate::insights::errors::cause::Suspect;
use crate::insights::errors::group::{Group, Status};
use crate::insights::errors::mask::PLACEHOLDER;
use crate::insights::errors::read::Asked;
use crate::insights::errors::trend::Trend;

const NUMBERS: [&str; 11] = [
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
];

/// `Seen 214 times on 12 devices since Tuesday 09:14, three times as often as the week before; it began 20 minutes after
/// receipt.printer changed on 9 of them`.
#[must_use]
pub(crate) fn whole(
    group: &Group,
    trend: Option<&Trend>,
    suspect: Option<&Suspect>,
    asked: &Asked,
) -> String {
    let mut text = format!("Seen {}", times(group.count));
    let (devices, is_exact) = group.device_count();
    if devices > 0.0 {
        let about = if is_exact { "" } else { "about " };
        let _ = write!(
            text,
            " on {about}{}",
            counted(index(devices.round()), "device")
        );
    }
    let (word, first) = (
        if group.count == 1 { "on" } else { "since" },
        group.founder.0,
    );
    let _ = write!(text, " {word} {}", moment(first, asked.as_of, asked.zone));
    text.push_str(
        &trend
            .map(|trend| compared(trend, first, asked.as_of))
            .unwrap_or_default(),
    );
    text.push_str(
        &suspect
            .map(|suspect| began(suspect, is_exact))
            .unwrap_or_default(),
    );
    if let Some(back) = group
        .mark
        .and_then(|mark| mark.reopened)
        .filter(|_| group.status() == Status::Open)
    {
        let _ = write!(
            text,
            "; it came back {} after it was resolved",
            on(back, asked.as_of, asked.zone)
        );
    }
    text
}

/// Against the week before.
fn compared(trend: &Trend, first: Instant, as_of: Instant) -> String {
    if trend.now == 0 {
        return ", not once in the last 7 days".into();
    }
    if trend.before == 0 {
        let is_new = first.0 > as_of.0 - 7 * DAY;
        return if is_new {
            ", not once in the week before"
        } else {
            ", in the last 7 days again, and not once in the week before"
        }
        .into();
    }
    if trend.ratio.low <= 1.0 && trend.ratio.high >= 1.0 {
        return ", with no clear change against the week before".into();
    }
    format!(", {} as the week before", often(trend.ratio.value))
}

/// A ratio in words.
#[must_use]
pub(crate) fn often(ratio: f64) -> String {
    let (is_more, times) = (ratio >= 1.0, if ratio >= 1.0 { ratio } else { 1.0 / ratio });
    let whole = index(times.round());
    match (is_more, whole) {
        (true, _) if times < 1.75 => format!("{times:.1} times as often"),
        (true, 2) => "twice as often".into(),
        (true, _) => format!("{} times as often", number(whole)),
        (false, _) if times < 1.75 => format!("{ratio:.1} times as often"),
        (false, 2) => "half as often".into(),
        (false, 3) => "a third as often".into(),
        (false, 4) => "a quarter as often".into(),
        (false, 5..=10) => format!("{ratio:.2} times as often"),
        (false, _) => "less than a tenth as often".into(),
    }
}

/// After which change it began.
fn began(suspect: &Suspect, is_exact: bool) -> String {
    let (lag, name) = (duration(suspect.lag_seconds), &suspect.parameter);
    if suspect.of == 1 {
        return format!("; it began {lag} after {name} changed there");
    }
    let some = match () {
        () if suspect.devices == suspect.of && is_exact => "all of them".into(),
        () if is_exact => format!("{} of them", suspect.devices),
        () => format!("{} of {} that were looked at", suspect.devices, suspect.of),
    };
    if 2 * suspect.devices >= suspect.of {
        format!("; it began {lag} after {name} changed on {some}")
    } else {
        format!("; on {some} it began {lag} after {name} changed")
    }
}

/// A length of time in its largest unit.
#[must_use]
pub(crate) fn duration(seconds: u32) -> String {
    let unit = |count: u32, name: &str| counted(usize::try_from(count).unwrap_or(usize::MAX), name);
    match seconds {
        0..60 => "less than a minute".into(),
        60..5_400 => unit((seconds + 30) / 60, "minute"),
        _ => unit((seconds + 1_800) / 3_600, "hour"),
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".into(),
        2 => "twice".into(),
        _ => format!("{count} times"),
    }
}

fn number(number: usize) -> String {
    NUMBERS
        .get(number)
        .map_or_else(|| number.to_string(), |word| (*word).into())
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn local(at: Instant, zone: Tz) -> DateTime<Tz> {
    DateTime::from_timestamp_micros(at.0)
        .unwrap_or_default()
        .with_timezone(&zone)
}

/// `Tuesday 09:14` within six days, else `3 March 09:14`, with the year where it is another.
fn moment(at: Instant, as_of: Instant, zone: Tz) -> String {
    let (then, now) = (local(at, zone), local(as_of, zone));
    let age = as_of.0 - at.0;
    let form = match () {
        () if (0..6 * DAY).contains(&age) => "%A %H:%M",
        () if then.year() == now.year() => "%-d %B %H:%M",
        () => "%-d %B %Y %H:%M",
    };
    then.format(form).to_string()
}

fn on(at: Instant, as_of: Instant, zone: Tz) -> String {
    format!("on {}", moment(at, as_of, zone))
}

/// Why there is no trend yet.
#[must_use]
pub(crate) fn too_early(until: Instant, zone: Tz) -> String {
    format!(
        "A trend needs 8 days of data: it will be told from {} on",
        local(until, zone).format("%-d %B %Y %H:%M")
    )
}

/// Why there is no trend of what is over.
pub(crate) const NOTHING_TO_COMPARE: &str =
    "It was not seen in the last 14 days, so there is nothing to compare";

/// Why a reading is old.
#[must_use]
pub(crate) fn stale(heard: Instant, zone: Tz) -> String {
    format!(
        "No device was heard of since {}",
        local(heard, zone).format("%-d %B %Y %H:%M")
    )
}

/// Both weeks in numbers.
#[must_use]
pub(crate) fn weeks(trend: &Trend) -> String {
    let before = if trend.hours_before >= 168 {
        "the 7 days before".into()
    } else {
        format!("the {} hours before", trend.hours_before)
    };
    format!(
        "{} in the last 7 days, {} in {before}",
        events(trend.now),
        events(trend.before)
    )
}

fn events(count: u64) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), "event")
}

/// The name of a group for all others.
#[must_use]
pub(crate) fn other(group: &Group) -> String {
    if group.category.is_empty() {
        "Other messages".into()
    } else {
        format!("Other messages of category {}", group.category)
    }
}

/// A template with its runs of placeholders joined.
#[must_use]
pub(crate) fn readable(template: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in template.split(' ') {
        if word != PLACEHOLDER || words.last() != Some(&PLACEHOLDER) {
            words.push(word);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_words() {
        let cases = [
            (3.0, "three times as often"),
            (2.2, "twice as often"),
            (1.4, "1.4 times as often"),
            (14.2, "14 times as often"),
            (0.5, "half as often"),
            (0.34, "a third as often"),
            (0.15, "0.15 times as often"),
            (0.01, "less than a tenth as often"),
        ];
        for (ratio, words) in cases {
            assert_eq!(often(ratio), words);
        }
    }

    #[test]
    fn durations_are_rounded() {
        let cases = [
            (20, "less than a minute"),
            (60, "1 minute"),
            (1_200, "20 minutes"),
            (7_100, "2 hours"),
            (86_400, "24 hours"),
        ];
        for (seconds, words) in cases {
            assert_eq!(duration(seconds), words);
        }
    }

    #[test]
    fn times_are_those_of_the_site() {
        let (at, as_of) = (
            Instant(1_772_529_240_000_000),
            Instant(1_772_700_000_000_000),
        );
        assert_eq!(moment(at, as_of, Tz::UTC), "Tuesday 09:14");
        assert_eq!(moment(at, as_of, chrono_tz::Asia::Tokyo), "Tuesday 18:14");
        assert_eq!(
            moment(at, Instant(as_of.0 + 30 * DAY), Tz::UTC),
            "3 March 09:14"
        );
        assert_eq!(
            moment(at, Instant(as_of.0 + 400 * DAY), Tz::UTC),
            "3 March 2026 09:14"
        );
    }

    #[test]
    fn a_share_of_devices_is_told() {
        let ratio = crate::insights::errors::trend::Ratio {
            value: 9.0,
            low: 3.0,
            high: 20.0,
        };
        let suspect = |devices, of| Suspect {
            parameter: "network.apn".into(),
            devices,
            of,
            lag_seconds: 7_200,
            ratio,
        };
        assert_eq!(
            began(&suspect(12, 12), true),
            "; it began 2 hours after network.apn changed on all of them"
        );
        assert_eq!(
            began(&suspect(2, 12), true),
            "; on 2 of them it began 2 hours after network.apn changed"
        );
        assert_eq!(
            began(&suspect(40, 64), false),
            "; it began 2 hours after network.apn changed on 40 of 64 that were looked at"
        );
        assert_eq!(
            began(&suspect(1, 1), true),
            "; it began 2 hours after network.apn changed there"
        );
    }
}
