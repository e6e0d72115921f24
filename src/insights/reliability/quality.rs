//! The quality of a device's data: gaps, coverage, duplicates, lateness, clock skew and refusals.
//!
//! A gap is silence longer than ten of the device's own intervals, and than five minutes. It runs
//! from the last report before it to the first one after it, exactly.

use std::collections::{BTreeMap, VecDeque};

use crate::event::Instant;
use crate::insights::input::{DAY, SECOND};
use crate::insights::number::float;
use serde::{Deserialize, Serialize};

use crate::insights::reliability::cadence::{Cadence, LEARNED};

/// So many days of coverage are kept.
const DAYS: usize = 35;
/// So many closed gaps are kept; of the others only count and length.
const GAPS: usize = 16;
/// Classes of lateness: below 1 s, 2 s, 4 s … and the last without end.
const CLASSES: usize = 22;
/// The upper end of the last class of lateness, in seconds; longer ones are in it too.
pub const LATENESS_MAX: f64 = 4_194_303.0;
/// A report is late when it arrives later than this.
pub const LATE: i64 = 300 * SECOND;

/// Silence between two reports; `to` is absent while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last report before it.
    pub from: Instant,
    /// The first report after it.
    pub to: Option<Instant>,
}

impl Gap {
    /// Its length until `as_of` at most, in microseconds.
    #[must_use]
    pub fn length(&self, as_of: Instant) -> i64 {
        self.to.map_or(as_of, |to| to.min(as_of)).0 - self.from.0
    }
}

/// Reports of one day (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    number: i64,
    received: u32,
    /// The device's interval as known on that day, in microseconds.
    interval: Option<i64>,
}

/// Received and expected reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coverage {
    /// Reports that came, repeats not counted.
    pub received: f64,
    /// Reports that the interval would give.
    pub expected: f64,
}

impl Coverage {
    /// Both in words, of so many devices: where more came than were due, how many more. Reports stand at both ends of the
    /// time that they are counted in, so that one more of a device than its intervals is none too many.
    pub(crate) fn told(&self, devices: usize) -> String {
        let more = (self.received - self.expected).round();
        let counted = format!(
            "{:.0} of {:.0} reports came in the last 7 days",
            self.received.min(self.expected),
            self.expected
        );
        if more < 2.0 * float(devices.max(1)) {
            return counted;
        }
        format!("{counted}, and {more:.0} more")
    }

    /// Received over expected, at most 1; `None` if none was expected.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.expected > 0.0).then(|| (self.received / self.expected).min(1.0))
    }
}

/// What is kept of the data of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The device's own interval.
    pub cadence: Cadence,
    since: Option<Instant>,
    last: Option<Instant>,
    /// Reports until the interval is known; only then can be said which silences were gaps.
    early: Vec<Instant>,
    gaps: VecDeque<Gap>,
    gap_count: u32,
    gap_length: i64,
    days: VecDeque<Day>,
    /// Reports that were recorded with an instant that another one had. A repeat is not recorded, nor counted.
    pub duplicates: u32,
    /// Refused reports by reason.
    pub refusals: BTreeMap<String, u32>,
    lateness: Vec<u32>,
    /// The least delay of the present day and of the one before with any, in milliseconds.
    least: [Option<(i64, i64)>; 2],
}

impl State {
    /// The device tells its interval, from the next report on.
    pub fn tell(&mut self, seconds: f64) -> Vec<Gap> {
        self.cadence.tell(seconds);
        self.early_gaps()
    }

    /// A report of metrics, in order of time. Answers the gaps that are known to be closed by it:
    /// at most one, but more at the moment when the interval is learned.
    pub fn report(&mut self, at: Instant) -> Vec<Gap> {
        if self.last.is_some_and(|last| at <= last) {
            self.duplicates += u32::from(self.last == Some(at));
            return Vec::new();
        }
        // What was usual before this silence decides, not the silence itself.
        let limit = self.cadence.limit();
        self.cadence.report(at);
        self.since.get_or_insert(at);
        let before = self.last.replace(at);
        self.count(at);
        if limit.is_none() {
            self.early.push(at);
            return self.early_gaps();
        }
        let gap = before.filter(|before| limit.is_some_and(|limit| at.0 - before.0 > limit));
        gap.map(|from| self.close(from, at)).into_iter().collect()
    }

    fn early_gaps(&mut self) -> Vec<Gap> {
        let Some(limit) = self.cadence.limit() else {
            return Vec::new();
        };
        debug_assert!(self.early.len() <= LEARNED + 1);
        let early = std::mem::take(&mut self.early);
        let pairs = early.iter().zip(early.iter().skip(1));
        let gaps = pairs.filter(|(from, to)| to.0 - from.0 > limit);
        gaps.map(|(from, to)| self.close(*from, *to)).collect()
    }

