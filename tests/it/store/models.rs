//! Fleets are summed up at midnight and learned from: what comes of it is what a replay of the same facts comes to.

use std::io::Cursor;
use std::sync::Arc;

use homepot_analytics::event::{Fact, Instant, Provenance};
use homepot_analytics::held::{FleetRead, Held, ModelRead};
use homepot_analytics::ingest::Parsed;
use homepot_analytics::insights::input::{DAY, HOUR};
use homepot_analytics::insights::replay::{Asked, Question, Watched, replay};
use homepot_analytics::insights::risk::model::{FAILURES_NEEDED, Horizon};
use homepot_analytics::models::{Learner, ModelsMetrics};
use homepot_analytics::nodes::Work;
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::store::{Outcome, StoreError};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::fences::{Server, leases};
use crate::support::lives::{
    DAYS, DEVICES, error, fails, failure, life, midnight, readings, registered, till,
};
use crate::support::{Backend, Database, TestLog, at, contract, event};

contract![
    what_is_learned_at_night_is_what_is_replayed,
    an_error_that_is_said_again_is_one_failure,
    what_was_learned_is_kept_and_not_learned_again,
    a_model_that_says_less_well_what_came_does_not_take_the_place_of_another,
    until_enough_devices_have_failed_there_is_the_rate_of_the_fleet,
    what_was_recorded_late_is_learned_from_anew,
    a_history_that_comes_while_it_runs_is_learned_from_on_the_same_day,
    each_provenance_has_a_fleet_of_its_own,
    of_several_servers_one_learns,
];

/// Records events, and folds them.
async fn record(log: &TestLog, events: &[Json]) {
    for events in events.chunks(500) {
        let outcomes = log.record(events.iter().map(event).collect()).await;
        let is_recorded = |outcome: &Outcome| matches!(outcome, Outcome::Recorded(_));
        assert!(outcomes.iter().all(is_recorded));
    }
    let runner = Runner::new(log.handle(), projections::following());
    let head = log.committed_head().await.unwrap();
    runner.follow(Some(head)).await.unwrap();
}

async fn learn(log: &TestLog) {
    let learner = Learner::new(log.handle(), ModelsMetrics::default());
    learner.catch_up().await.unwrap();
}

/// The model in force as of an instant, and the newest.
async fn models(log: &TestLog, as_of: Instant) -> [Option<ModelRead>; 2] {
    let held = Held::new(log.handle());
    let read = held.trained(Provenance::Real, as_of).await.unwrap();
    read.map(|read| read.map(|read| ModelRead::clone(&read)))
}

async fn fleet(log: &TestLog, provenance: Provenance, as_of: Instant) -> Arc<FleetRead> {
    let held = Held::new(log.handle());
    held.fleet(provenance, as_of).await.unwrap()
}

async fn in_force(log: &TestLog, as_of: Instant) -> Option<ModelRead> {
    let [in_force, _] = models(log, as_of).await;
    in_force
}

/// What `evaluate` replays of the same events, an hour after a midnight.
fn replayed(log: &TestLog, events: &[Json], day: i64) -> Watched {
    let lines: Vec<String> = events.iter().map(|event| format!("{event}\n")).collect();
    let mut parsed = Parsed::default();
    let refused = parsed.read(Cursor::new(lines.concat()), &log.clock);
    assert!(refused.unwrap().is_empty());
    let facts: Vec<Fact> = parsed.facts;
    let asked = Instant(midnight(day).0 + HOUR);
    let question = Question {
        device: till(0),
        at: asked,
        timestamp: asked.to_string(),
    };
    let mut watched = Watched::new(Asked::Risk(Horizon::Day));
    let answers = replay(&facts, &[question], &mut watched);
    assert!(answers[0].value.is_some());
    watched
}

async fn what_is_learned_at_night_is_what_is_replayed(database: Database) {
    let log = database.open().await;
    let mut events = registered("REAL");
    events.extend(life(0..DAYS, "REAL"));
    record(&log, &events).await;
    learn(&log).await;
    let as_of = Instant(midnight(DAYS).0 + HOUR);
    let trained = in_force(&log, as_of).await.unwrap();
    let watched = replayed(&log, &events, DAYS);
    assert!(trained.model.is_fitted());
    assert_eq!(trained.day, midnight(DAYS));
    assert_eq!(trained.model, *watched.model());
    let fleet = fleet(&log, Provenance::Real, as_of).await;
    assert_eq!(fleet.risk, *watched.fleet());
    assert_eq!(*fleet.model, trained.model);
    // and again the night after, of which a day is read
    let next = life(DAYS..DAYS + 1, "REAL");
    log.clock.advance_ms(DAY / 1_000);
    record(&log, &next).await;
    events.extend(next);
    learn(&log).await;
    let as_of = Instant(midnight(DAYS + 1).0 + HOUR);
    let trained = in_force(&log, as_of).await.unwrap();
    assert_eq!(trained.day, midnight(DAYS + 1));
    let watched = replayed(&log, &events, DAYS + 1);
    assert_eq!(trained.model, *watched.model());
    log.close().await;
}

