//! Where devices stand, in which zone, and when their sites are open, as of any instant: what was registered and filed,
//! in order of time.
//!
//! What a device was first registered as, and the first zone of a site, hold for all time before as well, as they do
//! elsewhere: readings of earlier days may be imported after it. Before hours were filed nothing is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono_tz::Tz;
use entity::{site_operating_schedules as schedules, site_registrations as sites};

use super::input::Device;
use super::jobs::schedule::{Day, DayPlan, Schedule};
use super::replay;
use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;

/// When something was said: of one instant what was recorded later holds.
type When = (Instant, Position);

/// What is said of a site.
#[derive(Clone, Debug)]
enum Said {
    Zone(Tz),
    Filed(Day, DayPlan),
}

/// What is said of a site, in order of time, and what holds by it. Of how it was in between no more is held than what was
/// said then: who files the hours of a day each night would else have as many years of hours as nights.
#[derive(Clone, Debug)]
struct Site {
    said: BTreeMap<When, Said>,
    /// Before anything was said.
    before: Local,
    /// Since the last that was said.
    newest: Local,
    made: Made,
}

/// What was made last of the time in between, with the last that was said by then: it is mostly asked for again.
#[derive(Debug, Default)]
struct Made(Mutex<Option<(When, Local)>>);

impl Clone for Made {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.held().clone()))
    }
}

impl Made {
    fn held(&self) -> MutexGuard<'_, Option<(When, Local)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn or_make(&self, when: When, make: impl FnOnce() -> Local) -> Local {
        let mut held = self.held();
        match &*held {
            Some((of, local)) if *of == when => local.clone(),
            Some(_) | None => held.insert((when, make())).1.clone(),
        }
    }
}

/// The time of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// Its zone.
    pub zone: Tz,
    /// When it is open.
    pub schedule: Arc<Schedule>,
}

/// What was registered and filed of sites and devices.
#[derive(Clone, Debug)]
pub struct Sites {
    devices: BTreeMap<String, BTreeMap<When, Device>>,
    places: BTreeMap<String, Site>,
    /// Of a device of which nothing is known.
    nowhere: Local,
}

impl Default for Sites {
    fn default() -> Self {
        Self {
            devices: BTreeMap::new(),
            places: BTreeMap::new(),
            nowhere: Local::unfiled(Tz::UTC),
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self {
            said: BTreeMap::new(),
            before: Local::unfiled(Tz::UTC),
            newest: Local::unfiled(Tz::UTC),
            made: Made::default(),
        }
    }
}

impl Local {
    fn unfiled(zone: Tz) -> Self {
        Self {
            zone,
            schedule: Arc::new(Schedule::new(zone)),
        }
    }
}

impl Sites {
    /// The kinds that say it.
    pub const KINDS: [Kind; 3] = [
        Kind::SiteRegistration,
        Kind::DeviceRegistration,
        Kind::SiteSchedule,
    ];

    /// Takes what was registered and filed, in whatever order it comes; other events are left out.
    pub fn take<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        let mut changed: BTreeSet<String> = BTreeSet::new();
        for event in events {
            let fact = &event.fact;
            let when = (fact.occurred_at, event.position);
            if fact.kind == Kind::DeviceRegistration {
                if let Some(device) = replay::device(fact) {
                    let of_device = self.devices.entry(device.id.clone()).or_default();
                    of_device.insert(when, device);
                }
            } else if let Some((site, said)) = said(event) {
                let of_site = self.places.entry(site.to_owned()).or_default();
                if !of_site.go_on(when, &said) {
                    changed.insert(site.to_owned());
                }
                of_site.said.insert(when, said);
            }
        }
        for site in changed {
            if let Some(site) = self.places.get_mut(&site) {
                site.settle();
            }
        }
    }

    /// Who a device is, by what was registered until an instant; `None` if it never was.
    #[must_use]
    pub fn device(&self, id: &str, until: Instant) -> Option<&Device> {
        let registered = self.devices.get(id)?;
        let mut until = registered.range(..=(until, Position(i64::MAX)));
        let last = until.next_back();
        let held = last.or_else(|| registered.first_key_value());
        held.map(|(_, device)| device)
    }

