//! Groups of errors for whoever is bound to sites or to a device: they are told what was counted there, and decide about
//! what they reach as a whole.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::super::app::{TestApp, at, on_each_database};
use super::super::error_groups::error;
use super::super::socket::Socket;
use super::{data, grant, key, recorded};

/// Groups with what is counted of them.
async fn groups(app: &TestApp, key: &str) -> Vec<(String, String)> {
    let document = "{ errorGroups { nodes { id template count deviceCount
        devices { nodes { device { deviceId } count } } events { nodes { errorMessage } } } } }";
    let data = data(app, key, document).await;
    let nodes = data["errorGroups"]["nodes"].as_array().unwrap().iter();
    let told = nodes.map(|node| {
        let events = node["events"]["nodes"].as_array().unwrap().len();
        assert_eq!(node["count"], json!(events.to_string()), "{node}");
        let devices = node["devices"]["nodes"].as_array().unwrap();
        assert_eq!(node["deviceCount"], json!(devices.len().to_string()));
        let id = node["id"].as_str().unwrap().to_owned();
        let (template, count) = (&node["template"], &node["count"]);
        let told = format!("{} {}", template.as_str().unwrap(), count.as_str().unwrap());
        (id, told)
    });
    told.collect()
}

fn told(groups: &[(String, String)]) -> Vec<&str> {
    groups.iter().map(|(_, told)| told.as_str()).collect()
}

/// What a decision is answered.
async fn resolve(app: &TestApp, key: &str, id: &str) -> Value {
    let document = format!(
        "mutation {{ resolveErrorGroup(input: {{ id: \"{id}\" }}) {{ errorGroup {{ status }} userErrors {{ code }} }} }}"
    );
    data(app, key, &document).await["resolveErrorGroup"].take()
}

#[tokio::test]
async fn who_is_bound_to_sites_sees_and_decides_what_was_seen_there() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            error("till-1", "printer 12 is out of paper", -90),
            error("till-2", "printer 7 is out of paper", -80),
            error("till-3", "printer 9 is out of paper", -70),
            error("till-3", "card reader lost", -60),
            error("till-1", "drawer sticks", -50),
            { "errorLog": { "category": "SYSTEM", "severity": "ERROR", "errorMessage": "disk full" } },
        ]))
        .await;
        app.close_to_strangers().await;
        let operator = key(app, grant(Role::Operator, &["harbour"])).await;
        let device = key(app, grant(Role::Device, &[])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let seen = groups(app, &operator).await;
        assert_eq!(told(&seen), ["drawer sticks 1", "printer <*> is out of paper 2"]);
        let of_device = groups(app, &device).await;
        assert_eq!(told(&of_device), ["drawer sticks 1", "printer <*> is out of paper 1"]);
        let all = groups(app, &admin).await;
        assert_eq!(
            told(&all),
            ["disk full 1", "drawer sticks 1", "card reader lost 1", "printer <*> is out of paper 3"]
        );
        for (index, errors, status) in [
            (0, json!([{ "code": "NOT_FOUND" }]), Value::Null),
            (1, json!([]), json!({ "status": "RESOLVED" })),
            (2, json!([{ "code": "NOT_FOUND" }]), Value::Null),
            (3, json!([{ "code": "NOT_ALLOWED" }]), json!({ "status": "OPEN" })),
        ] {
            let answer = resolve(app, &operator, &all[index].0).await;
            let expected = json!({ "errorGroup": status, "userErrors": errors });
            assert_eq!(answer, expected, "{}", all[index].1);
        }
        let done = resolve(app, &admin, &all[3].0).await;
        assert_eq!(done["userErrors"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn who_is_bound_to_sites_is_told_nothing_of_messages_elsewhere_that_were_merged() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            { "errorLog": { "category": "API", "severity": "ERROR", "errorCode": "CARD-9", "deviceId": "till-3",
                "errorMessage": "card reader lost", "occurredAt": at(-60) } },
            error("till-1", "drawer sticks", -50),
        ]))
        .await;
        app.close_to_strangers().await;
        let viewer = key(app, grant(Role::Viewer, &["harbour"])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let all = groups(app, &admin).await;
        assert_eq!(told(&all), ["drawer sticks 1", "card reader lost 1"]);
        let merge = format!(
            "mutation {{ mergeErrorGroups(input: {{ id: \"{}\", mergedIds: [\"{}\"] }}) {{ userErrors {{ code }} }} }}",
            all[0].0, all[1].0
        );
        let done = data(app, &admin, &merge).await;
        assert_eq!(done["mergeErrorGroups"]["userErrors"], json!([]));
        let fields = "template category errorCode count";
        let card = json!({ "template": "card reader lost", "category": "API", "errorCode": "CARD-9", "count": "2" });
        let drawer = json!({ "template": "drawer sticks", "category": "DEVICE", "errorCode": null, "count": "1" });
        for (holder, arguments, expected) in [
            (&admin, String::new(), json!([card])),
            (&viewer, String::new(), json!([drawer])),
            (&viewer, format!("(asOf: \"{}\")", at(-5)), json!([drawer])),
            (&viewer, "(filter: { categories: [API] })".to_owned(), json!([])),
            (&admin, "(filter: { siteId: \"harbour\" })".to_owned(), json!([drawer])),
        ] {
            let document = format!("{{ errorGroups{arguments} {{ nodes {{ {fields} }} }} }}");
            let answer = data(app, holder, &document).await;
            assert_eq!(answer["errorGroups"]["nodes"], expected, "{arguments}");
        }
        // the id of all of it leads to what was seen there
        let id = &all[1].0;
        let document = format!("{{ errorGroup(id: \"{id}\") {{ id {fields} }} }}");
        let mut one = data(app, &viewer, &document).await["errorGroup"].take();
        assert_eq!(one.as_object_mut().unwrap().remove("id"), Some(json!(id)));
        assert_eq!(one, drawer);
    })
    .await;
}

