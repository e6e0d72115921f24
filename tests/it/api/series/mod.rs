//! Series: what is answered is what a count over the events comes to, however late, repeated and in whatever
//! order they came, of devices that move, in zones whose clocks change.

mod asked;
mod availability;
mod beside;
mod breakdown;
mod check;
mod clock;
mod coverage;
mod deleted;
mod heatmap;
mod levels;
mod many;
mod months;
mod moved;
mod parts;
mod points;
mod preferred;
mod recorded;
mod refused;
mod same_time;
mod silent;
mod single;
mod sold;
mod stats;
mod to_come;
mod top;
mod updates;

pub(super) use coverage::expected;

use std::collections::BTreeMap;

use chrono_tz::Tz;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use self::asked::Asked;
use self::beside::Beside;
use self::check::Group;
use self::recorded::{BEGIN, DAYS, MICROS, Reading, Recorded, SITES, micros};
use super::app::{NOON, TestApp, on_each_database};

const QUERY: &str = "query Law($from: DateTime!, $to: DateTime!, $buckets: BucketInput, \
    $filter: SeriesFilter, $by: [Dimension!], $fill: Fill, $compareWith: CompareWith, \
    $measures: [Measure!]!) { series(measures: $measures, from: $from, to: $to, buckets: $buckets, \
    filter: $filter, groupBy: $by, fill: $fill, compareWith: $compareWith) { from to timeZone provenance groups { measure currency \
    key { value } buckets { ...B } total { ...B } } } } \
    fragment B on SeriesBucket { start end isFilled events count sum avg min max first last stddev increase rate \
    expected coverage p50: percentile(of: 50) p95: percentile(of: 95) earlier { start end count } }";

/// A measure, what its group is told apart by, and its currency.
type Place<'a> = (String, Vec<String>, Option<&'a str>);

async fn ask(app: &TestApp, recorded: &Recorded, asked: &Asked) {
    let variables = asked.variables();
    let request = json!({ "query": QUERY, "variables": variables });
    let answer = app.query(request).await;
    assert!(answer.get("errors").is_none(), "{variables} {answer}");
    let series = &answer["data"]["series"];
    let zone: Tz = series["timeZone"].as_str().unwrap().parse().unwrap();
    let (from, to) = (
        micros(series["from"].as_str().unwrap()),
        micros(series["to"].as_str().unwrap()),
    );
    assert!(from <= asked.from && asked.to <= to);
    let readings = asked.counted(recorded);
    let mut groups: BTreeMap<Place<'_>, Vec<&Reading>> = BTreeMap::new();
    for reading in readings {
        let key = asked.key(recorded, reading);
        let currency = Some(SITES[recorded.site(reading)].2);
        for measure in asked.measures {
            if is_said(measure, reading) {
                let currency = currency.filter(|_| *measure == "TRANSACTION_VOLUME");
                groups
                    .entry(((*measure).to_owned(), key.clone(), currency))
                    .or_default()
                    .push(reading);
            }
        }
    }
    let mut beside = Beside::of(asked, (from, to), zone);
    for group in series["groups"].as_array().unwrap() {
        let key = group["key"].as_array().unwrap().iter();
        let key = key
            .map(|part| part["value"].as_str().unwrap().to_owned())
            .collect();
        let measure = group["measure"].as_str().unwrap().to_owned();
        let place = (measure, key, group["currency"].as_str());
        let readings = groups
            .remove(&place)
            .unwrap_or_else(|| panic!("{variables} has no {place:?}"));
        earlier(recorded, (asked, beside.as_mut()), (&place, group));
        let group = Group {
            key: &place.1,
            currency: place.2,
            recorded,
            asked,
            told: group,
            readings: &readings,
            zone,
            now: app.clock.now().0,
        };
        group.check();
    }
    assert!(groups.is_empty(), "{variables} lacks {:?}", groups.keys());
}

/// From when until when it is that something is told of.
fn span(told: &Value) -> (i64, i64) {
    let at = |name: &str| micros(told[name].as_str().unwrap());
    (at("start"), at("end"))
}

