//! A database of a test's own: a file in a folder that goes with it, or one of PostgreSQL that is
//! dropped with it.

use std::path::{Path, PathBuf};

use sqlx::{Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use super::program::{Ended, Program, command};

/// A database and a folder, both gone when this is dropped.
pub(super) struct Database {
    pub(super) url: String,
    folder: TempDir,
    drop_at: Option<(String, String)>,
    /// The address at which it is changed behind the program's back.
    admin: String,
}

/// Runs something asynchronous where there is no runtime, such as in a `Drop`.
fn wait<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(future)
        };
        scope.spawn(run).join().unwrap()
    })
}

async fn on_postgres(server: &str, sql: String) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

impl Database {
    /// A file that does not exist yet.
    pub(super) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/log.db", folder.path().display());
        Self {
            admin: url.clone(),
            url,
            folder,
            drop_at: None,
        }
    }

    /// An empty database of PostgreSQL, if the tests have one.
    pub(super) fn postgres() -> Option<Self> {
        let Ok(server) = std::env::var("HOMEPOT_TEST_POSTGRES") else {
            assert!(
                std::env::var_os("HOMEPOT_TEST_REQUIRE_POSTGRES").is_none(),
                "HOMEPOT_TEST_POSTGRES is missing"
            );
            println!("not covered: HOMEPOT_TEST_POSTGRES names no PostgreSQL");
            return None;
        };
        let name = format!("process_{}", uuid::Uuid::now_v7().simple());
        wait(on_postgres(&server, format!("CREATE DATABASE {name}")));
        let (before, _) = server.rsplit_once('/').unwrap();
        Some(Self {
            url: format!("{before}/{name}"),
            admin: format!("{before}/{name}"),
            folder: tempfile::tempdir().unwrap(),
            drop_at: Some((server, name)),
        })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file of SQLite.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }

    /// Starts the program on this database.
    pub(super) fn start(&self, arguments: &[&str]) -> Program {
        let database = ["--database", self.url.as_str()];
        let mut command = command([arguments, &database].concat());
        command.env("HOMEPOT_SEGMENTS", self.folder().join("log.db.segments"));
        Program::spawn(self.folder(), command)
    }

    /// Runs the program on this database to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Starts a server on a free port; it and its address.
    pub(super) fn serve(&self) -> (Program, String) {
        let mut server = self.start(&["serve", "--no-authentication", "--listen", "127.0.0.1:0"]);
        let address = server.address();
        (server, address.expect("it serves"))
    }

    /// Checks what the log promises of itself.
    pub(super) fn verify(&self) {
        let ended = self.run(&["verify"]);
        assert!(ended.status.success(), "{ended:?}");
    }

    /// The same database, which the program uses as a user who may do no more than that.
    pub(super) fn of_its_own_user(mut self) -> Self {
        let (_, name) = self.drop_at.as_ref().unwrap();
        let sql = format!("CREATE ROLE {name} LOGIN; ALTER DATABASE {name} OWNER TO {name}");
        wait(on_postgres(&self.admin, sql));
        let (_, host) = self.admin.rsplit_once('@').unwrap();
        self.url = format!("postgres://{name}@{host}");
        self
    }

    /// Whether the user of the program may run some SQL.
    pub(super) fn user_may(&self, sql: &'static str) -> bool {
        wait(async {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.is_ok()
        })
    }

    /// Changes the database behind the program's back.
    pub(super) fn execute(&self, sql: &'static str) {
        if self.drop_at.is_some() {
            return wait(on_postgres(&self.admin, sql.to_owned()));
        }
        wait(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(self.file())
                .create_if_missing(true);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
    }

    /// Rows of two columns of numbers, read behind the program's back.
    pub(super) async fn rows(&self, sql: &'static str) -> Vec<(i64, i64)> {
        self.read(sql).await.unwrap()
    }

    /// As [`Self::rows`], and nothing while there are no tables yet.
    pub(super) async fn try_rows(&self, sql: &'static str) -> Vec<(i64, i64)> {
        self.read(sql).await.unwrap_or_default()
    }

    async fn read(&self, sql: &'static str) -> Result<Vec<(i64, i64)>, sqlx::Error> {
        if self.drop_at.is_some() {
            let mut connection = PgConnection::connect(&self.url).await?;
            return sqlx::query_as(sql).fetch_all(&mut connection).await;
        }
        let mut connection = SqliteConnection::connect(&self.url).await?;
        sqlx::query_as(sql).fetch_all(&mut connection).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((server, name)) = self.drop_at.take() {
            wait(async move {
                on_postgres(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
                on_postgres(&server, format!("DROP ROLE IF EXISTS {name}")).await;
            });
        }
    }
}
