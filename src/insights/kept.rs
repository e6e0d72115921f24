//! A device that is told what happens to it, in order of time: its hours are folded into what is kept of it as they
//! pass. Both what is kept in tables and what is folded in memory beside it come of this.

use super::device::{DeviceState, Place};
use super::input::HOUR;
use super::replay::{Closed, Open, Told, hour_of};
use super::sites::Sites;
use crate::event::{Event, Fact, Instant};

/// A device whose hours are folded.
#[derive(Debug)]
pub struct Kept<'a> {
    id: &'a str,
    sites: &'a Sites,
    told: Told,
    state: DeviceState,
}

impl<'a> Kept<'a> {
    /// One of which a state is known, by its id.
    #[must_use]
    pub fn new(id: &'a str, state: DeviceState, sites: &'a Sites) -> Self {
        let told = Told::going_on(id, state.interval_seconds, state.counters.clone());
        Self {
            id,
            sites,
            told,
            state,
        }
    }

    /// Takes what happened, and when that was recorded. Whoever wants to is shown the state before each hour that is
    /// folded then, and when that begins.
    pub fn take(
        &mut self,
        fact: &Fact,
        recorded_at: Instant,
        mut before: impl FnMut(&DeviceState, Instant),
    ) {
        let (id, sites, state) = (self.id, self.sites, &mut self.state);
        self.told
            .take_recorded(fact, Some(recorded_at), |_, _, over| {
                before(state, over.told.start);
                fold(state, over, (id, sites));
            });
    }

    /// Folds the hour that is open, if it is over at an instant.
    pub fn close(&mut self, at: Instant, mut before: impl FnMut(&DeviceState, Instant)) {
        let (id, sites, state) = (self.id, self.sites, &mut self.state);
        self.told.close_of(id, at, |_, _, over| {
            before(state, over.told.start);
            fold(state, over, (id, sites));
        });
    }

    /// What is kept of it.
    #[must_use]
    pub const fn state(&self) -> &DeviceState {
        &self.state
    }

    /// What is kept of it, and what happened since, if that was within the hour in which an instant lies.
    #[must_use]
    pub fn ended(self, at: Instant) -> (DeviceState, Open) {
        let open = self.told.open(self.id).cloned();
        let open = open.filter(|open| open.start == hour_of(at));
        (
            self.state,
            open.unwrap_or_else(|| Open::beginning(hour_of(at))),
        )
    }
}

/// What is kept of a device once it is told what happened to it until an instant, in order of time, and what happened in
/// the hour in which that lies.
#[must_use]
pub fn told(
    (id, state): (&str, DeviceState),
    sites: &Sites,
    (events, until): (&[Event], Instant),
) -> (DeviceState, Open) {
    let mut kept = Kept::new(id, state, sites);
    for event in events {
        kept.take(&event.fact, event.recorded_at, |_, _| {});
    }
    kept.close(until, |_, _| {});
    kept.ended(until)
}

/// Folds an hour by what was registered and filed when it was over.
fn fold(state: &mut DeviceState, over: &Closed, (id, sites): (&str, &Sites)) {
    let end = Instant(over.told.start.0 + HOUR - 1);
    let local = sites.local(id, end);
    let place = Place {
        zone: local.zone,
        schedule: &local.schedule,
    };
    state.fold(&over.hour(), place);
}
