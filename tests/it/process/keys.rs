//! `key`: access keys are made before there is a server and beside one, and hold and end there.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::database::Database;
use super::program::{DEADLINE, Ended, Program};

/// Waits until a server answers whoever has a key with a status.
async fn answers(server: &str, key: &str, status: StatusCode) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let client = client.build().unwrap();
    let until = Instant::now() + DEADLINE;
    loop {
        let post = client.post(format!("{server}/graphql")).bearer_auth(key);
        let post = post.header("content-type", "application/json");
        let answer = post.body(r#"{"query":"{ viewer { name } }"}"#).send().await;
        if answer.unwrap().status() == status {
            return;
        }
        assert!(
            Instant::now() < until,
            "the status does not become {status}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn done(ended: Ended) -> String {
    assert!(ended.status.success(), "{ended:?}");
    ended.stdout
}

async fn hold_and_end(database: &Database) {
    let first = done(database.run(&["key", "create", "--role", "ADMIN", "--name", "me"]));
    let first = first.trim();
    assert!(first.starts_with("hp_") && first.len() == 46, "{first}");
    let mut server = database.start(&["serve", "--listen", "127.0.0.1:0"]);
    let address = server.address().unwrap();
    answers(&address, first, StatusCode::OK).await;
    let file = database.folder().join("viewer.key");
    let out = file.display().to_string();
    let create = [
        "key",
        "create",
        "--role",
        "viewer",
        "--name",
        "dashboard",
        "--expires-in",
        "2d",
        "--out",
        &out,
    ];
    assert_eq!(done(database.run(&create)), "");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = std::fs::read_to_string(&file).unwrap();
    let second = second.trim();
    answers(&address, second, StatusCode::OK).await;
    let listed = done(database.run(&["key", "list"]));
    assert!(
        listed.contains(&format!(
            "{}  VIEWER    dashboard, holds until",
            &second[..9]
        )),
        "{listed}"
    );
    assert!(!listed.contains(&second[..12]), "{listed}");
    // the whole key, as one has it that has leaked
    done(database.run(&["key", "revoke", second, "--reason", "lost"]));
    answers(&address, second, StatusCode::UNAUTHORIZED).await;
    answers(&address, first, StatusCode::OK).await;
    let listed = done(database.run(&["key", "list"]));
    assert!(listed.contains("dashboard, revoked"), "{listed}");
    server.terminate();
    assert!(server.end().status.success());
    database.verify();
}

#[tokio::test]
async fn a_key_holds_and_ends_on_a_running_server_with_sqlite() {
    hold_and_end(&Database::sqlite()).await;
}

#[tokio::test]
async fn a_key_holds_and_ends_on_a_running_server_with_postgresql() {
    if let Some(database) = Database::postgres() {
        hold_and_end(&database).await;
    }
}

#[test]
fn what_cannot_be_made_or_revoked_is_told() {
    let database = Database::sqlite();
    let create = |more: &[&str]| {
        let command = ["key", "create", "--name", "n"];
        database.run(&[&command, more].concat())
    };
    let out = database.folder().join("new.key").display().to_string();
    create(&["--role", "DEVICE", "--out", &out]).refused(&["give --device DEVICE_ID"]);
    assert!(!database.folder().join("new.key").exists());
    create(&["--role", "ADMIN", "--device", "d"]).refused(&["--device is for --role DEVICE alone"]);
    create(&["--role", "INGEST", "--registers-devices"]).refused(&["exactly one --site"]);
    create(&["--role", "INGEST", "--origin", "https://a.example"]).refused(&["and --kind"]);
    create(&["--role", "VIEWER", "--kind", "errorLog"]).refused(&["--kind is for --role INGEST"]);
    create(&["--role", "DEVICE", "--device", "till-9"]).refused(&["till-9 is not registered"]);
    create(&["--role", "ADMIN", "--site", "s"]).refused(&["--site is for"]);
    let wrong = create(&["--role", "KING"]);
    assert!(
        wrong
            .stderr
            .contains("none of VIEWER, OPERATOR, ADMIN, DEVICE, INGEST"),
        "{wrong:?}"
    );
    let wrong = create(&["--role", "ADMIN", "--expires-in", "soon"]);
    assert!(wrong.stderr.contains("12h or 90d"), "{wrong:?}");
    let there = database.folder().join("there");
    std::fs::write(&there, "kept").unwrap();
    let out = there.display().to_string();
    create(&["--role", "ADMIN", "--out", &out]).refused(&["cannot make the file"]);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "kept");
    let elsewhere = database.folder().join("elsewhere.key");
    let out = elsewhere.to_str().unwrap();
    let create = [
        "key", "create", "--name", "n", "--role", "ADMIN", "--out", out,
    ];
    let nowhere = ["--database", "sqlite:///nowhere/log.db"];
    let ended = Program::run(database.folder(), &[&create[..], &nowhere].concat());
    ended.refused(&["check that its folder exists"]);
    assert!(!elsewhere.exists());
    database
        .run(&["key", "revoke", "hp_nobody"])
        .refused(&["no access key that begins with"]);
    database
        .run(&["key", "revoke", "hp_"])
        .refused(&["at least 6 characters"]);
}

#[test]
fn a_server_without_a_key_says_how_to_make_the_first() {
    let database = Database::sqlite();
    let mut server = database.start(&["serve", "--listen", "127.0.0.1:0"]);
    server.address().unwrap();
    server.terminate();
    let said = done(server.end());
    assert!(
        said.contains("homepot-analytics key create --role ADMIN --name me --out me.key"),
        "{said}"
    );
}

#[test]
fn a_server_that_asks_nobody_listens_on_loopback_alone() {
    let database = Database::sqlite();
    let open = ["serve", "--no-authentication", "--listen", "0.0.0.0:0"];
    let words = ["can be reached from other machines", "--no-authentication"];
    database.run(&open).refused(&words);
    database
        .run(&["demo", "--listen", "0.0.0.0:0"])
        .refused(&words[..1]);
    // keys would cross the network for everybody to read
    let mut server = database.start(&["serve", "--listen", "0.0.0.0:0"]);
    server.address().unwrap();
    assert!(
        server.stderr().contains("--tls-certificate"),
        "{}",
        server.stderr()
    );
}
