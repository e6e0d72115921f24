//! States over time: how long devices were in each, and their outages, are what a walk over the time in steps of five
//! minutes comes to, however late, repeated and in whatever order the reports came.

use std::collections::{BTreeMap, BTreeSet};

use num_traits::AsPrimitive as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::recorded::{BEGIN, MICROS, SITES, micros, text};
use super::seeds;

const STEP: i64 = 300 * MICROS;
/// Steps of which something is recorded, about a day on which clocks change.
const STEPS: i64 = 5 * 288;
const DEVICES: usize = 3;
const STATES: [&str; 5] = ["ONLINE", "OFFLINE", "ERROR", "MAINTENANCE", "UNKNOWN"];

/// What was recorded, by steps.
struct Recorded {
    /// Of each device from when on it stood at which site, and whether it was in service.
    stays: Vec<Vec<(i64, usize, bool)>>,
    /// Reports: when, of which device, whether real, and the state; in the order in which they count.
    reports: Vec<(i64, usize, bool, &'static str)>,
}

fn instant(step: i64) -> i64 {
    micros(BEGIN) + step * STEP
}

impl Recorded {
    fn made_up(random: &mut StdRng) -> Self {
        let stays = (0..DEVICES).map(|_| {
            let mut steps: Vec<i64> = (0..random.random_range(1..4))
                .map(|_| random.random_range(0..STEPS))
                .collect();
            steps.sort_unstable();
            steps.dedup();
            let stay = |step| {
                let site = random.random_range(0..SITES.len());
                (step, site, random.random_bool(0.8))
            };
            steps.into_iter().map(stay).collect()
        });
        let stays: Vec<Vec<(i64, usize, bool)>> = stays.collect();
        let mut reports: Vec<(i64, usize, bool, &str)> = (0..60)
            .map(|_| {
                let state = STATES.choose(random).unwrap();
                let device = random.random_range(0..DEVICES);
                (
                    random.random_range(0..STEPS),
                    device,
                    random.random_bool(0.8),
                    *state,
                )
            })
            .collect();
        reports.sort_unstable();
        reports.dedup_by_key(|(step, device, ..)| (*step, *device));
        Self { stays, reports }
    }

    /// The events by which it is recorded: registrations first, then reports in any order, some of them twice.
    fn events(&self, random: &mut StdRng) -> Vec<Value> {
        let mut events: Vec<Value> = SITES
            .iter()
            .map(|(site, zone, currency)| {
                json!({ "siteRegistration": { "siteId": site, "name": site, "timeZone": zone,
                    "currency": currency, "occurredAt": "2026-01-01T00:00:00Z" } })
            })
            .collect();
        for (device, stays) in self.stays.iter().enumerate() {
            for (step, site, is_served) in stays {
                let lifecycle = if *is_served { "ACTIVE" } else { "RETIRED" };
                events.push(
                    json!({ "deviceRegistration": { "deviceId": format!("d{device}"),
                    "siteId": SITES[*site].0, "deviceType": "GATEWAY", "lifecycle": lifecycle,
                    "occurredAt": text(instant(*step)) } }),
                );
            }
        }
        let mut reports: Vec<Value> = Vec::new();
        for (number, (step, device, is_real, state)) in self.reports.iter().enumerate() {
            let event = json!({ "deviceStateChange": { "deviceId": format!("d{device}"), "newState": state,
                "provenance": if *is_real { "REAL" } else { "SIMULATED" },
                "occurredAt": text(instant(*step)), "eventId": uuid::Uuid::from_u128(
                    0x0192_0000_0000_7000_8000_0000_0000_0000 + u128::try_from(number).unwrap()).to_string() } });
            if random.random_bool(0.1) {
                reports.push(event.clone());
            }
            reports.push(event);
        }
        reports.shuffle(random);
        events.extend(reports);
        events
    }

    /// The state of a device within a step, of one provenance.
    fn state(&self, step: i64, device: usize, is_real: bool) -> &'static str {
        let of = self
            .reports
            .iter()
            .rfind(|(at, of, real, _)| *at <= step && *of == device && *real == is_real);
        of.map_or("UNKNOWN", |(.., state)| state)
    }

