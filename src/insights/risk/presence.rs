//! When a device was there: in which state it was, in which hours it was heard of, and which of that its site explains
//! by being closed.

use crate::event::Instant;
use crate::insights::input::{DAY, HOUR, State as Reported};
use crate::insights::jobs::schedule::Schedule;
use crate::insights::number::{float, whole};
use crate::insights::risk::features::{Entered, State};
use crate::insights::risk::shut::Shut;

/// The last 24 hours, as bits.
const LAST_DAY: u64 = 0x00ff_ffff;

/// How a device was down in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Downs {
    /// The part of the time that it was, of the time in which it was not switched off with its site.
    pub share: f64,
    /// For how many days.
    pub days: f64,
    /// How often it went down.
    pub times: u32,
}

const fn is_down(state: Reported) -> bool {
    matches!(state, Reported::Error | Reported::Offline)
}

impl State {
    /// The state that the device is in, where it told one.
    #[must_use]
    pub fn current(&self) -> Option<Entered> {
        self.states.last().copied()
    }

    /// Whether anything was heard of it until an instant.
    #[must_use]
    pub fn is_known(&self, as_of: Instant) -> bool {
        self.first.is_some_and(|first| first <= as_of)
    }

    /// When its site was closed, as far as that matters: never where the device was always there.
    #[must_use]
    pub fn shut(&self, schedule: Option<&Schedule>, as_of: Instant) -> Shut {
        let week = Instant(as_of.0 - 7 * DAY);
        let was_there = self.coverage(as_of) >= 1.0 && self.down(week, as_of) == Downs::default();
        let schedule = schedule.filter(|_| !was_there);
        schedule.map_or_else(Shut::default, |schedule| Shut::until(schedule, as_of))
    }

    /// How it was in ERROR or OFFLINE from one instant to another.
    #[must_use]
    pub fn down(&self, from: Instant, to: Instant) -> Downs {
        self.down_but((from, to), &Shut::default())
    }

    /// The same, but for the time in which it was OFFLINE while its site was closed, where it was switched off with its
    /// site: what was down before, or in ERROR since, is down through the night. From one state in which it is down to
    /// another it did not go down once more.
    #[must_use]
    pub fn down_but(&self, (from, to): (Instant, Instant), shut: &Shut) -> Downs {
        let ends = self.states.iter().skip(1).map(|next| next.at).chain([to]);
        let (mut down, mut off, mut times) = (0, 0, 0);
        // whether it was in the state before
        let (mut was_down, mut was_off) = (false, false);
        for (entered, end) in self.states.iter().zip(ends) {
            let is_down = is_down(entered.to);
            let is_switched_off = entered.to == Reported::Offline && !was_down;
            let night = is_switched_off.then(|| shut.around(entered.at)).flatten();
            if is_down {
                let (start, end) = (entered.at.0.max(from.0), end.0.min(to.0));
                let of_night =
                    |(begin, over): (i64, i64)| (end.min(over) - start.max(begin)).max(0);
                let of_it = night.map_or(0, of_night);
                down += (end - start).max(0) - of_it;
                off += of_it;
                let went_down = night.is_none() && (!was_down || was_off);
                times += u32::from(went_down && entered.at > from && entered.at <= to);
            }
            (was_down, was_off) = (is_down, night.is_some());
        }
        let open = float((to.0 - from.0 - off).max(1));
        Downs {
            share: float(down) / open,
            days: float(down) / float(DAY),
            times,
        }
    }

    /// Whether it is OFFLINE because it was switched off with its site, which is closed still.
    #[must_use]
    pub fn is_off(&self, shut: &Shut, as_of: Instant) -> bool {
        let mut latest = self.states.iter().rev();
        let off = latest
            .next()
            .filter(|entered| entered.to == Reported::Offline);
        let was_down = latest.next().is_some_and(|before| is_down(before.to));
        let night = shut.around(as_of).filter(|_| !was_down);
        off.zip(night)
            .is_some_and(|(off, (begin, _))| off.at.0 >= begin)
    }

    /// Of the last 24 hours that are closed at `as_of`, the part with measures; of fewer where it began later. Of a device
    /// that means to report more seldom, an hour is one with measures until the next are due.
    #[must_use]
    pub fn coverage(&self, as_of: Instant) -> f64 {
        self.coverage_but(as_of, &Shut::default()).0
    }

    /// The same, but for hours without measures in which its site was closed, and how many these are. They count where
    /// it was silent already when its site closed.
    #[must_use]
    pub fn coverage_but(&self, as_of: Instant, shut: &Shut) -> (f64, u32) {
        let Some(head) = self.hours_head else {
            return (0.0, 0);
        };
        let closed = as_of.0.div_euclid(HOUR) - 1;
        let seen = self.hours_heard(head, closed);
        let known = self
            .first
            .map_or(24.0, |first| float(closed + 1 - first.0.div_euclid(HOUR)));
        let known = known.clamp(1.0, 24.0);
        let is_off = |back: &i64| {
            let start = (closed - back) * HOUR;
            let night = shut.around_all(Instant(start), Instant(start + HOUR));
            // when it was heard of last before; unknown where that is long ago, and it was since
            let before = seen >> back;
            let heard = if before == 0 {
                Some(head.0 + HOUR).filter(|heard| *heard <= start)
            } else {
                Some((closed - back - i64::from(before.trailing_zeros()) + 1) * HOUR)
            };
            before & 1 == 0
                && night.is_some_and(|(from, _)| heard.is_none_or(|heard| heard >= from))
        };
        let off = (0..whole(known)).filter(is_off).count();
        let off = u32::try_from(off).unwrap_or(24);
        let expected = known - f64::from(off);
        if expected <= 0.0 {
            return (1.0, off);
        }
        let seen = (seen & LAST_DAY).count_ones();
        ((float(seen) / expected).min(1.0), off)
    }

    /// The hours in which it was heard of, or not to be yet, as bits: the lowest is the one that ends last.
    fn hours_heard(&self, head: Instant, closed: i64) -> u64 {
        let lag = closed - head.0.div_euclid(HOUR);
        let of = |lag: i64| u32::try_from(lag).unwrap_or(u32::MAX);
        // of an instant within what is folded what is later is left out
        let seen = if lag < 0 {
            self.hours_seen.checked_shr(of(-lag))
        } else {
            self.hours_seen.checked_shl(of(lag))
        };
        let seen = seen.unwrap_or(0);
        (1..u32::from(self.interval_hours)).fold(seen, |heard, hours| {
            heard | seen.checked_shr(hours).unwrap_or(0)
        })
    }
}
