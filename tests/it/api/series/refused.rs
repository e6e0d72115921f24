//! What cannot be answered has its code, and says what to do.

use serde_json::json;

use super::super::app::{TestApp, on_each_database};

/// What is asked, and the code that it has. `SINCE`, `AGO` and `REVERSED` stand for ranges, `MANY` for more texts
/// than there may be, and `MEASURES` for more measures.
const CASES: &[(&str, &str, &str)] = &[
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: SITE, REVERSED",
        "BAD_INPUT",
    ),
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: ENDPOINT, SINCE",
        "BAD_INPUT",
    ),
    (
        "breakdown",
        "measures: [CPU_PERCENT, ERRORS], by: SITE, SINCE",
        "BAD_INPUT",
    ),
    ("breakdown", "measures: [], by: SITE, SINCE", "BAD_INPUT"),
    (
        "breakdown",
        "measures: [MEASURES], by: SITE, SINCE",
        "LIMIT_EXCEEDED",
    ),
    (
        "breakdown",
        "measures: [ERRORS], by: SITE, aggregate: AVG, SINCE",
        "BAD_INPUT",
    ),
    (
        "breakdown",
        "measures: [TRANSACTION_COUNT], by: SITE, percentile: 95, SINCE",
        "BAD_INPUT",
    ),
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: SITE, percentile: 100.5, SINCE",
        "BAD_INPUT",
    ),
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: SITE, percentile: 50, aggregate: AVG, SINCE",
        "BAD_INPUT",
    ),
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: SITE, top: 1001, SINCE",
        "LIMIT_EXCEEDED",
    ),
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: SITE, top: 0, SINCE",
        "BAD_INPUT",
    ),
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: SITE, timeZone: \"Mars/Phobos\", SINCE",
        "BAD_INPUT",
    ),
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: SITE, filter: { tags: [MANY] }, SINCE",
        "LIMIT_EXCEEDED",
    ),
    ("heatmap", "measure: CPU_PERCENT, REVERSED", "BAD_INPUT"),
    (
        "heatmap",
        "measure: CPU_PERCENT, aggregate: INCREASE, SINCE",
        "BAD_INPUT",
    ),
    (
        "heatmap",
        "measure: CPU_PERCENT, percentile: -1, SINCE",
        "BAD_INPUT",
    ),
    ("heatmap", "measure: CPU_PERCENT, AGO", "LIMIT_EXCEEDED"),
    ("availability", "REVERSED", "BAD_INPUT"),
    ("availability", "groupBy: [STATE], SINCE", "BAD_INPUT"),
    ("availability", "groupBy: [SITE, SITE], SINCE", "BAD_INPUT"),
    (
        "availability",
        "filter: { labels: [{ dimension: STATE, in: [\"ONLINE\"] }] }, SINCE",
        "BAD_INPUT",
    ),
    (
        "availability",
        "buckets: { resolution: MINUTE }, AGO",
        "LIMIT_EXCEEDED",
    ),
    (
        "stateTimeline",
        "deviceId: \"till-1\", REVERSED",
        "BAD_INPUT",
    ),
    ("apiRequestStats", "REVERSED", "BAD_INPUT"),
    ("errorStats", "top: -1, SINCE", "BAD_INPUT"),
    ("errorStats", "top: 0, SINCE", "BAD_INPUT"),
    (
        "jobStats",
        "filter: { labels: [{ dimension: PAGE, in: [\"/\"] }] }, SINCE",
        "BAD_INPUT",
    ),
    ("activityStats", "REVERSED", "BAD_INPUT"),
    (
        "series",
        "measures: [CPU_PERCENT], buckets: { dayStart: \"24:00\" }, SINCE",
        "BAD_INPUT",
    ),
    (
        "availability",
        "buckets: { dayStart: \"24:00:00\" }, SINCE",
        "BAD_INPUT",
    ),
    // a range of instants of which one cannot be told
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: SITE, SINCE, to: \"9999-12-31T23:59:59-01:00\"",
        "BAD_INPUT",
    ),
    (
        "breakdown",
        "measures: [CPU_PERCENT], by: SITE, from: \"0000-02-01T00:00:00Z\", to: \"0000-02-02T00:00:00Z\", \
         compareWith: PREVIOUS_YEAR",
        "BAD_INPUT",
    ),
];

fn written(arguments: &str) -> String {
    let many: Vec<String> = (0..1_001).map(|n| format!("\"t{n}\"")).collect();
    arguments
        .replace("SINCE", SINCE)
        .replace("AGO", "from: \"2001-01-01T00:00:00Z\"")
        .replace(
            "REVERSED",
            "from: \"2026-11-23T00:00:00Z\", to: \"2026-11-22T00:00:00Z\"",
        )
        .replace("MANY", &many.join(", "))
        .replace("MEASURES", &["ERRORS"; 21].join(", "))
}

const SINCE: &str = "from: \"2026-11-23T00:00:00Z\"";

