//! Where servers cannot ring for each other, they see what others append all the same, only later.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::{Api, Subscription};
use super::cluster::Cluster;
use super::database::Database;

/// How long it may take until what another server has appended is seen.
const SEEN_WITHIN: Duration = Duration::from_millis(250);
const EVENTS: u32 = 60;

/// How long it takes from the answer of one server until a follower of another has the event: the median, and
/// the longest.
async fn delays(cluster: &Cluster) -> (Duration, Duration) {
    let after = cluster.register().await;
    let query = "subscription($after: String) { userActivity(after: $after) { elementId } }";
    let other = cluster.address(1);
    let opened = Subscription::open(&other, query, json!({ "after": after }));
    let mut stream = opened.await.unwrap();
    let mut delays = Vec::new();
    for number in 0..EVENTS {
        let id = format!("e{number}");
        let click =
            json!([{ "userActivity": { "activityType": "BUTTON_CLICK", "elementId": id } }]);
        record(&cluster.api, &cluster.address(0), click).await;
        let began = Instant::now();
        let seen = stream.next().await.unwrap();
        delays.push(began.elapsed());
        assert_eq!(seen["userActivity"]["elementId"], id);
        // not in step with the looks of the other
        tokio::time::sleep(Duration::from_millis(u64::from(number * 7 % 40))).await;
    }
    delays.sort_unstable();
    (delays[delays.len() / 2], delays[delays.len() - 1])
}

async fn record(api: &Api, server: &str, events: Value) {
    let outcomes = api.record(server, events).await;
    assert_eq!(outcomes[0]["status"], "RECORDED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_notifications_another_server_sees_an_event_within_250_ms() {
    let Some(database) = Database::postgres() else {
        return;
    };
    let (rung, longest) = delays(&Cluster::start(database, 2)).await;
    println!("with the bell: {rung:?}, {longest:?} at the longest");
    let Some(database) = Database::postgres() else {
        return;
    };
    let database = database.of_its_own_user();
    database.execute("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC");
    assert!(!database.user_may("SELECT pg_notify('a', 'b')"));
    let (asked, longest) = delays(&Cluster::start(database, 2)).await;
    println!("without it: {asked:?}, {longest:?} at the longest");
    // the longest also tells how busy the machine is
    assert!(asked < SEEN_WITHIN, "{asked:?}");
}
