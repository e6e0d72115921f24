//! A disk without room: nothing is started on it, and a server on which it fills loses nothing that
//! it acknowledged.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::api::{Api, RECORD};
use super::database::Database;
use super::program::Program;
use super::unusable::SmallDisk;

/// Takes all the room there is.
pub(super) fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut filler = File::create(&path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

fn event(number: usize) -> Value {
    let text = format!("{number} {}", "x".repeat(2_000));
    json!({ "errorLog": { "category": "SYSTEM", "severity": "INFO", "errorMessage": text } })
}

#[test]
fn a_full_disk_is_told_and_nothing_is_started_on_it() {
    let database = Database::sqlite();
    let Some(disk) = SmallDisk::mount(database.folder(), 4) else {
        return;
    };
    let old = format!("sqlite://{}/old.db", disk.folder.display());
    let up = ["migrate", "up", "--database", &old];
    assert!(Program::run(database.folder(), &up).status.success());
    let filler = fill(&disk.folder);
    let new = format!("sqlite://{}/new.db", disk.folder.display());
    for url in [&old, &new] {
        let import = ["import", "-", "--database", url];
        Program::run(database.folder(), &import).refused(&["the disk is full", "make room"]);
    }
    std::fs::remove_file(filler).unwrap();
    for url in [&old, &new] {
        let import = ["import", "-", "--database", url];
        let ended = Program::run(database.folder(), &import);
        assert!(ended.status.success(), "{url}: {ended:?}");
    }
}

#[tokio::test]
async fn a_disk_that_fills_refuses_events_and_goes_on_when_there_is_room() {
    let database = Database::sqlite();
    let Some(disk) = SmallDisk::mount(database.folder(), 16) else {
        return;
    };
    let url = format!("sqlite://{}/log.db", disk.folder.display());
    let listen = ["serve", "--no-authentication", "--listen", "127.0.0.1:0"];
    let serve = [&listen[..], &["--database", &url]].concat();
    let mut server = Program::start(database.folder(), &serve);
    let address = server.address().unwrap();
    let api = Api::new();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut number = 0;
    let mut record = async |acknowledged: &mut Vec<String>| {
        let events: Vec<Value> = (0..20).map(|index| event(number + index)).collect();
        number += 20;
        let variables = json!({ "input": { "events": events } });
        let answer = api.call(&address, RECORD, variables).await.unwrap();
        if let Some(errors) = answer.get("errors") {
            assert_eq!(errors[0]["extensions"]["code"], "UNAVAILABLE", "{answer}");
            assert_eq!(errors[0]["extensions"]["retryable"], true, "{answer}");
            return false;
        }
        let outcomes = answer["data"]["recordEvents"]["outcomes"]
            .as_array()
            .unwrap();
        acknowledged.extend(
            outcomes
                .iter()
                .map(|o| o["position"].as_str().unwrap().to_owned()),
        );
        true
    };
    assert!(record(&mut acknowledged).await, "there is room");
    let filler = fill(&disk.folder);
    let mut refused = 0;
    for _ in 0..200 {
        refused += usize::from(!record(&mut acknowledged).await);
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "the disk never filled");
    let ready = api.get(&format!("{address}/readyz"), None).await;
    assert_eq!(ready.0, 503, "{}", ready.1);
    std::fs::remove_file(filler).unwrap();
    for _ in 0..3 {
        assert!(record(&mut acknowledged).await, "there is room again");
    }
    println!("{} events were acknowledged", acknowledged.len());
    // what was acknowledged is there, also after a start
    for _ in 0..2 {
        server.kill();
        server = Program::start(database.folder(), &serve);
        let address = server.address().unwrap();
        let log = api.log(&address, None, "").await;
        let there: Vec<&str> = log
            .iter()
            .map(|event| event["position"].as_str().unwrap())
            .collect();
        let wanted: Vec<String> = (1..=there.len())
            .map(|position| position.to_string())
            .collect();
        assert_eq!(there, wanted);
        let errors =
            |position: &String| log[position.parse::<usize>().unwrap() - 1]["kind"] == "errorLog";
        assert!(acknowledged.iter().all(errors));
    }
}
