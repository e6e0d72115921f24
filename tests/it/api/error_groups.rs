//! Errors that are one error are one group: it is counted, told with its evidence, decided about, and comes back.

use serde_json::{Value, json};

use super::app::{TestApp, at, on_each_database, texts};

/// An error of a device, so many minutes after noon.
pub(super) fn error(device: &str, message: &str, minutes: i64) -> Value {
    json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": message,
        "deviceId": device, "occurredAt": at(minutes) } })
}

/// Records errors, each of a device, with a message, at so many minutes after noon.
pub(super) async fn record(app: &TestApp, errors: &[(&str, &str, i64)]) {
    let events = errors
        .iter()
        .map(|(device, message, minutes)| error(device, message, *minutes));
    app.record(events.collect()).await;
}

/// The nodes of a page of groups.
pub(super) async fn groups(app: &TestApp, arguments: &str, fields: &str) -> Value {
    let document = format!("{{ errorGroups{arguments} {{ nodes {{ {fields} }} }} }}");
    app.data(&document).await["errorGroups"]["nodes"].take()
}

/// The id of the group with a template.
pub(super) async fn id_of(app: &TestApp, template: &str) -> String {
    let nodes = groups(app, "(first: 1000)", "id template").await;
    let nodes = nodes.as_array().unwrap();
    let node = nodes.iter().find(|node| node["template"] == template);
    let node = node.unwrap_or_else(|| panic!("{template}: {nodes:#?}"));
    node["id"].as_str().unwrap().to_owned()
}

/// Decides about a group.
pub(super) async fn decide(app: &TestApp, operation: &str, id: &str, more: &str) -> Value {
    let document = format!(
        "mutation {{ {operation}(input: {{ id: \"{id}\"{more} }}) {{
            errorGroup {{ id status version decision decidedBy decisionReason regressedAt count }}
            userErrors {{ field code }} }} }}"
    );
    app.data(&document).await[operation].take()
}

/// Has some decisions taken about errors of devices that nobody else has, so that there are events of that.
pub(super) async fn decided(app: &TestApp) {
    let known = groups(app, "(first: 1000)", "id").await;
    let again = " again".repeat(known.as_array().unwrap().len());
    let (left, right) = (
        format!("drawer sticks{again}"),
        format!("scanner blind{again}"),
    );
    record(app, &[("till-1", &left, -1), ("till-3", &right, -1)]).await;
    for (template, operation) in [(&left, "resolveErrorGroup"), (&right, "ignoreErrorGroup")] {
        let id = id_of(app, template).await;
        let done = decide(app, operation, &id, ", reason: \"seen to\"").await;
        assert_eq!(done["userErrors"], json!([]), "{done}");
    }
}

/// The template of a group of many messages.
pub(super) const PAPER: &str = "printer <*> is out of paper";
/// The template of a group of one message.
pub(super) const CARD: &str = "card reader lost";

/// Two groups: one on three devices, one on one.
pub(super) async fn story(app: &TestApp) {
    app.fleet().await;
    record(
        app,
        &[
            ("till-1", "printer 12 is out of paper", -300),
            ("till-2", "printer 7 is out of paper", -200),
            ("till-3", "printer 9 is out of paper", -100),
            ("till-1", "printer 12 is out of paper", -90),
            ("till-3", CARD, -60),
        ],
    )
    .await;
}

