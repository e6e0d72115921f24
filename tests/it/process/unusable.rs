//! Databases that cannot be used: each is refused with a message that says what to do.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{Connection, SqliteConnection};

use super::database::Database;
use super::program::Program;

const SERVE: [&str; 4] = ["serve", "--no-authentication", "--listen", "127.0.0.1:0"];

fn refused_at(database: &Database, url: &str, words: &[&str]) {
    let arguments = [&SERVE[..], &["--database", url]].concat();
    Program::run(database.folder(), &arguments).refused(words);
}

#[test]
fn a_file_of_sqlite_is_no_place_for_hypertables() {
    let database = Database::sqlite();
    assert!(database.run(&["migrate", "up"]).status.success());
    let ended = database.run(&["migrate", "timescale"]);
    ended.refused(&[&database.url, "SQLite", "for PostgreSQL with TimescaleDB"]);
    assert!(!ended.stderr.contains("CREATE EXTENSION"), "{ended:?}");
}

/// A server that serves.
fn started(database: &Database, more: &[&str], settings: &[(&str, &str)]) -> Program {
    let given = ["--database", database.url.as_str()];
    let mut command = super::program::command([&SERVE[..], &given, more].concat());
    command.envs(settings.iter().copied());
    let mut server = Program::spawn(database.folder(), command);
    server.address().expect("it serves");
    server
}

const FLAGS: [(&str, &str); 2] = [
    (
        "--segments",
        "nothing is archived until its place can be used",
    ),
    ("--exports", "no export is made until its place can be used"),
];

#[test]
fn a_place_of_files_that_is_no_folder_is_told_at_the_start() {
    let database = Database::sqlite();
    let taken = database.folder().join("taken");
    std::fs::write(&taken, "taken").unwrap();
    let (new, below) = (database.folder().join("new/below"), taken.join("below"));
    for (flag, effect) in FLAGS {
        for place in [&taken, &below] {
            let place = place.to_str().unwrap();
            let said = started(&database, &[flag, place], &[]).stderr();
            for word in [effect, place, "ot a directory"] {
                assert!(said.contains(word), "{word:?} is missing in: {said}");
            }
        }
        let said = started(&database, &[flag, new.to_str().unwrap()], &[]).stderr();
        assert!(!said.contains("can be used"), "{said}");
    }
}

