//! What a document selects is what it gets: aliases, fragments, directives, merging.

use serde_json::json;

use super::app::{TestApp, on_each_database};
use super::inputs::error;

async fn one_error(app: &TestApp) {
    app.fleet().await;
    app.record(json!([error("paper is out", "WARNING")])).await;
}

#[tokio::test]
async fn aliases_rename_at_every_level() {
    on_each_database(async |app| {
        one_error(app).await;
        let data = app
            .data("{ faults: errorLogs { rows: nodes { what: errorMessage where: device { till: deviceId } }
                places: edges { row: node { how: severity } } count: totalCount page: pageInfo { more: hasNextPage } } }")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"faults":{"count":"1","page":{"more":false},"places":[{"row":{"how":"WARNING"}}],"rows":[{"what":"paper is out","where":{"till":"till-1"}}]}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn fragments_are_opened_named_inline_and_on_interfaces() {
    on_each_database(async |app| {
        one_error(app).await;
        let data = app
            .data("query { events(filter: { kind: { in: [errorLog, siteRegistration] } }, order: FIRST_RECORDED_FIRST) {
                nodes { ...OfAll ... on ErrorLog { ...Fault } ... on SiteRegistration { siteId } ... { provenance } } } }
              fragment OfAll on Event { __typename kind ... on Node { hasId: __typename } }
              fragment Fault on ErrorLog { severity device { ...Till } }
              fragment Till on Device { deviceId site { siteId } ... on Node { __typename } }")
            .await;
        let rows = serde_json::to_string_pretty(&data["events"]["nodes"]).unwrap();
        insta::allow_duplicates! {
            insta::assert_snapshot!(rows.replace("\n    ", " ").replace("  ", ""), @r#"
        [
        { "__typename": "SiteRegistration", "hasId": "SiteRegistration", "kind": "siteRegistration", "provenance": "REAL", "siteId": "harbour"
        },
        { "__typename": "SiteRegistration", "hasId": "SiteRegistration", "kind": "siteRegistration", "provenance": "REAL", "siteId": "market"
        },
        { "__typename": "ErrorLog", "device": { "__typename": "Device", "deviceId": "till-1", "site": { "siteId": "harbour" } }, "hasId": "ErrorLog", "kind": "errorLog", "provenance": "REAL", "severity": "WARNING"
        }
        ]
        "#);
        }
    })
    .await;
}

#[tokio::test]
async fn skip_and_include_leave_out_at_every_level() {
    on_each_database(async |app| {
        one_error(app).await;
        let document = "query($yes: Boolean!, $no: Boolean!) { errorLogs { totalCount @include(if: $no)
            nodes @include(if: $yes) { errorMessage @skip(if: $no) severity @skip(if: $yes)
              ... on ErrorLog @include(if: $no) { category } ...F @skip(if: $yes) device { name @include(if: $no) deviceId } }
            edges @skip(if: $yes) { cursor } } }
          fragment F on ErrorLog { endpoint }";
        let data = app.data_with(document, json!({ "yes": true, "no": false })).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"errorLogs":{"nodes":[{"device":{"deviceId":"till-1"},"errorMessage":"paper is out"}]}}"#);
        }
    })
    .await;
}

/// A client that knows the schema takes no null for a field that has none.
#[tokio::test]
async fn an_object_of_which_everything_is_left_out_is_empty() {
    on_each_database(async |app| {
        one_error(app).await;
        let document = "query($no: Boolean!) { viewer { name @include(if: $no) } storeHealth { ...H @include(if: $no) }
            collectionStatus { asOf @include(if: $no) }
            counted: collectionStatus { sources { records @include(if: $no) } }
            devices(first: 0) { pageInfo { endCursor @include(if: $no) } } jobs { pageInfo { endCursor @include(if: $no) } }
            accessKeys { nodes { id @include(if: $no) } edges { node { id @include(if: $no) } } }
            errorLogs { pageInfo { endCursor @include(if: $no) } nodes { id @include(if: $no) } } }
          fragment H on StoreHealth { head }";
        let data = app.data_with(document, json!({ "no": false })).await;
        let counted = data["counted"]["sources"].as_array().unwrap();
        assert!(counted.iter().all(|source| *source == json!({})), "{counted:?}");
        let keys = &data["accessKeys"];
        let nodes = keys["nodes"].as_array().unwrap().len();
        let empty = json!({ "nodes": vec![json!({}); nodes], "edges": vec![json!({ "node": {} }); nodes] });
        assert_eq!(*keys, empty);
        let page = json!({ "pageInfo": {} });
        for (key, empty) in [
            ("viewer", json!({})),
            ("storeHealth", json!({})),
            ("collectionStatus", json!({})),
            ("devices", page.clone()),
            ("jobs", page),
            ("errorLogs", json!({ "pageInfo": {}, "nodes": [{}] })),
        ] {
            assert_eq!(data[key], empty, "{key}");
        }
        let nothing = "mutation($no: Boolean!) { cancelJob(input: { jobId: \"none\" }) { job @include(if: $no) { id } } }";
        let data = app.data_with(nothing, json!({ "no": false })).await;
        assert_eq!(data, json!({ "cancelJob": {} }));
        let data = app.data("{ viewer @skip(if: true) { name } }").await;
        assert_eq!(data, json!({}));
    })
    .await;
}