#[tokio::test]
async fn errors_of_one_form_are_one_group_with_its_devices_and_its_errors() {
    on_each_database(async |app| {
        story(app).await;
        let fields = "id provenance template category errorCode severity status count deviceCount
            isDeviceCountExact firstSeenAt lastSeenAt version sentence";
        let mut nodes = groups(app, "", fields).await;
        assert_eq!(texts(&nodes, "template"), [CARD, PAPER]);
        let mut paper = nodes[1].take();
        let id = paper.as_object_mut().unwrap().remove("id").unwrap();
        assert!(id.as_str().unwrap().starts_with("real-"), "{id}");
        assert_eq!(
            paper,
            json!({ "provenance": "REAL", "template": PAPER, "category": "DEVICE", "errorCode": null,
                "severity": "ERROR", "status": "OPEN", "count": "4", "deviceCount": "3",
                "isDeviceCountExact": true, "firstSeenAt": at(-300), "lastSeenAt": at(-90), "version": "0",
                "sentence": "Seen 4 times on 3 devices since Monday 07:00" })
        );
        let document = "query($id: ID!) { errorGroup(id: $id) { count
            events(first: 3) { totalCount nodes { errorMessage deviceId device { name } } pageInfo { hasNextPage endCursor } }
            devices { totalCount nodes { count firstSeenAt lastSeenAt device { deviceId } } }
            trend { value status errors interval { low } } bursts { count } suspectedChanges { ratio } } }";
        let data = app.data_with(document, json!({ "id": id })).await;
        let group = &data["errorGroup"];
        let messages = texts(&group["events"]["nodes"], "errorMessage");
        assert_eq!(
            messages,
            ["printer 12 is out of paper", "printer 9 is out of paper", "printer 7 is out of paper"]
        );
        assert_eq!(group["events"]["totalCount"], "4");
        assert_eq!(group["events"]["pageInfo"]["hasNextPage"], true);
        assert_eq!(
            group["devices"]["nodes"][0],
            json!({ "count": "2", "firstSeenAt": at(-300), "lastSeenAt": at(-90), "device": { "deviceId": "till-1" } })
        );
        assert_eq!(group["devices"]["totalCount"], "3");
        assert_eq!(
            group["trend"],
            json!({ "value": null, "status": "INSUFFICIENT", "errors": null, "interval": null })
        );
        let rest = "query($id: ID!, $after: String) { errorGroup(id: $id) {
            events(first: 3, after: $after) { edges { cursor node { errorMessage } } pageInfo { hasNextPage } } } }";
        let after = &group["events"]["pageInfo"]["endCursor"];
        let data = app.data_with(rest, json!({ "id": id, "after": after })).await;
        let events = &data["errorGroup"]["events"];
        assert_eq!(events["edges"].as_array().unwrap().len(), 1);
        assert_eq!(events["pageInfo"]["hasNextPage"], false);
        let none = app.data("{ a: errorGroup(id: \"none\") { id } b: errorGroup(id: \"real-0000000000000001\") { id } }").await;
        assert_eq!(none, json!({ "a": null, "b": null }));
    })
    .await;
}

