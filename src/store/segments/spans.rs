//! Which days may stand in one segment.
//!
//! A segment is deleted as a whole, so what it spans is what its first event is deleted late. So it spans no more days
//! than a share of those that they are old: that late is a tenth at most of the age at which events are deleted, be it
//! set before or after, and there is no need to know it.
//!
//! The days there are fall into *spans*: 1, 2, 4, 8 … days that begin at a multiple of as many, the longest that are
//! short enough for their age. A span lies in a longer one of a later day, or beside it. So segments of two spans have
//! nothing in common, and those of one go together also when all of it is older.

use crate::event::Instant;

/// So many times as many days as a span has it is old; it has one day at least.
const AGES_PER_SPAN: i64 = 11;
const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Whole days of UTC whose events may stand in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Its first midnight.
    pub(super) from: Instant,
    /// The midnight behind it.
    pub(super) to: Instant,
}

impl Span {
    /// The one in which something happened, as it is by now.
    pub(super) const fn of(at: Instant, now: Instant) -> Self {
        let (day, today) = (at.0.div_euclid(DAY_US), now.0.div_euclid(DAY_US));
        let (mut from, mut days) = (day, 1);
        loop {
            let longer = 2 * days;
            let begin = day - day.rem_euclid(longer);
            if AGES_PER_SPAN * longer > today - begin {
                break;
            }
            (from, days) = (begin, longer);
        }
        Self {
            from: Instant(from * DAY_US),
            to: Instant((from + days) * DAY_US),
        }
    }

    /// Whether an instant is in it.
    pub(super) const fn has(self, at: Instant) -> bool {
        self.from.0 <= at.0 && at.0 < self.to.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instant at noon of a day.
    fn noon(day: i64) -> Instant {
        Instant(day * DAY_US + DAY_US / 2)
    }

    /// So many days of the span of a day are left, with that day.
    fn left(day: i64, today: i64) -> i64 {
        let span = Span::of(noon(day), noon(today));
        assert!(span.has(noon(day)) && !span.has(span.to));
        assert_eq!(span.to.0.rem_euclid(DAY_US), 0);
        span.to.0 / DAY_US - day
    }

    const TODAYS: std::ops::Range<i64> = 20_000..20_004;

    #[test]
    fn nothing_is_deleted_later_than_by_a_tenth_of_the_age_at_which_it_is() {
        for (today, after_days) in TODAYS.flat_map(|today| {
            let ages = [1, 7, 19, 20, 30, 90, 365, 730, 3_650];
            ages.map(|after_days| (today, after_days))
        }) {
            for age_days in 0..10_000 {
                // with the first day of what it may be deleted, and with the last one of its span
                let alone = age_days.max(after_days + 1);
                let together = alone.max(after_days + left(today - age_days, today));
                assert!(
                    10 * (together - alone) <= after_days,
                    "{age_days} {after_days}"
                );
            }
        }
    }

    #[test]
    fn the_days_since_the_first_one_fall_into_few_spans() {
        for today in TODAYS {
            let (mut day, mut spans) = (today - 10_000, 0);
            while day <= today {
                day += left(day, today);
                spans += 1;
            }
            assert!(spans < 125, "{spans}");
        }
    }

    #[test]
    fn a_span_is_part_of_the_one_of_a_later_day() {
        for day in (10_000..20_000).step_by(7) {
            for later in [1, 2, 10, 100, 1_000] {
                let now = Span::of(noon(day), noon(20_000));
                let then = Span::of(noon(day), noon(20_000 + later));
                assert!(then.from <= now.from && now.to <= then.to);
            }
        }
    }

    #[test]
    fn days_of_one_span_agree_on_it() {
        for day in 10_000..20_000 {
            let span = Span::of(noon(day), noon(20_000));
            for end in [span.from, Instant(span.to.0 - 1)] {
                assert_eq!(Span::of(end, noon(20_000)), span);
            }
        }
    }

    #[test]
    fn what_is_young_or_yet_to_come_stands_with_its_day() {
        for age_days in -3..2 * AGES_PER_SPAN {
            assert_eq!(left(20_000 - age_days, 20_000), 1);
        }
        assert_eq!(left(20_000 - 2 * AGES_PER_SPAN, 20_000), 2);
    }
}
