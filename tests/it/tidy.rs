//! The shape of the source: what `src/lib.rs` says never happens, and how a file is made.
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;

/// A source file by its path in the repository.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines that are code, without what is only for tests, in the same file or in one of its own.
    fn code(&self) -> impl Iterator<Item = &str> {
        let is_tests = self.path.starts_with("src/") && self.path.ends_with("_tests.rs");
        let text = if is_tests { "" } else { self.text.as_str() };
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
        lines.filter(|line| !line.trim_start().starts_with("//"))
    }

    fn is_under(&self, folder: &str) -> bool {
        self.path == format!("{folder}.rs") || self.path.starts_with(&format!("{folder}/"))
    }

    /// Whether code names a path such as `crate::store`.
    fn names(&self, path: &str) -> bool {
        let end = |c: char| !(c.is_alphanumeric() || c == '_');
        self.code().any(|line| {
            let mut found = line.match_indices(path);
            found.any(|(at, _)| {
                let before = line[..at].chars().next_back().is_none_or(end);
                before && line[at + path.len()..].chars().next().is_none_or(end)
            })
        })
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().display().to_string();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(!sources.is_empty());
    sources
}

fn everything() -> Vec<Source> {
    sources(&["src", "entity/src", "migration/src", "tests"])
}

/// Paths of the sources for which something holds.
fn where_it_is(sources: &[Source], holds: impl Fn(&Source) -> bool) -> Vec<&str> {
    let found = sources.iter().filter(|source| holds(source));
    found.map(|source| source.path.as_str()).collect()
}

const NOWHERE: [&str; 0] = [];

#[test]
fn no_file_is_longer_than_five_hundred_lines() {
    let all = everything();
    let long = where_it_is(&all, |source| source.text.lines().count() > LINES_MAX);
    assert_eq!(long, NOWHERE);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let all = everything();
    assert_eq!(
        where_it_is(&all, |source| !source.text.starts_with("//! ")),
        NOWHERE
    );
}

#[test]
fn nothing_is_left_to_do() {
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["to", "do!("].concat(),
    ];
    let all = everything();
    let open = where_it_is(&all, |source| {
        words.iter().any(|word| source.text.contains(word))
    });
    assert_eq!(open, NOWHERE);
}

/// Tests of other processes wait for a random moment to kill them, and between two looks at
/// whether they have come up; all others await what they wait for.
#[test]
fn no_test_in_this_process_sleeps() {
    let call = ["sleep", "("].concat();
    let mut all = sources(&["tests"]);
    all.retain(|source| !source.path.starts_with("tests/it/process/"));
    assert_eq!(
        where_it_is(&all, |source| source
            .code()
            .any(|line| line.contains(&call))),
        NOWHERE
    );
}

#[test]
fn only_the_configuration_reads_the_environment() {
    let all = sources(&["src", "entity/src", "migration/src"]);
    let readers = where_it_is(&all, |source| {
        let names = ["env::var", "env::vars", "env::var_os"];
        !source.path.starts_with("src/config/") && names.iter().any(|name| source.names(name))
    });
    assert_eq!(readers, NOWHERE);
}

#[test]
fn only_the_clock_asks_the_system_for_the_time() {
    let all = sources(&["src", "entity/src", "migration/src"]);
    let askers = where_it_is(&all, |source| {
        let names = ["Utc::now", "Local::now", "SystemTime::now"];
        source.path != "src/clock.rs" && names.iter().any(|name| source.names(name))
    });
    assert_eq!(askers, NOWHERE);
}

#[test]
fn no_state_lives_in_statics() {
    let all = sources(&["src", "entity/src", "migration/src"]);
    let stateful = where_it_is(&all, |source| {
        let cells = [
            "static mut",
            "OnceLock",
            "LazyLock",
            "OnceCell",
            "LazyCell",
            "lazy_static",
            "thread_local",
        ];
        let shared = |line: &str| {
            let line = line.trim_start();
            let is_static = line.starts_with("static ") || line.contains(" static ");
            is_static
                && ["Mutex", "RwLock", "Atomic"]
                    .iter()
                    .any(|cell| line.contains(cell))
        };
        cells.iter().any(|cell| source.names(cell)) || source.code().any(shared)
    });
    assert_eq!(stateful, NOWHERE);
}

#[test]
fn entity_and_migration_know_nothing_of_this_crate() {
    let tables = sources(&["entity/src"]);
    assert_eq!(
        where_it_is(&tables, |source| source.names("homepot_analytics")
            || source.names("migration")),
        NOWHERE
    );
    let migrations = sources(&["migration/src"]);
    assert_eq!(
        where_it_is(&migrations, |source| source.names("homepot_analytics")
            || source.names("entity::")),
        NOWHERE
    );
}

#[test]
fn every_migration_is_one_transaction() {
    let migrations = sources(&["migration/src"]);
    let made = |source: &Source| source.text.contains("impl MigrationTrait for");
    let in_one = "fn use_transaction(&self) -> Option<bool> {\n        Some(true)\n    }";
    assert!(migrations.iter().any(made));
    assert_eq!(
        where_it_is(&migrations, |source| made(source)
            && !source.text.contains(in_one)),
        NOWHERE
    );
}

