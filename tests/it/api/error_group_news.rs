//! Groups of errors that are new or come back are heard of, keep their ids, and are told under devices and sites.

use serde_json::{Value, json};

use super::app::{at, on_each_database};
use super::error_groups::{CARD, PAPER, decide, error, groups, id_of, record, story};
use super::insights::folded;
use super::statements::cost;

#[tokio::test]
async fn who_follows_groups_hears_of_those_that_are_new_or_come_back_and_goes_on_from_a_cursor() {
    on_each_database(async |app| {
        app.fleet().await;
        record(app, &[("till-1", "known before all this", -500)]).await;
        let stream = "subscription($after: String) { errorGroups(after: $after) { cursor event errorGroup { id template status count } } }";
        let head = app.head().await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(stream, json!({ "after": head })).await;
        record(app, &[("till-1", "printer 12 is out of paper", -30), ("till-2", "known before all this", -29)]).await;
        record(app, &[("till-2", "printer 13 is out of paper", -28), ("till-2", CARD, -27)]).await;
        let mut cursors = Vec::new();
        for template in ["printer 12 is out of paper", CARD] {
            let news = socket.data(&id).await["errorGroups"].take();
            assert_eq!(news["event"], "NEW", "{news}");
            let told = news["errorGroup"]["template"].as_str().unwrap();
            // of what came meanwhile it may tell already
            assert!([template, PAPER].contains(&told), "{news}");
            cursors.push(news["cursor"].clone());
        }
        let card = id_of(app, CARD).await;
        decide(app, "resolveErrorGroup", &card, "").await;
        app.clock.advance_ms(60_000);
        record(app, &[("till-2", CARD, 1), ("till-1", CARD, 1)]).await;
        let back = socket.data(&id).await["errorGroups"].take();
        assert_eq!(back["event"], "REGRESSED");
        assert_eq!(back["errorGroup"]["id"], json!(card));
        // who was away hears of what came since, once
        app.restart().await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(stream, json!({ "after": cursors[0] })).await;
        for event in ["NEW", "REGRESSED"] {
            let news = socket.data(&id).await["errorGroups"].take();
            assert_eq!(news["event"], event, "{news}");
            assert_eq!(news["errorGroup"]["template"], CARD);
        }
        app.clock.advance_ms(60_000);
        record(app, &[("till-3", "nobody has seen that before", 2)]).await;
        let news = socket.data(&id).await["errorGroups"].take();
        assert_eq!(news["errorGroup"]["template"], "nobody has seen that before");
    })
    .await;
}

#[tokio::test]
async fn ids_stay_after_a_restart_and_when_an_older_error_comes_late() {
    on_each_database(async |app| {
        story(app).await;
        let id = id_of(app, PAPER).await;
        app.restart().await;
        assert_eq!(id_of(app, PAPER).await, id);
        record(app, &[("till-3", "printer 4 is out of paper", -900)]).await;
        let document = format!("{{ errorGroup(id: \"{id}\") {{ id count firstSeenAt }} }}");
        let data = app.data(&document).await;
        assert_eq!(
            data["errorGroup"],
            json!({ "id": id, "count": "5", "firstSeenAt": at(-900) })
        );
    })
    .await;
}

#[tokio::test]
async fn groups_under_devices_and_sites_are_those_that_were_seen_there() {
    on_each_database(async |app| {
        story(app).await;
        let under = |list: &str, id: &str, arguments: &str| {
            format!(
                "{{ {list} {{ nodes {{ {id} errorGroups{arguments} {{ totalCount nodes {{ template count
                    deviceCount events {{ totalCount }} }} }} }} }} }}"
            )
        };
        let group = |template: &str, count: &str, devices: &str| {
            json!({ "template": template, "count": count, "deviceCount": devices, "events": { "totalCount": count } })
        };
        let data = app.data(&under("devices", "deviceId", "")).await;
        let page = |nodes: Value| json!({ "totalCount": nodes.as_array().unwrap().len().to_string(), "nodes": nodes });
        let expected = json!([
            { "deviceId": "till-1", "errorGroups": page(json!([group(PAPER, "2", "1")])) },
            { "deviceId": "till-2", "errorGroups": page(json!([group(PAPER, "1", "1")])) },
            { "deviceId": "till-3", "errorGroups": page(json!([group(CARD, "1", "1"), group(PAPER, "1", "1")])) },
        ]);
        assert_eq!(data["devices"]["nodes"], expected);
        let data = app.data(&under("sites", "siteId", "(order: COUNT)")).await;
        let nodes = &data["sites"]["nodes"];
        let harbour = page(json!([group(PAPER, "3", "2")]));
        assert_eq!(nodes[0], json!({ "siteId": "harbour", "errorGroups": harbour }));
        // those of as many errors are in order of their ids
        assert_eq!(nodes[1]["errorGroups"]["totalCount"], "2");
        let early = under("sites", "siteId", &format!("(asOf: \"{}\")", at(-150)));
        let data = app.data(&early).await;
        let counts = data["sites"]["nodes"].as_array().unwrap().iter();
        let counts: Vec<&Value> = counts.map(|site| &site["errorGroups"]["totalCount"]).collect();
        assert_eq!(counts, ["1", "0"]);
    })
    .await;
}

