//! A database for each test: a copy of one that has the tables, which takes longer to make than most tests last.
//!
//! PostgreSQL is tested where `HOMEPOT_TEST_POSTGRES` gives the address of a server on which
//! databases may be made. Without it those tests say that they covered nothing, or fail if
//! `HOMEPOT_TEST_REQUIRE_POSTGRES=1`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};

use homepot_analytics::places::Place;
use homepot_analytics::store::Location;
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, QueryResult, Statement};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::log::TestLog;

/// Which database a contract is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// The database of one test.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) backend: Backend,
    pub(crate) url: String,
    dir: Arc<TempDir>,
}

/// The address of the server, or `None` when PostgreSQL is not covered.
fn server() -> Option<String> {
    static TOLD: Once = Once::new();
    let server = std::env::var("HOMEPOT_TEST_POSTGRES").unwrap_or_default();
    if !server.is_empty() {
        return Some(server);
    }
    let required = std::env::var("HOMEPOT_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
    assert!(
        !required,
        "PostgreSQL must be covered: set HOMEPOT_TEST_POSTGRES"
    );
    TOLD.call_once(|| {
        // past the test runner, which keeps what passing tests print to itself
        let told = "\nNOT COVERED: tests named postgres:: did nothing, since HOMEPOT_TEST_POSTGRES \
                    (postgres://USER@HOST/DATABASE) is not set\n";
        std::io::stderr().write_all(told.as_bytes()).unwrap();
    });
    None
}

/// What the program logs of its own faults is shown with the test that fails.
fn tell_errors() {
    let told = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_test_writer();
    // whoever comes later finds it there
    let _ = told.try_init();
}

fn in_server(server: &str, database: &str) -> String {
    let (start, _) = server.rsplit_once('/').unwrap();
    format!("{start}/{database}")
}

/// A connection that knows nothing of the log.
pub(crate) async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    // the library's own upkeep of a pool may never end
    options.idle_timeout(None).max_lifetime(None);
    sea_orm::Database::connect(options).await.unwrap()
}

impl Database {
    /// A fresh, migrated database; `None` when its server is not there to be tested.
    pub(crate) async fn make(backend: Backend) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        tell_errors();
        let dir = Arc::new(tempfile::tempdir().unwrap());
        if backend == Backend::Sqlite {
            let file = dir.path().join("log.db");
            std::fs::write(&file, file_template().await).unwrap();
            let url = format!("sqlite://{}", file.display());
            return Some(Self { backend, url, dir });
        }
        let server = server()?;
        let template = template(&server).await;
        let ordinal = MADE.fetch_add(1, Ordering::SeqCst);
        let name = format!("homepot_test_{}_{ordinal}", std::process::id());
        let db = connect(&server).await;
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        db.execute_unprepared(&sql).await.unwrap();
        db.close().await.unwrap();
        let url = in_server(&server, &name);
        Some(Self { backend, url, dir })
    }

    /// Another database beside this one, not migrated.
    pub(crate) async fn empty(&self, name: &str) -> Self {
        let mut other = self.clone();
        if self.backend == Backend::Sqlite {
            other.url = format!("sqlite://{}", self.dir().join(name).display());
        } else {
            let own = self.url.rsplit('/').next().unwrap();
            let name = format!("{own}_{name}");
            let db = connect(&server().unwrap()).await;
            let sql = format!("CREATE DATABASE {name}");
            db.execute_unprepared(&sql).await.unwrap();
            db.close().await.unwrap();
            other.url = in_server(&self.url, &name);
        }
        other
    }

    /// A folder that is gone when the test ends.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.backend == Backend::Sqlite
    }

    /// The folder of what is archived.
    pub(crate) fn segments(&self) -> PathBuf {
        let name = self.url.rsplit('/').next().unwrap();
        self.dir().join(format!("{name}.segments"))
    }

    pub(crate) fn location(&self) -> Location {
        Location {
            url: self.url.clone(),
            readers_max: 4,
            reads_within: None,
            create: true,
            segments: Some(Place::Folder(self.segments())),
            ..Location::default()
        }
    }

    /// Opens a log on it as a process would.
    pub(crate) async fn open(&self) -> TestLog {
        TestLog::open(self).await
    }

    /// A connection that knows nothing of the log.
    pub(crate) async fn connect(&self) -> DatabaseConnection {
        connect(&self.url).await
    }

    /// Runs statements behind the back of the log.
    pub(crate) async fn execute(&self, sql: &str) {
        let db = self.connect().await;
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
    }

    /// Reads rows behind the back of the log.
    pub(crate) async fn query(&self, sql: &str) -> Vec<QueryResult> {
        let db = self.connect().await;
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let rows = db.query_all_raw(statement).await.unwrap();
        db.close().await.unwrap();
        rows
    }

    /// Reads one number behind the back of the log.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.query(sql).await[0].try_get_by_index(0).unwrap()
    }

    /// Removes it; the file of SQLite goes with its folder.
    pub(crate) async fn remove(self) {
        if self.is_sqlite() {
            return;
        }
        let own = self.url.rsplit('/').next().unwrap().to_owned();
        let db = connect(&server().unwrap()).await;
        drop_databases(&db, |name| {
            name == own || name.starts_with(&format!("{own}_"))
        })
        .await;
        db.close().await.unwrap();
    }
}

/// The migrated file that all others are copied from, made once a run.
async fn file_template() -> &'static [u8] {
    static TEMPLATE: OnceCell<Vec<u8>> = OnceCell::const_new();
    TEMPLATE.get_or_init(make_file_template).await
}

async fn make_file_template() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.db");
    let location = Location {
        url: format!("sqlite://{}", file.display()),
        create: true,
        ..Location::default()
    };
    homepot_analytics::store::migrate(&location).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "all of it is in the file: {left:?}");
    std::fs::read(&file).unwrap()
}

/// The name of the migrated database that all others are copied from, made once a run.
async fn template(server: &str) -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    TEMPLATE.get_or_init(|| make_template(server)).await
}

async fn make_template(server: &str) -> String {
    let name = format!("homepot_test_{}_template", std::process::id());
    let db = connect(server).await;
    drop_databases(&db, |name| {
        let left = name.strip_prefix("homepot_test_");
        let process = left.and_then(|left| left.split('_').next());
        process.is_some_and(|process| !Path::new("/proc").join(process).exists())
    })
    .await;
    // a locale in which neither the order nor the case of letters is that of their bytes
    let locale = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    let sql = format!("CREATE DATABASE {name} {locale}");
    db.execute_unprepared(&sql).await.unwrap();
    db.close().await.unwrap();
    let db = connect(&in_server(server, &name)).await;
    Migrator::up(&db, None).await.unwrap();
    // a database can be copied while nobody is connected to it
    db.close().await.unwrap();
    name
}

async fn drop_databases(db: &DatabaseConnection, named: impl Fn(&str) -> bool) {
    let sql = "SELECT datname::text FROM pg_database WHERE datname LIKE 'homepot_test_%'";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    for row in db.query_all_raw(statement).await.unwrap() {
        let name: String = row.try_get_by_index(0).unwrap();
        if named(&name) {
            let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            db.execute_unprepared(&sql).await.unwrap();
        }
    }
}
