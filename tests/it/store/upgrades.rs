//! Migrations over what is there.

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};

async fn number(db: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

async fn changed(db: &DatabaseConnection, position: i64, condition: &str) -> bool {
    let sql = format!(
        "INSERT INTO alert_rule_changes (position, occurred_at, recorded_at, provenance, rule_id, name, \
         alert_condition, spec, severity, state) VALUES ({position}, 946684800000000, 0, 0, 'r', 'n', \
         '{condition}', '{{}}', 'INFO', 'ENABLED')"
    );
    db.execute_unprepared(&sql).await.is_ok()
}

#[tokio::test]
async fn rules_of_alerts_stay_and_views_of_others_on_them_go_on() {
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.max_connections(1);
    let db = Database::connect(options).await.unwrap();
    let all = Migrator::migrations();
    let before = all
        .iter()
        .take_while(|one| one.name() != "m0035_alert_insights");
    let before = u32::try_from(before.count()).unwrap();
    Migrator::up(&db, Some(before)).await.unwrap();
    for view in [
        "CREATE VIEW theirs AS SELECT rule_id, alert_condition FROM report_alert_rule_changes",
        "CREATE VIEW raw AS SELECT rule_id FROM alert_rule_changes",
    ] {
        db.execute_unprepared(view).await.unwrap();
    }
    assert!(changed(&db, 1, "STATE").await);
    assert!(!changed(&db, 2, "HEALTH").await);
    Migrator::up(&db, None).await.unwrap();
    assert!(changed(&db, 2, "HEALTH").await);
    assert!(!changed(&db, 3, "WEATHER").await);
    for view in ["theirs", "raw", "report_alert_rule_changes"] {
        let count = number(&db, &format!("SELECT count(*) FROM {view}")).await;
        assert_eq!(count, 2, "{view}");
    }
    let indexes = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND \
        tbl_name IN ('alert_rule_changes', 'alert_transitions') AND sql IS NOT NULL";
    assert_eq!(number(&db, indexes).await, 6);
    let aside = "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%alert_rule_changes_before%' \
        OR sql LIKE '%alert_transitions_before%'";
    assert_eq!(number(&db, aside).await, 0);
    let legacy = number(&db, "PRAGMA legacy_alter_table").await;
    assert_eq!(legacy, 0);
}
