//! What only one server does is done by another when that one dies, stalls or is told to stop; and what
//! comes of it is seen on every server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::{Api, Subscription};
use super::cluster::{Cluster, until};
use super::database::Database;
use super::program::{DEADLINE, Program};

/// A server that is gone is replaced within this time.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);
/// One that stops gives its works back.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(4);

/// What the first of two servers keeps.
const KEPT: [&str; 5] = ["projections", "jobs", "alerts", "webhooks", "health"];

/// Two servers, each with its share of the works.
async fn two() -> Option<Cluster> {
    let database = Database::postgres()?;
    let mut cluster = Cluster::start(database, 1);
    cluster.register().await;
    cluster.join();
    // the last that the first gives away
    let has = async || cluster.holder(1, "configuration_evidence").await == Some(1);
    until("the second has its share", has).await;
    for work in KEPT {
        assert_eq!(cluster.holder(1, work).await, Some(0), "{work}");
    }
    Some(cluster)
}

async fn page(api: &Api, server: &str) {
    let page = json!([{ "userActivity": { "activityType": "PAGE_VIEW" } }]);
    let outcomes = api.record(server, page).await;
    assert_eq!(outcomes[0]["status"], "RECORDED");
}

/// The other server has every work, and does them: what is recorded is folded.
async fn takes_over(cluster: &Cluster, within: Duration) {
    let began = Instant::now();
    for work in KEPT {
        let has = async || cluster.holder(1, work).await == Some(1);
        until("another has the work", has).await;
    }
    let took = began.elapsed();
    page(&cluster.api, &cluster.address(1)).await;
    cluster.api.folded(&cluster.address(1)).await;
    let folded = began.elapsed();
    println!("replaced after {took:?}, folding after {folded:?}");
    assert!(folded < within, "it took {folded:?}");
}

#[tokio::test]
async fn a_server_that_is_killed_is_replaced_within_ten_seconds() {
    let Some(mut cluster) = two().await else {
        return;
    };
    cluster.servers[0].kill();
    takes_over(&cluster, REPLACED_WITHIN).await;
    drop(cluster.servers);
    cluster.database.verify();
}

/// Which works a server says are its own or not.
async fn told_leases(cluster: &Cluster, server: usize) -> std::collections::BTreeMap<String, i64> {
    let metrics = format!("{}/metrics", cluster.address(server));
    let (_, told) = cluster.api.get(&metrics, None).await;
    let leases = told.lines().filter_map(|line| {
        let (work, held) = line
            .strip_prefix("homepot_lease_held{work=\"")?
            .split_once("\"} ")?;
        Some((work.to_owned(), held.parse().unwrap()))
    });
    leases.collect()
}

#[tokio::test]
async fn each_server_tells_of_the_works_that_it_could_do_also_when_they_never_were_its() {
    let Some(cluster) = two().await else {
        return;
    };
    until("each work is told by the one that has it", async || {
        let first = told_leases(&cluster, 0).await;
        let second = told_leases(&cluster, 1).await;
        assert!(first.contains_key("retention"), "{first:?}");
        assert!(first.keys().eq(second.keys()), "{first:?} {second:?}");
        first.iter().all(|(work, held)| {
            let is_kept = i64::from(KEPT.contains(&work.as_str()));
            (*held, second[work]) == (is_kept, 1 - is_kept)
        })
    })
    .await;
    drop(cluster.servers);
}

