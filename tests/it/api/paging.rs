//! Pages: whatever their size and direction, put together they are the list.

use homepot_analytics::kinds::Kind;
use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database, texts};
use super::inputs::{error, varied};

const ORDERS: [&str; 4] = [
    "NEWEST_FIRST",
    "OLDEST_FIRST",
    "LAST_RECORDED_FIRST",
    "FIRST_RECORDED_FIRST",
];

async fn page(app: &TestApp, list: &str, arguments: &str) -> Value {
    let document = format!(
        "{{ {list}({arguments}) {{ totalCount nodes {{ position }} edges {{ cursor node {{ position cursor }} }}
        pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
    );
    let mut data = app.data(&document).await;
    let page = data[list].take();
    let nodes: Vec<Value> = page["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["node"].clone())
        .collect();
    assert_eq!(
        texts(&page["nodes"], "position"),
        texts(&json!(nodes), "position")
    );
    assert_eq!(
        texts(&page["edges"], "cursor"),
        texts(&json!(nodes), "cursor")
    );
    page
}

/// All rows by pages of a size, from the beginning or from the end.
async fn by_pages(
    app: &TestApp,
    list: &str,
    more: &str,
    size: usize,
    forward: bool,
) -> Vec<String> {
    let (mut rows, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let (count, place) = if forward {
            ("first", "after")
        } else {
            ("last", "before")
        };
        let place = cursor
            .as_ref()
            .map(|cursor| format!(", {place}: \"{cursor}\""));
        let arguments = format!("{count}: {size}{}{more}", place.clone().unwrap_or_default());
        let page = page(app, list, &arguments).await;
        let found = texts(&page["nodes"], "position");
        assert!(found.len() <= size);
        let info = &page["pageInfo"];
        let (next, end) = if forward {
            ("hasNextPage", "endCursor")
        } else {
            ("hasPreviousPage", "startCursor")
        };
        let back = if forward {
            "hasPreviousPage"
        } else {
            "hasNextPage"
        };
        // the pages before this one, and nothing else, are what there is on the other side
        assert_eq!(info[back], json!(!rows.is_empty()));
        cursor = info[end].as_str().map(str::to_owned);
        if forward {
            rows.extend(found);
        } else {
            rows.splice(0..0, found);
        }
        if info[next] == json!(false) {
            return rows;
        }
    }
}

#[tokio::test]
async fn page_by_page_from_either_end_equals_all_at_once_for_every_kind_and_order() {
    on_each_database(async |app| {
        app.fleet().await;
        let kinds = Kind::ALL
            .iter()
            .map(|kind| kind.spec())
            .filter(|spec| spec.recordable);
        let recordable = kinds.clone().count();
        // others follow by themselves, such as alerts
        let names: Vec<&str> = kinds.clone().map(|spec| spec.wire).collect();
        let names = names.join(", ");
        for spec in kinds {
            let events: Vec<Value> = (0..11).map(|row| varied(spec, row)).collect();
            app.record(json!(events)).await;
            let before = at(-9);
            for order in ORDERS {
                let all = if spec.derived.is_some() {
                    ", all: true"
                } else {
                    ""
                };
                let more = format!(
                    ", order: {order}{all}, filter: {{ occurredAt: {{ lt: \"{before}\" }} }}"
                );
                let at_once = page(app, spec.list, &format!("first: 1000{more}")).await;
                let at_once = texts(&at_once["nodes"], "position");
                assert_eq!(at_once.len(), 11, "{}", spec.wire);
                for (size, forward) in [(4, true), (4, false), (1, true), (11, false)] {
                    let paged = by_pages(app, spec.list, &more, size, forward).await;
                    assert_eq!(paged, at_once, "{} {order} {size} {forward}", spec.wire);
                }
            }
        }
        for order in ORDERS {
            let more = format!(
                ", order: {order}, filter: {{ kind: {{ in: [{names}] }}, occurredAt: {{ lt: \"{}\" }} }}",
                at(-9)
            );
            let at_once = page(app, "events", &format!("first: 1000{more}")).await;
            let at_once = texts(&at_once["nodes"], "position");
            assert_eq!(at_once.len(), 11 * recordable);
            for forward in [true, false] {
                assert_eq!(by_pages(app, "events", &more, 23, forward).await, at_once);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn orders_are_by_time_or_by_position_each_in_both_directions() {
    on_each_database(async |app| {
        app.fleet().await;
        for (message, minutes) in [("b", -20), ("c", -10), ("a", -30)] {
            let mut event = error(message, "INFO");
            event["errorLog"]["occurredAt"] = json!(at(minutes));
            app.record(json!([event])).await;
        }
        for (order, expected) in ORDERS.into_iter().zip(["cba", "abc", "acb", "bca"]) {
            let document =
                format!("{{ errorLogs(order: {order}) {{ nodes {{ errorMessage }} }} }}");
            let data = app.data(&document).await;
            assert_eq!(
                texts(&data["errorLogs"]["nodes"], "errorMessage").concat(),
                expected
            );
        }
        let data = app.data("{ errorLogs { nodes { errorMessage } } }").await;
        assert_eq!(
            texts(&data["errorLogs"]["nodes"], "errorMessage").concat(),
            "cba"
        );
    })
    .await;
}

#[tokio::test]
async fn total_count_is_that_of_all_pages() {
    on_each_database(async |app| {
        app.fleet().await;
        let events = vec![error("one of seven", "INFO"); 7];
        app.record(json!(events)).await;
        let first = page(app, "errorLogs", "first: 2").await;
        assert_eq!(first["totalCount"], "7");
        let cursor = first["pageInfo"]["endCursor"].as_str().unwrap();
        let second = page(app, "errorLogs", &format!("first: 2, after: \"{cursor}\"")).await;
        assert_eq!(second["totalCount"], "7");
    })
    .await;
}

#[tokio::test]
async fn fifty_rows_are_a_page_when_no_number_is_given_and_none_when_it_is_zero() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!(vec![error("one of sixty", "INFO"); 60]))
            .await;
        let all = page(app, "errorLogs", "order: NEWEST_FIRST").await;
        assert_eq!(all["nodes"].as_array().unwrap().len(), 50);
        let none = page(app, "errorLogs", "first: 0").await;
        assert_eq!(none["nodes"], json!([]));
        assert_eq!(none["pageInfo"]["hasNextPage"], true);
        assert_eq!(none["pageInfo"]["endCursor"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn page_arguments_out_of_bounds_are_bad_input() {
    on_each_database(async |app| {
        for list in ["errorLogs", "events", "sites", "devices"] {
            for arguments in [
                "first: 1, last: 1",
                "first: -1",
                "last: -1",
                "first: 1001",
                "last: 1001",
                "after: \"garbage\"",
                "before: \"\"",
                "after: \"AAAA\"",
            ] {
                let document =
                    format!("{{ {list}({arguments}) {{ totalCount nodes {{ __typename }} }} }}");
                assert_eq!(
                    app.code(&document).await,
                    "BAD_INPUT",
                    "{list}({arguments})"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_cursor_of_another_log_has_expired() {
    on_each_database(async |app| {
        // form 1, another log, epoch 1, position 5, some instant
        let other = "AQECAwQFBgcIAAAAAQAAAAAAAAAFAAZEPfMKgAA";
        for list in ["errorLogs", "events"] {
            for place in ["after", "before"] {
                let document = format!("{{ {list}({place}: \"{other}\") {{ nodes {{ id }} }} }}");
                assert_eq!(app.code(&document).await, "CURSOR_EXPIRED");
            }
        }
        let mut socket = app.socket().await;
        let document = "subscription($c: String) { errorLogs(after: $c) { id } }";
        let id = socket.subscribe(document, json!({ "c": other })).await;
        let failed = socket.next(&id).await.unwrap();
        assert_eq!(failed["errors"][0]["extensions"]["code"], "CURSOR_EXPIRED");
    })
    .await;
}

#[tokio::test]
async fn a_cursor_that_is_only_for_following_is_no_place_in_time() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([error("one", "INFO")])).await;
        app.record(json!([error("two", "INFO")])).await;
        let head = app.head().await;
        let by_time = format!("{{ errorLogs(after: \"{head}\") {{ nodes {{ id }} }} }}");
        assert_eq!(app.code(&by_time).await, "BAD_INPUT");
        let recorded = format!(
            "{{ errorLogs(after: \"{head}\", order: LAST_RECORDED_FIRST) {{ nodes {{ errorMessage }} }} }}"
        );
        let data = app.data(&recorded).await;
        // the head itself is after nothing
        let found = texts(&data["errorLogs"]["nodes"], "errorMessage");
        assert_eq!(found.last().unwrap(), "one");
    })
    .await;
}

#[tokio::test]
async fn sites_and_devices_are_paged_by_id_from_either_end() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut more = Vec::new();
        for n in 0..9 {
            let id = format!("kiosk-{}", (n * 4) % 9);
            more.push(json!({ "deviceRegistration": { "deviceId": id, "siteId": "market", "deviceType": "GATEWAY" } }));
            more.push(json!({ "siteRegistration": { "siteId": id, "name": id } }));
        }
        app.record(json!(more)).await;
        for (list, id, expected) in [("devices", "deviceId", 12), ("sites", "siteId", 11)] {
            let read = async |arguments: String| {
                let document = format!(
                    "{{ {list}({arguments}) {{ totalCount nodes {{ {id} }} edges {{ cursor }} pageInfo {{
                    hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
                );
                app.data(&document).await[list].take()
            };
            let all = read("first: 100".to_owned()).await;
            let ids = texts(&all["nodes"], id);
            assert_eq!((ids.len(), ids.is_sorted()), (expected, true));
            assert_eq!(all["totalCount"], json!(expected.to_string()));
            let middle = all["edges"][5]["cursor"].as_str().unwrap();
            let after = read(format!("first: 3, after: \"{middle}\"")).await;
            assert_eq!(texts(&after["nodes"], id), ids[6..9]);
            assert_eq!(after["pageInfo"]["hasNextPage"], true);
            assert_eq!(after["pageInfo"]["hasPreviousPage"], true);
            let before = read(format!("last: 3, before: \"{middle}\"")).await;
            assert_eq!(texts(&before["nodes"], id), ids[2..5]);
            let last = read("last: 2".to_owned()).await;
            assert_eq!(texts(&last["nodes"], id), ids[expected - 2..]);
            assert_eq!(last["pageInfo"]["hasNextPage"], false);
        }
    })
    .await;
}

#[tokio::test]
async fn a_place_outside_a_list_has_nothing_on_the_side_that_is_empty() {
    on_each_database(async |app| {
        app.fleet().await;
        let messages = ["a", "b", "c"].into_iter().enumerate();
        for (n, message) in messages {
            let severity = if message == "b" { "CRITICAL" } else { "INFO" };
            let mut event = error(message, severity);
            event["errorLog"]["occurredAt"] = json!(at(i64::try_from(n).unwrap() - 9));
            app.record(json!([event])).await;
        }
        let all = page(app, "errorLogs", "first: 3").await;
        let cursors = texts(&all["edges"], "cursor");
        // newest first: c, b, a; of the one that is critical, c is before and a behind
        let critical = "filter: { severity: { eq: CRITICAL } }";
        for (arguments, previous, next) in [
            (
                format!("first: 1, after: \"{}\", {critical}", cursors[0]),
                false,
                false,
            ),
            (
                format!("first: 1, after: \"{}\", {critical}", cursors[1]),
                true,
                false,
            ),
            (
                format!("first: 1, after: \"{}\", {critical}", cursors[2]),
                true,
                false,
            ),
            (
                format!("last: 1, before: \"{}\", {critical}", cursors[2]),
                false,
                false,
            ),
            (
                format!("last: 1, before: \"{}\", {critical}", cursors[1]),
                false,
                true,
            ),
            (
                format!("last: 1, before: \"{}\", {critical}", cursors[0]),
                false,
                true,
            ),
            (format!("first: 1, before: \"{}\"", cursors[2]), false, true),
            (format!("last: 1, after: \"{}\"", cursors[0]), true, false),
        ] {
            for order in ["NEWEST_FIRST", "LAST_RECORDED_FIRST"] {
                let page = page(app, "errorLogs", &format!("{arguments}, order: {order}")).await;
                let info = &page["pageInfo"];
                let sides = (&info["hasPreviousPage"], &info["hasNextPage"]);
                assert_eq!(
                    sides,
                    (&json!(previous), &json!(next)),
                    "{arguments} {order}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_of_devices_tells_what_is_on_either_side_of_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let read = async |arguments: &str| {
            let document = format!(
                "{{ devices({arguments}) {{ edges {{ cursor }} pageInfo {{ hasPreviousPage hasNextPage }} }} }}"
            );
            app.data(&document).await["devices"].take()
        };
        let all = read("first: 3").await;
        let cursors = texts(&all["edges"], "cursor");
        let retired = "filter: { lifecycle: [RETIRED] }";
        for (arguments, previous, next) in [
            (format!("first: 1, after: \"{}\"", cursors[0]), true, true),
            (format!("first: 1, after: \"{}\", {retired}", cursors[0]), false, false),
            (format!("last: 1, before: \"{}\"", cursors[2]), true, true),
            (format!("last: 1, before: \"{}\", {retired}", cursors[2]), false, false),
            (format!("first: 5, after: \"{}\", before: \"{}\"", cursors[0], cursors[2]), true, true),
        ] {
            let info = read(&arguments).await["pageInfo"].take();
            let expected = json!({ "hasPreviousPage": previous, "hasNextPage": next });
            assert_eq!(info, expected, "{arguments}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_cursor_of_sites_is_no_place_among_devices() {
    on_each_database(async |app| {
        app.fleet().await;
        let data = app.data("{ sites(first: 1) { edges { cursor } } }").await;
        let cursor = data["sites"]["edges"][0]["cursor"].as_str().unwrap();
        let document = format!("{{ devices(after: \"{cursor}\") {{ totalCount }} }}");
        assert_eq!(app.code(&document).await, "BAD_INPUT");
    })
    .await;
}