    /// The time of the site at which a device stands, by what was registered and filed until an instant; UTC where
    /// none is known.
    #[must_use]
    pub fn local(&self, device: &str, until: Instant) -> Local {
        let device = self.device(device, until);
        let site = device.and_then(|device| self.places.get(&device.site));
        site.map_or_else(|| self.nowhere.clone(), |site| site.at(until))
    }

    /// The ids of all devices that were ever registered, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.devices.keys().map(String::as_str)
    }
}

impl Site {
    fn at(&self, until: Instant) -> Local {
        let mut until = self.said.range(..=(until, Position(i64::MAX)));
        let Some((when, _)) = until.next_back() else {
            return self.before.clone();
        };
        if self.said.last_key_value().map(|(last, _)| last) == Some(when) {
            return self.newest.clone();
        }
        self.made.or_make(*when, || self.made_until(*when))
    }

    /// Files what was said last; whether that is all there is to do about it.
    fn go_on(&mut self, when: When, said: &Said) -> bool {
        let last = self.said.last_key_value();
        let is_last = last.is_some_and(|(last, _)| *last < when);
        match said {
            Said::Filed(day, plan) if is_last => {
                Arc::make_mut(&mut self.newest.schedule).file(*day, plan.clone());
                true
            }
            Said::Filed(..) | Said::Zone(_) => false,
        }
    }

    /// Makes what holds out of what was said.
    fn settle(&mut self) {
        let (Some((first, _)), Some((last, _))) =
            (self.said.first_key_value(), self.said.last_key_value())
        else {
            return;
        };
        let (first, last) = ((first.0, Position(i64::MAX)), *last);
        self.before = Local {
            zone: self.zone_until(first),
            schedule: Arc::new(Schedule::new(self.first_zone())),
        };
        self.newest = self.made_until(last);
        self.made = Made::default();
    }

    /// What is filed before a site is registered is filed in its zone.
    fn first_zone(&self) -> Tz {
        let first = self.said.values().find_map(Said::zone);
        first.unwrap_or(Tz::UTC)
    }

    fn zone_until(&self, until: When) -> Tz {
        let said = self.said.range(..=until).rev();
        let mut zones = said.filter_map(|(_, said)| said.zone());
        zones.next().unwrap_or_else(|| self.first_zone())
    }

    /// What held by what was said until then. Of a day the last plan holds, and of more dates than there is room for the
    /// latest stay, in whatever order they were filed: so each is filed once.
    fn made_until(&self, until: When) -> Local {
        let (mut weekdays, mut dates) = (BTreeMap::new(), BTreeMap::new());
        for (_, said) in self.said.range(..=until) {
            match said {
                Said::Filed(Day::Weekday(day), plan) => {
                    weekdays.insert(*day, plan);
                }
                Said::Filed(Day::Date(date), plan) => {
                    dates.insert(*date, plan);
                }
                Said::Zone(_) => {}
            }
        }
        let zone = self.zone_until(until);
        let mut schedule = Schedule::new(zone);
        for (day, plan) in weekdays {
            schedule.file(Day::Weekday(day), plan.clone());
        }
        for (date, plan) in dates {
            schedule.file(Day::Date(date), plan.clone());
        }
        Local {
            zone,
            schedule: Arc::new(schedule),
        }
    }
}

impl Said {
    const fn zone(&self) -> Option<Tz> {
        match self {
            Self::Zone(zone) => Some(*zone),
            Self::Filed(..) => None,
        }
    }
}

/// The site of which an event says something, and what.
fn said(event: &Event) -> Option<(&str, Said)> {
    let fact = &event.fact;
    if fact.kind == Kind::SiteRegistration {
        let zone = fact.cell(sites::Column::TimeZone).text();
        let zone = zone.and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC);
        let site = fact.cell(sites::Column::SiteKey).text()?;
        return Some((site, Said::Zone(zone)));
    }
    if fact.kind != Kind::SiteSchedule {
        return None;
    }
    let site = fact.cell(schedules::Column::SiteKey).text()?;
    let day = replay::day_of(fact)?;
    Some((site, Said::Filed(day, replay::plan(fact))))
}

#[cfg(test)]
#[path = "sites_tests.rs"]
mod tests;
