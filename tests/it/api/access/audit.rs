//! The audit: what was done and refused, by whom.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::super::app::on_each_database;
use super::super::socket::Socket;
use super::{ask, data, grant, key};

const ENTRIES: &str = "{ auditLog(filter: { action: { in: [COMMAND, KEY_CREATED, KEY_REVOKED] } }, order: FIRST_RECORDED_FIRST) {
    nodes { action outcome actor operation target reason } } }";

#[tokio::test]
async fn every_command_is_told_with_its_actor_and_its_end() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let operator = key(app, grant(Role::Operator, &["harbour"])).await;
        for (document, outcome, target) in [
            ("mutation { createJob(input: { jobType: RESTART, deviceIds: [\"till-1\"], idempotencyKey: \"k\" }) { job { jobId } userErrors { code } } }", "DONE", None),
            ("mutation { createJob(input: { jobType: RESTART, deviceIds: [\"till-3\"] }) { job { jobId } userErrors { code } } }", "REFUSED", None),
            ("mutation { cancelJob(input: { jobId: \"no\", reason: \"r\" }) { userErrors { code } } }", "REFUSED", Some("no")),
            ("mutation { setConfiguration(input: { entityType: DEVICE, entityId: \"till-1\", changes: [{ parameterName: \"collectionIntervalSeconds\", value: 1 }] }) { userErrors { code } } }", "DONE", Some("DEVICE till-1 collectionIntervalSeconds")),
            ("mutation { setConfiguration(input: { entityType: SITE, entityId: \"market\", changes: [{ parameterName: \"collectionIntervalSeconds\", value: 1 }] }) { userErrors { code } } }", "REFUSED", Some("SITE market collectionIntervalSeconds")),
            ("mutation { setSiteSchedule(input: { siteId: \"harbour\", dayOfWeek: MONDAY, isClosed: true }) { userErrors { code } } }", "DONE", Some("harbour")),
            ("mutation { setSiteSchedule(input: { siteId: \"market\", dayOfWeek: MONDAY, isClosed: true }) { userErrors { code } } }", "REFUSED", Some("market")),
            ("mutation { setSiteSchedules(input: { siteId: \"harbour\", rows: [{ dayOfWeek: MONDAY, isClosed: true }] }) { userErrors { code } } }", "DONE", Some("harbour")),
            ("mutation { setSiteSchedules(input: { siteId: \"market\", rows: [{ dayOfWeek: MONDAY, isClosed: true }] }) { userErrors { code } } }", "REFUSED", None),
        ] {
            data(app, &operator, document).await;
            let log = data(app, &admin, "{ auditLog(first: 1, order: LAST_RECORDED_FIRST) { nodes { action outcome actor operation target ipAddress } } }").await;
            let entry = &log["auditLog"]["nodes"][0];
            assert_eq!(entry["action"], "COMMAND", "{document}");
            assert_eq!(entry["outcome"], outcome, "{document}");
            assert_eq!(entry["actor"], format!("operator ({}…)", &operator[..9]));
            assert!(document.contains(entry["operation"].as_str().unwrap()));
            assert_eq!(entry["ipAddress"], "127.0.0.0/24");
            if let Some(target) = target {
                assert_eq!(entry["target"], target, "{document}");
            }
        }
        let told = data(app, &admin, ENTRIES).await;
        assert_eq!(told["auditLog"]["nodes"].as_array().unwrap().len(), 11);
    })
    .await;
}

#[tokio::test]
async fn what_a_command_records_and_that_it_was_given_are_one_commit() {
    on_each_database(async |app| {
        app.fleet().await;
        // one that does not go on by itself meanwhile
        app.data("mutation { createJob(input: { jobType: RESTART, deviceIds: [\"till-1\"], start: { cron: \"0 3 * * *\" } }) { job { jobId } } }").await;
        let data = app.data("{ auditLog(first: 1) { nodes { position recordedAt } } jobTransitions(first: 1) { nodes { position recordedAt } } }").await;
        let position = |list: &str| {
            let position = data[list]["nodes"][0]["position"].as_str().unwrap();
            position.parse::<i64>().unwrap()
        };
        assert_eq!(position("auditLog"), position("jobTransitions") + 1);
    })
    .await;
}