    /// The site of a device within a step, if it was in service.
    fn site(&self, step: i64, device: usize) -> Option<usize> {
        let stays = self.stays[device].iter();
        let stay = stays.take_while(|(at, ..)| *at <= step).last();
        stay.filter(|(.., is_served)| *is_served)
            .map(|(_, site, _)| *site)
    }
}

/// What is asked: steps, sites, and how it is told apart and cut.
struct Asked {
    from: i64,
    to: i64,
    sites: Option<Vec<usize>>,
    devices: Option<Vec<usize>>,
    by: &'static str,
    unit: Option<&'static str>,
    zone: &'static str,
}

impl Asked {
    fn made_up(random: &mut StdRng) -> Self {
        let from = random.random_range(-100..STEPS);
        let some = |random: &mut StdRng, of: usize| {
            let mut all: Vec<usize> = (0..of).collect();
            all.shuffle(random);
            all.truncate(random.random_range(1..=of));
            random.random_bool(0.4).then_some(all)
        };
        Self {
            from,
            to: from + random.random_range(1..STEPS),
            sites: some(random, SITES.len()),
            devices: some(random, DEVICES),
            by: ["DEVICE", "SITE", "DEVICE_TYPE", ""]
                .choose(random)
                .unwrap(),
            unit: *[None, Some("DAY"), Some("HOUR")].choose(random).unwrap(),
            zone: ["UTC", "Europe/Berlin", "Asia/Kathmandu"]
                .choose(random)
                .unwrap(),
        }
    }

    fn is_of(&self, device: usize, site: usize) -> bool {
        let among = |of: &Option<Vec<usize>>, one| of.as_ref().is_none_or(|of| of.contains(&one));
        among(&self.devices, device) && among(&self.sites, site)
    }

    fn key(&self, device: usize, site: usize) -> String {
        match self.by {
            "DEVICE" => format!("d{device}"),
            "SITE" => SITES[site].0.to_owned(),
            "DEVICE_TYPE" => "GATEWAY".to_owned(),
            _ => String::new(),
        }
    }

    fn variables(&self) -> Value {
        let ids = |ids: &Option<Vec<usize>>, name: &dyn Fn(usize) -> String| {
            let ids = ids.as_ref();
            ids.map(|ids| ids.iter().map(|id| name(*id)).collect::<Vec<_>>())
        };
        let by = if self.by.is_empty() {
            vec![]
        } else {
            vec![self.by]
        };
        json!({
            "from": text(instant(self.from)),
            "to": text(instant(self.to)),
            "buckets": { "resolution": self.unit, "timeZone": self.zone },
            "filter": {
                "siteIds": ids(&self.sites, &|site| SITES[site].0.to_owned()),
                "deviceIds": ids(&self.devices, &|device| format!("d{device}")),
            },
            "by": by,
        })
    }
}

/// What a walk over some steps comes to: steps in each state, and how long each outage is.
#[derive(Default)]
struct Walked {
    steps: BTreeMap<&'static str, i64>,
    outages: Vec<i64>,
}

fn walk(
    recorded: &Recorded,
    (asked, is_real, key): (&Asked, bool, &str),
    steps: std::ops::Range<i64>,
) -> Walked {
    let mut walked = Walked::default();
    for device in 0..DEVICES {
        let mut is_down = false;
        for step in steps.clone() {
            let site = recorded.site(step, device);
            let site = site.filter(|site| asked.is_of(device, *site));
            let site = site.filter(|site| asked.key(device, *site) == key);
            let state = site.map(|_| recorded.state(step, device, is_real));
            if let Some(state) = state {
                *walked.steps.entry(state).or_default() += 1;
            }
            let was_down = is_down;
            is_down = state.is_some_and(|state| ["OFFLINE", "ERROR"].contains(&state));
            match (was_down, is_down) {
                (false, true) => walked.outages.push(1),
                (true, true) => *walked.outages.last_mut().unwrap() += 1,
                _ => {}
            }
        }
    }
    walked
}

const QUERY: &str = "query Law($from: DateTime!, $to: DateTime!, $buckets: BucketInput, $filter: SeriesFilter, \
    $by: [Dimension!]) { availability(from: $from, to: $to, buckets: $buckets, filter: $filter, groupBy: $by) { \
    provenance groups { key { value } devices buckets { ...B } total { ...B } } } } \
    fragment B on AvailabilityBucket { start end availability onlineSeconds offlineSeconds errorSeconds \
    maintenanceSeconds unknownSeconds outages longestOutageSeconds mttrSeconds mtbfSeconds }";