#[tokio::test]
async fn groups_under_twenty_devices_cost_as_many_statements_as_under_one() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut events = Vec::new();
        for n in 0..20 {
            let device = format!("d-{n:02}");
            events.push(json!({ "deviceRegistration": { "deviceId": device, "siteId": "market", "deviceType": "GATEWAY" } }));
            events.push(error(&device, "printer 12 is out of paper", -30));
            events.push(error(&device, CARD, -20));
        }
        app.record(json!(events)).await;
        let document = |devices: usize| {
            format!(
                "{{ devices(first: {devices}, filter: {{ deviceType: [GATEWAY] }}) {{ nodes {{
                    errorGroups(first: 5) {{ nodes {{ template count sentence }} }} }} }} }}"
            )
        };
        // what is not folded yet is read as well
        folded(app).await;
        let one = cost(app, &document(1)).await;
        let twenty = cost(app, &document(20)).await;
        assert_eq!(one, twenty);
    })
    .await;
}

#[tokio::test]
async fn errors_and_devices_of_many_groups_are_read_of_one_moment_and_count_before_they_are_read() {
    on_each_database(async |app| {
        app.fleet().await;
        // messages of as many words as no other are a group
        let message = |n: usize| format!("drawer sticks{}", " again".repeat(n));
        let events = (0..26).map(|n| error("till-1", &message(n), -30));
        app.record(events.collect()).await;
        folded(app).await;
        for (part, statements) in [("devices(first: 5)", 1), ("events(first: 5)", 3)] {
            let document = |groups: usize| {
                format!(
                    "{{ errorGroups(first: {groups}) {{ nodes {{ {part} {{ totalCount }} }} }} }}"
                )
            };
            let one = cost(app, &document(1)).await;
            let twenty = cost(app, &document(20)).await;
            assert!(twenty <= one + 19 * statements, "{part}: {one} {twenty}");
        }
        let document = |times: usize| {
            let parts = (0..times).map(|n| format!("d{n}: devices(first: 1) {{ totalCount }} "));
            let parts: String = parts.collect();
            format!("{{ errorGroups(first: 26) {{ nodes {{ {parts} }} }} }}")
        };
        app.data(&document(50)).await;
        assert_eq!(app.code(&document(100)).await, "LIMIT_EXCEEDED");
    })
    .await;
}

#[tokio::test]
async fn groups_that_came_back_under_two_sites_cost_as_many_statements_as_under_one() {
    on_each_database(async |app| {
        app.fleet().await;
        let words = ["printer", "drawer", "scanner", "modem"];
        let messages = words.map(|word| format!("{word} broke down at once"));
        let on_all = |minutes: i64| {
            let errors = ["till-1", "till-2", "till-3"].into_iter();
            errors
                .flat_map(|device| {
                    messages
                        .iter()
                        .map(move |message| (device, message.as_str(), minutes))
                })
                .collect::<Vec<_>>()
        };
        record(app, &on_all(-300)).await;
        for message in &messages {
            let id = id_of(app, message).await;
            decide(app, "resolveErrorGroup", &id, "").await;
        }
        app.clock.advance_ms(60_000);
        record(app, &on_all(1)).await;
        app.clock.advance_ms(7_200_000);
        let document = |sites: usize, rows: usize| {
            format!(
                "{{ sites(first: {sites}) {{ nodes {{ errorGroups(first: {rows}, asOf: \"{}\") {{
                    nodes {{ status regressedAt }} }} }} }} }}",
                at(60)
            )
        };
        let data = app.data(&document(2, 10)).await;
        let back = json!({ "status": "OPEN", "regressedAt": at(1) });
        let of_site = json!({ "errorGroups": { "nodes": vec![back; messages.len()] } });
        assert_eq!(data["sites"]["nodes"], json!([of_site, of_site]));
        // what is not folded yet is read as well
        folded(app).await;
        let one = cost(app, &document(1, 10)).await;
        let two = cost(app, &document(2, 10)).await;
        assert_eq!(one, two);
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_for_again_and_again_while_errors_come_is_what_is_told_after_a_restart() {
    on_each_database(async |app| {
        story(app).await;
        let fields = "id template status count deviceCount version decision regressedAt lastSeenAt";
        let (paper, card) = (id_of(app, PAPER).await, id_of(app, CARD).await);
        for minutes in 1..12 {
            app.clock.advance_ms(60_000);
            let message = format!("printer {minutes} is out of paper");
            record(
                app,
                &[("till-2", &message, minutes), ("till-1", CARD, minutes)],
            )
            .await;
            let more = format!(", mergedIds: [\"{card}\"]");
            match minutes {
                3 => decide(app, "resolveErrorGroup", &paper, "").await,
                5 => decide(app, "ignoreErrorGroup", &card, "").await,
                7 => decide(app, "mergeErrorGroups", &paper, &more).await,
                9 => decide(app, "reopenErrorGroup", &paper, "").await,
                _ => Value::Null,
            };
            let nodes = groups(app, "", "count").await;
            let nodes = nodes.as_array().unwrap().iter();
            let counts = nodes.map(|node| node["count"].as_str().unwrap().parse::<i64>().unwrap());
            assert_eq!(counts.sum::<i64>(), 5 + 2 * minutes);
        }
        let told = groups(app, "", fields).await;
        let at_site = "(filter: { siteId: \"harbour\" })";
        let told_of_site = groups(app, at_site, fields).await;
        app.restart().await;
        assert_eq!(groups(app, "", fields).await, told);
        assert_eq!(groups(app, at_site, fields).await, told_of_site);
    })
    .await;
}