/// Events, of which each report of an error is said again twice.
fn said_again(events: &[Json]) -> Vec<Json> {
    let again = |event: &Json| {
        let mut all = vec![event.clone()];
        let report = &event["deviceStateChange"];
        if report["newState"] == "ERROR" {
            let first = at(report["occurredAt"].as_str().unwrap());
            for minutes in [1, 30] {
                let mut later = event.clone();
                let occurred_at = first.plus_ms(minutes * 60_000).to_string();
                later["deviceStateChange"]["occurredAt"] = json!(occurred_at);
                all.push(later);
            }
        }
        all
    };
    events.iter().flat_map(again).collect()
}

async fn an_error_that_is_said_again_is_one_failure(database: Database) {
    let log = database.open().await;
    let mut events = registered("REAL");
    events.extend(said_again(&life(0..DAYS, "REAL")));
    record(&log, &events).await;
    learn(&log).await;
    let as_of = Instant(midnight(DAYS).0 + HOUR);
    let trained = in_force(&log, as_of).await.unwrap();
    let days = (0..DAYS).flat_map(|day| (0..DEVICES).map(move |number| (day, number)));
    let failures = days.filter(|(day, number)| fails(*day, *number)).count();
    assert_eq!(trained.report.learned.failures, failures);
    let watched = replayed(&log, &events, DAYS);
    assert_eq!(trained.model, *watched.model());
    log.close().await;
}

async fn what_was_learned_is_kept_and_not_learned_again(database: Database) {
    let log = database.open().await;
    let mut events = registered("REAL");
    events.extend(life(0..DAYS, "REAL"));
    record(&log, &events).await;
    learn(&log).await;
    let as_of = log.clock.now();
    let trained = in_force(&log, as_of).await.unwrap();
    assert!(trained.report.day.is_some(), "{:?}", trained.report);
    log.close().await;
    let log = database.open().await;
    log.clock.advance_ms(60_000);
    learn(&log).await;
    assert_eq!(in_force(&log, as_of).await.unwrap(), trained);
    let made_at = "SELECT max(made_at) - min(made_at) FROM insight_fleets";
    assert_eq!(
        database.number(made_at).await,
        0,
        "nothing is summed up again"
    );
    // what it was before the first night is thought beforehand, also as of then
    let before = Instant(midnight(DAYS).0 - HOUR);
    assert!(in_force(&log, before).await.is_none());
    let of_then = fleet(&log, Provenance::Real, before).await;
    assert!(!of_then.model.is_fitted());
    let of_now = fleet(&log, Provenance::Real, as_of).await;
    assert!(of_now.model.is_fitted());
    log.close().await;
}

/// Days in which errors tell nothing: devices fail without one, and have them without failing.
fn confused(days: std::ops::Range<i64>) -> Vec<Json> {
    let mut events = readings(days.clone(), "REAL");
    for day in days {
        for number in 0..DEVICES {
            if fails(day, number) {
                events.extend(failure(day, number, "REAL"));
            } else if (day + number) % 2 == 0 {
                events.push(error(day, number, "REAL"));
            }
        }
    }
    events
}

async fn a_model_that_says_less_well_what_came_does_not_take_the_place_of_another(
    database: Database,
) {
    let log = database.open().await;
    let mut events = registered("REAL");
    events.extend(life(0..DAYS, "REAL"));
    record(&log, &events).await;
    learn(&log).await;
    let first = in_force(&log, log.clock.now()).await.unwrap();
    assert!(first.model.is_fitted() && first.tried.is_some());
    // of the time that is held out then, the first model has learned and the second has not
    let (confused_to, last) = (DAYS + 44, DAYS + 78);
    log.clock.advance_ms((last - DAYS) * DAY / 1_000);
    record(&log, &confused(DAYS..confused_to)).await;
    record(&log, &life(confused_to..last, "REAL")).await;
    learn(&log).await;
    let [in_force, newest] = models(&log, log.clock.now()).await;
    let newest = newest.unwrap();
    assert_eq!(newest.day, midnight(last));
    let trial = newest.report.trial.unwrap();
    assert!(trial.new_loss > trial.old_loss, "{trial:?}");
    assert!(!newest.is_accepted, "{trial:?}");
    assert_eq!(in_force.unwrap(), first);
    // the fleet is summed up all the same
    let fleet = fleet(&log, Provenance::Real, log.clock.now()).await;
    assert_eq!(fleet.summed_at, Some(midnight(last)));
    assert_eq!(*fleet.model, first.model);
    log.close().await;
}