async fn ask(app: &TestApp, recorded: &Recorded, asked: &Asked) {
    let mut variables = asked.variables();
    if asked.unit.is_none() {
        variables["buckets"] = Value::Null;
    }
    let data = app.data_with(QUERY, variables.clone()).await;
    let told = &data["availability"];
    // of the most real that there is before the end of the range, of devices that were ever at the sites
    let is_asked = |device: usize| {
        recorded.stays[device]
            .iter()
            .any(|(_, site, _)| asked.is_of(device, *site))
    };
    let before = recorded
        .reports
        .iter()
        .filter(|(step, device, ..)| *step < asked.to && is_asked(*device));
    let is_real = before.clone().any(|(_, _, is_real, _)| *is_real);
    let mut provenance = Vec::new();
    if before.count() > 0 {
        provenance.push(if is_real { "REAL" } else { "SIMULATED" });
    }
    assert_eq!(told["provenance"], json!(provenance), "{variables}");
    let mut keys: BTreeSet<String> = BTreeSet::new();
    for device in 0..DEVICES {
        for step in asked.from..asked.to {
            let site = recorded
                .site(step, device)
                .filter(|site| asked.is_of(device, *site));
            keys.extend(site.map(|site| asked.key(device, site)));
        }
    }
    for group in told["groups"].as_array().unwrap() {
        let key = group["key"][0]["value"].as_str().unwrap_or_default();
        assert!(keys.remove(key), "{variables} {group}");
        let of = (asked, is_real, key);
        bucket(
            &group["total"],
            &walk(recorded, of, asked.from..asked.to),
            &variables,
        );
        let mut end = instant(asked.from);
        for told in group["buckets"].as_array().unwrap() {
            let at = |name: &str| micros(told[name].as_str().unwrap());
            assert_eq!(at("start"), end, "{variables}");
            end = at("end");
            let step = |at: i64| (at - micros(BEGIN)) / STEP;
            bucket(
                told,
                &walk(recorded, of, step(at("start"))..step(end)),
                &variables,
            );
        }
        assert_eq!(end, instant(asked.to));
    }
    assert!(keys.is_empty(), "{variables} lacks {keys:?}");
}

fn bucket(told: &Value, walked: &Walked, what: &Value) {
    let seconds = |steps: i64| -> f64 { (steps * 300).as_() };
    let of = |state: &str| seconds(walked.steps.get(state).copied().unwrap_or_default());
    let outages: f64 = walked.outages.len().as_();
    let down = of("OFFLINE") + of("ERROR");
    let online = of("ONLINE");
    let any = (outages > 0.0).then_some(());
    let longest = walked.outages.iter().max().map(|steps| seconds(*steps));
    let expected = [
        ("onlineSeconds", Some(online)),
        ("offlineSeconds", Some(of("OFFLINE"))),
        ("errorSeconds", Some(of("ERROR"))),
        ("maintenanceSeconds", Some(of("MAINTENANCE"))),
        ("unknownSeconds", Some(of("UNKNOWN"))),
        (
            "availability",
            (online + down > 0.0).then(|| online / (online + down)),
        ),
        ("longestOutageSeconds", longest),
        ("mttrSeconds", any.map(|()| down / outages)),
        ("mtbfSeconds", any.map(|()| online / outages)),
    ];
    for (name, expected) in expected {
        let off = told[name].as_f64().unwrap_or(-1.0) - expected.unwrap_or(-1.0);
        assert!(off.abs() < 1e-6, "{what} {name} {told} {expected:?}");
    }
    assert_eq!(
        told["outages"],
        walked.outages.len().to_string(),
        "{what} {told}"
    );
}