#[tokio::test]
async fn questions_that_make_no_sense_or_are_too_large_are_refused() {
    on_each_database(async |app| {
        app.fleet().await;
        for (field, arguments, code) in CASES {
            let document = format!("{{ {field}({}) {{ position }} }}", written(arguments));
            assert_eq!(app.code(&document).await, *code, "{field} {arguments}");
        }
        // a request has ten of them at most
        let one =
            |n| format!("a{n}: breakdown(measures: [ERRORS], by: SITE, {SINCE}) {{ position }}");
        let many = (0..11).map(one).collect::<Vec<_>>().join(" ");
        assert_eq!(app.code(&format!("{{ {many} }}")).await, "LIMIT_EXCEEDED");
    })
    .await;
}

/// What is told of why a document is refused.
async fn refused(app: &TestApp, document: &str) -> String {
    let answer = app.query(json!({ "query": document })).await;
    let message = answer["errors"][0]["message"].as_str();
    let message = message.unwrap_or_else(|| panic!("{document}: {answer:#}"));
    message.to_owned()
}

#[tokio::test]
async fn a_range_that_ends_before_it_begins_is_told_by_the_end_that_was_given() {
    on_each_database(async |app| {
        app.fleet().await;
        let now = app.clock.now();
        let without_end = format!(
            "`from` is 2027-01-01T00:00:00Z, and without `to` the range ends now, at {now}: give an earlier `from`"
        );
        let with_end = "`to` is 2027-01-01T00:00:00Z, which is not after `from`, 2027-01-01T00:00:00Z";
        for field in [
            "series(measures: [CPU_PERCENT], RANGE)",
            "breakdown(measures: [CPU_PERCENT], by: SITE, RANGE)",
            "heatmap(measure: CPU_PERCENT, RANGE)",
            "availability(RANGE)",
            "errorStats(RANGE)",
        ] {
            let asked = |range: &str| {
                format!("{{ {} {{ position }} }}", field.replace("RANGE", range))
            };
            let told = refused(app, &asked("from: \"2027-01-01T00:00:00Z\"")).await;
            assert_eq!(told, without_end, "{field}");
            let reversed = "from: \"2027-01-01T00:00:00Z\", to: \"2027-01-01T00:00:00Z\"";
            assert_eq!(refused(app, &asked(reversed)).await, with_end, "{field}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_told_with_its_figures_and_what_to_change() {
    on_each_database(async |app| {
        app.fleet().await;
        let long = "from: \"2000-01-01T00:00:00Z\", to: \"2026-01-01T00:00:00Z\"";
        let minutes = format!(
            "{{ series(measures: [CPU_PERCENT], {long}, buckets: {{ resolution: MINUTE }}) {{ position }} }}"
        );
        assert_eq!(
            refused(app, &minutes).await,
            "there would be about 13675680 buckets, at most 10000 are answered: give a coarser `resolution`, such as \
             AUTO, a greater `every`, or a shorter range from `from` to `to`"
        );
        let hours = format!("{{ heatmap(measure: CPU_PERCENT, {long}) {{ position }} }}");
        assert_eq!(
            refused(app, &hours).await,
            "the range has about 227928 hours, at most 50000 are answered: give a later `from` or an earlier `to`"
        );
    })
    .await;
}

#[tokio::test]
async fn buckets_and_earlier_times_that_no_instant_tells_are_refused() {
    on_each_database(async |app| {
        app.fleet().await;
        let beyond = "the buckets reach beyond the years 0 to 9999: give a later `from`, an earlier `to`, or shorter \
            buckets";
        let earlier = "what it is compared with reaches beyond the years 0 to 9999: give a later `from`, or no \
            `compareWith`";
        for (range, rest, why) in [
            (("9999-01-01", "9999-12-31"), "resolution: YEAR, every: 1000 }", beyond),
            (("9999-01-01", "9999-12-31"), "resolution: MONTH }", beyond),
            (("0000-01-01", "0000-01-02"), "resolution: WEEK }", beyond),
            (("0000-02-01", "0000-02-02"), "resolution: DAY }, compareWith: PREVIOUS_YEAR", earlier),
            (("0000-01-01", "0000-01-02"), "resolution: DAY }, compareWith: PREVIOUS_PERIOD", earlier),
        ] {
            let (from, to) = range;
            let asked = format!(
                "{{ series(measures: [CPU_PERCENT], from: \"{from}T00:00:00Z\", to: \"{to}T00:00:00Z\", \
                 buckets: {{ timeZone: \"UTC\", {rest}) {{ from to }} }}"
            );
            assert_eq!(refused(app, &asked).await, why, "{asked}");
            assert_eq!(app.code(&asked).await, "BAD_INPUT", "{asked}");
        }
        // the last day that there is
        let asked = "{ series(measures: [CPU_PERCENT], from: \"9999-12-30T00:00:00Z\", to: \"9999-12-31T00:00:00Z\", \
            buckets: { timeZone: \"UTC\", resolution: DAY }) { from to } }";
        let told = json!({ "from": "9999-12-30T00:00:00Z", "to": "9999-12-31T00:00:00Z" });
        assert_eq!(app.data(asked).await["series"], told);
    })
    .await;
}

#[tokio::test]
async fn what_says_nothing_of_any_measure_is_refused_and_is_null_beside_one_that_it_tells() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 5,
            "transactionCount": 3, "occurredAt": "2026-11-23T11:00:00Z" } }]))
            .await;
        let series = |measures: &str, rest: &str, of: &str| {
            format!("{{ series(measures: [{measures}], {SINCE} {rest}) {{ groups {{ {of} }} }} }}")
        };
        let breakdown = format!(
            "{{ breakdown(measures: [CPU_PERCENT], by: SITE, {SINCE}) {{ lists {{ rows {{ bucket {{ rate }} }} }} }} }}"
        );
        let both = "TRANSACTION_COUNT, TRANSACTION_VOLUME";
        let gauge = "of CPU_PERCENT: there are COUNT, SUM, AVG, MIN, MAX, FIRST, LAST, STDDEV, PERCENTILE";
        let rate = format!("RATE says nothing {gauge}");
        for (document, why) in [
            (series("CPU_PERCENT", "", "buckets { increase }"), format!("INCREASE says nothing {gauge}")),
            (
                series(both, "", "total { earlier { percentile(of: 95) } }"),
                "PERCENTILE says nothing of TRANSACTION_COUNT or TRANSACTION_VOLUME: there are COUNT, MIN, MAX, \
                 FIRST, LAST, INCREASE, RATE"
                    .to_owned(),
            ),
            (series("READINGS", "", "total { avg }"), "AVG says nothing of READINGS: there are COUNT, SUM, INCREASE, RATE".to_owned()),
            (
                series("CPU_PERCENT", ", rankBy: RATE", "total { avg }"),
                rate.clone(),
            ),
            (breakdown, rate.clone()),
        ] {
            assert_eq!(refused(app, &document).await, why, "{document}");
            assert_eq!(app.code(&document).await, "BAD_INPUT", "{document}");
        }
        let of = "total { avg increase percentile(of: 50) }";
        let data = app.data(&series("CPU_PERCENT, TRANSACTION_COUNT", "", of)).await;
        let told = json!([
            { "total": { "avg": 5.0, "increase": null, "percentile": 5.0 } },
            { "total": { "avg": null, "increase": 3.0, "percentile": null } },
        ]);
        assert_eq!(data["series"]["groups"], told);
    })
    .await;
}