#[tokio::test]
async fn filters_leave_the_groups_that_were_seen_there_with_what_was_counted_there() {
    on_each_database(async |app| {
        story(app).await;
        app.record(json!([
            { "errorLog": { "category": "SYSTEM", "severity": "CRITICAL", "errorMessage": "disk full", "occurredAt": at(-50) } },
            { "errorLog": { "category": "API", "severity": "WARNING", "errorMessage": "slow answer",
                "deviceId": "till-1", "provenance": "SIMULATED", "occurredAt": at(-40) } },
        ]))
        .await;
        for (filter, expected) in [
            ("", json!([["disk full", "1"], [CARD, "1"], [PAPER, "4"]])),
            ("deviceId: \"till-1\"", json!([[PAPER, "2"]])),
            ("siteId: \"harbour\"", json!([[PAPER, "3"]])),
            ("siteId: \"market\"", json!([[CARD, "1"], [PAPER, "1"]])),
            ("siteId: \"nowhere\"", json!([])),
            ("deviceTypes: [POS_TERMINAL]", json!([[CARD, "1"], [PAPER, "4"]])),
            ("deviceTypes: [GATEWAY]", json!([])),
            ("categories: [SYSTEM]", json!([["disk full", "1"]])),
            ("severities: [CRITICAL, WARNING]", json!([["disk full", "1"]])),
            ("statuses: [RESOLVED]", json!([])),
            ("provenance: SIMULATED", json!([["slow answer", "1"]])),
            ("provenance: CONTROLLED", json!([])),
            (&*format!("seenSince: \"{}\"", at(-70)), json!([["disk full", "1"], [CARD, "1"]])),
            (&*format!("seenBefore: \"{}\"", at(-150)), json!([[PAPER, "4"]])),
        ] {
            let nodes = groups(app, &format!("(filter: {{ {filter} }})"), "template count").await;
            let nodes = nodes.as_array().unwrap().iter();
            let found: Vec<Value> = nodes.map(|node| json!([node["template"], node["count"]])).collect();
            assert_eq!(json!(found), expected, "{filter}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_by_time_and_by_count_come_to_all_of_them_from_either_end() {
    on_each_database(async |app| {
        app.fleet().await;
        let words = ["printer", "drawer", "scanner", "modem", "screen"];
        let mut errors = Vec::new();
        for (ordinal, word) in (1..).zip(words) {
            let message = format!("{word} broke down at once");
            errors.extend((0..ordinal).map(|time| error("till-1", &message, -10 * ordinal - time)));
        }
        app.record(json!(errors)).await;
        for (order, expected) in [
            ("LAST_SEEN", words),
            ("COUNT", ["screen", "modem", "scanner", "drawer", "printer"]),
        ] {
            let mut found: Vec<String> = Vec::new();
            let mut after = String::new();
            loop {
                let arguments = format!("(first: 2, order: {order}{after})");
                let document = format!(
                    "{{ errorGroups{arguments} {{ totalCount edges {{ cursor node {{ template }} }}
                    pageInfo {{ hasNextPage hasPreviousPage endCursor }} }} }}"
                );
                let data = app.data(&document).await;
                let page = &data["errorGroups"];
                assert_eq!(page["totalCount"], "5");
                assert_eq!(
                    page["pageInfo"]["hasPreviousPage"],
                    json!(!after.is_empty())
                );
                let edges = page["edges"].as_array().unwrap();
                found.extend(
                    edges
                        .iter()
                        .map(|edge| edge["node"]["template"].as_str().unwrap().to_owned()),
                );
                if page["pageInfo"]["hasNextPage"] == json!(false) {
                    break;
                }
                after = format!(", after: {}", page["pageInfo"]["endCursor"]);
            }
            let first: Vec<&str> = found
                .iter()
                .map(|text| text.split(' ').next().unwrap())
                .collect();
            assert_eq!(first, expected, "{order}");
            let last = groups(app, &format!("(last: 2, order: {order})"), "template").await;
            assert_eq!(texts(&last, "template"), found[3..], "{order}");
        }
        for arguments in [
            "first: -1",
            "first: 1001",
            "first: 1, last: 1",
            "after: \"none\"",
        ] {
            let document = format!("{{ errorGroups({arguments}) {{ totalCount }} }}");
            assert_eq!(app.code(&document).await, "BAD_INPUT", "{arguments}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_resolved_comes_back_by_an_error_that_is_later_and_what_is_ignored_does_not() {
    on_each_database(async |app| {
        story(app).await;
        let id = id_of(app, PAPER).await;
        let done = decide(app, "resolveErrorGroup", &id, ", reason: \"refilled\"").await;
        assert_eq!(done["userErrors"], json!([]));
        let group = &done["errorGroup"];
        assert_eq!(group["status"], "RESOLVED");
        assert_eq!(group["decision"], "RESOLVED");
        assert_eq!(group["decidedBy"], "local");
        assert_eq!(group["decisionReason"], "refilled");
        // it was resolved already
        let again = decide(app, "resolveErrorGroup", &id, ", expectedVersion: \"0\"").await;
        assert_eq!(again["userErrors"], json!([]));
        let stale = decide(app, "ignoreErrorGroup", &id, ", expectedVersion: \"0\"").await;
        assert_eq!(
            stale["userErrors"],
            json!([{ "field": "expectedVersion", "code": "CONFLICT" }])
        );
        // one that is late was before it was resolved
        record(app, &[("till-2", "printer 7 is out of paper", -5)]).await;
        let group = groups(
            app,
            "(filter: { statuses: [RESOLVED] })",
            "count regressedAt",
        )
        .await;
        assert_eq!(group, json!([{ "count": "5", "regressedAt": null }]));
        app.clock.advance_ms(600_000);
        record(app, &[("till-2", "printer 7 is out of paper", 5)]).await;
        let fields = "status regressedAt decision trend { recommendations { action } }";
        let group = groups(
            app,
            &format!("(filter: {{ seenSince: \"{}\" }})", at(5)),
            fields,
        )
        .await;
        assert_eq!(group[0]["status"], "OPEN");
        assert_eq!(group[0]["regressedAt"], json!(at(5)));
        let version = done["errorGroup"]["version"].as_str().unwrap();
        let ignored = decide(
            app,
            "ignoreErrorGroup",
            &id,
            &format!(", expectedVersion: \"{version}\""),
        )
        .await;
        assert_eq!(ignored["errorGroup"]["status"], "IGNORED", "{ignored}");
        app.clock.advance_ms(600_000);
        record(app, &[("till-1", "printer 7 is out of paper", 15)]).await;
        let group = groups(app, "(filter: { statuses: [IGNORED] })", "count").await;
        assert_eq!(group, json!([{ "count": "7" }]));
        let opened = decide(app, "reopenErrorGroup", &id, "").await;
        assert_eq!(opened["errorGroup"]["status"], "OPEN");
    })
    .await;
}

#[tokio::test]
async fn what_was_decided_is_told_and_holds_when_the_groups_are_folded_anew() {
    on_each_database(async |app| {
        story(app).await;
        let id = id_of(app, PAPER).await;
        decide(app, "resolveErrorGroup", &id, ", reason: \"refilled\"").await;
        app.clock.advance_ms(600_000);
        record(app, &[("till-2", "printer 7 is out of paper", 5)]).await;
        decide(app, "ignoreErrorGroup", &id, "").await;
        decide(app, "reopenErrorGroup", &id, "").await;
        let unknown = decide(app, "reopenErrorGroup", "real-0000000000000001", "").await;
        assert_eq!(unknown["userErrors"], json!([{ "field": "id", "code": "NOT_FOUND" }]));
        let long = format!(", reason: \"{}\"", "x".repeat(1_001));
        let refused = decide(app, "resolveErrorGroup", &id, &long).await;
        assert_eq!(refused["userErrors"], json!([{ "field": "reason", "code": "INVALID" }]));
        let changes = "{ errorGroupChanges(order: FIRST_RECORDED_FIRST) { nodes { groupId change template changedBy reason } } }";
        let data = app.data(changes).await;
        let nodes = &data["errorGroupChanges"]["nodes"];
        assert_eq!(texts(nodes, "change"), ["RESOLVED", "IGNORED", "REOPENED"]);
        assert_eq!(
            nodes[0],
            json!({ "groupId": id, "change": "RESOLVED", "template": PAPER, "changedBy": "local", "reason": "refilled" })
        );
        // nothing of it is lost when the groups are folded anew
        app.stop().await;
        let database = app.database().await;
        sea_orm::ConnectionTrait::execute_unprepared(&database, "UPDATE error_group_states SET version = version - 1")
            .await
            .unwrap();
        app.start_again().await;
        let paper = loop {
            let group = groups(app, "(filter: { categories: [DEVICE] })", "id template status count decision").await;
            let paper = group.as_array().unwrap().iter().find(|group| group["template"] == PAPER);
            // nobody waits until groups are folded anew
            if let Some(paper) = paper {
                break paper.clone();
            }
        };
        assert_eq!(
            paper,
            json!({ "id": id, "template": PAPER, "status": "OPEN", "count": "5", "decision": "REOPENED" })
        );
    })
    .await;
}

#[tokio::test]
async fn groups_that_are_merged_are_one_and_the_ids_of_both_lead_to_it() {
    on_each_database(async |app| {
        story(app).await;
        let (paper, card) = (id_of(app, PAPER).await, id_of(app, CARD).await);
        let more = format!(", mergedIds: [\"{paper}\", \"{paper}\"]");
        let done = decide(app, "mergeErrorGroups", &card, &more).await;
        assert_eq!(done["userErrors"], json!([]), "{done}");
        assert_eq!(done["errorGroup"]["count"], "5");
        // the one that was seen first
        assert_eq!(done["errorGroup"]["id"], json!(paper));
        let document = format!(
            "{{ errorGroups {{ totalCount }} errorGroup(id: \"{card}\") {{ id devices {{ totalCount }} events {{ nodes {{ errorMessage }} }} }} }}"
        );
        let data = app.data(&document).await;
        assert_eq!(data["errorGroups"]["totalCount"], "1");
        assert_eq!(data["errorGroup"]["devices"]["totalCount"], "3");
        let events = &data["errorGroup"]["events"]["nodes"];
        assert_eq!(texts(events, "errorMessage").len(), 5);
        // what is decided of one is decided of both, and an error of either brings it back
        decide(app, "resolveErrorGroup", &card, "").await;
        assert_eq!(groups(app, "", "status").await, json!([{ "status": "RESOLVED" }]));
        app.clock.advance_ms(60_000);
        record(app, &[("till-1", CARD, 1)]).await;
        let back = groups(app, "", "status regressedAt").await;
        assert_eq!(back, json!([{ "status": "OPEN", "regressedAt": at(1) }]));
        for (merged, code) in [
            ("[]", "TOO_MANY"),
            ("[\"none\"]", "NOT_FOUND"),
            ("[\"real-0000000000000001\"]", "NOT_FOUND"),
            ("[\"simulated-0000000000000001\"]", "INVALID"),
        ] {
            let refused = decide(app, "mergeErrorGroups", &card, &format!(", mergedIds: {merged}")).await;
            assert_eq!(refused["userErrors"][0]["code"], code, "{merged}");
        }
    })
    .await;
}

#[tokio::test]
async fn as_of_an_instant_nothing_counts_that_happened_later() {
    on_each_database(async |app| {
        story(app).await;
        let id = id_of(app, PAPER).await;
        app.clock.advance_ms(60_000);
        decide(app, "resolveErrorGroup", &id, "").await;
        app.clock.advance_ms(3_600_000);
        record(app, &[("till-2", "printer 3 is out of paper", 45)]).await;
        app.clock.advance_ms(3_600_000);
        for (minutes, expected) in [
            (-250, json!([[PAPER, "1", "1", "OPEN"]])),
            (-100, json!([[PAPER, "3", "3", "OPEN"]])),
            (-95, json!([[PAPER, "3", "3", "OPEN"]])),
            (
                0,
                json!([[CARD, "1", "1", "OPEN"], [PAPER, "4", "3", "OPEN"]]),
            ),
            (
                30,
                json!([[CARD, "1", "1", "OPEN"], [PAPER, "4", "3", "RESOLVED"]]),
            ),
            (
                50,
                json!([[PAPER, "5", "3", "OPEN"], [CARD, "1", "1", "OPEN"]]),
            ),
        ] {
            let arguments = format!("(asOf: \"{}\")", at(minutes));
            let nodes = groups(app, &arguments, "template count deviceCount status asOf").await;
            let nodes = nodes.as_array().unwrap().iter();
            let found = nodes.map(|node| {
                assert_eq!(node["asOf"], json!(at(minutes)));
                json!([
                    node["template"],
                    node["count"],
                    node["deviceCount"],
                    node["status"]
                ])
            });
            assert_eq!(json!(found.collect::<Vec<_>>()), expected, "{minutes}");
        }
        let at_site = format!("(asOf: \"{}\", filter: {{ siteId: \"harbour\" }})", at(-95));
        let nodes = groups(app, &at_site, "count").await;
        assert_eq!(nodes, json!([{ "count": "2" }]));
        for minutes in [-1_000_000, 1_000] {
            let document = format!(
                "{{ errorGroups(asOf: \"{}\") {{ totalCount }} }}",
                at(minutes)
            );
            assert_eq!(app.code(&document).await, "BAD_INPUT", "{minutes}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_before_an_error_on_most_of_its_devices_is_suspected() {
    on_each_database(async |app| {
        app.fleet().await;
        let days = |days: i64| days * 24 * 60;
        let mut events: Vec<Value> = Vec::new();
        for n in 0..12 {
            events.push(json!({ "deviceRegistration": { "deviceId": format!("d-{n:02}"), "siteId": "market",
                "deviceType": "POS_TERMINAL" } }));
        }
        events.push(json!({ "deviceMetrics": { "deviceId": "d-00", "occurredAt": at(days(-40)) } }));
        for n in 0..12 {
            let device = format!("d-{n:02}");
            if n < 9 {
                events.push(json!({ "configurationChange": { "entityType": "DEVICE", "entityId": device,
                    "parameterName": "receipt.printer", "newValue": 1, "changedBy": "me", "occurredAt": at(-200) } }));
            }
            let since = if n < 9 { -180 } else { -100 };
            events.push(error(&device, &format!("receipt {n} not printed"), since));
            events.push(error(&device, &format!("receipt {n} not printed"), since + 60));
        }
        app.record(json!(events)).await;
        let fields = "sentence suspectedChanges { parameterName devices ofDevices medianLagSeconds ratio interval { low high level } }
            trend { value status errors expectedErrors interval { low high level } evidence { events } }";
        let nodes = groups(app, "", fields).await;
        let sentence = nodes[0]["sentence"].as_str().unwrap();
        assert!(
            sentence.ends_with("not once in the week before; it began 20 minutes after receipt.printer changed on 9 of them"),
            "{sentence}"
        );
        let suspect = &nodes[0]["suspectedChanges"][0];
        assert_eq!(suspect["parameterName"], "receipt.printer");
        assert_eq!((&suspect["devices"], &suspect["ofDevices"]), (&json!("9"), &json!("12")));
        assert_eq!(suspect["medianLagSeconds"], 1_200);
        assert!(suspect["interval"]["low"].as_f64().unwrap() > 1.0);
        let trend = &nodes[0]["trend"];
        assert_eq!(trend["status"], "OK");
        assert_eq!(trend["errors"], 24.0);
        assert_eq!(trend["evidence"]["events"], "24");
        assert!(trend["value"].as_f64().unwrap() > 1.0);
        // of a part of the fleet it is the same by what was there
        let part = groups(app, "(filter: { deviceId: \"d-00\" })", fields).await;
        assert_eq!(part[0]["suspectedChanges"][0]["parameterName"], "receipt.printer");
        assert_eq!(part[0]["suspectedChanges"][0]["ofDevices"], "1");
        let before = format!("(asOf: \"{}\", timeZone: \"Europe/London\")", at(-150));
        let early = groups(app, &before, "sentence suspectedChanges { devices }").await;
        assert_eq!(early[0]["suspectedChanges"], json!([{ "devices": "9" }]), "{early}");
    })
    .await;
}