/// Holds the states of one device against a walk.
async fn timeline(app: &TestApp, recorded: &Recorded, (device, from, to): (usize, i64, i64)) {
    let document = format!(
        "{{ stateTimeline(deviceId: \"d{device}\", from: \"{}\", to: \"{}\", provenance: [REAL]) {{ \
         device {{ deviceId }} intervals {{ state start end since isOpen durationSeconds }} }} }}",
        text(instant(from)),
        text(instant(to))
    );
    let data = app.data(&document).await;
    let mut expected: Vec<Value> = Vec::new();
    let mut step = from;
    while step < to {
        let state = recorded.state(step, device, true);
        let is_same = |step: &i64| recorded.state(*step, device, true) == state;
        let end = (step..to).find(|step| !is_same(step)).unwrap_or(to);
        let reports = recorded.reports.iter();
        let reports = reports.filter(|(_, of, is_real, _)| *of == device && *is_real);
        let steps: Vec<i64> = reports
            .map(|(at, ..)| *at)
            .filter(|at| *at <= step)
            .collect();
        let since = steps.into_iter().rev().take_while(is_same).last();
        let seconds: f64 = ((end - step) * 300).as_();
        expected.push(
            json!({ "state": state, "start": step, "end": end, "since": since,
            "isOpen": end == to, "durationSeconds": seconds }),
        );
        step = end;
    }
    let told = data["stateTimeline"]["intervals"]
        .as_array()
        .unwrap()
        .iter();
    let told = told.map(|told| {
        let step = |name: &str| {
            told[name]
                .as_str()
                .map(|at| (micros(at) - micros(BEGIN)) / STEP)
        };
        // before the first report nobody knows, whether that was reported thereafter or not
        let since = step("since").filter(|_| told["state"] != "UNKNOWN");
        json!({ "state": told["state"], "start": step("start"), "end": step("end"), "since": since,
            "isOpen": told["isOpen"], "durationSeconds": told["durationSeconds"] })
    });
    for expected in &mut expected {
        if expected["state"] == "UNKNOWN" {
            expected["since"] = Value::Null;
        }
    }
    assert_eq!(told.collect::<Vec<_>>(), expected, "{document}");
}

#[tokio::test]
async fn states_last_as_long_as_a_walk_over_the_reports_says() {
    for seed in seeds(2) {
        on_each_database(async |app| {
            let mut random = StdRng::seed_from_u64(seed);
            let recorded = Recorded::made_up(&mut random);
            for part in recorded
                .events(&mut random)
                .chunks(random.random_range(10..60))
            {
                app.outcomes(json!(part)).await;
            }
            app.settle().await;
            for _ in 0..40 {
                ask(app, &recorded, &Asked::made_up(&mut random)).await;
                let from = random.random_range(-50..STEPS);
                let to = from + random.random_range(1..STEPS);
                let device = random.random_range(0..DEVICES);
                timeline(app, &recorded, (device, from, to)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_is_told_of_states_to_come_and_of_devices_that_are_not_there() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "deviceStateChange": { "deviceId": "till-1", "newState": "ONLINE",
            "occurredAt": "2026-11-23T10:00:00Z" } }]))
            .await;
        let document = "{ stateTimeline(deviceId: \"till-1\", from: \"2026-11-23T09:00:00Z\", \
            to: \"2026-11-24T00:00:00Z\") { to intervals { state since durationSeconds isOpen } } \
            none: stateTimeline(deviceId: \"none\", from: \"2026-11-23T09:00:00Z\") { to } }";
        let data = app.data(document).await;
        assert_eq!(
            data,
            json!({ "none": null, "stateTimeline": { "to": "2026-11-23T12:00:00.000001Z", "intervals": [
                { "state": "UNKNOWN", "since": null, "durationSeconds": 3600.0, "isOpen": false },
                { "state": "ONLINE", "since": "2026-11-23T10:00:00Z", "durationSeconds": 7_200.000_001, "isOpen": true }
            ] } })
        );
    })
    .await;
}

#[tokio::test]
async fn of_a_time_that_is_all_to_come_no_device_was_available() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "deviceStateChange": { "deviceId": "till-1", "newState": "ONLINE",
            "occurredAt": "2026-11-23T10:00:00Z" } }]))
            .await;
        let range = "from: \"2026-11-24T00:00:00Z\", to: \"2026-11-26T00:00:00Z\"";
        let document = format!(
            "{{ all: availability({range}, groupBy: [DEVICE]) {{ from to groups {{ devices }} }} \
             days: availability({range}, buckets: {{ resolution: DAY }}) {{ from to groups {{ devices }} }} }}"
        );
        let nothing = json!({ "from": "2026-11-24T00:00:00Z", "to": "2026-11-24T00:00:00Z", "groups": [] });
        let data = app.data(&document).await;
        assert_eq!(data, json!({ "all": nothing, "days": nothing }));
    })
    .await;
}
