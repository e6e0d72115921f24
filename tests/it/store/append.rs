//! Positions, batches, neighbours.

use std::collections::BTreeSet;

use homepot_analytics::event::Position;
use homepot_analytics::kinds::Code;
use homepot_analytics::store::{AppendError, EVENTS_MAX, Outcome, StoreError};

use crate::support::{
    Database, FLEET_EVENTS, contract, device, error, exactly_once, metrics, recorded, request,
    site, state,
};

contract![
    concurrent_appends_get_contiguous_positions,
    positions_follow_the_order_of_commits,
    a_batch_that_is_rolled_back_leaves_no_hole,
    a_bad_request_does_not_fail_its_neighbours,
    a_panic_in_a_fold_fails_its_request_alone,
    what_was_acknowledged_is_behind_the_head_at_once,
    an_unknown_device_or_site_does_not_hold_its_neighbours_back,
    a_device_can_be_registered_and_measured_in_one_request,
    a_refused_registration_registers_nothing,
    a_registration_that_fails_to_commit_registers_nothing,
    recorded_at_never_goes_back,
    a_request_with_too_many_events_is_refused,
    an_empty_request_changes_nothing,
    a_restart_goes_on_where_it_stopped,
];

async fn concurrent_appends_get_contiguous_positions(database: Database) {
    let log = database.open().await;
    let appenders = (0..32).map(|appender| {
        let store = log.handle();
        tokio::spawn(async move {
            let mut positions = Vec::new();
            for ordinal in 0..20 {
                let events = (0..=ordinal % 3).map(|_| error(&format!("{appender}.{ordinal}")));
                let appended = store.append(request(events.collect())).await.unwrap();
                positions.push(recorded(&appended));
            }
            positions
        })
    });
    let mut all = Vec::new();
    for appender in appenders.collect::<Vec<_>>() {
        for positions in appender.await.unwrap() {
            let before = positions[0] - 1;
            let last = before + i64::try_from(positions.len()).unwrap();
            exactly_once(&positions, before, last).unwrap();
            all.extend(positions);
        }
    }
    all.sort_unstable();
    let head = database.number("SELECT position FROM log_head").await;
    exactly_once(&all, 0, head).unwrap();
    log.close().await;
}

async fn positions_follow_the_order_of_commits(database: Database) {
    let log = database.open().await;
    let appenders = (0..16).map(|_| {
        let (store, clock) = (log.handle(), log.clock.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                clock.advance_ms(1);
                store.append(request(vec![error("e")])).await.unwrap();
            }
        })
    });
    for appender in appenders.collect::<Vec<_>>() {
        appender.await.unwrap();
    }
    let sql = "SELECT first_position, last_position, recorded_at FROM commits \
               ORDER BY first_position";
    let (mut last, mut recorded_at) = (0_i64, 0_i64);
    for commit in database.query(sql).await {
        let number = |index| commit.try_get_by_index::<i64>(index).unwrap();
        assert_eq!(number(0), last + 1);
        assert!(number(2) >= recorded_at);
        (last, recorded_at) = (number(1), number(2));
    }
    assert_eq!(last, 160);
    log.close().await;
}

async fn a_batch_that_is_rolled_back_leaves_no_hole(database: Database) {
    let log = database.open().await;
    assert_eq!(
        log.record(vec![error("a")]).await,
        [Outcome::Recorded(Position(1))]
    );
    let failed = log.append(request(vec![error("b"), error("poison")])).await;
    assert!(matches!(failed, Err(AppendError::Store(_))));
    assert_eq!(
        log.record(vec![error("c")]).await,
        [Outcome::Recorded(Position(2))]
    );
    assert_eq!(log.follow(Position(0), Position(2)).await, [1, 2]);
    log.close().await;
}

async fn a_bad_request_does_not_fail_its_neighbours(database: Database) {
    let log = database.open().await;
    let requests = (0..50).map(|ordinal| {
        let store = log.handle();
        let message = if ordinal % 10 == 3 { "poison" } else { "fine" };
        tokio::spawn(async move { store.append(request(vec![error(message)])).await.is_ok() })
    });
    let mut stored = 0;
    for (ordinal, done) in requests.collect::<Vec<_>>().into_iter().enumerate() {
        let done = done.await.unwrap();
        assert_eq!(done, ordinal % 10 != 3, "request {ordinal}");
        stored += i64::from(done);
    }
    let seen = log.follow(Position(0), Position(stored)).await;
    exactly_once(&seen, 0, stored).unwrap();
    log.close().await;
}

async fn a_panic_in_a_fold_fails_its_request_alone(database: Database) {
    let log = database.open().await;
    for _ in 0..3 {
        let failed = log.append(request(vec![error("panic")])).await;
        let Err(AppendError::Store(failed)) = failed else {
            panic!("{failed:?}")
        };
        assert!(matches!(*failed, StoreError::Panicked), "{failed}");
    }
    let after = log.record(vec![error("fine")]).await;
    assert_eq!(after, [Outcome::Recorded(Position(1))]);
    log.close().await;
}