    fn close(&mut self, from: Instant, to: Instant) -> Gap {
        let gap = Gap { from, to: Some(to) };
        if self.gaps.len() == GAPS {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap);
        self.gap_count += 1;
        self.gap_length += to.0 - from.0;
        gap
    }

    fn count(&mut self, at: Instant) {
        let number = at.0.div_euclid(DAY);
        if self.days.back().is_none_or(|day| day.number != number) {
            if self.days.len() == DAYS {
                self.days.pop_front();
            }
            self.days.push_back(Day {
                number,
                received: 0,
                interval: None,
            });
        }
        if let Some(day) = self.days.back_mut() {
            day.received += 1;
            day.interval = self.cadence.interval();
        }
    }

    /// A report that occurred at one instant was recorded at another.
    pub fn recorded(&mut self, occurred: Instant, recorded: Instant) {
        let delay = recorded.0 - occurred.0;
        if self.lateness.is_empty() {
            self.lateness = vec![0; CLASSES];
        }
        let seconds = u64::try_from(delay.max(0) / SECOND).unwrap_or(0);
        let class = usize::try_from((seconds + 1).ilog2())
            .unwrap_or(0)
            .min(CLASSES - 1);
        if let Some(count) = self.lateness.get_mut(class) {
            *count += 1;
        }
        let (day, delay) = (recorded.0.div_euclid(DAY), delay / 1_000);
        match &mut self.least[0] {
            Some((number, least)) if *number == day => *least = delay.min(*least),
            newest => self.least[1] = newest.replace((day, delay)),
        }
    }

    /// A report was refused, such as for `OUT_OF_RANGE`.
    pub fn refused(&mut self, reason: &str, times: u32) {
        if let Some(count) = self.refusals.get_mut(reason) {
            *count += times;
        } else {
            self.refusals.insert(reason.to_owned(), times);
        }
    }

    /// The gap that is open at `as_of`: it opened when the silence passed its limit.
    #[must_use]
    pub fn open_gap(&self, as_of: Instant) -> Option<Gap> {
        let (from, limit) = (self.last?, self.cadence.limit()?);
        (as_of.0 - from.0 > limit).then_some(Gap { from, to: None })
    }

    /// How many gaps there were until `as_of`, and their length together; the open one included.
    #[must_use]
    pub fn gap_totals(&self, as_of: Instant) -> (u32, i64) {
        let open = self.open_gap(as_of).map(|gap| gap.length(as_of));
        (
            self.gap_count + u32::from(open.is_some()),
            self.gap_length + open.unwrap_or(0),
        )
    }

    /// The first report and the last one.
    #[must_use]
    pub fn span(&self) -> (Option<Instant>, Option<Instant>) {
        (self.since, self.last)
    }

    /// The last closed gaps, the newest last.
    pub fn last_gaps(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter()
    }

    /// Coverage of the day with this number since 1970-01-01 (UTC), as far as `as_of`. A day on
    /// which nothing came counts in full once the device has begun.
    #[must_use]
    pub fn coverage_of(&self, number: i64, as_of: Instant) -> Coverage {
        let day = self.days.iter().find(|day| day.number == number);
        let interval = day.and_then(|day| day.interval).or(self.cadence.interval());
        let from = self
            .since
            .map_or(as_of.0, |since| since.0)
            .max(number * DAY);
        let span = as_of.0.min((number + 1) * DAY) - from;
        Coverage {
            received: day.map_or(0.0, |day| f64::from(day.received)),
            expected: interval.map_or(0.0, |interval| float(span.max(0)) / float(interval)),
        }
    }

    /// Coverage of the last days that are kept, or of so many of them.
    #[must_use]
    pub fn coverage(&self, days: i64, as_of: Instant) -> Coverage {
        let today = as_of.0.div_euclid(DAY);
        let kept = i64::try_from(DAYS).unwrap_or(1);
        let first = self.since.map_or(today, |since| since.0.div_euclid(DAY));
        let from = first.max(today + 1 - days.clamp(1, kept));
        (from..=today).fold(Coverage::default(), |sum, number| {
            let day = self.coverage_of(number, as_of);
            Coverage {
                received: sum.received + day.received,
                expected: sum.expected + day.expected,
            }
        })
    }