async fn until_enough_devices_have_failed_there_is_the_rate_of_the_fleet(database: Database) {
    let log = database.open().await;
    let mut events = registered("REAL");
    // nine failures
    events.extend(life(DAYS - 17..DAYS, "REAL"));
    record(&log, &events).await;
    learn(&log).await;
    let fleet = fleet(&log, Provenance::Real, log.clock.now()).await;
    assert!(!fleet.model.is_fitted());
    assert!(fleet.model.failures < FAILURES_NEEDED && fleet.model.failures > 0);
    assert_eq!(fleet.risk.devices, 4);
    assert_eq!(fleet.summed_at, Some(midnight(DAYS)));
    log.close().await;
}

async fn what_was_recorded_late_is_learned_from_anew(database: Database) {
    let log = database.open().await;
    let mut events = registered("REAL");
    events.extend(life(DAYS - 10..DAYS, "REAL"));
    record(&log, &events).await;
    learn(&log).await;
    let first = in_force(&log, log.clock.now()).await.unwrap();
    assert!(!first.model.is_fitted());
    // a history is imported
    let earlier = life(0..DAYS - 10, "REAL");
    record(&log, &earlier).await;
    events.extend(earlier);
    learn(&log).await;
    let again = in_force(&log, log.clock.now()).await.unwrap();
    assert!(again.model.is_fitted());
    assert_eq!(again.report.from, Some(Instant(midnight(0).0 + 6 * HOUR)));
    assert_eq!(again.model, *replayed(&log, &events, DAYS).model());
    log.close().await;
}

async fn a_history_that_comes_while_it_runs_is_learned_from_on_the_same_day(database: Database) {
    let log = database.open().await;
    let mut events = registered("REAL");
    events.extend(life(DAYS - 1..DAYS, "REAL"));
    record(&log, &events).await;
    let stop = CancellationToken::new();
    let learner = Learner::new(log.handle(), ModelsMetrics::default());
    let checking = async {
        while fleet(&log, Provenance::Real, log.clock.now())
            .await
            .risk
            .devices
            < 4
        {}
        record(&log, &life(0..DAYS - 1, "REAL")).await;
        loop {
            log.clock.advance_ms(1_000);
            let fleet = fleet(&log, Provenance::Real, log.clock.now()).await;
            if fleet.model.is_fitted() && fleet.risk.days > 150.0 {
                break;
            }
        }
        stop.cancel();
    };
    futures_util::future::join(learner.run(stop.clone()), checking).await;
    let trained = in_force(&log, log.clock.now()).await.unwrap();
    assert_eq!(trained.report.learned.failures, 20);
    log.close().await;
}

async fn each_provenance_has_a_fleet_of_its_own(database: Database) {
    let log = database.open().await;
    let mut events = registered("REAL");
    events.extend(life(0..DAYS, "SIMULATED"));
    events.extend(readings(DAYS - 5..DAYS, "REAL"));
    record(&log, &events).await;
    learn(&log).await;
    let now = log.clock.now();
    let simulated = fleet(&log, Provenance::Simulated, now).await;
    let real = fleet(&log, Provenance::Real, now).await;
    let controlled = fleet(&log, Provenance::Controlled, now).await;
    assert!(simulated.model.is_fitted() && simulated.risk.failures > 10.0);
    assert!(!real.model.is_fitted() && real.risk.failures < 0.5);
    assert_eq!((real.risk.devices, controlled.risk.devices), (4, 0));
    assert_eq!(controlled.summed_at, None);
    log.close().await;
}

async fn of_several_servers_one_learns(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let (one, two) = (database.open().await, database.open().await);
    let mut events = registered("REAL");
    events.extend(life(0..DAYS, "REAL"));
    record(&one, &events).await;
    // the first joins, and stalls: it never says again that it is alive
    let stalled = Server::join(&one, "stalled").await;
    let (stalled_does, mut of_stalled) = leases(&stalled.node, Work::Models);
    let other = Server::join(&two, "other").await;
    let (other_does, mut of_other) = leases(&other.node, Work::Models);
    let beating = other.heart.run(other.stop.clone());
    let checking = async {
        let lost = of_stalled.recv().await.unwrap();
        let taken = of_other.recv().await.unwrap();
        let learner = |store| Learner::new(store, ModelsMetrics::default());
        let late = learner(lost.store(&one.handle())).catch_up().await;
        assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
        for table in ["insight_examples", "insight_fleets", "insight_models"] {
            let rows = format!("SELECT count(*) FROM {table}");
            assert_eq!(database.number(&rows).await, 0, "{table}");
        }
        let learned = learner(taken.store(&two.handle())).catch_up().await;
        learned.unwrap();
        let models = "SELECT count(*) FROM insight_models";
        assert_eq!(database.number(models).await, 1);
        other.stop.cancel();
        stalled.stop.cancel();
    };
    futures_util::future::join4(stalled_does, other_does, beating, checking).await;
    one.close().await;
    two.close().await;
}
