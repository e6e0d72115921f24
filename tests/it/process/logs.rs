//! What the program says on standard error, and when.

use serde_json::json;

use super::api::Api;
use super::database::Database;
use super::program::Program;

#[tokio::test]
async fn a_fault_bears_the_ids_of_its_request_also_when_only_warnings_are_logged() {
    let database = Database::sqlite();
    let (server, address) = database.serve();
    let api = Api::new();
    let events = json!([
        { "siteRegistration": { "siteId": "s", "name": "S" } },
        { "deviceRegistration": { "deviceId": "d", "siteId": "s", "deviceType": "POS_TERMINAL" } },
    ]);
    api.record(&address, events).await;
    database.execute("DROP TABLE configuration_values");
    let query = "{ device(deviceId: \"d\") { configuration { value } } }";
    let answer = api.call(&address, query, json!({})).await.unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "INTERNAL");
    server.terminate();
    let said = server.end().stderr;
    assert!(said.contains("request.id="), "{said}");
    assert!(said.contains("trace.id="), "{said}");
    assert!(!said.contains('\u{1b}'), "no colours in a file: {said}");
}

#[test]
fn a_failure_is_told_while_standard_input_is_still_open() {
    let database = Database::sqlite();
    // a file that can be opened, and not be written
    let refused = ["import", "-", "--refused", "/dev/full"];
    let mut import = database.start(&refused);
    let mut stdin = import.stdin();
    // more than is taken at once, all refused, so that the file is needed
    std::io::Write::write_all(&mut stdin, "{}\n".repeat(3_000).as_bytes()).unwrap();
    import
        .end()
        .refused(&["cannot write the file of refused lines"]);
    drop(stdin);
}

#[test]
fn the_file_with_the_address_goes_before_the_environment() {
    let database = Database::sqlite();
    let file = database.folder().join("address");
    std::fs::write(&file, &database.url).unwrap();
    let file = file.to_str().unwrap();
    let mut command = super::program::command(["migrate", "up", "--database-file", file]);
    command.env("HOMEPOT_DATABASE", "sqlite:///nowhere/log.db");
    let ended = Program::spawn(database.folder(), command).end();
    assert!(ended.status.success(), "{ended:?}");
    assert!(database.file().exists());
}