#[tokio::test]
async fn fields_selected_twice_are_merged() {
    on_each_database(async |app| {
        one_error(app).await;
        let data = app
            .data("{ errorLogs { nodes { severity } nodes { severity errorMessage device { deviceId } device { name } }
                edges { node { category } } edges { node { severity } } pageInfo { hasNextPage } pageInfo { hasPreviousPage } }
                errorLogs { totalCount } }")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"errorLogs":{"edges":[{"node":{"category":"DEVICE","severity":"WARNING"}}],"nodes":[{"device":{"deviceId":"till-1","name":"Till till-1"},"errorMessage":"paper is out","severity":"WARNING"}],"pageInfo":{"hasNextPage":false,"hasPreviousPage":false},"totalCount":"1"}}"#);
        }
    })
    .await;
}

/// However often a field stands under one key, and wherever: in one object, in fragments, at the root.
#[tokio::test]
async fn fields_selected_many_times_are_merged() {
    on_each_database(async |app| {
        one_error(app).await;
        let document = "{ errorLogs { edges { node { severity } ...E } nodes { device { deviceId } ...D } nodes { device { name } } }
                errorLogs { nodes { category device { lifecycle } } }
                errorLogs { nodes { endpoint } edges { node { endpoint } } } }
              fragment E on ErrorLogEdge { node { category } ... on ErrorLogEdge { node { errorMessage } } }
              fragment D on ErrorLog { device { site { siteId } } ... on Event { ... on ErrorLog { device { site { name } } } } }";
        let data = app.data(document).await;
        let edge = json!({ "node": {
            "severity": "WARNING", "category": "DEVICE", "errorMessage": "paper is out", "endpoint": null
        } });
        let site = json!({ "siteId": "harbour", "name": "Harbour shop" });
        let device = json!({ "deviceId": "till-1", "site": site, "name": "Till till-1", "lifecycle": "ACTIVE" });
        let node = json!({ "device": device, "category": "DEVICE", "endpoint": null });
        assert_eq!(data["errorLogs"], json!({ "edges": [edge], "nodes": [node] }));
    })
    .await;
}

/// The parser of the library knows neither form of them.
#[tokio::test]
async fn a_character_of_a_string_may_be_two_escapes_or_one_in_braces() {
    on_each_database(async |app| {
        app.fleet().await;
        let till = "\u{1F600}";
        app.record(json!([{ "deviceRegistration": {
        "deviceId": till, "siteId": "harbour", "deviceType": "POS_TERMINAL", "name": "A till"
    } }]))
        .await;
        for written in [r"\uD83D\uDE00", r"\u{1F600}", r"\u{1f600}", till] {
            let document = format!("{{ device(deviceId: \"{written}\") {{ deviceId }} }}");
            let data = app.data(&document).await;
            assert_eq!(data["device"]["deviceId"], till, "{written}");
        }
        // an error has its place where the document has it
        for wrong in ["nothing", "!"] {
            let document =
                format!(r#"{{ device(deviceId: "\u{{1F600}}\uD83D\uDE00") {{ {wrong} }} }}"#);
            let refused = app.query(json!({ "query": document })).await;
            let column = document.find(wrong).unwrap() + 1;
            let place = json!([{ "line": 1, "column": column }]);
            assert_eq!(refused["errors"][0]["locations"], place, "{refused}");
        }
        let halves = r#"{ device(deviceId: "\uDE00\uD83D") { deviceId } }"#;
        let refused = app.query(json!({ "query": halves })).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "PARSE_FAILED");
    })
    .await;
}