/// A follower that begins now must not be given what was acknowledged before.
async fn what_was_acknowledged_is_behind_the_head_at_once(database: Database) {
    let log = database.open().await;
    for position in 1..=200 {
        log.record(vec![error("e")]).await;
        assert_eq!(log.head(), Position(position));
    }
    log.close().await;
}

async fn an_unknown_device_or_site_does_not_hold_its_neighbours_back(database: Database) {
    let log = database.open().await.with_fleet().await;
    let outcomes = log
        .record(vec![
            metrics("nobody", 0, 1.0),
            metrics("d1", 0, 1.0),
            device("d9", "nowhere"),
            metrics("d2", 0, 1.0),
        ])
        .await;
    let code = |outcome: &Outcome| match outcome {
        Outcome::Rejected(refusal) => (refusal.code, refusal.field.clone().unwrap().into_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        code(&outcomes[0]),
        (Code::UnknownDevice, "deviceId".to_owned())
    );
    assert_eq!(outcomes[1], Outcome::Recorded(Position(FLEET_EVENTS + 1)));
    assert_eq!(code(&outcomes[2]), (Code::UnknownSite, "siteId".to_owned()));
    assert_eq!(outcomes[3], Outcome::Recorded(Position(FLEET_EVENTS + 2)));
    log.close().await;
}

async fn a_device_can_be_registered_and_measured_in_one_request(database: Database) {
    let log = database.open().await;
    let outcomes = log
        .record(vec![site("s"), device("d", "s"), metrics("d", 0, 1.0)])
        .await;
    assert_eq!(outcomes[2], Outcome::Recorded(Position(3)));
    log.close().await;
}

async fn a_refused_registration_registers_nothing(database: Database) {
    let log = database.open().await;
    let outcomes = log
        .record(vec![device("d9", "nowhere"), metrics("d9", 0, 1.0)])
        .await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Rejected(_)))
    );
    assert_eq!(database.number("SELECT count(*) FROM entity_keys").await, 0);
    log.close().await;
}

async fn a_registration_that_fails_to_commit_registers_nothing(database: Database) {
    if database.is_sqlite() {
        // nothing that fails only on commit can be put in its way there
        return;
    }
    let log = database.open().await.with_fleet().await;
    database
        .execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE 'commit fails'; END $$; \
             CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON commits \
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()",
        )
        .await;
    let events = vec![device("d9", "s1"), state("d9", 0, "ONLINE")];
    let failed = log.append(request(events)).await;
    assert!(matches!(failed, Err(AppendError::Store(_))));
    database.execute("DROP TRIGGER fails ON commits").await;
    let outcomes = log
        .record(vec![metrics("d9", 0, 1.0), metrics("d1", 0, 1.0)])
        .await;
    assert!(matches!(outcomes[0], Outcome::Rejected(_)));
    assert_eq!(outcomes[1], Outcome::Recorded(Position(FLEET_EVENTS + 1)));
    log.close().await;
}

async fn recorded_at_never_goes_back(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a")]).await;
    log.clock.advance_ms(-3_600_000);
    log.record(vec![error("b")]).await;
    log.clock.advance_ms(7_200_000);
    log.record(vec![error("c")]).await;
    let events = log.after(Position(0), 10).await.unwrap().events;
    let times: Vec<String> = events.iter().map(|e| e.recorded_at.to_string()).collect();
    assert_eq!(
        times,
        [
            "2026-11-23T10:00:00Z",
            "2026-11-23T10:00:00Z",
            "2026-11-23T11:00:00Z"
        ]
    );
    log.close().await;
}

async fn a_request_with_too_many_events_is_refused(database: Database) {
    let log = database.open().await;
    let many = |events| request(vec![error("e"); events]);
    let refused = log.append(many(EVENTS_MAX + 1)).await;
    assert!(matches!(
        refused,
        Err(AppendError::TooLarge {
            events: 1_001,
            max: 1_000
        })
    ));
    let appended = log.append(many(EVENTS_MAX)).await.unwrap();
    let positions: BTreeSet<i64> = recorded(&appended).into_iter().collect();
    assert_eq!(positions, (1..=1_000).collect());
    log.close().await;
}

async fn an_empty_request_changes_nothing(database: Database) {
    let log = database.open().await;
    assert!(log.record(vec![]).await.is_empty());
    assert_eq!(database.number("SELECT count(*) FROM commits").await, 0);
    log.close().await;
}

async fn a_restart_goes_on_where_it_stopped(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a"), error("b")]).await;
    let identity = log.identity();
    log.close().await;
    let log = database.open().await;
    assert_eq!(log.identity(), identity);
    assert_eq!(log.head(), Position(2));
    assert_eq!(
        log.record(vec![error("c")]).await,
        [Outcome::Recorded(Position(3))]
    );
    assert_eq!(log.follow(Position(0), Position(3)).await, [1, 2, 3]);
    log.close().await;
}
