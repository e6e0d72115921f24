//! What is asked of a series, made up, and which of what was recorded it is of.

use chrono::{Datelike as _, NaiveTime, TimeDelta, Weekday};
use chrono_tz::Tz;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde_json::{Value, json};

use super::clock::Clock;
use super::recorded::{
    BEGIN, DAYS, DEVICES, KINDS, MICROS, Reading, Recorded, SITES, micros, text,
};

/// What is asked, and what of it has to be counted.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) zone: Option<Tz>,
    pub(super) unit: &'static str,
    pub(super) every: i64,
    /// In minutes after midnight.
    pub(super) day_start: u32,
    pub(super) by: Vec<&'static str>,
    pub(super) sites: Option<Vec<usize>>,
    pub(super) devices: Option<Vec<usize>>,
    pub(super) types: Option<Vec<&'static str>>,
    pub(super) tags: Option<Vec<&'static str>>,
    pub(super) provenance: Option<&'static str>,
    pub(super) fill: &'static str,
    pub(super) week_start: Weekday,
    pub(super) compare_with: Option<&'static str>,
    pub(super) measures: &'static [&'static str],
}

/// With counters, and without.
pub(super) const MEASURES: [&[&str]; 2] = [
    &[
        "CPU_PERCENT",
        "TRANSACTION_COUNT",
        "TRANSACTION_VOLUME",
        "READINGS",
    ],
    &["CPU_PERCENT", "READINGS"],
];

const UNITS: [&str; 8] = [
    "MINUTE", "HOUR", "HOUR", "DAY", "DAY", "WEEK", "MONTH", "YEAR",
];
const EARLIER: [Option<&str>; 5] = [
    None,
    Some("PREVIOUS_PERIOD"),
    Some("PREVIOUS_WEEK"),
    Some("PREVIOUS_MONTH"),
    Some("PREVIOUS_YEAR"),
];

impl Asked {
    /// All of it in parts so small that what is wrong is seen.
    pub(super) fn by_device_and_hour(provenance: &'static str) -> Self {
        let begin = micros(BEGIN);
        Self {
            from: begin,
            to: begin + DAYS * 86_400 * MICROS,
            zone: Some(Tz::UTC),
            unit: "HOUR",
            every: 1,
            day_start: 0,
            by: vec!["DEVICE"],
            sites: None,
            devices: None,
            types: None,
            tags: None,
            provenance: Some(provenance),
            fill: "NONE",
            week_start: Weekday::Mon,
            compare_with: None,
            measures: MEASURES[0],
        }
    }

    pub(super) fn made_up(random: &mut StdRng) -> Self {
        let begin = micros(BEGIN);
        let from = begin + random.random_range(-86_400..DAYS * 86_400) * MICROS;
        let grid = [1, 60, 900, 3_600, 86_400].choose(random).unwrap() * MICROS;
        let from = from / grid * grid;
        let to = from + (random.random_range(1..DAYS * 86_400) * MICROS / grid).max(1) * grid;
        let unit = UNITS.choose(random).unwrap();
        let every = match *unit {
            "MINUTE" => *[2, 5, 7, 15, 30].choose(random).unwrap(),
            "HOUR" => *[1, 1, 5, 6].choose(random).unwrap(),
            "DAY" => *[1, 1, 2].choose(random).unwrap(),
            _ => 1,
        };
        let zones = [
            Tz::UTC,
            Tz::Europe__Berlin,
            Tz::Asia__Kathmandu,
            Tz::Australia__Lord_Howe,
        ];
        let some = |random: &mut StdRng, of: usize| {
            let mut all: Vec<usize> = (0..of).collect();
            all.shuffle(random);
            all.truncate(random.random_range(1..=of));
            random.random_bool(0.3).then_some(all)
        };
        let by: [&[&str]; 5] = [
            &[],
            &["SITE"],
            &["DEVICE"],
            &["SITE", "DEVICE"],
            &["DEVICE_TYPE"],
        ];
        Self {
            from,
            to,
            zone: random
                .random_bool(0.8)
                .then(|| *zones.choose(random).unwrap()),
            unit,
            every,
            // also within what clocks show twice or jump over
            day_start: *[0, 0, 240, 540, 105, 150].choose(random).unwrap(),
            by: by.choose(random).unwrap().to_vec(),
            sites: some(random, SITES.len()),
            devices: some(random, DEVICES),
            provenance: *[None, Some("REAL"), Some("SIMULATED")]
                .choose(random)
                .unwrap(),
            types: random
                .random_bool(0.2)
                .then(|| vec!["GATEWAY", "POS_TERMINAL"]),
            tags: random.random_bool(0.2).then(|| vec!["new", "none"]),
            fill: ["NONE", "NULL", "ZERO", "PREVIOUS", "LINEAR"]
                .choose(random)
                .unwrap(),
            week_start: *[Weekday::Mon, Weekday::Sun, Weekday::Sat]
                .choose(random)
                .unwrap(),
            compare_with: *EARLIER.choose(random).unwrap(),
            measures: MEASURES.choose(random).unwrap(),
        }
    }

