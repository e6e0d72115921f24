//! `demo` collects from all sources; `demo --reset` empties a demo's own log, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::api::Api;
use super::database::Database;
use super::program::Program;

const DEMO: [&str; 5] = ["demo", "--listen", "127.0.0.1:0", "--history-hours", "0"];

fn reset() -> Vec<&'static str> {
    [&DEMO[..], &["--reset"]].concat()
}

fn started(database: &Database, arguments: &[&str]) -> (Program, String) {
    let mut demo = database.start(arguments);
    let address = demo.address();
    let address = address.unwrap_or_else(|| panic!("it serves: {}", demo.stderr()));
    (demo, address)
}

#[test]
fn a_file_of_something_else_is_left_as_it_is() {
    let database = Database::sqlite();
    fs::write(database.file(), "My thesis").unwrap();
    let words = [database.url.as_str(), "was not made by `demo`"];
    database.run(&reset()).refused(&words);
    assert_eq!(fs::read(database.file()).unwrap(), b"My thesis");
}

#[test]
fn a_log_that_a_server_made_is_left_as_it_is() {
    let database = Database::sqlite();
    assert!(database.run(&["migrate", "up"]).status.success());
    let before = fs::read(database.file()).unwrap();
    database.run(&reset()).refused(&["was not made by `demo`"]);
    assert_eq!(fs::read(database.file()).unwrap(), before);
}

#[tokio::test]
async fn no_fleet_is_played_into_a_log_of_others() {
    let database = Database::sqlite();
    let till = database.run(&["import", "tests/data/till.jsonl.gz"]);
    assert!(till.status.success(), "{till:?}");
    let registered = "SELECT count(*), 0 FROM site_registrations";
    let before = database.rows(registered).await;
    let words = ["has events and no simulated fleet", "a database of its own"];
    let files = beside(&database);
    database.run(&DEMO).refused(&words);
    assert_eq!(database.rows(registered).await, before);
    assert_eq!(beside(&database), files, "nothing was left behind");
}

