//! What is recorded of a fleet, made up: readings of devices that move, late, twice and in any order.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde_json::{Value, json};

/// Sites with the zones and currencies that they have.
pub(super) const SITES: [(&str, &str, &str); 3] = [
    ("berlin", "Europe/Berlin", "EUR"),
    ("kathmandu", "Asia/Kathmandu", "NPR"),
    ("lord-howe", "Australia/Lord_Howe", "EUR"),
];
pub(super) const DEVICES: usize = 4;
/// Of each device its type, its tags and how often it says that it reports.
pub(super) const KINDS: [(&str, &[&str], Option<i64>); DEVICES] = [
    ("POS_TERMINAL", &["front"], None),
    ("POS_TERMINAL", &["front", "new"], Some(600)),
    ("GATEWAY", &["new"], Some(60)),
    ("IOT_SENSOR", &[], Some(3_600)),
];
/// From when on all devices are registered.
pub(super) const REGISTERED: &str = "2026-01-02T00:00:00Z";
/// Days about which clocks change, before the moment at which the test stands.
pub(super) const BEGIN: &str = "2026-10-23T00:00:00Z";
pub(super) const DAYS: i64 = 6;
pub(super) const MICROS: i64 = 1_000_000;

/// A reading, as it is counted here.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) at: i64,
    pub(super) device: usize,
    pub(super) provenance: &'static str,
    pub(super) cpu: Option<f64>,
    pub(super) sales: Option<i64>,
    pub(super) volume: Option<i64>,
}

/// What was recorded.
pub(super) struct Recorded {
    pub(super) readings: Vec<Reading>,
    /// From when on each device stood at which site, and whether it was in service there.
    pub(super) stays: Vec<Vec<(i64, usize, bool)>>,
}

pub(super) fn micros(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text)
        .unwrap()
        .timestamp_micros()
}

