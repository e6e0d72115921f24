//! What is known of sites and devices while rules are evaluated: where a device stands, whether it is in
//! use, in which state it is, and the hours of the sites. It does no I/O and reads no clock.

use std::collections::{HashMap, HashSet};

use super::silence::Sign;
use crate::event::{Instant, Position, Provenance};
use crate::schedule::Calendar;

/// Changes of a calendar at most that are looked through for the end of a silence.
const CHANGES_MAX: usize = 200;
/// The longest interval of reports that a device is believed, in seconds: a day. Else it could say that it
/// is to be missed by nobody.
const INTERVAL_SECONDS_MAX: i64 = 24 * 3_600;

/// A device, as far as rules ask for it.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// Key of its site.
    pub(super) site: i64,
    /// Whether it is in use.
    pub(super) is_active: bool,
    /// When what is registered of it was so, by its own time.
    pub(super) registered: (Instant, Position),
    /// The newest state that was reported of it, if any, and when that was.
    pub(super) state: Option<String>,
    /// When that was reported.
    pub(super) state_at: (Instant, Position),
    /// Where its newest reading comes from.
    pub(super) provenance: Provenance,
    /// Every how many seconds it says that it reports, as far as that is believed.
    pub(super) interval_seconds: Option<i64>,
    /// Its last sign of life, if there is one that counts.
    pub(super) sign: Option<Sign>,
}

impl Device {
    /// Takes the interval that a reading says, if it says one, and answers with what is believed of it.
    pub(super) fn reports_every(&mut self, seconds: Option<i64>) -> Option<i64> {
        let believed = seconds.map(|seconds| seconds.min(INTERVAL_SECONDS_MAX));
        self.interval_seconds = believed.or(self.interval_seconds);
        self.interval_seconds
    }

    /// Takes a sign of life.
    pub(super) fn heard_of(&mut self, sign: Sign) {
        let before = self.sign.map(|before| before.reported_at);
        self.sign = Some(Sign {
            reported_at: before.map_or(sign.reported_at, |before| before.max(sign.reported_at)),
            ..sign
        });
    }

    /// Its silence counts from now on: it is in use again, elsewhere, or nobody works on it any more.
    pub(super) fn counts_from(&mut self, now: Instant) {
        if let Some(sign) = &mut self.sign {
            sign.heard_at = now;
        }
    }

    /// Whether somebody works on it.
    pub(super) fn is_in_maintenance(&self) -> bool {
        self.state.as_deref() == Some("MAINTENANCE")
    }
}

/// The sites and devices.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) devices: HashMap<i64, Device>,
    pub(super) calendars: HashMap<i64, Calendar>,
}

impl Fleet {
    /// The first instant at which so long has passed since an instant, all of it while a site is at work:
    /// open, and not in maintenance. What an opening can hold is to pass in one, since devices are turned
    /// off before a shop closes; what is longer than an opening adds up over several. A site of whose hours
    /// nothing is known is always at work.
    pub(super) fn at_work_for(&self, site: i64, since: Instant, ms: i64) -> Instant {
        let Some(calendar) = self.calendars.get(&site) else {
            return since.plus_ms(ms);
        };
        // in microseconds, since schedules may change at any of them
        let (wanted, mut before) = (ms.saturating_mul(1_000), 0);
        let (mut at, mut began) = (since, None);
        for _ in 0..CHANGES_MAX {
            let status = calendar.status_at(at);
            let changes_at = status.next_change.unwrap_or(Instant::NEWEST);
            if !status.is_known || status.is_open && !status.in_maintenance {
                let passed = began.get_or_insert(at).plus_ms(ms);
                if passed <= changes_at {
                    return passed;
                }
            } else if let Some(Instant(began)) = began.take() {
                let lacking = wanted - before;
                if at.0 - began >= lacking {
                    return Instant(began + lacking);
                }
                before += at.0 - began;
            }
            if changes_at == Instant::NEWEST {
                break;
            }
            at = changes_at;
        }
        Instant(at.max(since).0.saturating_add(wanted - before))
    }
}