/// The names of what lies beside the log, but for what SQLite itself puts there.
fn beside(database: &Database) -> BTreeSet<String> {
    let files = fs::read_dir(database.folder()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let ours = |name: &String| !["log.db-shm", "log.db-wal"].contains(&name.as_str());
    names
        .filter(|name| name.starts_with("log.db") && ours(name))
        .collect()
}

#[test]
fn a_demo_that_others_could_reach_is_told_to_listen_on_loopback() {
    let database = Database::sqlite();
    let listen = ["demo", "--listen", "0.0.0.0:0"];
    let words = ["listen on 127.0.0.1", "`serve` without --no-authentication"];
    database.run(&listen).refused(&words);
    assert!(!database.file().exists(), "nothing was made");
}

/// As if this migration had come later; it can be run once more.
const OF_AN_EARLIER_VERSION: &str =
    "DELETE FROM seaql_migrations WHERE version = 'm0025_rollup_labels'";

#[test]
fn a_log_of_others_is_not_brought_up_to_date() {
    for database in std::iter::once(Database::sqlite()).chain(Database::postgres()) {
        let till = database.run(&["import", "tests/data/till.jsonl.gz"]);
        assert!(till.status.success(), "{till:?}");
        database.execute(OF_AN_EARLIER_VERSION);
        let words = ["is left as it is", "a database of its own"];
        database.run(&DEMO).refused(&words);
        let status = database.run(&["migrate", "status"]);
        status.refused(&["lacks 1 migrations"]);
        assert_eq!(status.stdout, "missing: m0025_rollup_labels\n");
        let beside = database.folder().join("log.db-demo");
        assert!(!beside.exists(), "nothing was made");
    }
}

#[test]
fn a_log_of_the_demo_is_brought_up_to_date() {
    let database = Database::sqlite();
    let (running, _) = started(&database, &DEMO);
    running.terminate();
    let ended = running.end();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    database.execute(OF_AN_EARLIER_VERSION);
    let (_running, _) = started(&database, &DEMO);
    let status = database.run(&["migrate", "status"]);
    assert!(status.status.success(), "{status:?}");
}

#[test]
fn a_log_of_a_demo_that_runs_is_not_brought_up_to_date() {
    let database = Database::sqlite();
    let (_running, _) = started(&database, &DEMO);
    database.execute(OF_AN_EARLIER_VERSION);
    let words = ["another demo plays its fleet into this log"];
    database.run(&DEMO).refused(&words);
    let status = database.run(&["migrate", "status"]);
    status.refused(&["lacks 1 migrations"]);
}

#[tokio::test]
async fn a_demo_that_runs_is_left_as_it_is() {
    let database = Database::sqlite();
    let (_running, address) = started(&database, &DEMO);
    let api = Api::new();
    let site = json!([{ "siteRegistration": { "siteId": "berlin", "name": "Berlin" } }]);
    assert_eq!(api.record(&address, site).await[0]["status"], "RECORDED");
    database
        .run(&reset())
        .refused(&["is in use by another process"]);
    let listen = address.strip_prefix("http://").unwrap();
    let same_address = ["demo", "--reset", "--listen", listen];
    database.run(&same_address).refused(&[
        "cannot listen on",
        "stop that or give another address, --listen 127.0.0.1:",
    ]);
    let link = database.folder().join("link.db");
    std::os::unix::fs::symlink(database.file(), &link).unwrap();
    let by_link = format!("sqlite://{}", link.display());
    for url in [&database.url, &by_link] {
        let demo = [&DEMO[..], &["--database", url]].concat();
        Program::run(database.folder(), &demo)
            .refused(&["another demo plays its fleet into this log"]);
    }
    let query = "{ site(siteId: \"berlin\") { name } }";
    let data = api.data(&address, query, json!({})).await;
    assert_eq!(data["site"]["name"], "Berlin");
    assert!(database.file().exists());
}

#[tokio::test]
async fn a_demo_that_is_refused_has_touched_nothing_of_the_one_that_runs() {
    let database = Database::sqlite();
    let (_running, address) = started(&database, &DEMO);
    let api = Api::new();
    let create = "mutation { createExport(input: { format: JSON_LINES, gzip: true, sources: [{ errorLogs: {} }] }) { \
        userErrors { code } } }";
    let made = api.data(&address, create, json!({})).await;
    assert_eq!(made["createExport"]["userErrors"], json!([]));
    let exports = "{ exports { nodes { state restarts } } }";
    let is_done = |data: &Value| data["exports"]["nodes"][0]["state"] == "DONE";
    api.until(&address, exports, is_done).await;
    // as one that takes its time, with half of its file
    database.execute("UPDATE exports SET state = 'RUNNING'");
    let mut homes = fs::read_dir(database.folder().join("log.db.exports")).unwrap();
    let half = homes
        .next()
        .unwrap()
        .unwrap()
        .path()
        .join("half.jsonl.gz#1");
    fs::write(&half, "half").unwrap();
    let key = database.folder().join("log.db.configuration-key");
    fs::remove_file(&key).unwrap();
    database
        .run(&DEMO)
        .refused(&["another demo plays its fleet into this log"]);
    assert!(half.exists(), "what was written of it is there");
    assert!(!key.exists(), "nothing was made");
    let data = api.data(&address, exports, json!({})).await;
    let expected = json!([{ "state": "RUNNING", "restarts": 0 }]);
    assert_eq!(data["exports"]["nodes"], expected);
}

#[tokio::test]
async fn a_demo_that_has_ended_is_emptied() {
    let database = Database::sqlite();
    let (running, address) = started(&database, &DEMO);
    let api = Api::new();
    let site = json!([{ "siteRegistration": { "siteId": "berlin", "name": "Berlin" } }]);
    assert_eq!(api.record(&address, site).await[0]["status"], "RECORDED");
    running.terminate();
    let ended = running.end();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let (_running, address) = started(&database, &reset());
    let link = database.folder().join("link.db");
    std::os::unix::fs::symlink(database.file(), &link).unwrap();
    let by_link = format!("sqlite://{}", link.display());
    for url in [&database.url, &by_link] {
        let demo = [&DEMO[..], &["--database", url]].concat();
        Program::run(database.folder(), &demo)
            .refused(&["another demo plays its fleet into this log"]);
    }
    let query = "{ site(siteId: \"berlin\") { name } }";
    let data = api.data(&address, query, json!({})).await;
    assert_eq!(data["site"], json!(null));
}

const SOURCES: &str = "{ collectionStatus { sources { source records } } }";

/// How many records there are of each of the eight sources.
fn records(data: &Value) -> Vec<(String, i64)> {
    let sources = data["collectionStatus"]["sources"].as_array().unwrap();
    let count = |source: &Value| {
        let name = source["source"].as_str().unwrap().to_owned();
        (name, super::api::long(&source["records"]))
    };
    let mut counts: Vec<(String, i64)> = sources.iter().map(count).collect();
    let eight = [
        "deviceMetrics",
        "jobOutcome",
        "deviceStateChange",
        "errorLog",
        "configurationChange",
        "siteSchedule",
        "userActivity",
        "apiRequest",
    ];
    counts.retain(|(name, _)| eight.contains(&name.as_str()));
    assert_eq!(counts.len(), eight.len());
    counts
}

fn all_have(data: &Value) -> bool {
    records(data).iter().all(|(_, count)| *count > 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_source_of_a_demo_has_records_and_grows_by_what_people_and_devices_do() {
    let database = Database::sqlite();
    let demo = ["demo", "--listen", "127.0.0.1:0", "--history-hours", "30"];
    let (_running, address) = started(&database, &demo);
    let api = Api::new();
    let before = records(&api.until(&address, SOURCES, all_have).await);
    let commands = "mutation { \
        createJob(input: { jobType: HEALTH_CHECK, deviceIds: [\"pos-01-01\", \"pos-01-02\"] }) { userErrors { code } } \
        setDeviceState(input: { deviceId: \"pos-02-01\", state: MAINTENANCE, reason: \"a new printer\" }) { \
            userErrors { code } } \
        setConfiguration(input: { entityType: DEVICE, entityId: \"pos-01-03\", changes: [ \
            { parameterName: \"collectionIntervalSeconds\", value: 20 }] }) { userErrors { code } } \
        setSiteSchedules(input: { rows: [{ siteId: \"site-01\", date: \"2030-12-24\", isClosed: true }] }) { \
            userErrors { code } } }";
    let told = api.data(&address, commands, json!({})).await;
    for (command, answer) in told.as_object().unwrap() {
        assert_eq!(answer["userErrors"], json!([]), "{command}");
    }
    let happened = json!({ "events": [{ "userActivity": { "activityType": "PAGE_VIEW", "pageUrl": "/tills" } }] });
    let path = "/api/v1/analytics/user-activity";
    assert_eq!(api.post(&format!("{address}{path}"), &happened).await, 200);
    let error = json!({ "resourceLogs": [{
        "resource": { "attributes": [{ "key": "host.name", "value": { "stringValue": "pos-01-01" } }] },
        "scopeLogs": [{ "logRecords": [{ "severityNumber": 17, "body": { "stringValue": "no paper" } }] }] }] });
    assert_eq!(api.post(&format!("{address}/v1/logs"), &error).await, 200);
    let all_grow = |data: &Value| {
        let now = records(data);
        let mut pairs = before.iter().zip(&now);
        pairs.all(|((_, before), (_, now))| now > before)
    };
    api.until(&address, SOURCES, all_grow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_do_on_a_demo_hides_nothing_of_its_fleet() {
    let database = Database::sqlite();
    let demo = ["demo", "--listen", "127.0.0.1:0", "--history-hours", "30"];
    let (_running, address) = started(&database, &demo);
    let api = Api::new();
    api.until(&address, SOURCES, all_have).await;
    let outcomes = api
        .record(
            &address,
            json!([
                { "userActivity": { "activityType": "PAGE_VIEW", "pageUrl": "/tills" } },
                { "errorLog": { "category": "API", "severity": "ERROR", "errorMessage": "no such page" } },
            ]),
        )
        .await;
    assert!(outcomes.iter().all(|one| one["status"] == "RECORDED"));
    let command = "mutation { setDeviceState(input: { deviceId: \"pos-01-01\", state: MAINTENANCE }) { \
        change { provenance } } }";
    let told = api.data(&address, command, json!({})).await;
    let change = &told["setDeviceState"]["change"];
    assert_eq!(change["provenance"], "SIMULATED");
    let real = "{ apiRequestLogs(filter: { provenance: { eq: REAL } }) { totalCount } }";
    let is_logged = |data: &Value| data["apiRequestLogs"]["totalCount"] != "0";
    api.until(&address, real, is_logged).await;
    let asked = "query($from: DateTime!) { \
        availability(from: $from) { provenance groups { total { availability } } } \
        apiRequestStats(from: $from) { provenance } errorStats(from: $from) { provenance } \
        activityStats(from: $from) { provenance } topPages { provenance } }";
    let variables = json!({ "from": "2020-01-01T00:00:00Z" });
    let mut data = api.data(&address, asked, variables).await;
    let groups = data["availability"]["groups"].take();
    assert!(groups[0]["total"]["availability"].is_f64(), "{groups}");
    assert_eq!(data["topPages"]["provenance"], "SIMULATED");
    for field in [
        "availability",
        "apiRequestStats",
        "errorStats",
        "activityStats",
    ] {
        assert_eq!(data[field]["provenance"], json!(["SIMULATED"]), "{field}");
    }
}