/// Checks what stands beside the buckets of a group and beside all of it: of which time it is, and how many values
/// there were.
fn earlier(
    recorded: &Recorded,
    (asked, beside): (&Asked, Option<&mut Beside<'_>>),
    (place, group): (&Place<'_>, &Value),
) {
    let buckets = group["buckets"].as_array().unwrap().iter();
    let known = beside.and_then(|beside| beside.range.map(|range| (beside, range)));
    let Some((beside, range)) = known else {
        let told = buckets.chain([&group["total"]]);
        assert!(told.map(|bucket| &bucket["earlier"]).all(Value::is_null));
        return;
    };
    let of = of_earlier(recorded, (asked, range), place);
    let variables = asked.variables();
    let count = |told: &Value| told["count"].as_f64().unwrap_or_default();
    let within = |(start, end): (i64, i64)| -> f64 {
        let within = of.iter().filter(|r| (start..end).contains(&r.at));
        num_traits::AsPrimitive::as_(within.count())
    };
    let whole = &group["total"]["earlier"];
    assert_eq!(span(whole), range, "{variables}");
    let (told, in_all) = (count(whole), within(range));
    assert!((told - in_all).abs() < 1e-9, "{variables} {told} {in_all}");
    for bucket in buckets {
        let before = &bucket["earlier"];
        let Some(expected) = beside.span(span(bucket)) else {
            assert!(before.is_null(), "{variables} {bucket}");
            continue;
        };
        assert!(!before.is_null(), "{variables} {bucket} {expected:?}");
        assert_eq!(span(before), expected, "{variables} {bucket}");
        let within = within(expected);
        // what is filled is held against its neighbours elsewhere
        if within > 0.0 || asked.fill == "NULL" {
            let off = (count(before) - within).abs();
            assert!(off < 1e-9, "{variables} {bucket}");
        }
    }
}

/// The readings of a group in an earlier time.
fn of_earlier<'a>(
    recorded: &'a Recorded,
    (asked, range): (&Asked, (i64, i64)),
    (measure, key, currency): &Place<'_>,
) -> Vec<&'a Reading> {
    let of = asked.counted_earlier(recorded, range).into_iter();
    let of = of.filter(|reading| {
        let currency_of = SITES[recorded.site(reading)].2;
        is_said(measure, reading)
            && asked.key(recorded, reading) == *key
            && currency.is_none_or(|currency| currency == currency_of)
    });
    of.collect()
}

/// Whether a reading tells of a measure.
fn is_said(measure: &str, reading: &Reading) -> bool {
    match measure {
        "CPU_PERCENT" => reading.cpu.is_some(),
        "TRANSACTION_COUNT" => reading.sales.is_some(),
        "TRANSACTION_VOLUME" => reading.volume.is_some(),
        _ => true,
    }
}

/// With what what is made up begins: so many seeds, the first of which may be given.
fn seeds(many: u64) -> std::ops::Range<u64> {
    let given = std::env::var("HOMEPOT_TEST_SEED").ok();
    let first = given.map_or_else(
        || u64::from(rand::random::<u32>()),
        |seed| seed.parse().unwrap(),
    );
    println!("seeds from {first} on: repeat them with HOMEPOT_TEST_SEED={first}");
    first
        ..first
            + if crate::support::is_long() {
                10 * many
            } else {
                many
            }
}

/// Records what is made up, and leaves some of it to what is not summed up yet.
async fn record(app: &TestApp, random: &mut StdRng) -> Recorded {
    let recorded = Recorded::made_up(random);
    let (first, events) = recorded.events(random);
    app.record(json!(first)).await;
    let is_move = |event: &Value| !event["deviceRegistration"].is_null();
    let last = events.iter().rposition(is_move).map_or(0, |last| last + 1);
    let (events, tail) = events.split_at(last.max(events.len() - 50));
    for part in events.chunks(random.random_range(20..200)) {
        app.outcomes(json!(part)).await;
        if random.random_bool(0.3) {
            app.settle().await;
        }
    }
    // registrations that part what is summed up count once they are folded
    app.settle().await;
    if !tail.is_empty() {
        app.outcomes(json!(tail)).await;
    }
    recorded
}

/// Lets it be the end of what is made up, of which minutes are still kept then.
fn soon_after(app: &TestApp) {
    let end = micros(BEGIN) + DAYS * 86_400 * MICROS;
    app.clock.advance_ms((end - micros(NOON)) / 1_000);
}

