//! Until there are access keys, only this machine may reach the server. And the help.

use std::process::Command;

use super::api::Api;
use super::database::Database;

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let database = Database::sqlite();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let ended = database.run(&["serve", "--no-authentication", "--listen", address]);
        ended.refused(&["can be reached from other machines", "listen on 127.0.0.1"]);
    }
    assert!(!database.file().exists(), "nothing was made");
}

#[tokio::test]
async fn a_foreign_host_header_is_refused() {
    let database = Database::sqlite();
    let (_server, address) = database.serve();
    let api = Api::new();
    for path in [
        "/graphql?query={__typename}",
        "/graphiql",
        "/readyz",
        "/metrics",
        "/healthz",
    ] {
        let url = format!("{address}{path}");
        let (status, answer) = api.get(&url, Some("evil.example")).await;
        assert_eq!(status, 421, "{path}");
        assert!(answer.contains("\"retryable\":false"), "{answer}");
        assert_eq!(api.get(&url, Some("localhost:1234")).await.0, 200, "{path}");
    }
}

#[test]
fn a_value_that_is_refused_is_told_with_the_variable_that_it_comes_from() {
    for (arguments, variable, value) in [
        (&["serve"][..], "HOMEPOT_LISTEN", "8081"),
        (&["demo"], "HOMEPOT_DEMO_RESET", "yes"),
        (&["serve"], "HOMEPOT_QUEUE_EVENTS_MAX", "5"),
    ] {
        let mut program = super::program::command(arguments.iter().copied());
        let ended = program.env(variable, value).output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{told}");
        assert!(told.contains(variable), "{told}");
    }
    for given in [&["--listen", "8081"][..], &["--listen=8081"]] {
        let mut program = super::program::command(["serve"]);
        let ended = program
            .args(given)
            .env("HOMEPOT_LISTEN", "127.0.0.1:8081")
            .output()
            .unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(told.contains("of the form of 127.0.0.1:8081"), "{told}");
        assert!(!told.contains("HOMEPOT_LISTEN"), "{told}");
    }
}

#[test]
fn the_help_of_help_is_help() {
    for arguments in [&["help", "--help"][..], &["help", "-h"], &["--help"]] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_homepot-analytics"));
        let ended = program.args(arguments).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let told = String::from_utf8(ended.stdout).unwrap();
        assert!(told.contains("Usage:"), "{told}");
    }
}