/// Which sites and devices a rule is for, by keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All.
    All,
    /// These.
    Some {
        /// Sites.
        sites: HashSet<i64>,
        /// Devices, wherever they stand.
        devices: HashSet<i64>,
    },
}

impl Scope {
    /// Whether a device at a site is among them.
    pub(super) fn has(&self, device: i64, site: i64) -> bool {
        match self {
            Self::All => true,
            Self::Some { sites, devices } => sites.contains(&site) || devices.contains(&device),
        }
    }

    /// Whether a device that is in use is among them.
    pub(super) fn means(&self, fleet: &Fleet, device: i64) -> bool {
        let known = fleet.devices.get(&device);
        known.is_some_and(|known| known.is_active && self.has(device, known.site))
    }

    /// Whether a whole site is.
    pub(super) fn has_site(&self, site: i64) -> bool {
        match self {
            Self::All => true,
            Self::Some { sites, .. } => sites.contains(&site),
        }
    }

    /// Whether a whole site is, or a device that stands there.
    pub(super) fn reaches_site(&self, fleet: &Fleet, site: i64) -> bool {
        let stands_there = |device: &i64| {
            let device = fleet.devices.get(device);
            device.is_some_and(|device| device.site == site)
        };
        match self {
            Self::All => true,
            Self::Some { sites, devices } => {
                sites.contains(&site) || devices.iter().any(stands_there)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Event;
    use crate::kinds::{self, Kind};

    /// A site that is open from 09:00 to 17:00 every day.
    fn shop() -> Fleet {
        let day = |(index, day): (i64, &str)| {
            let row = json!({ "siteId": "shop", "dayOfWeek": day, "openTime": "09:00",
                "closeTime": "17:00" });
            let mut new = kinds::parse(Kind::SiteSchedule, &row, Instant::OLDEST).unwrap();
            kinds::check(&mut new.fact).unwrap();
            Event {
                position: Position(index),
                recorded_at: Instant::OLDEST,
                fact: new.fact,
            }
        };
        let days = [
            "MONDAY",
            "TUESDAY",
            "WEDNESDAY",
            "THURSDAY",
            "FRIDAY",
            "SATURDAY",
            "SUNDAY",
        ];
        let rows: Vec<Event> = (1_i64..).zip(days).map(day).collect();
        Fleet {
            calendars: HashMap::from([(1, Calendar::new("UTC", &rows))]),
            ..Fleet::default()
        }
    }

    #[test]
    fn time_at_work_adds_up_over_openings_when_none_holds_all_of_it() {
        let (fleet, hour_ms) = (shop(), 3_600_000);
        let at_work_for = |since: &str, ms: i64| {
            let since = Instant::parse(&format!("2026-11-23T{since}:00Z")).unwrap();
            fleet.at_work_for(1, since, ms).to_string()
        };
        let passed = at_work_for("10:00", 10 * hour_ms);
        assert_eq!(passed, "2026-11-24T12:00:00Z");
        let passed = at_work_for("20:00", 20 * hour_ms);
        assert_eq!(passed, "2026-11-26T13:00:00Z");
        // what one opening holds passes in one: a till may be turned off before its shop closes
        let passed = at_work_for("16:58", 300_000);
        assert_eq!(passed, "2026-11-24T09:05:00Z");
        let passed = at_work_for("10:00", 300_000);
        assert_eq!(passed, "2026-11-23T10:05:00Z");
    }

    #[test]
    fn the_interval_of_a_device_is_the_last_it_told_and_a_day_at_most() {
        let mut device = Device {
            site: 1,
            is_active: true,
            registered: (Instant::OLDEST, Position::START),
            state: None,
            state_at: (Instant::OLDEST, Position::START),
            provenance: Provenance::Real,
            interval_seconds: None,
            sign: None,
        };
        assert_eq!(device.reports_every(None), None);
        assert_eq!(device.reports_every(Some(600)), Some(600));
        assert_eq!(device.reports_every(None), Some(600));
        assert_eq!(device.reports_every(Some(1_000_000)), Some(86_400));
    }
}