#[tokio::test]
async fn a_series_is_what_a_count_over_the_events_comes_to() {
    for seed in seeds(3) {
        on_each_database(async |app| {
            let mut random = StdRng::seed_from_u64(seed);
            if seed % 2 == 0 {
                soon_after(app);
            }
            let recorded = record(app, &mut random).await;
            ask(app, &recorded, &Asked::by_device_and_hour("REAL")).await;
            ask(app, &recorded, &Asked::by_device_and_hour("SIMULATED")).await;
            for _ in 0..40 {
                ask(app, &recorded, &Asked::made_up(&mut random)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_cannot_be_answered_has_its_code() {
    on_each_database(async |app| {
        app.fleet().await;
        let from = |rest: &str, of: &str| {
            format!("{{ series(measures: [CPU_PERCENT], from: \"2026-11-23T00:00:00Z\" {rest}) {{ {of} }} }}")
        };
        let cases = [
            ("to: \"2026-11-22T00:00:00Z\"", "position", "BAD_INPUT"),
            ("buckets: { timeZone: \"Mars/Phobos\" }", "position", "BAD_INPUT"),
            ("buckets: { resolution: DAY, every: 0 }", "position", "BAD_INPUT"),
            ("buckets: { every: 2 }", "position", "BAD_INPUT"),
            ("buckets: { resolution: DAY, every: 1001 }", "position", "LIMIT_EXCEEDED"),
            ("buckets: { points: 20000 }", "position", "LIMIT_EXCEEDED"),
            ("to: \"2056-11-23T00:00:00Z\", buckets: { resolution: MINUTE }", "position", "LIMIT_EXCEEDED"),
            ("groupBy: [ENDPOINT]", "position", "BAD_INPUT"),
            ("groupBy: [NOTHING]", "position", "BAD_INPUT"),
            ("groupBy: [SITE, SITE]", "position", "BAD_INPUT"),
            ("groupBy: [SITE, DEVICE, SITE]", "position", "BAD_INPUT"),
            ("top: 0", "position", "BAD_INPUT"),
            ("buckets: { points: 0 }", "position", "BAD_INPUT"),
            ("filter: { labels: [{ dimension: STATE, in: [\"ONLINE\"] }] }", "position", "BAD_INPUT"),
        ];
        for (rest, of, code) in cases {
            assert_eq!(app.code(&from(rest, of)).await, code, "{rest}");
        }
        let mixed = "{ series(measures: [CPU_PERCENT, ERRORS], from: \"2026-11-23T00:00:00Z\") { position } }";
        assert_eq!(app.code(mixed).await, "BAD_INPUT");
        app.record(json!([{ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 5,
            "occurredAt": "2026-11-23T11:00:00Z" } }]))
            .await;
        let beyond = from("", "groups { total { percentile(of: 101) } }");
        assert_eq!(app.code(&beyond).await, "BAD_INPUT");
        let unknown = from("filter: { siteIds: [\"nowhere\"] }", "groups { measure } provenance");
        let unknown = app.data(&unknown).await;
        assert_eq!(unknown["series"], json!({ "groups": [], "provenance": [] }));
    })
    .await;
}

#[tokio::test]
async fn the_first_groups_are_told_and_all_others_as_one_each_beside_an_earlier_time() {
    on_each_database(async |app| {
        app.fleet().await;
        let error = |device: &str, code: &str, at: &str| {
            json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "x",
                "errorCode": code, "deviceId": device, "occurredAt": at } })
        };
        let mut events = Vec::new();
        for (code, today, yesterday) in [("A", 3, 1), ("B", 2, 0), ("C", 1, 4), ("D", 1, 0)] {
            for (day, times) in [("22", today), ("21", yesterday)] {
                for second in 0..times {
                    let at = format!("2026-11-{day}T10:00:0{second}Z");
                    events.push(error("till-1", code, &at));
                }
            }
        }
        app.record(json!(events)).await;
        let asked = "{ series(measures: [ERRORS], from: \"2026-11-22T00:00:00Z\", \
            to: \"2026-11-23T00:00:00Z\", groupBy: [ERROR_CODE], top: 2, compareWith: PREVIOUS_PERIOD, \
            buckets: { resolution: DAY, timeZone: \"UTC\" }) { groups { key { dimension value } isOther \
            total { count earlier { count } } buckets { start count earlier { start count } } } } }";
        let data = app.data(asked).await;
        let groups = data["series"]["groups"].as_array().unwrap();
        let told: Vec<Value> = groups
            .iter()
            .map(|group| {
                let total = &group["total"];
                json!([group["key"][0]["value"], group["isOther"], total["count"], total["earlier"]["count"]])
            })
            .collect();
        assert_eq!(
            json!(told),
            json!([["A", false, 3.0, 1.0], ["B", false, 2.0, null], [null, true, 2.0, 4.0]])
        );
        let bucket = &groups[0]["buckets"][0];
        assert_eq!(bucket["earlier"]["start"], "2026-11-21T00:00:00Z");
    })
    .await;
}
