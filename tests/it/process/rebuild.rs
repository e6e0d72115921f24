//! `rebuild` beside a running server: the server goes on recording, and both come to the same.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::database::Database;

/// Names of all projections.
pub(super) const PROJECTIONS: [&str; 10] = [
    "registry",
    "configuration",
    "jobs",
    "status",
    "intervals",
    "silences",
    "insights",
    "schedules",
    "counters",
    "error_groups",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_projection_is_rebuilt_beside_a_server_on_sqlite() {
    rebuilt_beside_a_server(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_projection_is_rebuilt_beside_a_server_on_postgresql() {
    if let Some(database) = Database::postgres() {
        rebuilt_beside_a_server(database).await;
    }
}

async fn rebuilt_beside_a_server(database: Database) {
    let (server, address) = database.serve();
    let api = Api::new();
    let fleet = json!([
        { "siteRegistration": { "siteId": "s0", "name": "Site" } },
        { "deviceRegistration": { "deviceId": "d0", "siteId": "s0", "deviceType": "GATEWAY" } },
        { "siteSchedule": { "siteId": "s0", "dayOfWeek": "MONDAY", "isClosed": true } },
    ]);
    api.record(&address, fleet).await;
    let stop = CancellationToken::new();
    let recording = tokio::spawn(record_until(api, address, stop.clone()));
    for projection in PROJECTIONS {
        let rebuilt = database.run(&["rebuild", projection]);
        assert!(rebuilt.status.success(), "{projection}: {rebuilt:?}");
    }
    stop.cancel();
    assert!(recording.await.unwrap() > 0);
    database.verify();
    server.terminate();
    let ended = server.end();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    database.verify();
}

/// Records until it is told to stop; every request is recorded.
async fn record_until(api: Api, address: String, stop: CancellationToken) -> usize {
    let mut requests = 0;
    while !stop.is_cancelled() {
        let state = ["ONLINE", "ERROR"][requests % 2];
        let events = json!([
            { "deviceStateChange": { "deviceId": "d0", "newState": state } },
            { "deviceRegistration": { "deviceId": format!("d{}", requests % 50), "siteId": "s0", "deviceType": "GATEWAY" } },
            { "userActivity": { "activityType": "PAGE_VIEW" } },
        ]);
        let outcomes = api.record(&address, events).await;
        let recorded = outcomes
            .iter()
            .all(|outcome| outcome["status"] == "RECORDED");
        assert!(recorded, "{outcomes:?}");
        requests += 1;
    }
    requests
}
