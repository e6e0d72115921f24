//! Devices enrol by tokens, without an access key, and are given their own.

use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use homepot_analytics::agent::{ASKS_EVERY, Agent, AgentArgs};
use homepot_analytics::identity::Role;
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::app::{TestApp, on_each_database};
use super::super::socket::Socket;
use super::{ask, data, grant, key, recorded};
use crate::faulty_server::quick;

const ENROL: &str = "mutation($input: EnrolDeviceInput!) { enrolDevice(input: $input) {
    deviceId siteId accessKeyId secret userErrors { field code } } }";
const CREATE: &str = "mutation($input: CreateEnrolmentTokenInput!) { createEnrolmentToken(input: $input) {
    secret enrolmentToken { id siteId uses usesLeft deviceType name version } userErrors { field code } } }";

/// The answer to somebody who has no key.
async fn without_key(app: &TestApp, request: Value) -> (StatusCode, Value) {
    let post = app.client().post(app.address("/graphql")).json(&request);
    let answer = post.send().await.unwrap();
    let status = answer.status();
    (status, answer.json().await.unwrap())
}

async fn enrol(app: &TestApp, input: Value) -> Value {
    let request = json!({ "query": ENROL, "variables": { "input": input } });
    let (status, mut answer) = without_key(app, request).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"]["enrolDevice"].take()
}