    pub(super) fn variables(&self) -> Value {
        let ids = |ids: &Option<Vec<usize>>, name: &dyn Fn(usize) -> String| {
            ids.as_ref()
                .map(|ids| ids.iter().map(|id| name(*id)).collect::<Vec<_>>())
        };
        json!({
            "from": text(self.from),
            "to": text(self.to),
            "buckets": {
                "resolution": self.unit,
                "every": self.every,
                "timeZone": self.zone.map(Tz::name),
                "dayStart": format!("{:02}:{:02}", self.day_start / 60, self.day_start % 60),
                "weekStart": match self.week_start {
                    Weekday::Sun => "SUNDAY",
                    Weekday::Sat => "SATURDAY",
                    _ => "MONDAY",
                },
            },
            "filter": {
                "siteIds": ids(&self.sites, &|site| SITES[site].0.to_owned()),
                "deviceIds": ids(&self.devices, &|device| format!("d{device}")),
                "deviceTypes": self.types,
                "tags": self.tags,
                "provenance": self.provenance.map(|one| vec![one]),
            },
            "compareWith": self.compare_with,
            "measures": self.measures,
            "by": self.by,
            "fill": self.fill,
        })
    }

    pub(super) fn takes(&self, recorded: &Recorded, reading: &Reading) -> bool {
        (self.from..self.to).contains(&reading.at)
            && self.is_of(reading.device, recorded.site(reading))
    }

    /// Whether what a device does at a site is asked for.
    pub(super) fn is_of(&self, device: usize, site: usize) -> bool {
        let among =
            |of: &Option<Vec<usize>>, one: usize| of.as_ref().is_none_or(|of| of.contains(&one));
        let (ty, tags, _) = KINDS[device];
        let has = |of: &Option<Vec<&str>>, any: &[&str]| {
            of.as_ref()
                .is_none_or(|of| any.iter().any(|one| of.contains(one)))
        };
        among(&self.sites, site)
            && among(&self.devices, device)
            && has(&self.types, &[ty])
            && has(&self.tags, tags)
    }

    /// What is counted: the readings that are asked for, in order of time.
    pub(super) fn counted<'a>(&self, recorded: &'a Recorded) -> Vec<&'a Reading> {
        let all = recorded.readings.iter().filter(|r| self.takes(recorded, r));
        let mut all: Vec<&Reading> = all.collect();
        let provenance = self.taken(&all);
        all.retain(|reading| reading.provenance == provenance);
        all.sort_by_key(|reading| reading.at);
        all
    }

    /// Of which provenance readings are taken.
    fn taken(&self, all: &[&Reading]) -> &'static str {
        let is_real = all.iter().any(|reading| reading.provenance == "REAL");
        let usual = if is_real { "REAL" } else { "SIMULATED" };
        self.provenance.unwrap_or(usual)
    }

    /// Those of the earlier time that are of the same provenance.
    pub(super) fn counted_earlier<'a>(
        &self,
        recorded: &'a Recorded,
        (from, to): (i64, i64),
    ) -> Vec<&'a Reading> {
        let all = recorded.readings.iter().filter(|r| self.takes(recorded, r));
        let provenance = self.taken(&all.collect::<Vec<_>>());
        let before = recorded.readings.iter().filter(|reading| {
            (from..to).contains(&reading.at)
                && reading.provenance == provenance
                && self.is_of(reading.device, recorded.site(reading))
        });
        before.collect()
    }

    pub(super) fn key(&self, recorded: &Recorded, reading: &Reading) -> Vec<String> {
        self.key_of(reading.device, recorded.site(reading))
    }

    /// What a device at a site is told apart by.
    pub(super) fn key_of(&self, device: usize, site: usize) -> Vec<String> {
        let part = |by: &&str| match *by {
            "SITE" => SITES[site].0.to_owned(),
            "DEVICE" => format!("d{device}"),
            _ => KINDS[device].0.to_owned(),
        };
        self.by.iter().map(part).collect()
    }

    /// The clock of a zone, with the beginning of a business day that is asked for.
    pub(super) fn clock(&self, zone: Tz) -> Clock {
        Clock {
            zone,
            day_start: TimeDelta::minutes(self.day_start.into()),
        }
    }

    /// Which day of the business, or which week, month or year a clock shows: buckets of these agree.
    pub(super) fn label(&self, at: i64, zone: Tz) -> String {
        let clock = self.clock(zone);
        let (local, since, day) = (clock.local(at), clock.day_start, clock.day(at));
        let passed = at - clock.begin(day);
        match self.unit {
            "DAY" => {
                let over = i64::from(day.num_days_from_ce()).rem_euclid(self.every);
                (day - TimeDelta::days(over)).to_string()
            }
            "WEEK" => {
                let over = day.weekday().days_since(self.week_start);
                (day - TimeDelta::days(over.into())).to_string()
            }
            "MONTH" => day.format("%Y %m").to_string(),
            "YEAR" => day.format("%Y").to_string(),
            "HOUR" if self.every == 1 => format!("{day} {}", passed / 3_600 / MICROS),
            "HOUR" => {
                let shown = (local - since - day.and_time(NaiveTime::MIN)).num_hours();
                format!("{day} {}", shown / self.every)
            }
            _ => format!("{day} {}", passed / 60 / MICROS / self.every),
        }
    }
}
