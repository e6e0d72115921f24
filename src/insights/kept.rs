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
        let told = Told::going_on(id, state.interval_seconds, &state.counters);
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
        // counters count from midnight where it stood then
        let zone = sites.local(id, fact.occurred_at).zone;
        self.told
            .take_recorded(fact, (recorded_at, zone), |_, _, over| {
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

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use entity::{
        device_metrics as metrics, device_registrations as devices, site_registrations as sites,
    };

    use super::*;
    use crate::event::{Position, Provenance};
    use crate::insights::device::DeviceHour;
    use crate::insights::input::{Measure, SECOND};
    use crate::insights::jobs::schedule::Schedule;
    use crate::insights::replay::{Known, in_order};
    use crate::kinds::{Draft, Kind};

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    fn event(draft: Draft) -> Event {
        let fact = draft.finish().unwrap().fact;
        Event {
            position: Position(fact.occurred_at.0 / SECOND),
            recorded_at: fact.occurred_at,
            fact,
        }
    }

    fn draft(kind: Kind, on: &str) -> Draft {
        Draft::new(kind, at(on), Provenance::Real)
    }

    fn site(id: &str, zone: &str, on: &str) -> Event {
        let draft = draft(Kind::SiteRegistration, on)
            .set(sites::Column::SiteKey, id)
            .set(sites::Column::Name, id)
            .set(sites::Column::TimeZone, zone);
        event(draft)
    }

    fn stands_at(site: &str, on: &str) -> Event {
        let draft = draft(Kind::DeviceRegistration, on)
            .set(devices::Column::DeviceKey, "till")
            .set(devices::Column::SiteKey, site)
            .set(devices::Column::DeviceType, "POS_TERMINAL");
        event(draft)
    }

    /// What a till shows, and by how much that grew in its hour.
    const SHOWN: [(&str, i64, Option<f64>); 11] = [
        ("2026-03-27T12:00:00Z", 100, Some(100.0)),
        ("2026-03-28T12:00:00Z", 104, Some(104.0)),
        ("2026-03-28T20:10:00Z", 160, Some(56.0)),
        // it was away over midnight
        ("2026-03-29T12:00:00Z", 170, Some(170.0)),
        ("2026-03-29T22:30:00Z", 180, Some(10.0)),
        // midnight of London by summer time was ten minutes before
        ("2026-03-29T23:10:00Z", 181, Some(181.0)),
        ("2026-03-30T22:10:00Z", 190, Some(9.0)),
        ("2026-04-05T06:10:00Z", 50, None),
        // it has moved to Tokyo
        ("2026-04-05T06:50:00Z", 55, Some(55.0)),
        ("2026-04-05T14:50:00Z", 60, Some(5.0)),
        ("2026-04-05T15:10:00Z", 62, Some(62.0)),
    ];
    const END: &str = "2026-04-06T00:00:00Z";

    fn registered() -> Vec<Event> {
        vec![
            site("shop", "Europe/London", "2026-01-01T00:00:00Z"),
            site("other", "Asia/Tokyo", "2026-01-01T00:00:01Z"),
            stands_at("shop", "2026-01-01T00:00:02Z"),
            stands_at("other", "2026-04-05T06:30:00Z"),
        ]
    }

    fn readings() -> Vec<Event> {
        let readings = SHOWN.iter().map(|(on, sales, _)| {
            let draft = draft(Kind::DeviceMetrics, on)
                .set(metrics::Column::DeviceKey, "till")
                .set(metrics::Column::TransactionCount, *sales);
            event(draft)
        });
        readings.collect()
    }

    fn places() -> Sites {
        let mut sites = Sites::default();
        sites.take(&registered());
        sites
    }

    /// The state of the till when it is told as one that is evaluated is, and by how much its counter grew.
    fn evaluated() -> (DeviceState, Vec<f64>) {
        let (mut state, mut grown) = (DeviceState::default(), Vec::new());
        let facts = registered().into_iter().chain(readings());
        let facts: Vec<Fact> = facts.map(|event| event.fact).collect();
        let mut told = Told::default();
        let mut fold = |known: &Known, id: &str, over: &Closed| {
            let zone: Tz = known.zone_of(id);
            let hour: DeviceHour = over.hour();
            let counts = hour.measures.iter();
            let mut counts = counts.filter(|(of, _)| *of == Measure::TransactionCount);
            grown.extend(counts.next().map(|(_, counted)| counted.increase));
            let schedule = Schedule::new(zone);
            let place = Place {
                zone,
                schedule: &schedule,
            };
            state.fold(&hour, place);
        };
        for fact in in_order(&facts) {
            told.take(fact, &mut fold);
        }
        told.close(at(END), &mut fold);
        (state, grown)
    }

    #[test]
    fn counters_grow_alike_where_it_is_kept_and_where_it_is_evaluated() {
        let (evaluated, grown) = evaluated();
        let expected: Vec<f64> = SHOWN.iter().filter_map(|(.., grown)| *grown).collect();
        assert_eq!(grown, expected);
        let nothing = DeviceState::default();
        let (kept, _) = told(("till", nothing), &places(), (&readings(), at(END)));
        assert_eq!(kept.counters, evaluated.counters);
        assert_eq!(kept.risk, evaluated.risk);
        assert_eq!(kept.anomalies, evaluated.anomalies);
        assert_eq!(kept.levels, evaluated.levels);
        assert_eq!(kept.demand, evaluated.demand);
    }

    #[test]
    fn what_is_folded_on_from_a_state_that_was_kept_is_the_same() {
        let (sites, all) = (places(), readings());
        let whole = told(("till", DeviceState::default()), &sites, (&all, at(END)));
        for split in 1..all.len() {
            let (before, after) = all.split_at(split);
            let until = hour_of(after[0].fact.occurred_at);
            if before.iter().any(|event| event.fact.occurred_at >= until) {
                continue;
            }
            let nothing = DeviceState::default();
            let (state, _) = told(("till", nothing), &sites, (before, until));
            let state = DeviceState::decode(&state.encode().unwrap()).unwrap();
            let (state, _) = told(("till", state), &sites, (after, at(END)));
            assert_eq!(state, whole.0, "{split}");
        }
    }
}
