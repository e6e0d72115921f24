//! How the server is served: certificates that cannot be used, how many files there may be, and who else may have its
//! database.

use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::api::Api;
use super::database::Database;
use super::program::{Program, command};

const SERVE: [&str; 4] = ["serve", "--no-authentication", "--listen", "127.0.0.1:0"];

#[test]
fn a_certificate_that_cannot_be_used_is_told_before_anything_is_made() {
    let database = Database::sqlite();
    let pair = || {
        let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let CertifiedKey { cert, signing_key } = made;
        (cert.pem(), signing_key.serialize_pem())
    };
    let write = |name: &str, text: &str| {
        let path = database.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, other) = (pair(), pair());
    let (certificate, key) = (write("certificate", &one.0), write("key", &one.1));
    let other = write("other", &other.1);
    let empty = write("empty", "");
    for (certificate, key, words) in [
        ("/nowhere", key.as_str(), ["/nowhere", "No such file"]),
        (&empty, &key, [empty.as_str(), "holds no certificate"]),
        (
            &certificate,
            &empty,
            [empty.as_str(), "holds no private key"],
        ),
        (&certificate, &other, [other.as_str(), "does not fit"]),
    ] {
        let given = ["--tls-certificate", certificate, "--tls-key", key];
        let arguments = [&SERVE[..], &given].concat();
        database.run(&arguments).refused(&words);
    }
    assert!(!database.file().exists(), "nothing was made");
    let alone = [&SERVE[..], &["--tls-certificate", &certificate]].concat();
    let ended = database.run(&alone);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--tls-key"), "{ended:?}");
    let given = ["--tls-certificate", &certificate, "--tls-key", &key];
    let mut server = database.start(&[&SERVE[..], &given].concat());
    let address = server.address().expect("it serves");
    assert!(address.starts_with("https://127.0.0.1:"), "{address}");
}

/// The server where the shell has set a limit of open files, and what it has warned of.
async fn warned(limit: &str, connections_max: &str) -> String {
    let database = Database::sqlite();
    let given = ["--connections-max", connections_max];
    let given = [&SERVE[..], &["--database", &database.url], &given].concat();
    let program = command(given);
    let mut shell = Command::new("sh");
    for (name, _) in program.get_envs() {
        shell.env_remove(name);
    }
    let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(program.get_program());
    shell.args(program.get_args());
    let mut server = Program::spawn(database.folder(), shell);
    let address = server.address().expect("it serves");
    let (status, _) = Api::new().get(&format!("{address}/healthz"), None).await;
    assert_eq!(status, 200);
    server.stderr()
}

#[tokio::test]
async fn where_the_system_allows_few_files_there_are_fewer_connections_and_that_is_told() {
    let told = warned("-n 200", "20000").await;
    assert_eq!(told.matches("too few open files").count(), 1, "{told}");
    assert!(told.contains("ulimit -n"), "{told}");
    // what it may have beyond what it has is taken, and a few less are no reason to warn
    for (limit, connections_max) in [("-Sn 200", "1000"), ("-n 1000", "950")] {
        let told = warned(limit, connections_max).await;
        assert!(!told.contains("too few open files"), "{told}");
    }
}

/// Where all get huge pages, each thread and each list of the allocator would take 2 MiB at once.
#[test]
fn a_server_takes_no_huge_pages() {
    let database = Database::sqlite();
    let (server, _) = database.serve();
    let taken = server.status("THP_enabled");
    let taken = taken.expect("a kernel that tells of it, as those do from Linux 5.0 on");
    assert_eq!(taken, "0");
}

const DEMO: [&str; 5] = ["demo", "--listen", "127.0.0.1:0", "--history-hours", "0"];
const SERVED: [&str; 2] = ["is served by another process", "PostgreSQL"];

#[test]
fn a_file_of_sqlite_has_one_server_and_all_else_works_beside_it() {
    let database = Database::sqlite();
    let (mut server, _) = database.serve();
    let link = database.folder().join("link.db");
    std::os::unix::fs::symlink(database.file(), &link).unwrap();
    let by_link = format!("sqlite://{}", link.display());
    for command in [&SERVE[..], &DEMO] {
        for url in [&database.url, &by_link] {
            let second = [command, &["--database", url]].concat();
            Program::run(database.folder(), &second).refused(&SERVED);
        }
    }
    let path = |name: &str| database.folder().join(name).display().to_string();
    let (lines, copy) = (path("all.jsonl"), path("copy"));
    for command in [
        &["import", "tests/data/till.jsonl.gz"][..],
        &["export", "--out", &lines],
        &["key", "list"],
        &["retention", "run"],
        &["rebuild", "registry"],
        &["backup", &copy],
        &["migrate", "up"],
        &["verify"],
    ] {
        let ended = database.run(command);
        assert!(ended.status.success(), "{command:?}: {ended:?}");
    }
    assert!(server.runs());
    server.kill();
    let (server, _) = database.serve();
    server.terminate();
    assert!(server.end().status.success());
    let (_server, _) = database.serve();
}

#[test]
fn a_log_that_is_served_is_not_brought_up_to_date_by_another_server() {
    let database = Database::sqlite();
    let (_server, _) = database.serve();
    // as if this migration had come later; it can be run once more
    database.execute("DELETE FROM seaql_migrations WHERE version = 'm0025_rollup_labels'");
    database.run(&SERVE).refused(&SERVED);
    let status = database.run(&["migrate", "status"]);
    status.refused(&["lacks 1 migrations"]);
}
