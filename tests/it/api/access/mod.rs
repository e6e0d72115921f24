//! Who is let in, and what they see and do.

mod audit;
mod enrolment;
mod error_groups;
mod issuer;
mod keys;
mod matrix;
mod newcomers;
mod reach;
mod repeats;
mod rotation;
mod rules;
mod sign_in;
mod spending;
mod token_keys;
mod tokens;

use homepot_analytics::identity::{self, Grant, Made, More, Role};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::app::TestApp;

/// What is granted to somebody who is bound to some sites, or to the device `till-1`.
pub(super) fn grant(role: Role, sites: &[&str]) -> Grant {
    Grant {
        name: role.word().to_lowercase(),
        prefix: String::new(),
        role,
        site_ids: sites.iter().map(ToString::to_string).collect(),
        device_id: (role == Role::Device).then(|| "till-1".to_owned()),
        expires_at: None,
        more: More::default(),
    }
}

/// Makes a key, which holds when this returns.
pub(super) async fn key(app: &TestApp, grant: Grant) -> String {
    let made = Made {
        actor: "test",
        operation: "key",
        network: None,
        keys: Some(&app.app().keys),
    };
    let created = identity::create(&app.app().ingest, grant, (made, None)).await;
    created.unwrap().secret.unwrap().reveal().to_owned()
}

/// The status and the answer to a request of somebody.
pub(super) async fn ask(app: &TestApp, key: &str, request: Value) -> (StatusCode, Value) {
    let post = app.client().post(app.address("/graphql"));
    let post = post.header("accept", "application/graphql-response+json");
    let answer = post.bearer_auth(key).json(&request).send().await.unwrap();
    let status = answer.status();
    let mut answer: Value = answer.json().await.unwrap();
    answer.sort_all_objects();
    (status, answer)
}

/// The data that somebody is answered, who must be.
async fn data(app: &TestApp, key: &str, document: &str) -> Value {
    let (_, mut answer) = ask(app, key, json!({ "query": document })).await;
    assert!(answer.get("errors").is_none(), "{document}: {answer:#}");
    answer["data"].take()
}

/// The outcomes of events that somebody records: the status of each, with its code when it has one.
pub(super) async fn recorded(app: &TestApp, key: &str, events: Value) -> Vec<String> {
    let document = "mutation($input: RecordEventsInput!) { recordEvents(input: $input) {
        outcomes { status code } } }";
    let request = json!({ "query": document, "variables": { "input": { "events": events } } });
    let (_, answer) = ask(app, key, request).await;
    let outcomes = answer["data"]["recordEvents"]["outcomes"].as_array();
    let outcomes = outcomes.unwrap_or_else(|| panic!("{answer:#}"));
    let told = |outcome: &Value| {
        let code = outcome["code"].as_str();
        let status = outcome["status"].as_str().unwrap();
        code.map_or(status.to_owned(), |code| format!("{status} {code}"))
    };
    outcomes.iter().map(told).collect()
}

fn code(answer: &Value) -> &str {
    let code = &answer["errors"][0]["extensions"]["code"];
    code.as_str().unwrap_or_else(|| panic!("{answer:#}"))
}
