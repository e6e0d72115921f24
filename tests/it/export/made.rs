//! Exports that are made at once know nothing of each other, and each that fails tells why itself.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use homepot_analytics::exports::{
    Ask, AskError, Bounds, Events, Exporter, ExportsArgs, NewExport, Source, cancel, create, of_log,
};
use homepot_analytics::history::Part;
use homepot_analytics::history::exports::{ExportRow, ExportsPage, Whose, export, exports_count};
use homepot_analytics::identity::{Caller, Reach};
use homepot_analytics::kinds::{Filter, Kind};
use homepot_analytics::places::Place;
use homepot_analytics::store::Store;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lake::{Breaking, Then};
use crate::support::{Database, TestLog, contract, error};

contract![
    one_whose_end_cannot_be_kept_leaves_the_other_alone,
    one_that_panics_says_so_and_leaves_the_other_alone,
    one_whose_server_ends_each_time_says_so_and_no_other,
    one_into_a_place_that_stalls_is_cancelled_and_left_at_once,
    accounts_have_their_turns,
    one_that_takes_too_long_fails,
];

/// All errors; of what is asked for as CSV it is not known.
fn reader(_: Store, ask: Ask, _: Reach) -> BoxFuture<'static, Result<Events, AskError>> {
    let Ask { format, .. } = ask;
    assert!(format != "csv", "this one panics");
    Box::pin(async { Ok(vec![(Kind::ErrorLog, Filter::default())]) })
}

/// What makes exports of a log into a folder, until it is told to stop.
struct Making {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Making {
    fn begin(log: &TestLog, database: &Database) -> Self {
        let place = Place::Folder(database.dir().join("exports"));
        Self::begin_in(log, (place, ExportsArgs::default().bounds()))
    }

