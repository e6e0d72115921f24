//! What a site's schedule answers, and the hours of many days that are set at once.

use serde_json::{Value, json};

use super::access::{ask, grant, key};
use super::app::{TestApp, on_each_database};
use homepot_analytics::identity::Role;

const SET: &str = "mutation($input: SetSiteSchedulesInput!) { setSiteSchedules(input: $input) {
    schedules { position siteId dayOfWeek date openTime isClosed } userErrors { field message code } } }";

const STATUS: &str =
    "{ siteStatus(siteId: \"market\"AT) { at state isKnown isOpen isPeak inMaintenance
    nextChangeAt nextChange { at state isOpen isPeak inMaintenance } localTime localDate date
    schedule { dayOfWeek date openTime } } }";

/// The week of the market: open from six in the evening until two at night on Mondays, closed else.
async fn open_at_night(app: &TestApp) {
    app.fleet().await;
    let closed = |day: &str| json!({ "dayOfWeek": day, "isClosed": true });
    let input = json!({ "siteId": "market", "rows": [
        { "dayOfWeek": "MONDAY", "openTime": "18:00", "closeTime": "02:00",
            "peakHours": [{ "start": "20:00", "end": "22:00" }] },
        { "dayOfWeek": "TUESDAY", "isClosed": true,
            "maintenanceWindows": [{ "start": "04:00", "end": "06:00" }] },
        closed("WEDNESDAY"), closed("THURSDAY"), closed("FRIDAY"), closed("SATURDAY"), closed("SUNDAY"),
    ] });
    let answer = set(app, input).await;
    assert_eq!(answer["userErrors"], json!([]));
    assert_eq!(answer["schedules"].as_array().unwrap().len(), 7);
}

async fn set(app: &TestApp, input: Value) -> Value {
    let mut data = app.data_with(SET, json!({ "input": input })).await;
    data["setSiteSchedules"].take()
}

async fn status(app: &TestApp, at: &str) -> Value {
    let at = if at.is_empty() {
        String::new()
    } else {
        format!(", at: \"{at}\"")
    };
    let mut data = app.data(&STATUS.replace("AT", &at)).await;
    data["siteStatus"].take()
}

