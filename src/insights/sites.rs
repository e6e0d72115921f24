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

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use entity::device_registrations as devices;

    use super::*;
    use crate::event::Provenance;
    use crate::insights::jobs::schedule::Opening;
    use crate::kinds::Draft;

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    fn event(position: i64, draft: Draft) -> Event {
        let fact = draft.finish().unwrap().fact;
        Event {
            position: Position(position),
            recorded_at: fact.occurred_at,
            fact,
        }
    }

    fn draft(kind: Kind, on: &str) -> Draft {
        Draft::new(kind, at(on), Provenance::Real)
    }

    fn site(position: i64, zone: &str, on: &str) -> Event {
        let draft = draft(Kind::SiteRegistration, on)
            .set(sites::Column::SiteKey, "shop")
            .set(sites::Column::Name, "shop")
            .set(sites::Column::TimeZone, zone);
        event(position, draft)
    }

    fn device(position: i64, site: &str, on: &str) -> Event {
        let draft = draft(Kind::DeviceRegistration, on)
            .set(devices::Column::DeviceKey, "till")
            .set(devices::Column::SiteKey, site)
            .set(devices::Column::DeviceType, "POS_TERMINAL");
        event(position, draft)
    }

    fn open(position: i64, day: &str, on: &str) -> Event {
        let draft = draft(Kind::SiteSchedule, on)
            .set(schedules::Column::SiteKey, "shop")
            .set(schedules::Column::DayOfWeek, day)
            .set(schedules::Column::OpenTime, "09:00:00")
            .set(schedules::Column::CloseTime, "17:00:00");
        event(position, draft)
    }

    fn said() -> Vec<Event> {
        vec![
            site(1, "Europe/London", "2026-01-10T00:00:00Z"),
            device(2, "shop", "2026-01-10T00:00:00Z"),
            open(3, "MONDAY", "2026-01-11T00:00:00Z"),
            site(4, "Asia/Tokyo", "2026-01-20T00:00:00Z"),
            device(5, "elsewhere", "2026-01-30T00:00:00Z"),
        ]
    }

    #[test]
    fn what_is_registered_first_holds_before_as_well_and_what_is_later_from_then_on() {
        let mut sites = Sites::default();
        sites.take(&said());
        let zone = |on: &str| sites.local("till", at(on)).zone;
        assert_eq!(zone("2026-01-01T00:00:00Z"), Tz::Europe__London);
        assert_eq!(zone("2026-01-19T23:59:59Z"), Tz::Europe__London);
        assert_eq!(zone("2026-01-20T00:00:00Z"), Tz::Asia__Tokyo);
        assert_eq!(
            zone("2026-01-30T00:00:00Z"),
            Tz::UTC,
            "of a site that nobody knows"
        );
        let stood = |on: &str| sites.device("till", at(on)).unwrap().site.clone();
        assert_eq!(stood("2026-01-29T00:00:00Z"), "shop");
        assert_eq!(stood("2026-02-01T00:00:00Z"), "elsewhere");
        assert!(sites.device("other", at("2026-02-01T00:00:00Z")).is_none());
        assert_eq!(sites.ids().collect::<Vec<_>>(), ["till"]);
    }

    #[test]
    fn hours_are_known_from_when_they_were_filed_and_move_with_the_zone() {
        let mut sites = Sites::default();
        sites.take(&said());
        // a Monday at nine by the clock of London, and of Tokyo
        let opening = |on: &str, of: &str| {
            let schedule = sites.local("till", at(of)).schedule;
            schedule.opening(schedule.local(at(on)))
        };
        let (london, tokyo) = ("2026-01-12T09:00:00Z", "2026-01-12T00:00:00Z");
        assert_eq!(opening(london, "2026-01-10T12:00:00Z"), Opening::Unknown);
        assert_eq!(opening(london, "2026-01-12T00:00:00Z"), Opening::Open);
        assert_eq!(opening(tokyo, "2026-01-12T00:00:00Z"), Opening::Closed);
        assert_eq!(opening(tokyo, "2026-01-21T00:00:00Z"), Opening::Open);
        let monday = NaiveDate::from_ymd_opt(2026, 1, 12).unwrap();
        let schedule = sites.local("till", at(london)).schedule;
        assert_eq!(schedule.local(at(london)).date, monday);
    }

    #[test]
    fn it_does_not_matter_in_which_order_and_how_often_it_is_taken() {
        let (mut at_once, mut one_by_one) = (Sites::default(), Sites::default());
        at_once.take(&said());
        for event in said().iter().rev().chain(&said()) {
            one_by_one.take([event]);
        }
        for on in [
            "2026-01-01T00:00:00Z",
            "2026-01-15T00:00:00Z",
            "2026-01-25T00:00:00Z",
        ] {
            let (one, other) = (
                at_once.local("till", at(on)),
                one_by_one.local("till", at(on)),
            );
            assert_eq!(
                (one.zone, one.schedule),
                (other.zone, other.schedule),
                "{on}"
            );
        }
    }
}