#[tokio::test]
async fn a_server_that_does_not_know_where_segments_lie_tells_what_is_not_archived() {
    let Some(database) = Database::postgres() else {
        return;
    };
    let serve = ["serve", "--no-authentication", "--listen", "127.0.0.1:0"];
    let given = [&serve, &["--database", database.url.as_str()][..]].concat();
    let mut server = Program::start(database.folder(), &given);
    let metrics = format!("{}/metrics", server.address().unwrap());
    let api = Api::new();
    let told = async || api.get(&metrics, None).await.1;
    until("it is told what is not archived", async || {
        told()
            .await
            .contains("\nhomepot_retention_homeless_kinds 7\n")
    })
    .await;
    assert!(!told().await.contains("lease_held{work=\"retention\"}"));
    drop(server);
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_gives_its_works_back() {
    let Some(mut cluster) = two().await else {
        return;
    };
    cluster.servers[0].terminate();
    let stopping = &mut cluster.servers[0];
    until("it stops", async || !stopping.runs()).await;
    takes_over(&cluster, GIVEN_BACK_WITHIN).await;
    let query = "{ storeHealth { nodes { isThis isAlive } } }";
    let data = cluster
        .api
        .data(&cluster.address(1), query, json!({}))
        .await;
    let alone = json!([{ "isThis": true, "isAlive": true }]);
    assert_eq!(data["storeHealth"]["nodes"], alone, "it has left");
}

/// Under load, so that it stalls amid its transactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_is_replaced_and_changes_nothing_when_it_wakes_up() {
    let Some(cluster) = two().await else {
        return;
    };
    let (api, addresses) = (cluster.api.clone(), cluster.addresses.subscribe());
    let loading = tokio::spawn(async move {
        loop {
            // the one that stalls answers nobody
            let address = addresses.borrow()[1].clone();
            let pages = json!(vec![
                json!({ "userActivity": { "activityType": "PAGE_VIEW" } });
                50
            ]);
            let input = json!({ "input": { "events": pages } });
            let _ = api.call(&address, super::api::RECORD, input).await;
        }
    });
    cluster.servers[0].freeze();
    let began = Instant::now();
    until("another has the work", async || {
        cluster.holder(1, "projections").await == Some(1)
    })
    .await;
    let took = began.elapsed();
    println!("replaced after {took:?}");
    assert!(took < REPLACED_WITHIN, "it took {took:?}");
    cluster.servers[0].thaw();
    // it knows by now that others do its works, and follows the log and them as any other does
    let metrics = format!("{}/metrics", cluster.address(0));
    let is_known = async || {
        let (_, told) = cluster.api.get(&metrics, None).await;
        told.contains("homepot_lease_held{work=\"projections\"} 0")
    };
    until("it knows who has its work", is_known).await;
    loading.abort();
    for server in 0..2 {
        cluster.api.folded(&cluster.address(server)).await;
    }
    assert_eq!(cluster.holder(0, "projections").await, Some(1));
    drop(cluster.servers);
    cluster.database.verify();
}

const JOB: &str = "mutation { createJob(input: { jobType: RESTART, deviceIds: [\"d0\"] }) { \
    job { jobId } userErrors { message } } }";
const COMMANDS: &str = "subscription { deviceCommands { command { commandId state } } }";
const PROGRESS: &str = "subscription P($id: ID!) { jobProgress(jobId: $id) { job { state } } }";
const ALERTS: &str = "subscription { alerts { state alert { cause } } }";
const RULE: &str = "mutation { createAlertRule(input: { name: \"Trouble\", severity: WARNING, \
    watch: { state: { states: [ERROR] } } }) { rule { ruleId } userErrors { message } } }";

async fn next(stream: &mut Subscription) -> Value {
    let next = tokio::time::timeout(DEADLINE, stream.next()).await;
    next.expect("something comes").expect("the stream goes on")
}

/// The second server does none of it.
#[tokio::test]
async fn a_server_streams_what_another_does() {
    let Some(cluster) = two().await else {
        return;
    };
    let (api, other) = (&cluster.api, cluster.address(1));
    let open = |query: &'static str, variables: Value| {
        let other = other.clone();
        async move {
            let opened = Subscription::open(&other, query, variables).await;
            opened.expect("it is followed")
        }
    };
    let mut commands = open(COMMANDS, json!({})).await;
    let mut alerts = open(ALERTS, json!({})).await;
    let made = api.data(&cluster.address(0), JOB, json!({})).await;
    let job = made["createJob"]["job"]["jobId"].clone();
    let mut progress = open(PROGRESS, json!({ "id": job })).await;
    let command = next(&mut commands).await;
    assert_eq!(
        command["deviceCommands"]["command"]["state"], "ISSUED",
        "{command}"
    );
    let id = &command["deviceCommands"]["command"]["commandId"];
    let complete = "mutation C($id: ID!) { completeCommand(input: { commandId: $id, \
        status: COMPLETED }) { userErrors { message } } }";
    let told = api.data(&other, complete, json!({ "id": id })).await;
    assert_eq!(told["completeCommand"]["userErrors"], json!([]));
    let mut state = Value::Null;
    while state != "COMPLETED" {
        state = next(&mut progress).await["jobProgress"]["job"]["state"].take();
    }
    let made = api.data(&other, RULE, json!({})).await;
    assert_eq!(made["createAlertRule"]["userErrors"], json!([]), "{made}");
    let error = json!([{ "deviceStateChange": { "deviceId": "d0", "newState": "ERROR" } }]);
    api.record(&other, error).await;
    let alert = next(&mut alerts).await;
    assert_eq!(alert["alerts"]["state"], "OPEN", "{alert}");
    // what is derived from the log is derived for it too
    let reading = json!([{ "deviceMetrics": { "deviceId": "d1", "cpuPercent": 12.5,
        "occurredAt": homepot_analytics::clock::Clock::system().now().to_string() } }]);
    api.record(&other, reading).await;
    let latest = "{ device(deviceId: \"d1\") { latestMetrics { cpuPercent } currentState } }";
    let is_derived = |data: &Value| {
        let device = &data["device"];
        device["latestMetrics"]["cpuPercent"] == 12.5 && device["currentState"] == "ONLINE"
    };
    api.until(&other, latest, is_derived).await;
    assert_eq!(cluster.holder(1, "jobs").await, Some(0));
}
