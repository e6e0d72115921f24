//! Heat maps: each hour of the week comes to what a count over the events comes to that happened in it.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use chrono_tz::Tz;
use num_traits::AsPrimitive as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::asked::Asked;
use super::recorded::{MICROS, Reading, Recorded, SITES};
use super::{record, seeds};

const QUERY: &str = "query Law($measure: Measure!, $from: DateTime!, $to: DateTime!, $zone: TimeZone, \
    $filter: SeriesFilter) { heatmap(measure: $measure, from: $from, to: $to, timeZone: $zone, filter: $filter) { \
    timeZone weeks { currency value cells { dayOfWeek hour count value perHour hours } } } }";

/// Which hour of the week a clock shows.
fn cell(at: i64, zone: Tz) -> usize {
    let local = DateTime::<Utc>::from_timestamp_micros(at)
        .unwrap()
        .with_timezone(&zone);
    let hour = local.weekday().num_days_from_monday() * 24 + local.hour();
    usize::try_from(hour).unwrap()
}

/// How many of each hour of the week a time has, minute by minute.
fn hours((from, to): (i64, i64), zone: Tz) -> Vec<f64> {
    let minute = 60 * MICROS;
    let mut micros = vec![0_i64; 168];
    let mut at = from;
    while at < to {
        let next = (at - at.rem_euclid(minute) + minute).min(to);
        micros[cell(at, zone)] += next - at;
        at = next;
    }
    let hours = micros.into_iter().map(|micros| -> f64 { micros.as_() });
    hours.map(|micros| micros / 3_600e6).collect()
}

fn near(told: &Value, expected: Option<f64>, what: &Value) {
    let off = told.as_f64().unwrap_or(-1.0) - expected.unwrap_or(-1.0);
    assert!(off.abs() < 1e-6, "{what}: {told}, not {expected:?}");
}

/// What a reading says of a measure: of a counter by how much it grew.
fn value_of(measure: &str, reading: &Reading, growth: &BTreeMap<(usize, i64), i64>) -> Option<f64> {
    let grown = |shown: Option<i64>, unit: f64| {
        let grown = growth.get(&(reading.device, reading.at));
        let grown: f64 = grown.copied().unwrap_or(0).as_();
        shown.map(|_| grown / unit)
    };
    match measure {
        "CPU_PERCENT" => reading.cpu,
        "TRANSACTION_VOLUME" => grown(reading.volume, 10_000.0),
        "TRANSACTION_COUNT" => grown(reading.sales, 1.0),
        _ => Some(1.0),
    }
}

async fn ask(app: &TestApp, recorded: &Recorded, (asked, measure): (&Asked, &str)) {
    let mut variables = asked.variables();
    variables["measure"] = json!(measure);
    variables["zone"] = json!(asked.zone.map(Tz::name));
    for other in ["buckets", "fill", "by", "compareWith"] {
        variables.as_object_mut().unwrap().remove(other);
    }
    let data = app.data_with(QUERY, variables.clone()).await;
    let told = &data["heatmap"];
    let zone: Tz = told["timeZone"].as_str().unwrap().parse().unwrap();
    let growth = match measure {
        "TRANSACTION_VOLUME" => recorded.growth(|reading| reading.volume),
        _ => recorded.growth(|reading| reading.sales),
    };
    let mut weeks: BTreeMap<Option<&str>, Vec<Vec<f64>>> = BTreeMap::new();
    for reading in asked.counted(recorded) {
        let currency = (measure == "TRANSACTION_VOLUME").then(|| SITES[recorded.site(reading)].2);
        if let Some(value) = value_of(measure, reading, &growth) {
            let cells = weeks
                .entry(currency)
                .or_insert_with(|| vec![Vec::new(); 168]);
            cells[cell(reading.at, zone)].push(value);
        }
    }
    if weeks.is_empty() {
        weeks.insert(None, vec![Vec::new(); 168]);
    }
    let hours = hours((asked.from, asked.to), zone);
    assert_eq!(
        told["weeks"].as_array().unwrap().len(),
        weeks.len(),
        "{variables}"
    );
    for week in told["weeks"].as_array().unwrap() {
        let cells = weeks.remove(&week["currency"].as_str()).unwrap();
        let told = week["cells"].as_array().unwrap();
        assert_eq!(told.len(), 168);
        for (place, (told, values)) in told.iter().zip(cells).enumerate() {
            assert_eq!(told["hour"], place % 24);
            assert_eq!(
                told["count"],
                values.len().to_string(),
                "{variables} {told}"
            );
            near(&told["hours"], Some(hours[place]), &variables);
            let (sum, count): (f64, f64) = (values.iter().sum(), values.len().as_());
            let is_gauge = measure == "CPU_PERCENT";
            let value = if is_gauge { sum / count } else { sum };
            let value = Some(value).filter(|_| !values.is_empty());
            near(&told["value"], value, &variables);
            let per_hour = value
                .filter(|_| !is_gauge)
                .map(|value| value / hours[place]);
            near(&told["perHour"], per_hour, &variables);
        }
    }
}

#[tokio::test]
async fn a_heat_map_is_what_a_count_over_the_events_comes_to() {
    for seed in seeds(1) {
        on_each_database(async |app| {
            let mut random = StdRng::seed_from_u64(seed);
            let recorded = record(app, &mut random).await;
            for _ in 0..24 {
                let measures = [
                    "CPU_PERCENT",
                    "TRANSACTION_COUNT",
                    "TRANSACTION_VOLUME",
                    "READINGS",
                ];
                let measure = measures.choose(&mut random).unwrap();
                ask(app, &recorded, (&Asked::made_up(&mut random), measure)).await;
            }
        })
        .await;
    }
}