#[tokio::test]
async fn a_percentile_that_there_is_none_of_is_refused_once_and_all_else_is_answered() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 5,
            "occurredAt": "2026-11-23T11:00:00Z" } }]))
            .await;
        let document = "query($of: Float!) { series(measures: [CPU_PERCENT], from: \"2026-11-23T00:00:00Z\", \
            buckets: { resolution: HOUR }, fill: NONE) { groups { buckets { max percentile(of: $of) } } } }";
        let asked = |of: f64| json!({ "query": document, "variables": { "of": of } });
        let answer = app.query(asked(100.0)).await;
        let bucket = &answer["data"]["series"]["groups"][0]["buckets"][0];
        assert_eq!(*bucket, json!({ "max": 5.0, "percentile": 5.0 }));
        let answer = app.query(asked(101.0)).await;
        assert_eq!(answer["errors"].as_array().unwrap().len(), 1, "{answer}");
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_INPUT");
        let bucket = &answer["data"]["series"]["groups"][0]["buckets"][0];
        assert_eq!(*bucket, json!({ "max": 5.0, "percentile": null }));
    })
    .await;
}

#[tokio::test]
async fn buckets_are_told_as_they_are_selected() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 5,
            "occurredAt": "2026-11-23T11:00:00Z" } }]))
            .await;
        let document = "query($no: Boolean!, $of: Float = 50) { series(measures: [CPU_PERCENT], \
            from: \"2026-11-23T00:00:00Z\", buckets: { resolution: HOUR }, fill: NONE, \
            compareWith: PREVIOUS_WEEK) { groups { buckets { most: max ...F min @include(if: $no) \
            earlier { count } earlier { __typename ... on SeriesBucket { max } } p: percentile(of: $of) } \
            total { __typename ... { sum } } } } } fragment F on SeriesBucket { least: min events most: max }";
        let data = app.data_with(document, json!({ "no": false })).await;
        let group = &data["series"]["groups"][0];
        let earlier = json!({ "__typename": "SeriesBucket", "count": null, "max": null });
        let bucket = json!([{ "most": 5.0, "least": 5.0, "events": "1", "earlier": earlier, "p": 5.0 }]);
        assert_eq!(group["buckets"], bucket);
        assert_eq!(group["total"], json!({ "__typename": "SeriesBucket", "sum": 5.0 }));
    })
    .await;
}
