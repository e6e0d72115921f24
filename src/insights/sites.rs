//! Where devices stand, in which zone, and when their sites are open, as of any instant: what was registered and filed,
//! in order of time.
//!
//! What a device was first registered as, and the first zone of a site, hold for all time before as well, as they do
//! elsewhere: readings of earlier days may be imported after it. Before hours were filed nothing is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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

/// From when on a site is so.
#[derive(Clone, Debug)]
struct Version {
    from: Instant,
    zone: Tz,
    schedule: Arc<Schedule>,
}

#[derive(Clone, Debug)]
struct Site {
    said: BTreeMap<When, Said>,
    versions: Vec<Version>,
    /// Before hours were filed.
    unfiled: Arc<Schedule>,
}

/// The time of a site.
#[derive(Clone, Debug)]
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
        let nowhere = Local {
            zone: Tz::UTC,
            schedule: Arc::new(Schedule::new(Tz::UTC)),
        };
        Self {
            devices: BTreeMap::new(),
            places: BTreeMap::new(),
            nowhere,
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self {
            said: BTreeMap::new(),
            versions: Vec::new(),
            unfiled: Arc::new(Schedule::new(Tz::UTC)),
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
                of_site.said.insert(when, said);
                changed.insert(site.to_owned());
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
        let after = self
            .versions
            .partition_point(|version| version.from <= until);
        let held = after
            .checked_sub(1)
            .and_then(|last| self.versions.get(last));
        if let Some(held) = held {
            return Local {
                zone: held.zone,
                schedule: Arc::clone(&held.schedule),
            };
        }
        let first = self.versions.first();
        Local {
            zone: first.map_or(Tz::UTC, |first| first.zone),
            schedule: Arc::clone(&self.unfiled),
        }
    }

    /// Makes what holds from when on out of what was said.
    fn settle(&mut self) {
        let zones = self.said.values();
        let mut zones = zones.filter_map(|said| match said {
            Said::Zone(zone) => Some(*zone),
            Said::Filed(..) => None,
        });
        // what is filed before a site is registered is filed in its zone
        let mut zone = zones.next().unwrap_or(Tz::UTC);
        self.unfiled = Arc::new(Schedule::new(zone));
        self.versions.clear();
        let mut filed: Vec<(Day, &DayPlan)> = Vec::new();
        let mut schedule = Schedule::new(zone);
        for ((from, _), said) in &self.said {
            match said {
                Said::Zone(of) if *of == zone => {}
                Said::Zone(of) => {
                    zone = *of;
                    schedule = Schedule::new(zone);
                    for (day, plan) in &filed {
                        schedule.file(*day, (*plan).clone());
                    }
                }
                Said::Filed(day, plan) => {
                    filed.push((*day, plan));
                    schedule.file(*day, plan.clone());
                }
            }
            if self.versions.last().is_some_and(|last| last.from == *from) {
                self.versions.pop();
            }
            self.versions.push(Version {
                from: *from,
                zone,
                schedule: Arc::new(schedule.clone()),
            });
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
