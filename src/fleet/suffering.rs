//! How a till goes through trouble: it begins, the health check notices, the till complains, and it
//! is over, by itself or because of a restart.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::day::Day;
use super::device::Device;
use super::faults;
use super::health::State;
use super::queue::after;
use super::random::seconds_between;
use super::trouble::{DICE_MINUTES, Effects, Ongoing, SOUND, Trouble};

impl Device {
    /// When trouble is first thought of: not before the device has come online.
    pub(super) fn first_trouble(&mut self, start: DateTime<Utc>) -> DateTime<Utc> {
        start + seconds_between(&mut self.rng, 60, DICE_MINUTES * 60)
    }

    /// Goes on with trouble: gets into it, is noticed, complains or comes out of it. Returns when
    /// to go on again.
    pub(super) fn suffer(
        &mut self,
        at: DateTime<Utc>,
        day: &Day,
        out: &mut Vec<Value>,
    ) -> DateTime<Utc> {
        let suffered = self.ongoing.is_some();
        self.recover_in_time(at, out);
        match self.ongoing {
            None if suffered => at + TimeDelta::minutes(i64::from(DICE_MINUTES)),
            None => self.throw_dice(at, day, out),
            Some(ongoing) => {
                if ongoing.noticed {
                    self.complain(&ongoing, at, out);
                } else {
                    self.be_noticed(&ongoing, at, out);
                }
                let wait = seconds_between(&mut self.rng, 180, 480);
                after(at, (at + wait).min(ongoing.ends_at))
            }
        }
    }

    fn throw_dice(&mut self, at: DateTime<Utc>, day: &Day, out: &mut Vec<Value>) -> DateTime<Utc> {
        let busy = if day.is_open(at) { 1.4 } else { 0.5 };
        let wear = 0.6 + self.machine.leak_percent(at) / 15.0;
        let Some(trouble) = Trouble::draw(self.frailty * busy * wear, &mut self.rng) else {
            return at + TimeDelta::minutes(i64::from(DICE_MINUTES));
        };
        let (least, most) = trouble.minutes();
        let lasts = seconds_between(&mut self.rng, least * 60, most * 60);
        let ongoing = Ongoing {
            trouble,
            since: at,
            ends_at: at + lasts,
            noticed: false,
        };
        self.ongoing = Some(ongoing);
        self.complain(&ongoing, at, out);
        if trouble == Trouble::Crash {
            let down = seconds_between(&mut self.rng, 30, 55);
            self.machine.restart(at, at + down);
        }
        at + seconds_between(&mut self.rng, 8, 40)
    }

    fn complain(&mut self, ongoing: &Ongoing, at: DateTime<Utc>, out: &mut Vec<Value>) {
        if let Some(fault) = ongoing.trouble.while_it_lasts() {
            let seconds = (at - ongoing.since).num_seconds();
            self.log(fault, at, &json!({ "forSeconds": seconds }), out);
        }
    }

    fn be_noticed(&mut self, ongoing: &Ongoing, at: DateTime<Utc>, out: &mut Vec<Value>) {
        self.ongoing = Some(Ongoing {
            noticed: true,
            ..*ongoing
        });
        let Some(state) = ongoing.trouble.state() else {
            return;
        };
        self.change_state(at, state, ongoing.trouble.reason(), out);
        if ongoing.trouble.is_silent() {
            self.log(&faults::UNREACHABLE, at, &json!({ "attempts": 3 }), out);
        }
    }

    /// Comes out of a trouble that is over.
    pub(super) fn recover_in_time(&mut self, at: DateTime<Utc>, out: &mut Vec<Value>) {
        let Some(over) = self.ongoing.take_if(|ongoing| ongoing.ends_at <= at) else {
            return;
        };
        if over.trouble == Trouble::PowerLoss {
            self.machine.restart(at, at);
        }
        if self.state != State::Unknown {
            self.change_state(at, State::Online, "Answers the health check again", out);
        }
        if let Some(fault) = over.trouble.afterwards() {
            let seconds = (at - over.since).num_seconds();
            self.log(fault, at, &json!({ "forSeconds": seconds }), out);
        }
    }

    /// A restart at an instant ends what a restart can mend.
    pub(super) fn mend_by_restart(&mut self, up_at: DateTime<Utc>) {
        if let Some(ongoing) = self.ongoing.as_mut().filter(|now| !now.trouble.is_silent()) {
            ongoing.ends_at = ongoing.ends_at.min(up_at);
        }
    }

    /// The trouble that goes on, if any.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.ongoing.map(|ongoing| ongoing.trouble)
    }

    /// What the trouble that goes on does to the device.
    pub(super) fn effects(&self) -> Effects {
        self.trouble().map_or(SOUND, Trouble::effects)
    }

    /// Whether nothing can be heard from the device.
    pub(super) fn is_silent(&self, at: DateTime<Utc>) -> bool {
        self.machine.is_down(at) || self.trouble().is_some_and(Trouble::is_silent)
    }
}