    fn begin_in(log: &TestLog, (place, bounds): (Place, Bounds)) -> Self {
        let files = of_log(Some(place), log.identity()).unwrap();
        let exporter = Exporter::new(log.handle(), files, (reader, bounds));
        let stop = CancellationToken::new();
        Self {
            task: tokio::spawn(exporter.run(stop.clone())),
            stop,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// How many there are.
async fn rows_of(log: &TestLog) -> u128 {
    let all = ExportsPage {
        whose: Whose::All,
        part: Part::default(),
    };
    exports_count(log, &all).await.unwrap().into()
}

async fn asked(log: &TestLog, account: &str, format: &str) -> String {
    let others = rows_of(log).await;
    let caller = Caller {
        account: Arc::from(account),
        ..Caller::local()
    };
    let source = Source {
        name: Kind::ErrorLog.spec().list.to_owned(),
        filter: Value::Null,
    };
    let ask = Ask {
        sources: vec![source],
        from: None,
        to: None,
        format: format.to_owned(),
        gzip: false,
        spreadsheet: false,
    };
    let new = NewExport {
        export_id: Uuid::from_u128(others),
        ask,
    };
    let bounds = ExportsArgs::default().bounds();
    let row = create(log, &caller, new, bounds).await.unwrap();
    row.export_id
}

async fn until(log: &TestLog, id: &str, is_it: impl Fn(&ExportRow) -> bool) -> ExportRow {
    loop {
        let row = export(log, &Whose::All, id).await.unwrap().unwrap();
        if is_it(&row) {
            return row;
        }
        tokio::task::yield_now().await;
    }
}

fn is_over(row: &ExportRow) -> bool {
    row.state != "QUEUED" && row.state != "RUNNING"
}

/// An export is done that was never begun again.
async fn is_done(log: &TestLog, id: &str) {
    let row = until(log, id, is_over).await;
    assert_eq!((row.state.as_str(), row.restarts), ("DONE", 0), "{row:?}");
}

/// Has the database take no word that the exports of an account are done.
async fn refuse_to_keep(database: &Database, account: &str) {
    let when = format!("NEW.state = 'DONE' AND NEW.account = '{account}'");
    if database.is_sqlite() {
        let sql = format!(
            "CREATE TRIGGER refused BEFORE UPDATE ON exports WHEN {when} \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        );
        return database.execute(&sql).await;
    }
    let sql = format!(
        "CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN IF {when} THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER refused BEFORE UPDATE ON exports FOR EACH ROW EXECUTE FUNCTION refused()"
    );
    database.execute(&sql).await;
}

async fn one_whose_end_cannot_be_kept_leaves_the_other_alone(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a"), error("b")]).await;
    refuse_to_keep(&database, "one").await;
    let making = Making::begin(&log, &database);
    let one = asked(&log, "one", "jsonl").await;
    until(&log, &one, |row| row.state == "RUNNING").await;
    // the fault is told, and nothing is begun again for it
    while log.faults().due(log.clock().now()).is_empty() {
        tokio::task::yield_now().await;
    }
    let other = asked(&log, "other", "jsonl").await;
    is_done(&log, &other).await;
    let row = export(&log, &Whose::All, &one).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.restarts), ("RUNNING", 0));
    database
        .execute(if database.is_sqlite() {
            "DROP TRIGGER refused"
        } else {
            "DROP TRIGGER refused ON exports"
        })
        .await;
    is_done(&log, &one).await;
    making.end().await;
    log.close().await;
}

async fn one_that_panics_says_so_and_leaves_the_other_alone(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a")]).await;
    let making = Making::begin(&log, &database);
    for _ in 0..2 {
        let one = asked(&log, "one", "csv").await;
        let other = asked(&log, "other", "jsonl").await;
        let row = until(&log, &one, is_over).await;
        let told = (row.state.as_str(), row.error_code.as_deref(), row.restarts);
        assert_eq!(told, ("FAILED", Some("INTERNAL"), 0), "{row:?}");
        assert!(row.error_message.unwrap().contains("panicked"));
        is_done(&log, &other).await;
    }
    making.end().await;
    log.close().await;
}

async fn one_whose_server_ends_each_time_says_so_and_no_other(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a")]).await;
    let one = asked(&log, "one", "jsonl").await;
    let other = asked(&log, "other", "csv").await;
    // as a server leaves it that dies
    let sql =
        format!("UPDATE exports SET state = 'RUNNING', restarts = 5 WHERE export_id = '{one}'");
    database.execute(&sql).await;
    let sql = format!("UPDATE exports SET restarts = 5 WHERE export_id = '{other}'");
    database.execute(&sql).await;
    let making = Making::begin(&log, &database);
    for (id, code, why) in [
        (&one, "BROKEN_OFF", "ended"),
        (&other, "INTERNAL", "panicked"),
    ] {
        let row = until(&log, id, is_over).await;
        assert_eq!(row.error_code.as_deref(), Some(code), "{row:?}");
        assert!(row.error_message.unwrap().contains(why));
    }
    making.end().await;
    log.close().await;
}

/// Nothing of it is waited for, and the end of its server is no attempt.
async fn one_into_a_place_that_stalls_is_cancelled_and_left_at_once(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a")]).await;
    for is_cancelled in [true, false] {
        let stalling = Breaking::new(
            0,
            Then::Wait {
                waits: Notify::new(),
                goes_on: Notify::new(),
            },
        );
        let place = Place::Bucket {
            url: "s3://test".to_owned(),
            files: Arc::<Breaking>::clone(&stalling),
        };
        let making = Making::begin_in(&log, (place, ExportsArgs::default().bounds()));
        let one = asked(&log, "one", "jsonl").await;
        stalling.stalls().await;
        if is_cancelled {
            cancel(&log, &Whose::All, &one).await.unwrap();
            // it goes on with the next of the account, into which it does not stall
            let next = asked(&log, "one", "jsonl").await;
            is_done(&log, &next).await;
        }
        making.end().await;
        let row = export(&log, &Whose::All, &one).await.unwrap().unwrap();
        if is_cancelled {
            assert_eq!(row.state, "CANCELLED");
            continue;
        }
        assert_eq!((row.state.as_str(), row.restarts), ("QUEUED", 0), "{row:?}");
        let making = Making::begin(&log, &database);
        is_done(&log, &one).await;
        making.end().await;
    }
    log.close().await;
}

/// Writes down for whom each export is begun.
async fn write_turns(database: &Database) {
    let insert = "INSERT INTO turns SELECT count(*), NEW.account FROM turns";
    let when = "WHEN (NEW.state = 'RUNNING' AND OLD.state = 'QUEUED')";
    let table = "CREATE TABLE turns (ordinal BIGINT, account TEXT)";
    database.execute(table).await;
    if database.is_sqlite() {
        let sql = format!("CREATE TRIGGER turn AFTER UPDATE ON exports {when} BEGIN {insert}; END");
        return database.execute(&sql).await;
    }
    let sql = format!(
        "CREATE FUNCTION turn() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN {insert}; RETURN NEW; END $$; \
         CREATE TRIGGER turn AFTER UPDATE ON exports FOR EACH ROW {when} EXECUTE FUNCTION turn()"
    );
    database.execute(&sql).await;
}

/// Two exports are made at once, and whoever has had a turn comes behind whoever has had none.
async fn accounts_have_their_turns(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a")]).await;
    write_turns(&database).await;
    let mut last = String::new();
    for account in ["one", "one", "one", "two", "two", "two", "three"] {
        last = asked(&log, account, "jsonl").await;
    }
    let making = Making::begin(&log, &database);
    is_done(&log, &last).await;
    let before = "SELECT ordinal FROM turns WHERE account = 'three'";
    let before = database.number(before).await;
    assert!(before < 4, "{before} had a turn before it");
    making.end().await;
    log.close().await;
}

async fn one_that_takes_too_long_fails(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a")]).await;
    let place = Place::Folder(database.dir().join("exports"));
    let bounds = Bounds {
        within: std::time::Duration::ZERO,
        ..ExportsArgs::default().bounds()
    };
    let making = Making::begin_in(&log, (place, bounds));
    let one = asked(&log, "one", "jsonl").await;
    let row = until(&log, &one, is_over).await;
    let told = (row.state.as_str(), row.error_code.as_deref());
    assert_eq!(told, ("FAILED", Some("TOO_LARGE")), "{row:?}");
    assert!(row.error_message.unwrap().contains("takes longer"));
    making.end().await;
    log.close().await;
}
