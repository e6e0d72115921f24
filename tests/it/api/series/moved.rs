//! A device that is found to have stood elsewhere is answered where it is summed up, until all of that is summed
//! up anew, and for ever where events were deleted for good.

use homepot_analytics::event::Position;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::app::{TestApp, on_each_database, start};
use super::sold::{device, first_day_is_deleted, sales, site};

const QUERY: &str = "query($sites: [ID!]) { series(measures: [TRANSACTION_COUNT], \
    from: \"2026-10-01T00:00:00Z\", to: \"2026-10-03T00:00:00Z\", \
    buckets: { resolution: DAY, timeZone: \"UTC\" }, groupBy: [DEVICE], fill: NONE, \
    filter: { siteIds: $sites }) { groups { buckets { start events increase } } } }";
/// What was counted of the device at some sites: of each day, how many events and by how much its counter grew.
async fn counted(app: &TestApp, sites: &[&str]) -> Vec<(String, String, f64)> {
    let answer = app.data_with(QUERY, json!({ "sites": sites })).await;
    let groups = answer["series"]["groups"].as_array().unwrap().iter();
    let buckets = groups.flat_map(|group| group["buckets"].as_array().unwrap());
    let bucket = |bucket: &Value| {
        (
            bucket["start"].as_str().unwrap()[8..10].to_owned(),
            bucket["events"].as_str().unwrap().to_owned(),
            bucket["increase"].as_f64().unwrap(),
        )
    };
    buckets.map(bucket).collect()
}

async fn are_counted(app: &TestApp, sites: &[&str], expected: &[(&str, &str, f64)]) {
    let expected = expected.iter();
    let expected: Vec<(String, String, f64)> = expected
        .map(|(day, events, increase)| ((*day).to_owned(), (*events).to_owned(), *increase))
        .collect();
    assert_eq!(counted(app, sites).await, expected, "{sites:?}");
}

async fn sold_at_york(app: &TestApp) {
    app.record(json!([
        site("york", "UTC"),
        site("rome", "UTC"),
        device("york", "2026-09-01T00:00:00Z"),
        sales("2026-10-01T10:00:00Z", 100),
        sales("2026-10-01T20:00:00Z", 150),
        sales("2026-10-02T10:00:00Z", 70),
    ]))
    .await;
    app.settle().await;
}

/// Lets no part be done of what is to be summed up anew.
async fn hold(app: &TestApp) {
    let sql = if app.url().starts_with("sqlite") {
        "CREATE TRIGGER held BEFORE DELETE ON rollup_moves BEGIN SELECT RAISE(ABORT, 'held'); END"
    } else {
        "CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql \
         AS $$ BEGIN RAISE EXCEPTION 'held'; END $$; \
         CREATE TRIGGER held BEFORE DELETE ON rollup_moves FOR EACH ROW EXECUTE FUNCTION held()"
    };
    let db = app.database().await;
    db.execute_unprepared(sql).await.unwrap();
}

async fn release(app: &TestApp) {
    let sql = if app.url().starts_with("sqlite") {
        "DROP TRIGGER held"
    } else {
        "DROP TRIGGER held ON rollup_moves"
    };
    let db = app.database().await;
    db.execute_unprepared(sql).await.unwrap();
}

#[tokio::test]
async fn what_is_still_to_be_summed_up_anew_is_answered_as_it_was_known_and_loses_nothing() {
    on_each_database(async |app| {
        sold_at_york(app).await;
        hold(app).await;
        app.record_folded(json!([device("rome", "2026-09-15T00:00:00Z")]))
            .await;
        let days = [("01", "2", 150.0), ("02", "1", 70.0)];
        are_counted(app, &["york"], &days).await;
        are_counted(app, &["rome"], &[]).await;
        // what comes late meanwhile is of where it was, and takes nothing from what is known
        app.record_folded(json!([sales("2026-10-01T15:00:00Z", 120)]))
            .await;
        are_counted(app, &["york"], &days).await;
        are_counted(app, &["rome"], &[("01", "1", 0.0)]).await;
        let days = [("01", "3", 150.0), ("02", "1", 70.0)];
        are_counted(app, &["york", "rome"], &days).await;
        release(app).await;
        app.settle().await;
        are_counted(app, &["york"], &[]).await;
        are_counted(app, &["rome"], &days).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_deleted_is_answered_at_the_site_at_which_it_was_summed_up() {
    on_each_database(async |app| {
        sold_at_york(app).await;
        first_day_is_deleted(app, "2").await;
        app.record(json!([device("rome", "2026-09-15T00:00:00Z")]))
            .await;
        app.settle().await;
        are_counted(app, &["york"], &[("01", "2", 150.0)]).await;
        are_counted(app, &["rome"], &[("02", "1", 70.0)]).await;
    })
    .await;
}

async fn reached(told: &watch::Receiver<Position>, position: i64) {
    let mut told = told.clone();
    let told = told.wait_for(|told| told.0 >= position);
    told.await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_fold_takes_nothing_for_settled_as_long_as_it_is_put_off() {
    on_each_database(async |app| {
        if app.url().starts_with("sqlite") {
            // one node alone may have that
            return;
        }
        sold_at_york(app).await;
        hold(app).await;
        let other = start(app.url(), app.clock.clone()).await;
        let moved = json!([device("rome", "2026-09-15T00:00:00Z")]);
        let moved = app.record_folded(moved).await[0];
        reached(&other.folded, moved).await;
        // once it has heard of what comes next it has told all that it has heard before
        let next = json!([sales("2026-10-01T15:00:00Z", 120)]);
        let next = app.record_folded(next).await[0];
        reached(&other.folded, next).await;
        assert!(other.settled.borrow().0 < moved);
        release(app).await;
        reached(&other.settled, next).await;
        other.stop().await;
    })
    .await;
}