    /// The seconds within which this part of the reports arrived: the upper end of its class.
    #[must_use]
    pub fn lateness(&self, part: f64) -> Option<f64> {
        let total: u32 = self.lateness.iter().sum();
        let mut left = part.clamp(0.0, 1.0) * f64::from(total);
        let mut end = 1.0;
        for count in &self.lateness {
            left -= f64::from(*count);
            if left <= 0.0 && total > 0 {
                return Some(end);
            }
            end = 2.0 * end + 1.0;
        }
        None
    }

    /// How far the device's clock is off, in seconds, by the least delay of the last two days with
    /// reports: transport only adds to it. Below 0 the clock is ahead; above, it is behind by this
    /// at most, because even the fastest transport takes time.
    #[must_use]
    pub fn clock_skew(&self) -> Option<f64> {
        let least = self.least.iter().flatten().map(|(_, least)| *least).min();
        least.map(|milliseconds| float(milliseconds) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant(seconds * SECOND)
    }

    #[test]
    fn a_gap_has_exactly_the_length_between_two_reports() {
        let mut state = State::default();
        state.tell(30.0);
        for index in 0..100 {
            assert!(state.report(at(index * 30)).is_empty());
        }
        assert_eq!(
            state.report(at(2_970 + 300)),
            Vec::new(),
            "five minutes are no gap yet"
        );
        assert_eq!(state.open_gap(at(3_270 + 300)), None);
        assert_eq!(
            state.open_gap(at(3_270 + 301)),
            Some(Gap {
                from: at(3_270),
                to: None
            })
        );
        assert_eq!(
            state.report(at(3_571)),
            vec![Gap {
                from: at(3_270),
                to: Some(at(3_571))
            }]
        );
        assert_eq!(state.gap_totals(at(3_571)), (1, 301 * SECOND));
    }

    #[test]
    fn a_gap_before_the_interval_is_known_is_found_once_it_is() {
        let mut state = State::default();
        assert!(state.report(at(0)).is_empty());
        assert!(state.report(at(60)).is_empty());
        assert!(state.report(at(4_000)).is_empty());
        assert_eq!(
            state.report(at(4_060)),
            vec![Gap {
                from: at(60),
                to: Some(at(4_000))
            }]
        );
        assert_eq!(state.gap_totals(at(4_060)).0, 1);
    }

    #[test]
    fn a_device_that_reports_once_a_day_has_no_gaps() {
        let mut state = State::default();
        for day in 0..40 {
            assert!(state.report(at(day * 86_400)).is_empty());
        }
        assert_eq!(state.gap_totals(at(39 * 86_400 + 500_000)), (0, 0));
    }

    #[test]
    fn coverage_is_what_came_of_what_the_interval_would_give() {
        // 12 devices, 6.2 days: 538 of 214,272 reports.
        let mut all = Coverage::default();
        for device in 0..12 {
            let mut state = State::default();
            state.tell(30.0);
            let reports = if device < 10 { 45 } else { 44 };
            for index in 0..reports {
                state.report(at(index * 11_000));
            }
            let one = state.coverage(35, at(535_680));
            all.received += one.received;
            all.expected += one.expected;
        }
        assert!((all.received - 538.0).abs() < 1e-9 && (all.expected - 214_272.0).abs() < 1e-6);
        assert!((all.share().unwrap_or(0.0) - 0.0025).abs() < 2e-5);
    }

    #[test]
    fn repeats_are_counted_and_change_nothing_else() {
        let mut state = State::default();
        state.tell(30.0);
        state.report(at(0));
        state.report(at(0));
        state.report(at(30));
        assert_eq!(state.duplicates, 1);
        assert!((state.coverage(1, at(60)).received - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_clock_that_is_ahead_shows_even_when_transport_is_slow() {
        let mut state = State::default();
        for index in 0..100 {
            state.recorded(at(index * 60 + 90), at(index * 60 + index % 7));
        }
        assert_eq!(state.clock_skew(), Some(-90.0));
        let mut state = State::default();
        for index in 0..100 {
            state.recorded(
                at(index * 60),
                at(index * 60 + if index % 10 == 0 { 1_000 } else { 1 }),
            );
        }
        assert_eq!(state.clock_skew(), Some(1.0));
        assert_eq!(state.lateness(0.5), Some(3.0));
        state.recorded(at(0), at(100 * 86_400));
        assert_eq!(state.lateness(1.0), Some(LATENESS_MAX));
        assert_eq!(state.lateness(0.95), Some(1_023.0));
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let state = State::default();
        assert_eq!(state.open_gap(at(1_000_000)), None);
        assert_eq!(state.coverage(7, at(1_000_000)).share(), None);
        assert_eq!((state.lateness(0.9), state.clock_skew()), (None, None));
    }
}