/// The code with which a token is refused.
async fn refused(app: &TestApp, token: &str) -> String {
    let request = json!({ "query": ENROL, "variables": { "input": { "token": token } } });
    let (_, answer) = without_key(app, request).await;
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    code.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn create(app: &TestApp, key: &str, input: Value) -> Value {
    let request = json!({ "query": CREATE, "variables": { "input": input } });
    let (_, mut answer) = ask(app, key, request).await;
    answer["data"]["createEnrolmentToken"].take()
}

/// A server that asks for keys, with a token for so many devices of the harbour, and the key of an operator
/// there.
async fn closed(app: &mut TestApp, uses: i32) -> (String, String) {
    app.fleet().await;
    app.close_to_strangers().await;
    let operator = key(app, grant(Role::Operator, &["harbour"])).await;
    let made = create(app, &operator, json!({ "siteId": "harbour", "uses": uses })).await;
    assert_eq!(made["userErrors"], json!([]), "{made}");
    (made["secret"].as_str().unwrap().to_owned(), operator)
}

async fn left(app: &TestApp, operator: &str) -> Value {
    let document = "{ enrolmentTokens(siteId: \"harbour\") { uses usesLeft } }";
    let mut data = data(app, operator, document).await;
    data["enrolmentTokens"][0]["usesLeft"].take()
}

fn metrics(device: &str, second: i64) -> Value {
    let at = super::super::app::NOON
        .parse::<chrono::DateTime<chrono::Utc>>()
        .unwrap();
    let at = at - chrono::TimeDelta::seconds(second);
    json!([{ "deviceMetrics": { "deviceId": device, "occurredAt": at.to_rfc3339() } }])
}

async fn who(app: &TestApp, key: &str) -> StatusCode {
    ask(app, key, json!({ "query": "{ viewer { name } }" }))
        .await
        .0
}

#[tokio::test]
async fn a_device_enrols_without_a_key_and_is_given_its_own() {
    on_each_database(async |app| {
        let (token, operator) = closed(app, 2).await;
        let enrolled = enrol(app, json!({ "token": token, "deviceId": "till-9", "name": "Ninth",
            "deviceType": "POS_TERMINAL", "model": "M1", "tags": ["new"] })).await;
        assert_eq!((&enrolled["deviceId"], &enrolled["siteId"]), (&json!("till-9"), &json!("harbour")));
        let secret = enrolled["secret"].as_str().unwrap();
        assert_eq!(recorded(app, secret, metrics("till-9", 1)).await, ["RECORDED"]);
        assert_eq!(recorded(app, secret, metrics("till-1", 1)).await, ["REJECTED NOT_ALLOWED"]);
        let device = data(app, &operator, "{ device(deviceId: \"till-9\") { name model deviceType tags lifecycle site { siteId } } }").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(device["device"], @r#"{"deviceType":"POS_TERMINAL","lifecycle":"ACTIVE","model":"M1","name":"Ninth","site":{"siteId":"harbour"},"tags":["new"]}"#);
        }
        // one without an id is given one
        let another = enrol(app, json!({ "token": token })).await;
        assert!(another["deviceId"].as_str().unwrap().starts_with("device-"));
        assert_eq!(left(app, &operator).await, 0);
        let admin = key(app, grant(Role::Admin, &[])).await;
        let log = data(app, &admin, "{ auditLog(filter: { operation: { eq: \"enrolDevice\" } }) { nodes { action actor keyId } } }").await;
        let entry = &log["auditLog"]["nodes"][1];
        assert_eq!((&entry["action"], &entry["keyId"]), (&json!("KEY_CREATED"), &enrolled["accessKeyId"]));
        assert_eq!(entry["actor"], format!("enrolment ({}…)", &token[..9]));
    })
    .await;
}

#[tokio::test]
async fn without_a_key_nothing_but_enrolling_is_answered() {
    on_each_database(async |app| {
        let (token, _) = closed(app, 1).await;
        let input = json!({ "input": { "token": token } });
        let body = |query: &str| json!({ "query": query, "variables": input });
        let twice = "mutation($input: EnrolDeviceInput!) { a: enrolDevice(input: $input) { secret } b: enrolDevice(input: $input) { secret } }";
        let beside = "mutation($input: EnrolDeviceInput!) { enrolDevice(input: $input) { secret } __typename }";
        let hidden = "mutation($input: EnrolDeviceInput!) { ...F } fragment F on Mutation { enrolDevice(input: $input) { secret } }";
        for request in [
            json!({ "query": "{ viewer { name } }" }),
            json!({ "query": "{ __schema { queryType { name } } }" }),
            json!({ "query": "mutation { cancelJob(input: { jobId: \"j\" }) { userErrors { code } } }" }),
            json!({ "query": "{ enrolDevice }" }),
            json!({ "query": "{ is no document" }),
            json!({ "query": null }),
            json!([]),
            body(twice),
            body(beside),
            body(hidden),
            json!({ "query": ENROL, "variables": input, "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "x" } } }),
            json!({ "query": ENROL, "variables": { "input": { "token": token, "name": "n".repeat(70_000) } } }),
        ] {
            let (status, answer) = without_key(app, request.clone()).await;
            assert_eq!(status, 401, "{answer}");
            assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
        }
        // a token is no key
        assert_eq!(who(app, &token).await, 401);
        // and none of that has spent it
        assert!(enrol(app, json!({ "token": token })).await["secret"].is_string());
    })
    .await;
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_and_counted_as_a_key_is() {
    on_each_database(async |app| {
        let (token, operator) = closed(app, 5).await;
        let mut wrong = token.clone();
        wrong.replace_range(10..14, "AAAA");
        for text in ["", "hp_", &wrong, &operator] {
            assert_eq!(refused(app, text).await, "UNAUTHENTICATED", "{text}");
        }
        let soon = app.clock.now().plus_ms(60_000).to_string();
        let short = create(app, &operator, json!({ "siteId": "harbour", "uses": 1, "expiresAt": soon })).await;
        app.clock.advance_ms(60_000);
        assert_eq!(refused(app, short["secret"].as_str().unwrap()).await, "UNAUTHENTICATED");
        let id = data(app, &operator, "{ enrolmentTokens(siteId: \"harbour\") { id uses } }").await;
        let tokens = id["enrolmentTokens"].as_array().unwrap().iter();
        let id = tokens.filter(|token| token["uses"] == 5).map(|token| token["id"].as_str().unwrap()).next().unwrap().to_owned();
        let revoke = format!("mutation {{ revokeEnrolmentToken(input: {{ id: \"{id}\" }}) {{ enrolmentToken {{ revokedAt }} userErrors {{ code }} }} }}");
        for _ in 0..2 {
            let revoked = data(app, &operator, &revoke).await;
            assert!(revoked["revokeEnrolmentToken"]["enrolmentToken"]["revokedAt"].is_string());
        }
        assert_eq!(refused(app, &token).await, "UNAUTHENTICATED");
        let admin = key(app, grant(Role::Admin, &[])).await;
        // what was counted is told at the latest when the server stops
        app.close_to_strangers().await;
        let log = data(app, &admin, "{ auditLog(filter: { action: { eq: SIGN_IN } }) { nodes { outcome occurrences } } }").await;
        let times = log["auditLog"]["nodes"].as_array().unwrap().iter();
        assert_eq!(times.map(|entry| entry["occurrences"].as_i64().unwrap()).sum::<i64>(), 6);
    })
    .await;
}

#[tokio::test]
async fn of_many_devices_at_once_as_many_enrol_as_the_token_has_uses() {
    on_each_database(async |app| {
        let (token, operator) = closed(app, 5).await;
        let all = (0..12).map(|n| {
            enrol(
                app,
                json!({ "token": token, "deviceId": format!("new-{n}") }),
            )
        });
        let answers = futures_util::future::join_all(all).await;
        let enrolled = answers
            .iter()
            .filter(|answer| answer["secret"].is_string())
            .count();
        assert_eq!(enrolled, 5);
        for answer in answers.iter().filter(|answer| answer["secret"].is_null()) {
            assert_eq!(
                answer["userErrors"],
                json!([{ "field": "token", "code": "WRONG_STATE" }])
            );
        }
        let devices = data(app, &operator, "{ devices { totalCount } }").await;
        assert_eq!(devices["devices"]["totalCount"], "7");
        assert_eq!(left(app, &operator).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_repeat_gives_the_device_another_key_and_spends_no_use() {
    on_each_database(async |app| {
        let (token, operator) = closed(app, 1).await;
        let input = json!({ "token": token, "deviceId": "till-9", "idempotencyKey": "k" });
        let first = enrol(app, input.clone()).await;
        let second = enrol(app, input.clone()).await;
        assert_eq!(second["deviceId"], "till-9");
        assert_ne!(first["secret"], second["secret"]);
        // the answer to the first was lost, so its key is in no good hands
        assert_eq!(who(app, first["secret"].as_str().unwrap()).await, 401);
        assert_eq!(who(app, second["secret"].as_str().unwrap()).await, 200);
        let both = tokio::join!(enrol(app, input.clone()), enrol(app, input));
        let mut statuses = Vec::new();
        for answer in [both.0, both.1] {
            statuses.push(who(app, answer["secret"].as_str().unwrap()).await.as_u16());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401]);
        let other = enrol(app, json!({ "token": token, "deviceId": "till-8", "idempotencyKey": "k" })).await;
        assert_eq!(other["userErrors"], json!([{ "field": "idempotencyKey", "code": "CONFLICT" }]));
        assert_eq!(left(app, &operator).await, 0);
        let count = data(app, &operator, "{ deviceRegistrations(filter: { deviceId: { eq: \"till-9\" } }) { totalCount } }").await;
        assert_eq!(count["deviceRegistrations"]["totalCount"], "1");
        let retire = "mutation { retireDevice(input: { deviceId: \"till-9\" }) { revokedKeyIds userErrors { code } } }";
        assert_eq!(data(app, &operator, retire).await["retireDevice"]["revokedKeyIds"].as_array().unwrap().len(), 1);
        let retired = enrol(app, json!({ "token": token, "idempotencyKey": "k" })).await;
        assert_eq!(retired["userErrors"], json!([{ "field": "deviceId", "code": "WRONG_STATE" }]));
    })
    .await;
}

#[tokio::test]
async fn a_device_whose_key_was_revoked_gets_no_other_by_a_repeat() {
    on_each_database(async |app| {
        let (token, _) = closed(app, 1).await;
        let input = json!({ "token": token, "deviceId": "till-9", "idempotencyKey": "k" });
        let enrolled = enrol(app, input.clone()).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let id = enrolled["accessKeyId"].as_str().unwrap();
        let revoke = format!(
            "mutation {{ revokeAccessKey(input: {{ id: \"{id}\" }}) {{ userErrors {{ code }} }} }}"
        );
        assert_eq!(
            data(app, &admin, &revoke).await["revokeAccessKey"]["userErrors"],
            json!([])
        );
        let again = enrol(app, input).await;
        assert_eq!(again["secret"], Value::Null);
        assert_eq!(again["userErrors"][0]["field"], "token");
    })
    .await;
}

#[tokio::test]
async fn what_a_token_is_for_is_told_and_bound_to_its_site() {
    on_each_database(async |app| {
        let (_, operator) = closed(app, 1).await;
        for (input, field, code) in [
            (json!({ "siteId": "harbour", "uses": 0 }), "uses", "INVALID"),
            (json!({ "siteId": "harbour", "uses": 10_001 }), "uses", "INVALID"),
            (json!({ "siteId": "market", "uses": 1 }), "siteId", "NOT_FOUND"),
            (json!({ "siteId": "nowhere", "uses": 1 }), "siteId", "NOT_FOUND"),
            (json!({ "siteId": "harbour", "uses": 1, "name": "" }), "name", "INVALID"),
            (json!({ "siteId": "harbour", "uses": 1, "expiresAt": super::super::app::NOON }), "expiresAt", "INVALID"),
        ] {
            let made = create(app, &operator, input.clone()).await;
            assert_eq!(made["userErrors"], json!([{ "field": field, "code": code }]), "{input}");
        }
        let input = json!({ "siteId": "harbour", "uses": 3, "deviceType": "GATEWAY", "name": "stock", "idempotencyKey": "k" });
        let made = create(app, &operator, input.clone()).await;
        let again = create(app, &operator, input).await;
        assert_eq!(again["enrolmentToken"], made["enrolmentToken"]);
        assert_eq!(again["secret"], Value::Null);
        // what the token says of the type counts
        let token = made["secret"].as_str().unwrap();
        let enrolled = enrol(app, json!({ "token": token, "deviceId": "g-1", "deviceType": "IOT_SENSOR" })).await;
        assert_eq!(enrolled["userErrors"], json!([]));
        let device = data(app, &operator, "{ device(deviceId: \"g-1\") { deviceType } }").await;
        assert_eq!(device["device"]["deviceType"], "GATEWAY");
        // nobody takes over a device that is there
        let taken = enrol(app, json!({ "token": token, "deviceId": "till-3" })).await;
        assert_eq!(taken["userErrors"], json!([{ "field": "deviceId", "code": "CONFLICT" }]));
        let long = enrol(app, json!({ "token": token, "deviceId": "d".repeat(256) })).await;
        assert_eq!(long["userErrors"], json!([{ "field": "deviceId", "code": "INVALID" }]));
        // those of another site neither see nor revoke it
        let other = key(app, grant(Role::Operator, &["market"])).await;
        let seen = data(app, &other, "{ enrolmentTokens(siteId: \"harbour\") { id } }").await;
        assert_eq!(seen["enrolmentTokens"], Value::Null);
        let id = made["enrolmentToken"]["id"].as_str().unwrap();
        let revoke = format!("mutation {{ revokeEnrolmentToken(input: {{ id: \"{id}\" }}) {{ enrolmentToken {{ id }} userErrors {{ field code }} }} }}");
        let refused = data(app, &other, &revoke).await;
        assert_eq!(refused["revokeEnrolmentToken"], json!({ "enrolmentToken": null, "userErrors": [{ "field": "id", "code": "NOT_FOUND" }] }));
    })
    .await;
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: AgentArgs,
}

#[tokio::test]
async fn an_agent_enrols_on_its_first_start_and_keeps_its_key_to_itself() {
    on_each_database(async |app| {
        let (token, operator) = closed(app, 2).await;
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        let server = format!("http://{}", app.app().address);
        let agent = |more: &[&str]| {
            let flags = [
                "agent",
                "--server",
                &server,
                "--spool",
                spool.to_str().unwrap(),
                "--device",
                "counter",
            ];
            Agent {
                args: Cli::parse_from(flags.iter().chain(more)).args,
                sender: quick(),
                asks_every: ASKS_EVERY,
                clock: app.clock.clone(),
                rng: StdRng::seed_from_u64(1),
            }
        };
        let mut socket = Socket::open_as(app.app().address, &operator).await;
        let head = data(
            app,
            &key(app, grant(Role::Admin, &[])).await,
            "{ storeHealth { cursor } }",
        )
        .await;
        let after = json!({ "a": head["storeHealth"]["cursor"] });
        let stream = "subscription($a: String) { deviceMetrics(after: $a) { deviceId } }";
        let id = socket.subscribe(stream, after).await;
        for more in [
            ["--enrol-token", &token].as_slice(),
            &["--enrol-token", &token],
            &[],
        ] {
            let stop = CancellationToken::new();
            let run = agent(more).run(stop.clone());
            let heard = async {
                let item = socket.data(&id).await;
                stop.cancel();
                item
            };
            let (totals, item) = tokio::join!(run, heard);
            assert_eq!(item["deviceMetrics"]["deviceId"], "counter");
            assert_eq!(totals.unwrap().rejected, 0);
            app.clock.advance_ms(1_000);
        }
        assert_eq!(left(app, &operator).await, 1);
        for file in ["enrolled.json", "enrolling"] {
            let mode = std::fs::metadata(spool.join(file))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        // a token that does not hold ends it, and says so
        let lost = folder.path().join("other");
        let mut wrong = agent(&["--enrol-token", "hp_wrong"]);
        wrong.args.spool = lost;
        let error = wrong.run(CancellationToken::new()).await.unwrap_err();
        assert!(error.to_string().contains("UNAUTHENTICATED"), "{error}");
    })
    .await;
}
