//! The server is killed while it finds out who is silent: each silence has one alert in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use homepot_analytics::clock::Clock;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::api::{Api, RECORD, long};
use super::database::Database;
use super::program::DEADLINE;

/// Devices that fall silent in each round.
const SILENT: usize = 12;
/// How long ago those reported: longer than they may be silent, and not so long that it is history.
const SILENT_FOR_MS: i64 = 120_000;

const RULE: &str = "mutation { createAlertRule(input: { name: \"Silence\", severity: WARNING, \
    watch: { collectionGap: { minimumSeconds: 30, intervals: 1, always: true } } }) { \
    rule { ruleId } userErrors { message } } }";
const ACKNOWLEDGE: &str = "mutation A($id: ID!) { acknowledgeAlert(input: { alertId: $id }) { \
    alert { state } userErrors { message } } }";

/// The alerts of a rule: silences that last are some of the rule that the server came with too.
fn open_of(rule: &str) -> String {
    format!(
        "{{ alerts(filter: {{ ruleId: \"{rule}\", states: [OPEN, ACKNOWLEDGED] }}, first: 1000) {{ \
         nodes {{ alertId cause state startedAt openedAt }} }} }}"
    )
}

fn steps_of(rule: &str) -> String {
    format!(
        "{{ alertTransitions(filter: {{ ruleId: {{ eq: \"{rule}\" }} }}, first: 1000) {{ \
         nodes {{ alertId cause state }} }} }}"
    )
}

fn rounds() -> usize {
    if crate::support::is_long() { 10 } else { 2 }
}

fn name(round: usize, device: usize) -> String {
    format!("r{round}-d{device:02}")
}

fn metrics(device: &str, (ago_ms, interval): (i64, usize)) -> Value {
    let at = Clock::system().now().plus_ms(-ago_ms).to_string();
    json!({ "deviceMetrics": { "deviceId": device, "occurredAt": at,
        "collectionIntervalSeconds": interval } })
}

async fn register(api: &Api, server: &str) {
    let mut events = vec![json!({ "siteRegistration": { "siteId": "s", "name": "Site" } })];
    let silent = (0..rounds()).flat_map(|round| (0..SILENT).map(move |n| name(round, n)));
    events.extend(silent.chain(["alive".to_owned()]).map(|device| {
        json!({ "deviceRegistration": { "deviceId": device, "siteId": "s", "deviceType": "POS_TERMINAL" } })
    }));
    api.record_new(server, json!(events)).await;
}

/// The devices of a round report, and then no more. This ends when that was heard where silence is watched
/// for: a server that begins then knows of them as of what they said, and not as of what it hears.
async fn report(api: &Api, (server, database): (&str, &Database), round: usize) {
    // with intervals of their own, so that their times do not run out all at once
    let silent = |n: usize| metrics(&name(round, n), (SILENT_FOR_MS, 1 + n % 3));
    let events: Vec<Value> = (0..SILENT).map(silent).collect();
    let outcomes = api.record(server, json!(events)).await;
    let last = outcomes
        .iter()
        .map(|outcome| long(&outcome["position"]))
        .max();
    let is_heard = async {
        let sql =
            "SELECT position, position FROM checkpoints WHERE projection = 'alerts_evaluated'";
        while database
            .rows(sql)
            .await
            .first()
            .map(|(position, _)| *position)
            < last
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let heard = tokio::time::timeout(DEADLINE, is_heard).await;
    heard.expect("it is heard in time");
}

/// One device lives on, so that the site is not silent as a whole; it reports to the server that there is.
async fn live(api: Api, server: watch::Receiver<String>) {
    loop {
        let events = json!([metrics("alive", (0, 30))]);
        let input = json!({ "input": { "events": events } });
        let address = server.borrow().clone();
        // the server may be gone, and another come
        let _ = api.call(&address, RECORD, input).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn nodes<'a>(data: &'a Value, list: &str) -> &'a [Value] {
    data[list]["nodes"].as_array().unwrap()
}

/// Those of a round fall silent while the server is down: it gave them their time from when it heard of them,
/// and the one in its place gives it to them from when they reported.
async fn killed_while_evaluating(database: Database) {
    let api = Api::new();
    let (mut server, mut address) = database.serve();
    let (tell, servers) = watch::channel(address.clone());
    register(&api, &address).await;
    let made = api.data(&address, RULE, json!({})).await;
    assert_eq!(made["createAlertRule"]["userErrors"], json!([]));
    let rule = made["createAlertRule"]["rule"]["ruleId"].as_str().unwrap();
    let (open_query, steps_query) = (open_of(rule), steps_of(rule));
    let living = tokio::spawn(live(api.clone(), servers));
    let mut taken = BTreeMap::new();
    for round in 0..rounds() {
        report(&api, (&address, &database), round).await;
        server.kill();
        (server, address) = database.serve();
        tell.send_replace(address.clone());
        // amid its alerts, of which there are none to all
        let enough = round * SILENT + rand::rng().random_range(1..=SILENT / 2);
        let some = |data: &Value| nodes(data, "alerts").len() >= enough;
        let open = api.until(&address, &open_query, some).await;
        let first = &nodes(&open, "alerts")[0];
        let id = json!({ "id": first["alertId"] });
        api.data(&address, ACKNOWLEDGE, id).await;
        taken.insert(first["cause"].clone().to_string(), first["alertId"].clone());
        server.kill();
        println!("killed with {} open", nodes(&open, "alerts").len());
        (server, address) = database.serve();
        tell.send_replace(address.clone());
    }
    let all = rounds() * SILENT;
    let each = |data: &Value| nodes(data, "alerts").len() >= all;
    let open = api.until(&address, &open_query, each).await;
    let causes: BTreeMap<String, &Value> = nodes(&open, "alerts")
        .iter()
        .map(|alert| (alert["cause"].to_string(), alert))
        .collect();
    assert_eq!(
        (nodes(&open, "alerts").len(), causes.len()),
        (all, all),
        "{open}"
    );
    for (cause, id) in &taken {
        let alert = causes[cause];
        assert_eq!(
            (&alert["alertId"], &alert["state"]),
            (id, &json!("ACKNOWLEDGED"))
        );
    }
    let steps = api.data(&address, &steps_query, json!({})).await;
    let is_open = |step: &&Value| step["state"] == "OPEN";
    let steps = nodes(&steps, "alertTransitions");
    assert_eq!(
        steps.iter().filter(is_open).count(),
        all,
        "each was opened once"
    );
    assert_eq!(
        steps.len(),
        all + taken.len(),
        "and nothing else became of it"
    );
    living.abort();
    drop(server);
    database.verify();
}

#[tokio::test]
async fn killed_while_it_evaluates_it_opens_one_alert_for_each_silence_on_sqlite() {
    killed_while_evaluating(Database::sqlite()).await;
}

#[tokio::test]
async fn killed_while_it_evaluates_it_opens_one_alert_for_each_silence_on_postgresql() {
    if let Some(database) = Database::postgres() {
        killed_while_evaluating(database).await;
    }
}