#[tokio::test]
async fn who_is_bound_to_sites_hears_of_groups_that_are_new_there() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        app.close_to_strangers().await;
        let viewer = key(app, grant(Role::Viewer, &["harbour"])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let document = "subscription($after: String) { errorGroups(after: $after) { event errorGroup { template count } } }";
        let mut sockets = Vec::new();
        for holder in [&viewer, &admin] {
            let mut socket = Socket::open_as(app.app().address, holder).await;
            let id = socket.subscribe(document, json!({ "after": head })).await;
            sockets.push((socket, id));
        }
        recorded(app, &admin, json!([error("till-3", "card reader lost", -9)])).await;
        let (socket, id) = &mut sockets[1];
        let news = socket.data(id).await["errorGroups"].take();
        assert_eq!(news["errorGroup"]["template"], "card reader lost");
        recorded(app, &admin, json!([error("till-1", "drawer sticks", -8)])).await;
        recorded(app, &admin, json!([error("till-1", "card reader lost", -7)])).await;
        let (socket, id) = &mut sockets[1];
        let news = socket.data(id).await["errorGroups"].take();
        assert_eq!(news["errorGroup"]["template"], "drawer sticks");
        let (socket, id) = &mut sockets[0];
        for template in ["drawer sticks", "card reader lost"] {
            let news = socket.data(id).await["errorGroups"].take();
            let expected = json!({ "template": template, "count": "1" });
            assert_eq!(news, json!({ "event": "NEW", "errorGroup": expected }));
        }
    })
    .await;
}

#[tokio::test]
async fn by_one_error_a_group_is_new_at_a_site_and_comes_back_and_no_cursor_between_loses_that() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        app.record(json!([error("till-3", "card reader lost", -9)])).await;
        app.close_to_strangers().await;
        let viewer = key(app, grant(Role::Viewer, &["harbour"])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let all = groups(app, &admin).await;
        let done = resolve(app, &admin, &all[0].0).await;
        assert_eq!(done["userErrors"], json!([]));
        app.clock.advance_ms(120_000);
        let errors = json!([error("till-1", "card reader lost", 1), error("till-2", "drawer sticks", 2)]);
        recorded(app, &admin, errors).await;
        let document = "subscription($after: String) { errorGroups(after: $after) { cursor event errorGroup { template } } }";
        let expected = [
            ("NEW", "card reader lost"),
            ("REGRESSED", "card reader lost"),
            ("NEW", "drawer sticks"),
        ];
        let mut after = json!(head);
        for from in 0..expected.len() {
            let mut socket = Socket::open_as(app.app().address, &viewer).await;
            let id = socket.subscribe(document, json!({ "after": after })).await;
            for (place, (event, template)) in expected.iter().enumerate().skip(from) {
                let mut news = socket.data(&id).await["errorGroups"].take();
                if place == from {
                    after = news["cursor"].take();
                }
                assert_eq!(news["event"], *event, "{from}");
                assert_eq!(news["errorGroup"]["template"], *template, "{from}");
            }
        }
    })
    .await;
}