pub(super) fn text(at: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(at)
        .unwrap()
        .to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

impl Recorded {
    pub(super) fn made_up(random: &mut StdRng) -> Self {
        let begin = micros(BEGIN);
        let length = DAYS * 86_400 * MICROS;
        let stays = (0..DEVICES).map(|device| {
            let moves = random.random_range(0..3);
            let moves = (0..moves).map(|_| begin + random.random_range(0..length));
            let mut stays = vec![(0, device % SITES.len(), true)];
            let mut at: Vec<i64> = moves.collect();
            at.sort_unstable();
            for at in at {
                let site = random.random_range(0..SITES.len());
                stays.push((at, site, random.random_bool(0.8)));
            }
            stays
        });
        let stays: Vec<Vec<(i64, usize, bool)>> = stays.collect();
        let readings = (0..400).map(|_| {
            let whole = random.random_bool(0.7);
            let since = random.random_range(0..length);
            Reading {
                at: begin
                    + if whole {
                        since / MICROS * MICROS
                    } else {
                        since
                    },
                device: random.random_range(0..DEVICES),
                provenance: ["REAL", "REAL", "SIMULATED"].choose(random).unwrap(),
                cpu: random.random_bool(0.9).then(|| {
                    let number = random.random_range(0.0..100.0_f64);
                    if random.random_bool(0.5) {
                        number
                    } else {
                        (number * 10.0).round() / 10.0
                    }
                }),
                sales: random.random_bool(0.8).then(|| random.random_range(0..500)),
                volume: random
                    .random_bool(0.5)
                    .then(|| random.random_range(0..9_000_000)),
            }
        });
        let mut readings: Vec<Reading> = readings.collect();
        readings.sort_by_key(|reading| (reading.device, reading.at));
        readings.dedup_by_key(|reading| (reading.device, reading.at));
        Self { readings, stays }
    }

    /// The events by which it is recorded, in any order, some twice; registrations of devices before all.
    pub(super) fn events(&self, random: &mut StdRng) -> (Vec<Value>, Vec<Value>) {
        let device = |device: usize, site: usize, is_served: bool| {
            let (ty, tags, _) = KINDS[device];
            let lifecycle = if is_served { "ACTIVE" } else { "SUSPENDED" };
            json!({ "deviceId": format!("d{device}"), "siteId": SITES[site].0, "deviceType": ty,
                "tags": tags, "lifecycle": lifecycle })
        };
        let mut first: Vec<Value> = SITES
            .iter()
            .map(|(site, zone, currency)| {
                json!({ "siteRegistration": { "siteId": site, "name": site, "timeZone": zone,
                    "currency": currency, "occurredAt": "2026-01-01T00:00:00Z" } })
            })
            .collect();
        let mut events = Vec::new();
        for (number, stays) in self.stays.iter().enumerate() {
            for (at, site, is_served) in stays {
                let mut registered = device(number, *site, *is_served);
                registered["occurredAt"] = json!(text((*at).max(micros(REGISTERED))));
                let event = json!({ "deviceRegistration": registered });
                if *at == 0 {
                    first.push(event);
                } else {
                    events.push(event);
                }
            }
        }
        for reading in &self.readings {
            let mut event = json!({
                "deviceId": format!("d{}", reading.device),
                "occurredAt": text(reading.at),
                "provenance": reading.provenance,
                "cpuPercent": reading.cpu,
                "transactionCount": reading.sales,
                // it is told now and then
                "collectionIntervalSeconds": KINDS[reading.device].2.filter(|_| random.random_bool(0.7)),
            });
            if let Some(units) = reading.volume {
                event["transactionVolume"] =
                    json!(format!("{}.{:04}", units / 10_000, units % 10_000));
            }
            let event = json!({ "deviceMetrics": event });
            if random.random_bool(0.1) {
                events.push(event.clone());
            }
            events.push(event);
        }
        if random.random_bool(0.7) {
            events.shuffle(random);
        } else {
            // as a fleet reports, with a tail that comes late
            events.sort_by_key(|event| event["deviceMetrics"]["occurredAt"].to_string());
            let late = events.len() / 4;
            events.rotate_left(late);
        }
        (first, events)
    }

    pub(super) fn site(&self, reading: &Reading) -> usize {
        let stays = self.stays[reading.device].iter();
        stays
            .take_while(|(from, ..)| *from <= reading.at)
            .last()
            .unwrap()
            .1
    }

    /// Over which times a device was in service, and at which sites.
    pub(super) fn served(&self, device: usize) -> Vec<(i64, i64, usize)> {
        let stays = &self.stays[device];
        let ends = stays.iter().skip(1).map(|(at, ..)| *at).chain([i64::MAX]);
        let times = stays
            .iter()
            .zip(ends)
            .filter(|((_, _, is_served), _)| *is_served);
        let time = |((from, site, _), until): (&(i64, usize, bool), i64)| {
            ((*from).max(micros(REGISTERED)), until, *site)
        };
        times.map(time).collect()
    }

    pub(super) fn zone(&self, reading: &Reading) -> Tz {
        SITES[self.site(reading)].1.parse().unwrap()
    }

    /// By how much a counter grew to each reading: by what it shows if it is the first of its day or has
    /// fallen or counts another currency, else by what it shows more.
    pub(super) fn growth(
        &self,
        counter: impl Fn(&Reading) -> Option<i64>,
    ) -> BTreeMap<(usize, i64), i64> {
        let mut growth = BTreeMap::new();
        for device in 0..DEVICES {
            for provenance in ["REAL", "SIMULATED"] {
                let of = |r: &&Reading| r.device == device && r.provenance == provenance;
                let mut before: Option<&Reading> = None;
                for reading in self.readings.iter().filter(of) {
                    let Some(shown) = counter(reading) else {
                        continue;
                    };
                    let zone = self.zone(reading);
                    let date = |r: &Reading| {
                        DateTime::<Utc>::from_timestamp_micros(r.at)
                            .unwrap()
                            .with_timezone(&zone)
                            .date_naive()
                    };
                    let currency = |r: &Reading| SITES[self.site(r)].2;
                    let held = before.filter(|before| {
                        date(before) == date(reading) && currency(before) == currency(reading)
                    });
                    let held = held.and_then(&counter).filter(|held| *held <= shown);
                    growth.insert((device, reading.at), shown - held.unwrap_or(0));
                    before = Some(reading);
                }
            }
        }
        growth
    }
}
