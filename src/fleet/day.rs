//! One local day of a site, laid out in UTC: its midnights, its opening, and the run of its trade.
//!
//! The only place that reckons in time zones. Days of 23 and 25 hours need no further care: every
//! boundary is an instant, and trade is a share of the day's sales that grows from 0 to 1.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::hours::{Hours, Week};
use super::random::whole;

/// Seconds for which the density of trade is taken as constant.
const BIN_SECONDS: u32 = 15 * 60;

/// Trade of a quiet open hour against that of the busiest one.
const QUIET: f64 = 0.3;

/// A local day.
#[derive(Clone, Debug)]
pub(super) struct Day {
    /// The local date.
    pub(super) date: NaiveDate,
    /// Local midnight at its end: the first instant of the next day.
    pub(super) ends_at: DateTime<Utc>,
    /// Seconds that the site is open; 0 when it is closed.
    pub(super) open_seconds: u32,
    opens_at: DateTime<Utc>,
    closes_at: DateTime<Utc>,
    /// Share of the day's sales at the end of each bin; the last one is 1.
    shares: Vec<f64>,
    /// Density of each bin, the busiest of an ordinary day being 1.
    loads: Vec<f64>,
}

impl Day {
    /// The local day in which an instant lies.
    pub(super) fn at(zone: Tz, week: &Week, at: DateTime<Utc>) -> Self {
        let date = at.with_timezone(&zone).date_naive();
        let ends_at = instant_of(zone, date + Days::new(1), 0);
        let hours = week.on(date).unwrap_or(Hours::new(0, 0));
        let opens_at = instant_of(zone, date, hours.open);
        let closes_at = instant_of(zone, date, hours.close).max(opens_at);
        let open_seconds = u32::try_from((closes_at - opens_at).num_seconds()).unwrap_or(0);
        let mut day = Self {
            date,
            ends_at,
            open_seconds,
            opens_at,
            closes_at,
            shares: Vec::new(),
            loads: Vec::new(),
        };
        day.lay_out(zone);
        day
    }

    fn lay_out(&mut self, zone: Tz) {
        let bins = self.open_seconds.div_ceil(BIN_SECONDS);
        for bin in 0..bins {
            let middle = i64::from(bin * BIN_SECONDS + BIN_SECONDS / 2);
            let local = (self.opens_at + TimeDelta::seconds(middle)).with_timezone(&zone);
            self.loads.push(density(local.hour() * 60 + local.minute()));
        }
        let total: f64 = self.loads.iter().sum();
        let mut sold = 0.0;
        for load in &self.loads {
            sold += load;
            self.shares.push(sold / total);
        }
    }

    /// Whether the site is open.
    pub(super) fn is_open(&self, at: DateTime<Utc>) -> bool {
        (self.opens_at..self.closes_at).contains(&at)
    }

    /// Share of the day's sales that lie before an instant, 0 to 1; 0 when the site is closed.
    pub(super) fn share(&self, at: DateTime<Utc>) -> f64 {
        if at >= self.closes_at {
            return self.shares.last().copied().unwrap_or(0.0);
        }
        let (bin, part) = self.bin(at);
        let end = self.shares.get(bin).copied().unwrap_or(0.0);
        let before = bin.checked_sub(1).and_then(|bin| self.shares.get(bin));
        let start = before.copied().unwrap_or(0.0);
        start + (end - start) * part
    }

    /// How busy the site is, 0 (closed) to 1 (the busiest quarter of an hour).
    pub(super) fn load(&self, at: DateTime<Utc>) -> f64 {
        if !self.is_open(at) {
            return 0.0;
        }
        self.loads.get(self.bin(at).0).copied().unwrap_or(0.0)
    }

    /// The bin of an instant, and how much of it has gone by.
    fn bin(&self, at: DateTime<Utc>) -> (usize, f64) {
        let seconds = (at - self.opens_at).as_seconds_f64().max(0.0);
        let bins = seconds / f64::from(BIN_SECONDS);
        let bin = whole(bins);
        (
            usize::try_from(bin).unwrap_or(usize::MAX),
            bins - f64::from(bin),
        )
    }

    /// A number for the date, to draw what holds for the day.
    pub(super) fn number(&self) -> u64 {
        u64::try_from(self.date.num_days_from_ce()).unwrap_or_default()
    }
}

/// Trade at a local minute of the day: lunch at 13:00 and after work at 18:00 stand out.
fn density(minute: u32) -> f64 {
    let rise = |peak: u32, width: u32, height: f64| {
        let distance = f64::from(minute.abs_diff(peak)) / f64::from(width);
        height * (1.0 - distance).max(0.0)
    };
    (QUIET + rise(13 * 60, 90, 0.7) + rise(18 * 60, 105, 0.6)).min(1.0)
}

/// The instant of a minute of a local day, 1440 being the midnight at its end.
///
/// A local time that comes twice is its first; one that is skipped is the first one after it.
pub(super) fn instant_of(zone: Tz, date: NaiveDate, minute: u16) -> DateTime<Utc> {
    let day = date.and_time(NaiveTime::MIN);
    let mut local = day + TimeDelta::minutes(i64::from(minute));
    // Zones skip an hour at most, save a few that once skipped a whole day at the date line.
    for _ in 0..=96 {
        if let Some(found) = zone.from_local_datetime(&local).earliest() {
            return found.with_timezone(&Utc);
        }
        local += TimeDelta::minutes(15);
    }
    day.and_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(zone: Tz, text: &str) -> Day {
        let at: DateTime<Utc> = text.parse().unwrap();
        Day::at(zone, &Week::of_site(0, at.date_naive()), at)
    }

    #[test]
    fn a_day_of_the_spring_change_has_23_hours() {
        let date = NaiveDate::from_ymd_opt(2026, 3, 29).unwrap();
        let start = instant_of(Tz::Europe__London, date, 0);
        let found = day(Tz::Europe__London, "2026-03-29T12:00:00Z");
        assert_eq!((found.ends_at - start).num_hours(), 23);
    }

    #[test]
    fn a_midnight_that_is_skipped_is_the_first_instant_after_it() {
        let date = NaiveDate::from_ymd_opt(2026, 9, 6).unwrap();
        let start = instant_of(Tz::America__Santiago, date, 0);
        assert_eq!(start.to_rfc3339(), "2026-09-06T04:00:00+00:00");
    }

    #[test]
    fn shares_grow_from_nothing_to_all() {
        let found = day(Tz::America__New_York, "2026-06-03T16:00:00Z");
        let quarters = (0..96).map(|quarter| found.opens_at + TimeDelta::minutes(15 * quarter));
        let shares: Vec<f64> = quarters.map(|at| found.share(at)).collect();
        assert!(shares.is_sorted());
        assert!(shares[0] < 1e-9);
        assert!((shares[95] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn lunch_is_busier_than_the_morning_in_local_time() {
        let found = day(Tz::Asia__Singapore, "2026-06-03T05:00:00Z");
        let load = |text: &str| found.load(text.parse().unwrap());
        assert!(load("2026-06-03T05:00:00Z") > 2.0 * load("2026-06-03T01:30:00Z"));
        assert!(load("2026-06-03T15:00:00Z") < 1e-9);
    }
}
