//! Days of a site: when each begins on the clock of its zone.

use chrono::{DateTime, Days, NaiveDate, NaiveTime};
use chrono_tz::Tz;

use crate::schedule::first_shown;

const MICROS: i64 = 1_000_000;

/// The date of an instant (microseconds since 1970, UTC) on the clock of a zone.
pub(crate) fn date_of(at: i64, zone: Tz) -> NaiveDate {
    let time = DateTime::from_timestamp_micros(at).unwrap_or_default();
    time.with_timezone(&zone).date_naive()
}

/// The instant at which a clock shows a time for the first time, or jumps over it.
pub(crate) fn instant_of(date: NaiveDate, time: NaiveTime, zone: Tz) -> i64 {
    first_shown(zone, date.and_time(time).and_utc().timestamp()).saturating_mul(MICROS)
}

/// When the day of an instant begins and ends on the clock of a zone.
pub(crate) fn day_of(at: i64, zone: Tz) -> (i64, i64) {
    let date = date_of(at, zone);
    let next = date.checked_add_days(Days::new(1)).unwrap_or(date);
    let begin = |date| instant_of(date, NaiveTime::MIN, zone);
    (begin(date), begin(next))
}

/// The day that was asked for last: mostly the next instant is of it as well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastDay(Option<(Tz, (i64, i64))>);

impl LastDay {
    /// When the day of an instant begins and ends on the clock of a zone.
    pub(crate) fn of(&mut self, at: i64, zone: Tz) -> (i64, i64) {
        let held = self
            .0
            .filter(|(of, (begin, end))| *of == zone && (*begin..*end).contains(&at));
        let day = held.map_or_else(|| day_of(at, zone), |(_, day)| day);
        self.0 = Some((zone, day));
        day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_micros()
    }

    #[test]
    fn days_on_which_clocks_change_are_shorter_or_longer() {
        for (instant, zone, hours) in [
            ("2026-03-29T12:00:00Z", Tz::Europe__Berlin, 23),
            ("2026-10-25T12:00:00Z", Tz::Europe__Berlin, 25),
            ("2026-06-01T23:30:00Z", Tz::Europe__Berlin, 24),
            // midnight itself is jumped over
            ("2018-11-04T12:00:00Z", Tz::America__Sao_Paulo, 23),
        ] {
            let (begin, end) = day_of(at(instant), zone);
            assert_eq!(end - begin, hours * HOUR, "{instant}");
            assert!((begin..end).contains(&at(instant)));
        }
    }
}
