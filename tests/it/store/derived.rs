//! The state before a state follows the order of time, whenever a report arrives.

use homepot_analytics::event::Event;
use homepot_analytics::kinds::{Filter, Kind};
use homepot_analytics::store::{Columns, Order, PageQuery, Scope};

use crate::support::{Database, TestLog, contract, state};

contract![
    a_late_state_falls_into_its_place,
    a_repeated_state_is_no_change,
    states_of_other_devices_do_not_mix,
    states_at_one_instant_follow_their_positions,
];

/// What the history of all devices shows: new state and the state before it, in order of time.
async fn history(log: &TestLog, scope: Scope) -> Vec<String> {
    let query = PageQuery {
        kind: Kind::DeviceStateChange,
        filter: Filter::default(),
        order: Order::OldestFirst,
        after: None,
        before: None,
        upto: None,
        scope,
        columns: Columns::ALL,
        limit: 100,
    };
    let spec = Kind::DeviceStateChange.spec();
    let text = |event: &Event, name| {
        let cell = &event.fact.cells[spec.index_of(name).unwrap()];
        cell.text().unwrap_or("-").to_owned()
    };
    let page = log.page(&query, &log.allowance()).await.unwrap();
    assert_eq!(
        log.count(&query).await.unwrap(),
        i64::try_from(page.len()).unwrap()
    );
    let show = |e: &Event| {
        format!(
            "{} {}>{}",
            text(e, "deviceId"),
            text(e, "previousState"),
            text(e, "newState")
        )
    };
    page.iter().map(show).collect()
}

async fn a_late_state_falls_into_its_place(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![state("d1", 10, "ONLINE"), state("d1", 30, "ERROR")])
        .await;
    assert_eq!(
        history(&log, Scope::All).await,
        ["d1 ->ONLINE", "d1 ONLINE>ERROR"]
    );
    log.record(vec![state("d1", 20, "OFFLINE")]).await;
    assert_eq!(
        history(&log, Scope::All).await,
        ["d1 ->ONLINE", "d1 ONLINE>OFFLINE", "d1 OFFLINE>ERROR"]
    );
    log.close().await;
}

async fn a_repeated_state_is_no_change(database: Database) {
    let log = database.open().await.with_fleet().await;
    let seconds = [
        (10, "ONLINE"),
        (20, "ONLINE"),
        (30, "ERROR"),
        (40, "ONLINE"),
    ];
    log.record(
        seconds
            .map(|(second, word)| state("d1", second, word))
            .to_vec(),
    )
    .await;
    assert_eq!(
        history(&log, Scope::Changes).await,
        ["d1 ->ONLINE", "d1 ONLINE>ERROR", "d1 ERROR>ONLINE"]
    );
    assert_eq!(history(&log, Scope::All).await.len(), 4);
    // a late report between two equal ones makes the second of them a change
    log.record(vec![state("d1", 15, "OFFLINE")]).await;
    assert_eq!(history(&log, Scope::Changes).await.len(), 5);
    log.close().await;
}

async fn states_of_other_devices_do_not_mix(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![state("d1", 10, "ONLINE"), state("d2", 20, "ERROR")])
        .await;
    log.record(vec![state("d1", 30, "ERROR"), state("d2", 40, "ONLINE")])
        .await;
    assert_eq!(
        history(&log, Scope::Changes).await,
        [
            "d1 ->ONLINE",
            "d2 ->ERROR",
            "d1 ONLINE>ERROR",
            "d2 ERROR>ONLINE"
        ]
    );
    log.close().await;
}

async fn states_at_one_instant_follow_their_positions(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![state("d1", 10, "ONLINE"), state("d1", 10, "ERROR")])
        .await;
    assert_eq!(
        history(&log, Scope::All).await,
        ["d1 ->ONLINE", "d1 ONLINE>ERROR"]
    );
    log.close().await;
}
