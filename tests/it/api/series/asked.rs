//! What is asked of a series, made up, and which of what was recorded it is of.

use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde_json::{Value, json};

use super::recorded::{BEGIN, DAYS, DEVICES, MICROS, Reading, Recorded, SITES, micros, text};

/// What is asked, and what of it has to be counted.
pub(super) struct Asked {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) zone: Option<Tz>,
    pub(super) unit: &'static str,
    pub(super) every: i64,
    pub(super) day_start: u32,
    pub(super) by: Vec<&'static str>,
    pub(super) sites: Option<Vec<usize>>,
    pub(super) devices: Option<Vec<usize>>,
    pub(super) provenance: Option<&'static str>,
    pub(super) fill: &'static str,
}

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
            provenance: Some(provenance),
            fill: "NONE",
        }
    }

    pub(super) fn made_up(random: &mut StdRng) -> Self {
        let begin = micros(BEGIN);
        let from = begin + random.random_range(-86_400..DAYS * 86_400) * MICROS;
        let grid = [1, 60, 900, 3_600, 86_400].choose(random).unwrap() * MICROS;
        let from = from / grid * grid;
        let to = from + (random.random_range(1..DAYS * 86_400) * MICROS / grid).max(1) * grid;
        let units = [
            "MINUTE", "HOUR", "HOUR", "DAY", "DAY", "WEEK", "MONTH", "YEAR",
        ];
        let unit = units.choose(random).unwrap();
        let every = match *unit {
            "MINUTE" => *[5, 7, 15, 30].choose(random).unwrap(),
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
            day_start: *[0, 0, 4, 9].choose(random).unwrap(),
            by: by.choose(random).unwrap().to_vec(),
            sites: some(random, SITES.len()),
            devices: some(random, DEVICES),
            provenance: *[None, Some("REAL"), Some("SIMULATED")]
                .choose(random)
                .unwrap(),
            fill: ["NONE", "NULL", "ZERO"].choose(random).unwrap(),
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
                "dayStart": format!("{:02}:00", self.day_start),
            },
            "filter": {
                "siteIds": ids(&self.sites, &|site| SITES[site].0.to_owned()),
                "deviceIds": ids(&self.devices, &|device| format!("d{device}")),
                "provenance": self.provenance.map(|one| vec![one]),
            },
            "by": self.by,
            "fill": self.fill,
        })
    }

    pub(super) fn takes(&self, recorded: &Recorded, reading: &Reading) -> bool {
        let among =
            |of: &Option<Vec<usize>>, one: usize| of.as_ref().is_none_or(|of| of.contains(&one));
        (self.from..self.to).contains(&reading.at)
            && among(&self.sites, recorded.site(reading))
            && among(&self.devices, reading.device)
    }

    /// What is counted: the readings that are asked for, in order of time.
    pub(super) fn counted<'a>(&self, recorded: &'a Recorded) -> Vec<&'a Reading> {
        let all = recorded.readings.iter().filter(|r| self.takes(recorded, r));
        let mut all: Vec<&Reading> = all.collect();
        let is_real = all.iter().any(|reading| reading.provenance == "REAL");
        let usual = if is_real { "REAL" } else { "SIMULATED" };
        let provenance = self.provenance.unwrap_or(usual);
        all.retain(|reading| reading.provenance == provenance);
        all.sort_by_key(|reading| reading.at);
        all
    }

    pub(super) fn key(&self, recorded: &Recorded, reading: &Reading) -> Vec<String> {
        let part = |by: &&str| match *by {
            "SITE" => SITES[recorded.site(reading)].0.to_owned(),
            "DEVICE" => format!("d{}", reading.device),
            _ => "POS_TERMINAL".to_owned(),
        };
        self.by.iter().map(part).collect()
    }

    /// Which day of the business, or which week, month or year a clock shows: buckets of these agree.
    pub(super) fn label(&self, at: i64, zone: Tz) -> String {
        let local = DateTime::<Utc>::from_timestamp_micros(at).unwrap();
        let local = local.with_timezone(&zone).naive_local();
        let since = TimeDelta::hours(self.day_start.into());
        let day: NaiveDate = (local - since).date();
        let begin = day.and_time(chrono::NaiveTime::MIN) + since;
        let begin = zone.from_local_datetime(&begin).earliest().unwrap();
        let hour = (at - begin.timestamp_micros()) / 3_600 / MICROS;
        match self.unit {
            "DAY" if self.every == 1 => day.to_string(),
            "WEEK" => day.format("%G %V").to_string(),
            "MONTH" => day.format("%Y %m").to_string(),
            "YEAR" => day.format("%Y").to_string(),
            "HOUR" if self.every == 1 => format!("{day} {hour}"),
            _ => String::new(),
        }
    }
}
