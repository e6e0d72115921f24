//! Series that are followed: whoever puts what has changed in place of what was told has what would be answered.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::super::socket::Socket;
use super::recorded::Recorded;
use super::seeds;

const ARGUMENTS: &str = "$from: DateTime!, $to: DateTime!, $buckets: BucketInput, $filter: SeriesFilter, \
    $by: [Dimension!], $fill: Fill, $top: Int, $compareWith: CompareWith";
const GIVEN: &str = "measures: [CPU_PERCENT, TRANSACTION_COUNT, TRANSACTION_VOLUME, READINGS], from: $from, to: $to, \
    buckets: $buckets, filter: $filter, groupBy: $by, fill: $fill, top: $top, compareWith: $compareWith";
const TOLD: &str = "groups { id measure currency isOther key { value } buckets { ...B earlier { ...B } } \
    total { ...B earlier { ...B } } }";
const BUCKET: &str = "fragment B on SeriesBucket { start end isFilled events count sum avg min max first last stddev \
    increase rate expected coverage p95: percentile(of: 95) }";

/// A series as it was told and changed since.
#[derive(Default)]
struct Followed {
    order: Vec<String>,
    groups: BTreeMap<String, Value>,
    cursor: String,
}

fn id(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Followed {
    /// Puts what has changed in place of what was told.
    fn apply(&mut self, update: &Value) {
        if update["isSnapshot"] == true {
            self.groups.clear();
        }
        for group in update["series"]["groups"].as_array().unwrap() {
            let held = self.groups.entry(id(&group["id"])).or_insert_with(|| {
                let mut empty = group.clone();
                empty["buckets"] = json!([]);
                empty
            });
            held["total"] = group["total"].clone();
            let buckets = [&held["buckets"], &group["buckets"]];
            let buckets = buckets.map(|buckets| buckets.as_array().unwrap().clone());
            let by_start = buckets
                .concat()
                .into_iter()
                .map(|bucket| (id(&bucket["start"]), bucket));
            // those that come later take the place of others
            let merged: BTreeMap<String, Value> = by_start.collect();
            held["buckets"] = merged.into_values().collect();
        }
        for gone in update["gone"].as_array().unwrap() {
            let starts = gone["starts"].as_array().unwrap();
            let held = self.groups.get_mut(&id(&gone["groupId"])).unwrap();
            let buckets = held["buckets"].as_array_mut().unwrap();
            buckets.retain(|bucket| !starts.contains(&bucket["start"]));
        }
        if let Some(ids) = update["groupIds"].as_array() {
            self.order = ids.iter().map(id).collect();
            self.groups.retain(|id, _| self.order.contains(id));
        }
        self.cursor = id(&update["cursor"]);
    }

    fn shown(&self) -> Value {
        self.order
            .iter()
            .map(|id| self.groups[id].clone())
            .collect()
    }
}

/// What is followed, made up.
fn variables(random: &mut StdRng) -> Value {
    let by: [&[&str]; 4] = [&[], &["SITE"], &["DEVICE"], &["DEVICE_TYPE"]];
    json!({
        "from": "2026-10-23T06:00:00Z",
        "to": "2026-10-28T18:30:00Z",
        "buckets": { "resolution": (["HOUR", "DAY"].choose(random).unwrap()), "timeZone": "Europe/Berlin" },
        "filter": { "provenance": ([None, Some(vec!["REAL"])].choose(random).unwrap()) },
        "by": by.choose(random).unwrap(),
        "fill": (["NONE", "NULL", "LINEAR", "PREVIOUS"].choose(random).unwrap()),
        "top": ([None, Some(1), Some(2)].choose(random).unwrap()),
        "compareWith": ([None, Some("PREVIOUS_PERIOD"), Some("PREVIOUS_WEEK"), Some("PREVIOUS_WEEK"),
            Some("PREVIOUS_MONTH"), Some("PREVIOUS_YEAR")].choose(random).unwrap()),
    })
}

fn subscription() -> String {
    format!(
        "subscription Law({ARGUMENTS}, $after: String) {{ seriesUpdates({GIVEN}, after: $after) {{ cursor isSnapshot \
         groupIds gone {{ groupId starts }} series {{ position {TOLD} }} }} }} {BUCKET}"
    )
}

/// The series as it is answered now.
async fn fresh(app: &TestApp, variables: &Value) -> Value {
    let document = format!("query Law({ARGUMENTS}) {{ series({GIVEN}) {{ {TOLD} }} }} {BUCKET}");
    let mut data = app.data_with(&document, variables.clone()).await;
    data["series"]["groups"].take()
}

/// Takes what comes until it is as it is answered.
async fn catch_up(
    (socket, subscription): (&mut Socket, &str),
    followed: &mut Followed,
    (expected, what): (&Value, &Value),
) {
    while followed.shown() != *expected {
        let Some(payload) = socket
            .next_within(subscription, Duration::from_secs(20))
            .await
        else {
            let (told, expected) = (followed.shown(), expected.clone());
            panic!("{what} is told as {told:#}, and answered as {expected:#}");
        };
        assert!(payload.get("errors").is_none(), "{what} {payload}");
        followed.apply(&payload["data"]["seriesUpdates"]);
    }
}

#[tokio::test]
async fn what_is_told_of_a_series_comes_to_what_is_answered() {
    for seed in seeds(2) {
        on_each_database(async |app| {
            let mut random = StdRng::seed_from_u64(seed);
            let recorded = Recorded::made_up(&mut random);
            let (first, events) = recorded.events(&mut random);
            app.record(json!(first)).await;
            let variables = variables(&mut random);
            let mut socket = app.socket().await;
            let mut one = socket.subscribe(&subscription(), variables.clone()).await;
            let other = socket.subscribe(&subscription(), variables.clone()).await;
            let (mut followed, mut of_other) = (Followed::default(), Followed::default());
            for (number, part) in events.chunks(events.len() / 5).enumerate() {
                if number == 3 {
                    // gone while something happens, and back with the last cursor
                    socket.unsubscribe(&one).await;
                }
                app.outcomes(json!(part)).await;
                if random.random_bool(0.5) {
                    app.settle().await;
                }
                if number == 3 {
                    let mut resumed = variables.clone();
                    resumed["after"] = json!(followed.cursor);
                    one = socket.subscribe(&subscription(), resumed).await;
                }
                app.settle().await;
                let expected = fresh(app, &variables).await;
                let what = (&expected, &variables);
                catch_up((&mut socket, &one), &mut followed, what).await;
                catch_up((&mut socket, &other), &mut of_other, what).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_late_registration_means_for_long_is_told_once_it_is_summed_up() {
    on_each_database(async |app| {
        app.fleet().await;
        let readings = (1..=20).map(|day| {
            json!({ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": day,
                "occurredAt": format!("2026-11-{day:02}T10:00:00Z") } })
        });
        app.record(readings.collect()).await;
        app.settle().await;
        let variables = json!({ "from": "2026-11-01T00:00:00Z", "to": "2026-11-21T00:00:00Z", "by": ["SITE"],
            "buckets": { "resolution": "DAY", "timeZone": "UTC" }, "fill": "NONE" });
        let mut socket = app.socket().await;
        let id = socket.subscribe(&subscription(), variables.clone()).await;
        let mut followed = Followed::default();
        let expected = fresh(app, &variables).await;
        catch_up((&mut socket, &id), &mut followed, (&expected, &variables)).await;
        // days of two sites, more of them than are summed up anew before it is told that the log is folded
        app.record(json!([{ "deviceRegistration": { "deviceId": "till-1", "siteId": "market",
            "deviceType": "POS_TERMINAL", "occurredAt": "2026-10-30T00:00:00Z" } }]))
            .await;
        app.settle().await;
        let before = expected;
        let expected = fresh(app, &variables).await;
        assert_ne!(before, expected);
        catch_up((&mut socket, &id), &mut followed, (&expected, &variables)).await;
    })
    .await;
}

#[tokio::test]
async fn who_comes_back_and_has_missed_nothing_is_told_what_comes_next_alone() {
    on_each_database(async |app| {
        app.fleet().await;
        let reading = |device: &str, second: u32, cpu: u32| {
            json!({ "deviceMetrics": { "deviceId": device, "cpuPercent": cpu,
                "occurredAt": format!("2026-11-23T11:{second:02}:00Z") } })
        };
        app.record(json!([reading("till-1", 1, 10), reading("till-2", 50, 20)])).await;
        let document = "subscription($after: String) { seriesUpdates(measures: [CPU_PERCENT], \
            from: \"2026-11-23T10:00:00Z\", to: \"2026-11-23T12:00:00Z\", filter: { deviceIds: [\"till-1\"] }, \
            buckets: { resolution: MINUTE, every: 30 }, fill: NONE, after: $after) { cursor isSnapshot groupIds \
            series { position groups { buckets { start max } total { count } } } } }";
        let mut socket = app.socket().await;
        let id = socket.subscribe(document, json!({})).await;
        let snapshot = socket.data(&id).await["seriesUpdates"].take();
        assert_eq!(snapshot["isSnapshot"], true);
        let groups = json!([{ "total": { "count": 1.0 },
            "buckets": [{ "start": "2026-11-23T11:00:00Z", "max": 10.0 }] }]);
        assert_eq!(snapshot["series"]["groups"], groups);
        socket.unsubscribe(&id).await;
        // of another device: nothing of this series
        app.record(json!([reading("till-2", 2, 90)])).await;
        let after = json!({ "after": snapshot["cursor"] });
        let id = socket.subscribe(document, after).await;
        // it has begun by then; if not, all comes at once, with what is recorded now
        let anew = socket.subscribe(document, json!({})).await;
        socket.data(&anew).await;
        socket.unsubscribe(&anew).await;
        let recorded = app.record(json!([reading("till-1", 40, 30)])).await;
        let next = socket.data(&id).await["seriesUpdates"].take();
        assert!(position(&next) >= recorded[0], "nothing was told before: {next}");
        assert_eq!(next["series"]["groups"][0]["total"]["count"], 2.0);
        app.record(json!([reading("till-1", 45, 35)])).await;
        let update = socket.data(&id).await["seriesUpdates"].take();
        let groups = json!([{ "total": { "count": 3.0 },
            "buckets": [{ "start": "2026-11-23T11:30:00Z", "max": 35.0 }] }]);
        assert_eq!((&update["isSnapshot"], &update["groupIds"]), (&json!(false), &Value::Null));
        assert_eq!(update["series"]["groups"], groups);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_followed_has_its_code() {
    on_each_database(async |app| {
        app.fleet().await;
        let readings = ["till-1", "till-2", "till-3"].map(|device| {
            json!({ "deviceMetrics": { "deviceId": device, "cpuPercent": 1, "occurredAt": "2026-11-23T11:00:00Z" } })
        });
        app.record(json!(readings)).await;
        let mut socket = app.socket().await;
        for (arguments, code) in [
            ("from: \"2026-11-23T10:00:00Z\", to: \"2026-11-22T10:00:00Z\"", "BAD_INPUT"),
            ("from: \"2026-11-23T10:00:00Z\", after: \"none\"", "BAD_INPUT"),
            ("from: \"2026-11-23T10:00:00Z\", groupBy: [SITE, SITE]", "BAD_INPUT"),
            ("from: \"2026-11-23T10:00:00Z\", top: 0", "BAD_INPUT"),
            ("from: \"2026-01-01T00:00:00Z\", groupBy: [DEVICE], buckets: { resolution: HOUR }", "LIMIT_EXCEEDED"),
        ] {
            let document = format!(
                "subscription {{ seriesUpdates(measures: [CPU_PERCENT], {arguments}) {{ cursor }} }}"
            );
            let id = socket.subscribe(&document, json!({})).await;
            let told = socket.next(&id).await.unwrap();
            assert_eq!(told["errors"][0]["extensions"]["code"], code, "{arguments} {told}");
        }
    })
    .await;
}

/// Nothing was said yet: what is asked for is wrong all the same.
#[tokio::test]
async fn what_a_series_never_tells_is_refused_when_it_is_followed() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut socket = app.socket().await;
        for (selected, why) in [
            ("buckets { percentile(of: 101) }", "a percentile is from 0 to 100"),
            ("total { earlier { percentile(of: -1) } }", "a percentile is from 0 to 100"),
            ("total { increase }", "INCREASE says nothing of CPU_PERCENT: there are COUNT, SUM, AVG, MIN, MAX, FIRST, LAST, STDDEV, PERCENTILE"),
        ] {
            let document = format!(
                "subscription {{ seriesUpdates(measures: [CPU_PERCENT], from: \"2026-11-23T10:00:00Z\") {{ \
                 series {{ groups {{ {selected} }} }} }} }}"
            );
            let id = socket.subscribe(&document, json!({})).await;
            let told = socket.next(&id).await.unwrap();
            assert_eq!(told["errors"][0]["message"], why, "{told}");
            assert_eq!(told["errors"][0]["extensions"]["code"], "BAD_INPUT", "{told}");
        }
    })
    .await;
}

/// In whatever order what is recorded comes, the same is followed in the end.
#[tokio::test]
async fn a_series_without_an_end_goes_on_with_the_clock() {
    on_each_database(async |app| {
        app.fleet().await;
        let document = "subscription { seriesUpdates(measures: [READINGS], from: \"2026-11-23T11:00:00Z\", \
            buckets: { resolution: HOUR, timeZone: \"UTC\" }, fill: NONE) { isSnapshot series { to groups { \
            buckets { start count } } } } }";
        let mut socket = app.socket().await;
        let id = socket.subscribe(document, json!({})).await;
        let first = socket.data(&id).await["seriesUpdates"].take();
        assert_eq!(first["series"]["groups"], json!([]));
        app.clock.advance_ms(7_200_000);
        let mut seconds = [1, 2, 3];
        seconds.shuffle(&mut rand::rng());
        for second in seconds {
            app.record(json!([{ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 1,
                "occurredAt": format!("2026-11-23T13:00:0{second}Z") } }]))
                .await;
        }
        let mut count = 0.0;
        while count < 3.0 {
            let update = socket.data(&id).await["seriesUpdates"].take();
            let buckets = &update["series"]["groups"][0]["buckets"];
            assert_eq!(buckets.as_array().unwrap().len(), 1, "{update}");
            assert_eq!(buckets[0]["start"], "2026-11-23T13:00:00Z");
            assert!(buckets[0]["count"].as_f64().unwrap() > count, "{update}");
            count = buckets[0]["count"].as_f64().unwrap();
        }
    })
    .await;
}

/// Up to where what was told of a series has the log.
fn position(update: &Value) -> i64 {
    let position = update["series"]["position"].as_str().unwrap();
    position.parse().unwrap()
}

/// What is told of a series that has the log up to a position.
async fn told(socket: &mut Socket, id: &str, upto: i64) -> Value {
    loop {
        let update = socket.data(id).await["seriesUpdates"].take();
        if position(&update) >= upto {
            return update;
        }
    }
}

/// The rate of a range without an end falls with the clock: who selects none is told nothing of it.
#[tokio::test]
async fn what_is_recorded_elsewhere_is_no_change_of_what_is_selected() {
    on_each_database(async |app| {
        app.fleet().await;
        let error = |device: &str, minute: u32, code: &str| {
            json!([{ "errorLog": { "deviceId": device, "category": "DEVICE", "severity": "ERROR",
                "errorMessage": "no paper", "errorCode": code,
                "occurredAt": format!("2026-11-23T12:{minute:02}:00Z") } }])
        };
        app.clock.advance_ms(60_000);
        app.record(error("till-1", 0, "PAPER")).await;
        let document = |selected: &str| {
            format!(
                "subscription {{ seriesUpdates(measures: [ERRORS], from: \"2026-11-23T11:00:00Z\", \
                 filter: {{ siteIds: [\"harbour\"], labels: [{{ dimension: ERROR_CODE, in: [\"PAPER\"] }}] }}, \
                 buckets: {{ resolution: HOUR, timeZone: \"UTC\" }}, fill: NONE) {{ cursor {selected} }} }}"
            )
        };
        let mut socket = app.socket().await;
        let rate = "series { position groups { buckets { start } total { rate } } }";
        let rate = socket.subscribe(&document(rate), json!({})).await;
        socket.data(&rate).await;
        for selected in [
            "series { position groups { buckets { start count } total { start count } } }",
            "series { position groups { total { sum } } }",
            "isSnapshot series { position }",
        ] {
            let id = socket.subscribe(&document(selected), json!({})).await;
            socket.data(&id).await;
            for elsewhere in [error("till-3", 1, "PAPER"), error("till-1", 1, "INK")] {
                app.clock.advance_ms(60_000);
                let recorded = app.record(elsewhere).await;
                // who selects what falls with the clock is told of it
                told(&mut socket, &rate, recorded[0]).await;
            }
            let recorded = app.record(error("till-2", 1, "PAPER")).await;
            let next = socket.data(&id).await["seriesUpdates"].take();
            assert!(position(&next) >= recorded[0], "{selected}: {next}");
            told(&mut socket, &rate, recorded[0]).await;
            socket.unsubscribe(&id).await;
        }
        app.clock.advance_ms(60_000);
        let recorded = app.record(error("till-3", 2, "PAPER")).await;
        let update = told(&mut socket, &rate, recorded[0]).await["series"].take();
        assert_eq!(update["groups"][0]["buckets"], json!([]), "{update}");
    })
    .await;
}