#[tokio::test]
async fn refused_sign_ins_are_told_and_alike_ones_are_one_entry() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let mut socket = Socket::open_as(app.app().address, &admin).await;
        let document = "subscription($after: String) {
            auditEntries(after: $after, filter: { action: { eq: SIGN_IN } }) {
                outcome actor reason ipAddress occurrences } }";
        let head = data(app, &admin, "{ storeHealth { cursor } }").await;
        let after = json!({ "after": head["storeHealth"]["cursor"] });
        let id = socket.subscribe(document, after).await;
        let guess = |n: usize| format!("{}{n:03}", &admin[..43]);
        for n in 0..50 {
            let (status, _) = ask(app, &guess(n), json!({ "query": "{ viewer { name } }" })).await;
            assert_eq!(status, 401);
        }
        let mut told = 0;
        while told < 50 {
            let entry = &socket.data(&id).await["auditEntries"];
            assert_eq!(entry["outcome"], "REFUSED");
            assert_eq!(entry["actor"], "nobody");
            assert_eq!(entry["ipAddress"], "127.0.0.0/24");
            assert!(entry["reason"].as_str().unwrap().contains("does not hold"));
            told += entry["occurrences"].as_u64().unwrap();
        }
        assert_eq!(told, 50);
    })
    .await;
}

#[tokio::test]
async fn the_log_of_requests_names_who_asked() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let mut socket = Socket::open_as(app.app().address, &admin).await;
        let document = "subscription($after: String) {
            apiRequests(after: $after, filter: { operationName: { eq: \"Mine\" } }) {
                userId ipAddress } }";
        let head = data(app, &admin, "{ storeHealth { cursor } }").await;
        let after = json!({ "after": head["storeHealth"]["cursor"] });
        let id = socket.subscribe(document, after).await;
        data(app, &admin, "query Mine { viewer { name } }").await;
        let entry: Value = socket.data(&id).await["apiRequests"].take();
        let mine = socket.ask("Mine", "query Mine { viewer { name } }").await;
        socket.data(&mine).await;
        let again: Value = socket.data(&id).await["apiRequests"].take();
        assert_eq!(entry, again, "on a socket too");
        let expected =
            json!({ "userId": format!("admin ({}…)", &admin[..9]), "ipAddress": "127.0.0.0/24" });
        assert_eq!(entry, expected);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_was_refused_is_not_told_as_done() {
    on_each_database(async |app| {
        app.fleet().await;
        let make = |kind: &str| {
            format!("mutation {{ createJob(input: {{ jobType: {kind}, deviceIds: [\"till-1\"], idempotencyKey: \"k\" }}) {{ userErrors {{ code }} }} }}")
        };
        for kind in ["RESTART", "RESTART", "HEALTH_CHECK"] {
            app.data(&make(kind)).await;
        }
        let told = app
            .data("{ auditLog(order: FIRST_RECORDED_FIRST) { nodes { outcome } } }")
            .await;
        let told = super::super::app::texts(&told["auditLog"]["nodes"], "outcome");
        assert_eq!(told, ["DONE", "REFUSED"]);
    })
    .await;
}

#[tokio::test]
async fn whoever_asks_for_what_a_role_may_not_is_told() {
    on_each_database(async |app| {
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let viewer = key(app, grant(Role::Viewer, &[])).await;
        let head = data(app, &admin, "{ storeHealth { cursor } }").await;
        let mut socket = Socket::open_as(app.app().address, &admin).await;
        let document = "subscription($after: String) { auditEntries(after: $after) {
            action outcome actor reason occurrences } }";
        let after = json!({ "after": head["storeHealth"]["cursor"] });
        let id = socket.subscribe(document, after).await;
        let document =
            "mutation { createAccessKey(input: { name: \"a\", role: ADMIN }) { secret } }";
        let (status, _) = ask(app, &viewer, json!({ "query": document })).await;
        assert_eq!(status, 403);
        let told = &socket.data(&id).await["auditEntries"];
        let expected = json!({ "action": "COMMAND", "outcome": "REFUSED", "occurrences": 1,
            "actor": format!("viewer ({}…)", &viewer[..9]),
            "reason": "the role VIEWER may not ask for createAccessKey" });
        assert_eq!(*told, expected);
    })
    .await;
}
