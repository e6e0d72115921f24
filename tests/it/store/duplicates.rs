//! A repeat is stored once and answered with its first position.

use homepot_analytics::event::Position;
use homepot_analytics::store::Outcome;
use serde_json::json;

use crate::support::{
    Database, FLEET_EVENTS, contract, error, event, keyed_error, metrics, request, uuid,
};

contract![
    a_retry_is_a_duplicate,
    a_retry_after_a_restart_is_a_duplicate,
    a_retry_on_another_node_is_a_duplicate,
    concurrent_tries_on_two_nodes_store_once,
    a_repeat_within_one_request_is_a_duplicate,
    a_repeat_in_a_neighbouring_request_is_a_duplicate,
    the_same_key_with_another_body_is_a_conflict,
    bodies_are_compared_as_json_values,
    numbers_in_json_keep_their_value_in_the_log,
    an_event_without_a_key_is_stored_each_time,
    a_time_left_out_does_not_make_a_repeat_a_conflict,
    metrics_are_known_by_device_and_time,
    a_reported_previous_state_does_not_make_a_repeat_a_conflict,
    a_registration_that_is_a_conflict_registers_nothing,
    a_conflict_within_one_request_registers_nothing,
];

async fn a_retry_is_a_duplicate(database: Database) {
    let log = database.open().await;
    log.record(vec![error("first")]).await;
    let events = vec![keyed_error(1, "a"), keyed_error(2, "b")];
    let first = log.record(events.clone()).await;
    assert_eq!(
        first,
        [
            Outcome::Recorded(Position(2)),
            Outcome::Recorded(Position(3))
        ]
    );
    let second = log.record(events).await;
    assert_eq!(
        second,
        [
            Outcome::Duplicate(Position(2)),
            Outcome::Duplicate(Position(3))
        ]
    );
    assert_eq!(database.number("SELECT count(*) FROM error_logs").await, 3);
    log.close().await;
}

async fn a_retry_after_a_restart_is_a_duplicate(database: Database) {
    let log = database.open().await.with_fleet().await;
    let events = vec![keyed_error(1, "a"), metrics("d1", 0, 1.5)];
    log.record(events.clone()).await;
    log.close().await;
    let log = database.open().await;
    let outcomes = log.record(events).await;
    let first = Position(FLEET_EVENTS + 1);
    assert_eq!(
        outcomes,
        [Outcome::Duplicate(first), Outcome::Duplicate(first.next())]
    );
    log.close().await;
}

async fn a_retry_on_another_node_is_a_duplicate(database: Database) {
    let (one, other) = (
        database.open().await.with_fleet().await,
        database.open().await,
    );
    let events = vec![keyed_error(1, "a"), metrics("d1", 0, 1.5)];
    one.record(events.clone()).await;
    let outcomes = other.record(events).await;
    let first = Position(FLEET_EVENTS + 1);
    assert_eq!(
        outcomes,
        [Outcome::Duplicate(first), Outcome::Duplicate(first.next())]
    );
    one.close().await;
    other.close().await;
}

async fn concurrent_tries_on_two_nodes_store_once(database: Database) {
    let (one, other) = (database.open().await, database.open().await);
    let tries = (0..60).map(|ordinal| {
        let store = if ordinal % 2 == 0 {
            one.handle()
        } else {
            other.handle()
        };
        tokio::spawn(async move {
            let appended = store
                .append(request(vec![keyed_error(ordinal / 6, "a")]))
                .await
                .unwrap();
            match appended.outcomes[..] {
                [Outcome::Recorded(position)] => (true, ordinal / 6, position),
                [Outcome::Duplicate(position)] => (false, ordinal / 6, position),
                ref other => panic!("{other:?}"),
            }
        })
    });
    let mut answers = Vec::new();
    for one_try in tries.collect::<Vec<_>>() {
        answers.push(one_try.await.unwrap());
    }
    for key in 0..10 {
        let of_key: Vec<_> = answers.iter().filter(|answer| answer.1 == key).collect();
        assert_eq!(of_key.iter().filter(|answer| answer.0).count(), 1);
        assert!(of_key.iter().all(|answer| answer.2 == of_key[0].2));
    }
    one.close().await;
    other.close().await;
}

async fn a_repeat_within_one_request_is_a_duplicate(database: Database) {
    let log = database.open().await.with_fleet().await;
    let (keyed, natural) = (keyed_error(1, "a"), metrics("d1", 0, 1.5));
    let outcomes = log
        .record(vec![keyed.clone(), natural.clone(), natural, keyed])
        .await;
    let first = Position(FLEET_EVENTS + 1);
    assert_eq!(outcomes[2], Outcome::Duplicate(first.next()));
    assert_eq!(outcomes[3], Outcome::Duplicate(first));
    log.close().await;
}

async fn a_repeat_in_a_neighbouring_request_is_a_duplicate(database: Database) {
    let log = database.open().await;
    let tries = (0..40).map(|_| {
        let store = log.handle();
        tokio::spawn(async move {
            store
                .append(request(vec![keyed_error(7, "a")]))
                .await
                .unwrap()
        })
    });
    for one_try in tries.collect::<Vec<_>>() {
        let outcome = one_try.await.unwrap().outcomes.remove(0);
        assert!(matches!(
            outcome,
            Outcome::Recorded(Position(1)) | Outcome::Duplicate(Position(1))
        ));
    }
    assert_eq!(database.number("SELECT position FROM log_head").await, 1);
    log.close().await;
}

