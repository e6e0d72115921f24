//! A site: where it stands, when it opens, the local day it is in, and what it registers.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::day::Day;
use super::hours::Week;
use super::places::{self, Located};
use super::random::{Rng, event_id, hash_text, stream};
use super::settings::Settings;
use super::wire::event;

/// Says that a stream of random numbers belongs to a site.
const STREAM: u64 = 0x5173;

/// A site of the fleet.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) id: String,
    /// Settings of the site; the first site keeps those of the system as well.
    pub(super) settings: Settings,
    pub(super) rng: Rng,
    located: Located,
    week: Week,
    day: Day,
}

impl Site {
    /// The site with this index, as it is at the start.
    pub(super) fn new(seed: u64, index: usize, start: DateTime<Utc>) -> Self {
        let located = places::of_site(index);
        let today = start.with_timezone(&located.place.zone).date_naive();
        let week = Week::of_site(index, today);
        let number = u64::try_from(index).unwrap_or_default();
        Self {
            id: format!("site-{:02}", index + 1),
            settings: Settings::default(),
            rng: stream(&[seed, STREAM, number]),
            day: Day::at(located.place.zone, &week, start),
            located,
            week,
        }
    }

    /// The local day of an instant; instants are asked for in order of time.
    pub(super) fn day(&mut self, at: DateTime<Utc>) -> &Day {
        if at >= self.day.ends_at {
            self.day = Day::at(self.located.place.zone, &self.week, at);
        }
        &self.day
    }

    /// How busy the site is at any instant, 0 to 1.
    pub(super) fn load(&self, at: DateTime<Utc>) -> f64 {
        Day::at(self.located.place.zone, &self.week, at).load(at)
    }

    /// The time zone in which the site keeps its hours.
    pub(super) fn zone(&self) -> Tz {
        self.located.place.zone
    }

    /// The registration of the site and its filed hours.
    pub(super) fn registrations(&self, seed: u64, at: DateTime<Utc>, devices: usize) -> Vec<Value> {
        let mut ids = stream(&[seed, STREAM, hash_text(&self.id)]);
        let place = self.located.place;
        let registration = json!({
            "siteId": self.id,
            "name": self.located.name,
            "timeZone": place.zone.name(),
            "currency": place.currency,
            "address": self.located.address,
            "tags": ["retail", place.tag],
        });
        let id = Some(event_id(&mut ids, at));
        let mut events = vec![event("siteRegistration", at, id, registration)];
        for row in self.week.rows() {
            let mut fields = row.fields(devices);
            fields["siteId"] = Value::from(self.id.as_str());
            let id = Some(event_id(&mut ids, at));
            events.push(event("siteSchedule", at, id, fields));
        }
        events
    }
}