async fn rows(app: &TestApp) -> String {
    let data = app.data("{ siteOperatingSchedules { totalCount } }").await;
    data["siteOperatingSchedules"]["totalCount"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_status_of_a_site_tells_what_holds_and_when_it_changes() {
    on_each_database(async |app| {
        open_at_night(app).await;
        // after midnight the hours of the day before hold
        let night = status(app, "2026-11-24T01:00:00Z").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(night, @r#"{"at":"2026-11-24T01:00:00Z","date":"2026-11-23","inMaintenance":false,"isKnown":true,"isOpen":true,"isPeak":false,"localDate":"2026-11-24","localTime":"01:00:00","nextChange":{"at":"2026-11-24T02:00:00Z","inMaintenance":false,"isOpen":false,"isPeak":false,"state":"CLOSED"},"nextChangeAt":"2026-11-24T02:00:00Z","schedule":{"date":null,"dayOfWeek":"MONDAY","openTime":"18:00:00"},"state":"OPEN"}"#);
        }
        // it is noon on a Monday
        let now = status(app, "").await;
        assert_eq!(now["at"], super::app::NOON);
        assert_eq!((&now["state"], &now["nextChangeAt"]), (&json!("CLOSED"), &json!("2026-11-23T18:00:00Z")));
        let peak = status(app, "2026-11-23T21:00:00Z").await;
        assert_eq!((&peak["isOpen"], &peak["isPeak"]), (&json!(true), &json!(true)));
        let maintained = status(app, "2026-11-24T04:00:00Z").await;
        assert_eq!(
            (&maintained["state"], &maintained["inMaintenance"]),
            (&json!("CLOSED"), &json!(true))
        );
        // in summer its clock is an hour ahead
        let summer = status(app, "2026-06-01T17:00:00Z").await;
        assert_eq!((&summer["isOpen"], &summer["localTime"]), (&json!(true), &json!("18:00:00")));
    })
    .await;
}

#[tokio::test]
async fn of_a_site_without_hours_nothing_is_known() {
    on_each_database(async |app| {
        app.fleet().await;
        let status = status(app, "").await;
        assert_eq!(status["state"], "UNKNOWN");
        for field in ["nextChangeAt", "nextChange", "schedule"] {
            assert_eq!(status[field], Value::Null, "{field}");
        }
        let data = app
            .data(
                "{ siteStatus(siteId: \"none\") { state } operatingHours(siteId: \"none\",
            from: \"2026-11-23T00:00:00Z\", to: \"2026-11-24T00:00:00Z\") { start } }",
            )
            .await;
        assert_eq!(data, json!({ "siteStatus": null, "operatingHours": null }));
        let data = app
            .data(
                "{ operatingHours(siteId: \"market\",
            from: \"2026-11-23T00:00:00Z\", to: \"2026-11-24T00:00:00Z\") { start } }",
            )
            .await;
        assert_eq!(data["operatingHours"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn the_hours_of_a_range_are_expanded_in_the_zone_of_the_site() {
    on_each_database(async |app| {
        open_at_night(app).await;
        let document = "{ site(siteId: \"market\") { operatingHours(from: \"2026-11-24T00:00:00+00:00\",
            to: \"2026-11-30T18:30:00Z\") { kind start end date } } }";
        let data = app.data(document).await;
        let hours = |kind: &str, start: &str, end: &str, date: &str| {
            json!({ "kind": kind, "start": start, "end": end, "date": date })
        };
        assert_eq!(data["site"]["operatingHours"], json!([
            hours("OPEN", "2026-11-24T00:00:00Z", "2026-11-24T02:00:00Z", "2026-11-23"),
            hours("MAINTENANCE", "2026-11-24T04:00:00Z", "2026-11-24T06:00:00Z", "2026-11-24"),
            hours("OPEN", "2026-11-30T18:00:00Z", "2026-11-30T18:30:00Z", "2026-11-30"),
        ]));
    })
    .await;
}

#[tokio::test]
async fn a_range_that_is_empty_or_long_or_has_too_many_hours_is_refused() {
    on_each_database(async |app| {
        app.fleet().await;
        let window = |hour: usize| json!({ "start": format!("{hour:02}:00"), "end": format!("{hour:02}:30") });
        let windows: Vec<Value> = (0..24).map(window).collect();
        let row = |day: &&str| json!({ "siteId": "harbour", "dayOfWeek": day, "isClosed": true,
            "maintenanceWindows": windows });
        let week: Vec<Value> = homepot_analytics::kinds::DAYS.iter().map(row).collect();
        set(app, json!({ "rows": week })).await;
        let hours = |from: &str, to: &str| format!("{{ operatingHours(siteId: \"harbour\", from: \"{from}\", to: \"{to}\") {{ start }} }}");
        let (wrong, beyond) = ("BAD_INPUT", "LIMIT_EXCEEDED");
        for (document, code, told) in [
            (hours("2026-11-24T00:00:00Z", "2026-11-24T00:00:00Z"), wrong, "`to` is not after `from`"),
            (hours("2026-01-01T00:00:00Z", "2027-02-05T00:00:00.000001Z"), beyond, "more than 400 days"),
            (hours("2026-01-01T00:00:00Z", "2026-09-01T00:00:00Z"), beyond, "5832 hours in the range, at most 5000"),
        ] {
            let answer = app.query(json!({ "query": document })).await;
            let error = &answer["errors"][0];
            assert_eq!(error["extensions"]["code"], code, "{answer}");
            assert!(error["message"].as_str().unwrap().contains(told), "{answer}");
        }
        app.data(&hours("2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z")).await;
        for document in [
            "{ operatingHours(siteId: \"harbour\", from: \"today\", to: \"tomorrow\") { start } }",
            "{ siteStatus(siteId: \"harbour\", at: \"noon\") { state } }",
        ] {
            assert_eq!(app.code(document).await, "BAD_INPUT", "{document}");
        }
    })
    .await;
}

#[tokio::test]
async fn hours_and_statuses_under_sites_are_weighed_before_and_read_at_once() {
    on_each_database(async |app| {
        open_at_night(app).await;
        let hours = |first: usize, to: &str| {
            format!("{{ sites(first: {first}) {{ nodes {{ operatingHours(from: \"2026-01-01T00:00:00Z\", to: \"{to}\") {{ start }} }} }} }}")
        };
        let year = "2027-01-01T00:00:00Z";
        assert_eq!(app.code(&hours(50, year)).await, "LIMIT_EXCEEDED");
        app.data(&hours(30, year)).await;
        app.data(&hours(1_000, "2026-01-08T00:00:00Z")).await;
        let statuses = |first: usize| format!("{{ sites(first: {first}) {{ nodes {{ status {{ state }} }} }} }}");
        app.data(&statuses(1_000)).await;
        let statuses: Vec<String> = (0..1_000).map(|n| format!("s{n}: status {{ state }}")).collect();
        let both = format!("{{ sites {{ nodes {{ {} }} }} }}", statuses.join(" "));
        assert_eq!(app.code(&both).await, "LIMIT_EXCEEDED");
    })
    .await;
}

#[tokio::test]
async fn of_many_rows_all_are_set_or_none() {
    on_each_database(async |app| {
        app.fleet().await;
        let good = json!({ "dayOfWeek": "MONDAY", "isClosed": true });
        let answer = set(app, json!({ "siteId": "market", "rows": [
            good,
            { "siteId": "nowhere", "dayOfWeek": "MONDAY", "isClosed": true },
            { "dayOfWeek": "TUESDAY", "openTime": "09:00" },
            { "siteId": "market", "dayOfWeek": "MONDAY", "openTime": "09:00", "closeTime": "17:00" },
            { "siteId": "harbour", "dayOfWeek": "MONDAY", "isClosed": true },
            { "siteId": "harbour" },
        ] }))
        .await;
        let errors = answer["userErrors"].as_array().unwrap().iter();
        let told: Vec<(&str, &str)> = errors
            .map(|error| (error["field"].as_str().unwrap(), error["code"].as_str().unwrap()))
            .collect();
        assert_eq!(told, [
            ("rows.1.siteId", "NOT_FOUND"),
            ("rows.2.closeTime", "INVALID"),
            ("rows.3.dayOfWeek", "INVALID"),
            ("rows.5.dayOfWeek", "INVALID"),
        ]);
        assert_eq!(answer["schedules"], json!([]));
        assert_eq!(rows(app).await, "0");
    })
    .await;
}

#[tokio::test]
async fn a_thousand_rows_are_one_commit_and_more_or_none_are_refused() {
    on_each_database(async |app| {
        app.fleet().await;
        let date = |n: usize| format!("{}-{:02}-{:02}", 2026 + n / 336, n / 28 % 12 + 1, n % 28 + 1);
        let row = |n: usize| json!({ "date": date(n), "isClosed": true });
        let many = |rows: usize| json!({ "siteId": "market", "rows": (0..rows).map(row).collect::<Vec<_>>() });
        let answer = set(app, many(1_000)).await;
        assert_eq!(answer["userErrors"], json!([]));
        let set_rows = answer["schedules"].as_array().unwrap();
        assert_eq!(set_rows.len(), 1_000);
        assert_eq!(set_rows[999]["date"], date(999));
        let place = |row: &Value| row["position"].as_str().unwrap().parse::<i64>().unwrap();
        assert_eq!(place(&set_rows[999]) - place(&set_rows[0]), 999);
        let data = app.data("{ auditLog(first: 1) { nodes { position operation target } } }").await;
        let entry = &data["auditLog"]["nodes"][0];
        assert_eq!(place(entry), place(&set_rows[999]) + 1);
        assert_eq!((&entry["operation"], &entry["target"]), (&json!("setSiteSchedules"), &json!("market")));
        for (rows, expected) in [(0, "BAD_INPUT"), (1_001, "LIMIT_EXCEEDED")] {
            let code = app.code_with(SET, json!({ "input": many(rows) })).await;
            assert_eq!(code, expected, "{rows} rows");
        }
    })
    .await;
}

#[tokio::test]
async fn a_repeat_of_many_rows_records_nothing_and_other_rows_under_the_key_are_a_conflict() {
    on_each_database(async |app| {
        app.fleet().await;
        let row = |day: &str, open: &str| json!({ "siteId": "market", "dayOfWeek": day, "openTime": open, "closeTime": "20:00" });
        let input = json!({ "idempotencyKey": "k", "rows": [row("MONDAY", "08:00"), row("TUESDAY", "08:00")] });
        let first = set(app, input.clone()).await;
        app.clock.advance_ms(5_000);
        assert_eq!(set(app, input).await, first);
        for other in [
            json!([row("MONDAY", "09:00"), row("TUESDAY", "08:00")]),
            // longer than before: none of it is set
            json!([row("MONDAY", "08:00"), row("TUESDAY", "08:00"), row("FRIDAY", "08:00")]),
        ] {
            let answer = set(app, json!({ "idempotencyKey": "k", "rows": other })).await;
            assert_eq!(answer["userErrors"][0]["field"], "idempotencyKey", "{answer}");
            assert_eq!(answer["userErrors"][0]["code"], "CONFLICT");
        }
        assert_eq!(rows(app).await, "2");
    })
    .await;
}

#[tokio::test]
async fn many_rows_hold_also_when_those_before_are_from_a_clock_that_is_ahead() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(
            json!([{ "siteSchedule": { "siteId": "market", "dayOfWeek": "MONDAY",
            "openTime": "08:00", "closeTime": "18:00", "occurredAt": super::app::at(4) } }]),
        )
        .await;
        let answers = {
            let set = async |open: &str| {
                let row = json!({ "dayOfWeek": "MONDAY", "openTime": open, "closeTime": "20:00" });
                set(app, json!({ "siteId": "market", "rows": [row] })).await
            };
            tokio::join!(set("10:00"), set("11:00"), set("12:00"))
        };
        let answers: [Value; 3] = answers.into();
        let last = answers
            .iter()
            .filter_map(|answer| answer["schedules"].get(0))
            .max_by_key(|row| row["position"].as_str().unwrap().parse::<i64>().unwrap());
        let data = app
            .data("{ site(siteId: \"market\") { schedule { openTime } } }")
            .await;
        assert_eq!(
            data["site"]["schedule"][0]["openTime"],
            last.unwrap()["openTime"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_row_out_of_reach_is_refused_as_one_of_no_site() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let operator = key(app, grant(Role::Operator, &["harbour"])).await;
        let set = async |sites: &[&str]| {
            let row =
                |site: &&str| json!({ "siteId": site, "dayOfWeek": "MONDAY", "isClosed": true });
            let rows: Vec<Value> = sites.iter().map(row).collect();
            let variables = json!({ "input": { "rows": rows } });
            let (_, mut answer) = ask(
                app,
                &operator,
                json!({ "query": SET, "variables": variables }),
            )
            .await;
            answer["data"]["setSiteSchedules"].take()
        };
        let (out, none) = (
            set(&["harbour", "market"]).await,
            set(&["harbour", "nowhere"]).await,
        );
        assert_eq!(out, none);
        assert_eq!(out["userErrors"][0]["field"], "rows.1.siteId");
        assert_eq!(set(&["harbour"]).await["userErrors"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_row_fails_the_request() {
    on_each_database(async |app| {
        app.fleet().await;
        for input in [
            json!({ "siteId": "market", "rows": [{ "dayOfWeek": "MONDAY", "isClosed": true, "occurredAt": super::app::NOON }] }),
            json!({ "siteId": "market", "rows": [{ "dayOfWeek": "DOMINGO", "isClosed": true }] }),
            json!({ "siteId": "market", "rows": [{ "dayOfWeek": "MONDAY", "openTime": "25:00", "closeTime": "26:00" }] }),
            json!({ "siteId": "market", "rows": [null] }),
            json!({ "siteId": "market" }),
            json!({ "siteId": "market", "rows": [{ "dayOfWeek": "MONDAY", "isClosed": true }], "idempotencyKey": "" }),
        ] {
            assert_eq!(app.code_with(SET, json!({ "input": input })).await, "BAD_INPUT", "{input}");
        }
        let unnamed = set(app, json!({ "rows": [{ "dayOfWeek": "MONDAY", "isClosed": true }] })).await;
        assert_eq!(unnamed["userErrors"][0]["field"], "rows.0.siteId");
        assert_eq!(rows(app).await, "0");
    })
    .await;
}
