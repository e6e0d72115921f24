//! Which log this is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use uuid::Uuid;

use super::error::{Doing, StoreError};
use super::schema::SCHEMA;
use super::sql::Sql;

/// Which log this is. A cursor or checkpoint of another log, or of this one before it was restored,
/// is told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Given when the log was made.
    pub log_id: Uuid,
    /// Raised by each restore.
    pub epoch: i64,
}

/// Reads which log this is; a log that was just made gets its id, and its secret.
pub(crate) async fn identity(db: &DatabaseConnection) -> Result<Identity, StoreError> {
    let backend = db.get_database_backend();
    let mut sql = Sql::new(
        "INSERT INTO log_head (id, position, recorded_at, epoch, log_id, label_secret, schema) \
         VALUES (1, 0, 0, 1, ",
    );
    let secret: [u8; 32] = rand::rng().random();
    sql.bind(Uuid::now_v7().to_string()).push(", ");
    sql.bind(URL_SAFE_NO_PAD.encode(secret)).push(", ");
    sql.bind(SCHEMA).push(") ON CONFLICT (id) DO NOTHING");
    db.execute_raw(sql.statement(backend))
        .await
        .doing("make the head of the log")?;
    read_identity(db).await
}

/// Reads which log this is.
pub(crate) async fn read_identity(db: &impl ConnectionTrait) -> Result<Identity, StoreError> {
    let backend = db.get_database_backend();
    let sql = Sql::new("SELECT log_id, epoch FROM log_head WHERE id = 1");
    let row = db
        .query_one_raw(sql.statement(backend))
        .await
        .doing("read the head of the log")?;
    let wrong = || StoreError::Row {
        table: "log_head",
        column: "log_id",
    };
    let row = row.ok_or_else(wrong)?;
    let log_id: String = row.try_get_by_index(0).doing("read the head of the log")?;
    let epoch = row.try_get_by_index(1).doing("read the head of the log")?;
    Ok(Identity {
        log_id: log_id.parse().map_err(|_| wrong())?,
        epoch,
    })
}

/// The secret by which labels are ranked that clients make up: the same for as long as there is the log, also
/// where it is restored, since it decides what is told apart. It is told nobody.
pub(crate) async fn label_secret(db: &impl ConnectionTrait) -> Result<String, StoreError> {
    let sql = Sql::new("SELECT label_secret FROM log_head WHERE id = 1");
    let statement = sql.statement(db.get_database_backend());
    let doing = "read the secret of the log";
    let row = db.query_one_raw(statement).await.doing(doing)?;
    let secret = row.map(|row| row.try_get_by_index::<String>(0));
    let secret = secret.transpose().doing(doing)?.unwrap_or_default();
    if secret.is_empty() {
        return Err(StoreError::Row {
            table: "log_head",
            column: "label_secret",
        });
    }
    Ok(secret)
}