#[test]
fn a_bucket_of_files_that_cannot_be_reached_is_told_at_the_start() {
    let database = Database::sqlite();
    let settings = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "me"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ];
    for (flag, effect) in FLAGS {
        let server = started(&database, &[flag, "s3://bucket/a"], &settings);
        let said = server.says(effect);
        assert!(said.contains("s3://bucket/a"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// It is looked at beside the start: the server serves before it is known that nobody answers.
#[test]
fn a_bucket_of_files_that_is_silent_delays_no_start() {
    let database = Database::sqlite();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let settings = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "me"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ];
    for (flag, effect) in FLAGS {
        let server = started(&database, &[flag, "s3://bucket/a"], &settings);
        assert!(!server.stderr().contains(effect), "{}", server.stderr());
        server.says(effect);
    }
}

#[test]
fn a_document_that_can_never_be_executed_is_told_before_anything_begins() {
    let database = Database::sqlite();
    let file = database.folder().join("documents.json");
    std::fs::write(
        &file,
        r#"{ "Good": "{ __typename }", "Stale": "{ nothing }" }"#,
    )
    .unwrap();
    let given = ["--documents", file.to_str().unwrap()];
    let words = ["the document \"Stale\" can never be executed", "nothing"];
    for command in [&SERVE[..], &["demo", "--listen", "127.0.0.1:0"]] {
        database.run(&[command, &given].concat()).refused(&words);
        assert!(!database.file().exists(), "nothing was made");
    }
}

#[test]
fn an_address_of_another_form_is_refused() {
    let database = Database::sqlite();
    for url in [
        "mysql://host/database",
        "homepot.db",
        "postgres://127.0.0.1:no-port/x",
    ] {
        let words = [
            url,
            "is neither sqlite://FILE nor postgres://USER@HOST/DATABASE",
        ];
        refused_at(&database, url, &words);
    }
}

#[test]
fn a_database_that_is_not_there_is_named_with_what_makes_one() {
    let database = Database::sqlite();
    for command in [&["rebuild", "status"][..], &["migrate", "status"]] {
        let ended = database.run(command);
        ended.refused(&[
            &database.url,
            "there is no database",
            "`migrate up` make one",
        ]);
    }
    assert!(!database.file().exists(), "nothing was made");
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let database = Database::sqlite();
    let words = ["sqlite:///nowhere/log.db", "check that its folder exists"];
    refused_at(&database, "sqlite:///nowhere/log.db", &words);
}

#[test]
fn a_folder_in_place_of_a_file_is_told() {
    let database = Database::sqlite();
    let url = format!("sqlite://{}", database.folder().display());
    refused_at(
        &database,
        &url,
        &["cannot be opened", "check that its folder exists"],
    );
}

#[test]
fn a_postgresql_that_does_not_answer_is_told_at_once() {
    let database = Database::sqlite();
    let url = "postgres://somebody:secret@127.0.0.1:1/x";
    let arguments = [&SERVE[..], &["--database", url]].concat();
    let ended = Program::run(database.folder(), &arguments);
    let words = [
        "postgres://somebody@127.0.0.1:1/x",
        "cannot be reached",
        "check the address",
    ];
    ended.refused(&words);
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("refused"),
        "the cause is told: {}",
        ended.stderr
    );
}

#[test]
fn a_postgresql_without_the_database_is_told() {
    let Some(database) = Database::postgres() else {
        return;
    };
    let url = format!("{}_not", database.url);
    refused_at(
        &database,
        &url,
        &["does not exist", "make it with `createdb`"],
    );
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let mut databases = vec![Database::sqlite()];
    databases.extend(Database::postgres());
    for database in databases {
        database.execute("CREATE TABLE accounts (id BIGINT PRIMARY KEY, name TEXT)");
        let before = std::fs::read(database.file()).ok();
        database
            .run(&SERVE)
            .refused(&["database of another program", "--database"]);
        database
            .run(&["import", "-"])
            .refused(&["database of another program"]);
        database
            .run(&["migrate", "up"])
            .refused(&["database of another program"]);
        assert_eq!(
            std::fs::read(database.file()).ok(),
            before,
            "it was changed"
        );
    }
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let database = Database::sqlite();
    let text = "dear diary, ".repeat(1_000);
    std::fs::write(database.file(), &text).unwrap();
    database
        .run(&SERVE)
        .refused(&["database of another program", "--database"]);
    assert_eq!(std::fs::read_to_string(database.file()).unwrap(), text);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let mut databases = vec![Database::sqlite()];
    databases.extend(Database::postgres());
    for database in databases {
        assert!(database.run(&["migrate", "up"]).status.success());
        database.execute(
            "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)",
        );
        let words = ["newer version", "m9999_future", "use that version"];
        for command in [
            &SERVE[..],
            &["import", "-"],
            &["migrate", "up"],
            &["migrate", "status"],
            &["rebuild", "status"],
        ] {
            database.run(command).refused(&words);
        }
    }
}

#[tokio::test]
async fn a_file_that_another_process_keeps_locked_is_told() {
    let database = Database::sqlite();
    assert!(database.run(&["migrate", "up"]).status.success());
    let mut other = SqliteConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE; UPDATE log_head SET position = position")
        .execute(&mut other)
        .await
        .unwrap();
    let file = database.folder().join("one.jsonl");
    std::fs::write(
        &file,
        "{\"siteRegistration\": {\"siteId\": \"s0\", \"name\": \"S\"}}\n",
    )
    .unwrap();
    let import = ["import", file.to_str().unwrap()];
    let ended = database.run(&import);
    ended.refused(&["locked by another process", "try again"]);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    // closed before others open it: another library in another process may not share its locks
    other.close().await.unwrap();
    let ended = database.run(&import);
    assert!(ended.stdout.contains("1 recorded"), "{ended:?}");
}

/// Undoes a command when it is dropped.
struct Undo(Vec<String>);

impl Drop for Undo {
    fn drop(&mut self) {
        let _ = Command::new(&self.0[0]).args(&self.0[1..]).status();
    }
}

/// Does something that only root may do. If it cannot be done here, says so, and fails where
/// everything is to be covered.
fn as_root(command: &[&str], undo: &[&str]) -> Option<Undo> {
    let said = match Command::new(command[0]).args(&command[1..]).output() {
        Ok(done) if done.status.success() => {
            return Some(Undo(undo.iter().map(|word| (*word).to_owned()).collect()));
        }
        Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let told = format!("{command:?} is not possible here: {said}");
    assert!(
        std::env::var_os("HOMEPOT_TEST_REQUIRE_POSTGRES").is_none(),
        "everything must be covered, but {told}"
    );
    // past the test runner, which keeps what passing tests print to itself
    let told = format!("\nNOT COVERED: {told}\n");
    std::io::stderr().write_all(told.as_bytes()).unwrap();
    None
}

/// A small file system in memory at a folder, until it is dropped.
pub(super) struct SmallDisk {
    pub(super) folder: PathBuf,
    _undo: Undo,
}

impl SmallDisk {
    pub(super) fn mount(at: &Path, mib: u32) -> Option<Self> {
        let folder = at.join("small");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.to_str().unwrap();
        let size = format!("size={mib}m");
        let undo = as_root(
            &["mount", "-t", "tmpfs", "-o", &size, "tmpfs", path],
            &["umount", "--lazy", path],
        )?;
        Some(Self {
            folder,
            _undo: undo,
        })
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        let path = self.folder.to_str().unwrap();
        let done = Command::new("mount")
            .args(["-o", &how, path])
            .status()
            .unwrap();
        assert!(done.success());
    }
}

#[test]
fn a_file_that_may_not_be_written_is_told() {
    let database = Database::sqlite();
    assert!(database.run(&["migrate", "up"]).status.success());
    let file = database.file();
    let path = file.to_str().unwrap();
    let Some(_undo) = as_root(&["chattr", "+i", path], &["chattr", "-i", path]) else {
        return;
    };
    database
        .run(&SERVE)
        .refused(&["read-only", "check the rights of the file and its folder"]);
}

#[test]
fn a_folder_that_may_not_be_written_is_told() {
    let database = Database::sqlite();
    let Some(disk) = SmallDisk::mount(database.folder(), 8) else {
        return;
    };
    let url = format!("sqlite://{}/log.db", disk.folder.display());
    let up = ["migrate", "up", "--database", &url];
    assert!(Program::run(database.folder(), &up).status.success());
    disk.remount("ro");
    for url in [url, format!("sqlite://{}/new.db", disk.folder.display())] {
        refused_at(&database, &url, &[&url, "may be written"]);
    }
}

#[test]
fn a_place_of_files_that_may_not_be_written_is_told_at_the_start() {
    let database = Database::sqlite();
    let Some(disk) = SmallDisk::mount(database.folder(), 1) else {
        return;
    };
    disk.remount("ro");
    let place = disk.folder.join("new");
    for (flag, effect) in FLAGS {
        let said = started(&database, &[flag, place.to_str().unwrap()], &[]).stderr();
        for word in [effect, "Read-only file system"] {
            assert!(said.contains(word), "{word:?} is missing in: {said}");
        }
    }
}