/// Paths under a folder that name something they must not know.
fn forbidden(folder: &str, names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources(&["src"])
        .iter()
        .filter(|source| source.is_under(folder))
    {
        let named = names.iter().filter(|name| source.names(name));
        found.extend(named.map(|name| format!("{} names {name}", source.path)));
    }
    found
}

#[test]
fn kinds_do_no_io_and_read_no_clock() {
    let names = [
        "crate::store",
        "crate::clock",
        "crate::ingest",
        "crate::graphql",
        "crate::history",
        "crate::http",
        "crate::projections",
        "sea_orm",
        "sqlx",
        "tokio",
        "std::fs",
        "std::net",
        "std::io",
    ];
    assert_eq!(forbidden("src/kinds", &names), NOWHERE);
}

#[test]
fn the_store_does_not_know_what_any_kind_means() {
    let mut names = vec![
        "crate::ingest".to_owned(),
        "crate::graphql".to_owned(),
        "crate::history".to_owned(),
        "crate::http".to_owned(),
        "crate::projections".to_owned(),
        "crate::jobs".to_owned(),
        "crate::configuration".to_owned(),
        "crate::health".to_owned(),
        "crate::app".to_owned(),
    ];
    for kind in homepot_analytics::kinds::Kind::ALL {
        names.push(format!("Kind::{kind:?}"));
        names.push(format!("entity::{}", kind.spec().table));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(forbidden("src/store", &names), NOWHERE);
}

#[test]
fn graphql_begins_no_transaction_and_who_only_reads_writes_nothing() {
    let names = [
        "transact",
        "transaction",
        "TransactionTrait",
        "ActiveModelTrait",
        "execute_raw",
        "sea_orm",
        "crate::http",
        "crate::app",
    ];
    assert_eq!(forbidden("src/graphql", &names), NOWHERE);
    let names = [
        "transact",
        "TransactionTrait",
        "ActiveModelTrait",
        "execute_raw",
        "insert_many",
        "crate::graphql",
        "crate::ingest",
    ];
    assert_eq!(forbidden("src/history", &names), NOWHERE);
    assert_eq!(forbidden("src/held", &names), NOWHERE);
}

#[test]
fn what_is_held_for_insights_knows_nobody_who_asks_for_it() {
    let names = [
        "crate::graphql",
        "crate::http",
        "crate::app",
        "crate::history",
        "crate::identity",
        "crate::alerts",
        "crate::jobs",
    ];
    assert_eq!(forbidden("src/held", &names), NOWHERE);
}

#[test]
fn insights_do_no_io() {
    let names = [
        "crate::store",
        "crate::graphql",
        "crate::held",
        "crate::http",
        "crate::projections",
        "sea_orm",
        "sqlx",
        "use tokio",
        "std::fs",
        "std::net",
    ];
    assert_eq!(forbidden("src/insights", &names), NOWHERE);
}

#[test]
fn nobody_but_the_door_appends() {
    let all = sources(&["src"]);
    let appenders = where_it_is(&all, |source| {
        let names = ["store().append", "store.append", "append_patiently"];
        let door = source.is_under("src/ingest") || source.is_under("src/store");
        !door && names.iter().any(|name| source.names(name))
    });
    assert_eq!(appenders, NOWHERE);
}

#[test]
fn arrows_go_one_way() {
    for (folder, names) in [
        (
            "src/event",
            ["crate::store", "crate::ingest", "crate::graphql"].as_slice(),
        ),
        (
            "src/ingest",
            &[
                "crate::graphql",
                "crate::http",
                "crate::app",
                "crate::history",
                "crate::identity",
                "crate::projections",
            ],
        ),
        (
            "src/identity",
            &["crate::graphql", "crate::http", "crate::app", "crate::cli"],
        ),
        (
            "src/projections",
            &[
                "crate::graphql",
                "crate::http",
                "crate::app",
                "crate::history",
                "crate::held",
            ],
        ),
        ("src/http", &["crate::app", "crate::cli"]),
        (
            "src/columnar",
            &[
                "crate::store",
                "crate::ingest",
                "crate::graphql",
                "crate::history",
                "sea_orm",
                "std::fs",
            ],
        ),
    ] {
        assert_eq!(forbidden(folder, names), NOWHERE);
    }
}

#[test]
fn no_room_knows_who_asks_it() {
    for folder in [
        "jobs",
        "alerts",
        "webhooks",
        "configuration",
        "retention",
        "export",
        "models",
    ] {
        let names = ["crate::graphql", "crate::http", "crate::app"];
        assert_eq!(forbidden(&format!("src/{folder}"), &names), NOWHERE);
    }
    for folder in ["client", "agent", "simulate"] {
        let names = ["crate::store", "crate::ingest", "crate::graphql"];
        assert_eq!(forbidden(&format!("src/{folder}"), &names), NOWHERE);
    }
}