async fn the_same_key_with_another_body_is_a_conflict(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![keyed_error(1, "a"), metrics("d1", 0, 1.5)])
        .await;
    let outcomes = log
        .record(vec![keyed_error(1, "b"), metrics("d1", 0, 1.6), error("c")])
        .await;
    let first = Position(FLEET_EVENTS + 1);
    assert_eq!(outcomes[0], Outcome::Conflict(first));
    assert_eq!(outcomes[1], Outcome::Conflict(first.next()));
    assert_eq!(outcomes[2], Outcome::Recorded(first.next().next()));
    log.close().await;
}

fn with_context(context: &serde_json::Value) -> homepot_analytics::event::NewEvent {
    event(
        &json!({"errorLog": {"category": "API", "severity": "ERROR", "errorMessage": "m",
        "eventId": uuid(1), "context": context, "extra": {"e": context}}}),
    )
}

async fn bodies_are_compared_as_json_values(database: Database) {
    let log = database.open().await;
    log.record(vec![with_context(
        &json!({"a": 1, "b": [2.0, {"c": null, "d": 1e2}]}),
    )])
    .await;
    let same = with_context(&json!({"b": [2, {"d": 100, "c": null}], "a": 1.0}));
    assert_eq!(
        log.record(vec![same]).await,
        [Outcome::Duplicate(Position(1))]
    );
    let other = with_context(&json!({"b": [2, {"d": 101, "c": null}], "a": 1.0}));
    assert_eq!(
        log.record(vec![other]).await,
        [Outcome::Conflict(Position(1))]
    );
    log.close().await;
}

async fn numbers_in_json_keep_their_value_in_the_log(database: Database) {
    let log = database.open().await;
    let numbers = "[0.1, 1.7976931348623157e308, 5e-324, 31.245270191439438, 121.48791951161945, \
                   18446744073709551615, 2.2250738585072014e-308]";
    let context: serde_json::Value = serde_json::from_str(numbers).unwrap();
    log.record(vec![with_context(&context)]).await;
    let again: serde_json::Value = serde_json::from_str(numbers).unwrap();
    assert_eq!(
        log.record(vec![with_context(&again)]).await,
        [Outcome::Duplicate(Position(1))]
    );
    log.close().await;
}

async fn an_event_without_a_key_is_stored_each_time(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a")]).await;
    assert_eq!(
        log.record(vec![error("a")]).await,
        [Outcome::Recorded(Position(2))]
    );
    log.close().await;
}

async fn a_time_left_out_does_not_make_a_repeat_a_conflict(database: Database) {
    let log = database.open().await;
    log.record(vec![keyed_error(1, "a")]).await;
    let mut later = keyed_error(1, "a");
    later.fact.occurred_at = later.fact.occurred_at.plus_ms(60_000);
    assert_eq!(
        log.record(vec![later.clone()]).await,
        [Outcome::Duplicate(Position(1))]
    );
    later.occurred_at_given = true;
    assert_eq!(
        log.record(vec![later]).await,
        [Outcome::Conflict(Position(1))]
    );
    log.close().await;
}

async fn metrics_are_known_by_device_and_time(database: Database) {
    let log = database.open().await.with_fleet().await;
    let mut first = metrics("d1", 0, 1.5);
    first.fact.event_id = Some(uuid(1));
    let mut again = first.clone();
    again.fact.event_id = Some(uuid(2));
    log.record(vec![first]).await;
    let outcomes = log
        .record(vec![again, metrics("d1", 1, 1.5), metrics("d2", 0, 1.5)])
        .await;
    let position = Position(FLEET_EVENTS + 1);
    assert_eq!(outcomes[0], Outcome::Duplicate(position));
    assert!(
        outcomes[1..]
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Recorded(_)))
    );
    log.close().await;
}

async fn a_reported_previous_state_does_not_make_a_repeat_a_conflict(database: Database) {
    let log = database.open().await.with_fleet().await;
    let reported = event(
        &json!({"deviceStateChange": {"deviceId": "d1", "newState": "ONLINE",
        "previousState": "MAINTENANCE", "eventId": uuid(1)}}),
    );
    log.record(vec![reported.clone()]).await;
    let outcomes = log.record(vec![reported]).await;
    assert_eq!(outcomes, [Outcome::Duplicate(Position(FLEET_EVENTS + 1))]);
    log.close().await;
}

fn keyed_device(device: &str) -> homepot_analytics::event::NewEvent {
    event(
        &json!({"deviceRegistration": {"deviceId": device, "siteId": "s1",
        "deviceType": "GATEWAY", "eventId": uuid(9)}}),
    )
}

async fn a_registration_that_is_a_conflict_registers_nothing(database: Database) {
    let log = database.open().await.with_fleet().await;
    log.record(vec![keyed_device("d8")]).await;
    let outcomes = log
        .record(vec![keyed_device("d9"), metrics("d9", 0, 1.0)])
        .await;
    assert_eq!(outcomes[0], Outcome::Conflict(Position(FLEET_EVENTS + 1)));
    assert!(matches!(outcomes[1], Outcome::Rejected(_)));
    let sql = "SELECT count(*) FROM entity_keys WHERE entity_id = 'd9'";
    assert_eq!(database.number(sql).await, 0);
    log.close().await;
}

async fn a_conflict_within_one_request_registers_nothing(database: Database) {
    let log = database.open().await.with_fleet().await;
    let outcomes = log
        .record(vec![
            keyed_device("d8"),
            keyed_device("d9"),
            metrics("d9", 0, 1.0),
        ])
        .await;
    assert_eq!(outcomes[0], Outcome::Recorded(Position(FLEET_EVENTS + 1)));
    assert_eq!(outcomes[1], Outcome::Conflict(Position(FLEET_EVENTS + 1)));
    assert!(matches!(outcomes[2], Outcome::Rejected(_)));
    let sql = "SELECT count(*) FROM entity_keys WHERE entity_id = 'd9'";
    assert_eq!(database.number(sql).await, 0);
    log.close().await;
}