#[tokio::test]
async fn every_type_tells_its_name() {
    on_each_database(async |app| {
        one_error(app).await;
        let data = app
            .data("{ __typename errorLogs { __typename edges { __typename node { __typename device { __typename site { __typename } } } }
                nodes { __typename } pageInfo { __typename } }
                events(first: 1) { __typename edges { __typename } }
                devices(first: 1) { __typename edges { __typename node { __typename deviceMetrics { __typename } } } } }")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"__typename":"Query","devices":{"__typename":"DeviceConnection","edges":[{"__typename":"DeviceEdge","node":{"__typename":"Device","deviceMetrics":{"__typename":"DeviceMetricsConnection"}}}]},"errorLogs":{"__typename":"ErrorLogConnection","edges":[{"__typename":"ErrorLogEdge","node":{"__typename":"ErrorLog","device":{"__typename":"Device","site":{"__typename":"Site"}}}}],"nodes":[{"__typename":"ErrorLog"}],"pageInfo":{"__typename":"PageInfo"}},"events":{"__typename":"EventConnection","edges":[{"__typename":"EventEdge"}]}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn operations_are_chosen_by_name() {
    on_each_database(async |app| {
        let document = "query A { viewer { name } } query B { viewer { role } }";
        let answer = app
            .query(json!({ "query": document, "operationName": "B" }))
            .await;
        assert_eq!(answer["data"], json!({ "viewer": { "role": "ADMIN" } }));
        let none = app.query(json!({ "query": document })).await;
        assert_eq!(none["errors"][0]["extensions"]["code"], "VALIDATION_FAILED");
    })
    .await;
}

#[tokio::test]
async fn parts_of_a_day_are_what_is_selected_of_them() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([{ "siteSchedule": { "siteId": "harbour", "dayOfWeek": "MONDAY", "openTime": "08:00",
            "closeTime": "18:00", "peakHours": [{ "start": "12:00", "end": "13:30" }, { "start": "17:00", "end": "18:00" }] } }]))
            .await;
        let data = app
            .data("{ siteOperatingSchedules { nodes { peakHours { end } busy: peakHours { __typename from: start ...End }
                maintenanceWindows { start } } } } fragment End on TimeWindow { until: end }")
            .await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data["siteOperatingSchedules"]["nodes"][0], @r#"{"busy":[{"__typename":"TimeWindow","from":"12:00:00","until":"13:30:00"},{"__typename":"TimeWindow","from":"17:00:00","until":"18:00:00"}],"maintenanceWindows":null,"peakHours":[{"end":"13:30:00"},{"end":"18:00:00"}]}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn fields_stand_in_the_order_in_which_they_are_asked_for() {
    on_each_database(async |app| {
        one_error(app).await;
        let create = "mutation { createJob(input: { jobType: RESTART, deviceIds: [\"till-1\"] }) {
            job { targets { device { name } } jobType } userErrors { code } } }";
        let made = app.text(json!({ "query": create })).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(made, @r#"{"data":{"createJob":{"job":{"targets":[{"device":{"name":"Till till-1"}}],"jobType":"RESTART"},"userErrors":[]}}}"#);
        }
        let document = "query { errorLogs { totalCount nodes { device { errorLogs { totalCount } deviceId } severity } }
            ...Rest device(deviceId: \"till-1\") { site { name devices { totalCount nodes { deviceId } } } name } viewer { role name } }
          fragment Rest on Query { jobs { pageInfo { hasNextPage } nodes { targets { device { name } status } jobType } }
            devices(last: 1) { totalCount edges { node { site { siteId } deviceId } cursor } } storeHealth { epoch } }";
        let mut text = app.text(json!({ "query": document })).await;
        let cursor = text.split_once("\"cursor\":\"").unwrap().1;
        let cursor = cursor.split_once('"').unwrap().0.to_owned();
        text = text.replace(&cursor, "…");
        // whether the executor has ended the job by now is of no interest
        text = text.replace("\"COMPLETED\"", "null");
        insta::allow_duplicates! {
            insta::assert_snapshot!(text, @r#"{"data":{"errorLogs":{"totalCount":"1","nodes":[{"device":{"errorLogs":{"totalCount":"1"},"deviceId":"till-1"},"severity":"WARNING"}]},"jobs":{"pageInfo":{"hasNextPage":false},"nodes":[{"targets":[{"device":{"name":"Till till-1"},"status":null}],"jobType":"RESTART"}]},"devices":{"totalCount":"3","edges":[{"node":{"site":{"siteId":"market"},"deviceId":"till-3"},"cursor":"…"}]},"storeHealth":{"epoch":"1"},"device":{"site":{"name":"Harbour shop","devices":{"totalCount":"2","nodes":[{"deviceId":"till-1"},{"deviceId":"till-2"}]}},"name":"Till till-1"},"viewer":{"role":"ADMIN","name":"local"}}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_field_that_is_left_out_where_it_stands_first_has_its_place_where_it_stands_next() {
    on_each_database(async |app| {
        let document = "mutation { recordEvents(input: { events: [], clientMutationId: \"a\" }) {
            outcomes @skip(if: true) { index } clientMutationId outcomes { index } }
            cancelJob(input: { jobId: \"none\" }) { userErrors @skip(if: true) { code } job { id } userErrors { code } } }";
        let text = app.text(json!({ "query": document })).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(text, @r#"{"data":{"recordEvents":{"clientMutationId":"a","outcomes":[]},"cancelJob":{"job":null,"userErrors":[{"code":"NOT_FOUND"}]}}}"#);
        }
    })
    .await;
}
