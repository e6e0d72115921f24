//! The protocol of devices, on devices that the test plays over the API.

use serde_json::{Value, json};

use super::access::{grant, key};
use super::app::{TestApp, on_each_database, texts};
use super::jobs::create;
use super::socket::Socket;

use homepot_analytics::identity::Role;

const COMMANDS: &str =
    "subscription($device: ID, $after: String) { deviceCommands(deviceId: $device, after: $after) {
    cursor command { commandId jobType payload deviceId attempt state priority } } }";
const PROGRESS: &str = "subscription($id: ID!) { jobProgress(jobId: $id) { job { state devicesWaiting
    devicesIssued devicesAcknowledged devicesSucceeded devicesFailed } changed { status step attempts } } }";

/// What a test follows of a server.
pub(super) struct Followed {
    socket: Socket,
    commands: String,
}

impl Followed {
    pub(super) async fn new(app: &TestApp, device: Option<&str>) -> Self {
        let mut socket = app.socket().await;
        let variables = json!({ "device": device });
        let commands = socket.subscribe(COMMANDS, variables).await;
        Self { socket, commands }
    }

    pub(super) async fn next(&mut self) -> Value {
        let mut data = self.socket.data(&self.commands).await;
        data["deviceCommands"]["command"].take()
    }

    /// The next command, which must be of a state and attempt and to a device; its id.
    pub(super) async fn told(&mut self, told: &str) -> String {
        let command = self.next().await;
        let text = |field: &str| command[field].as_str().unwrap();
        let is = format!(
            "{} {} {}",
            text("deviceId"),
            command["attempt"],
            text("state")
        );
        assert_eq!(is, told);
        text("commandId").to_owned()
    }
}

async fn answer(app: &TestApp, field: &str, input: Value) -> Vec<String> {
    let document = format!(
        "mutation($input: {}Input!) {{ {field}(input: $input) {{ userErrors {{ code field message }} }} }}",
        field[..1].to_uppercase() + &field[1..]
    );
    let data = app.data_with(&document, json!({ "input": input })).await;
    texts(&data[field]["userErrors"], "code")
}

pub(super) async fn acknowledge(app: &TestApp, command: &str) -> Vec<String> {
    answer(app, "acknowledgeCommand", json!({ "commandId": command })).await
}

pub(super) async fn complete(app: &TestApp, command: &str, status: &str) -> Vec<String> {
    let code = (status != "COMPLETED").then_some("E1");
    let input = json!({ "commandId": command, "status": status, "errorCode": code });
    answer(app, "completeCommand", input).await
}

pub(super) async fn made(app: &TestApp, input: Value) -> String {
    let answer = create(app, input).await;
    assert_eq!(answer["userErrors"], json!([]), "{answer:#}");
    answer["job"]["jobId"].as_str().unwrap().to_owned()
}

/// Follows a job until it is as it should be.
pub(super) async fn until(app: &TestApp, job: &str, good: impl Fn(&Value) -> bool) -> Value {
    let mut socket = app.socket().await;
    let id = socket.subscribe(PROGRESS, json!({ "id": job })).await;
    loop {
        let mut data = socket.data(&id).await;
        let job = data["jobProgress"]["job"].take();
        if good(&job) {
            return job;
        }
    }
}

pub(super) async fn ended(app: &TestApp, job: &str) -> String {
    let job = until(app, job, |job| {
        ["COMPLETED", "FAILED", "CANCELLED"].contains(&job["state"].as_str().unwrap())
    });
    let job = job.await;
    format!(
        "{} {}+{}",
        job["state"].as_str().unwrap(),
        job["devicesSucceeded"],
        job["devicesFailed"]
    )
}

#[tokio::test]
async fn a_device_is_given_a_command_acknowledges_it_and_ends_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut device = Followed::new(app, Some("till-1")).await;
        let job = made(app, json!({ "jobType": "FIRMWARE_UPDATE", "payload": { "version": "2.1" },
            "deviceIds": ["till-1"], "priority": "HIGH" })).await;
        let command = device.next().await;
        let id = command["commandId"].as_str().unwrap().to_owned();
        insta::allow_duplicates! {
            let mut shown = command.clone();
            shown.as_object_mut().unwrap().shift_remove("commandId");
            insta::assert_snapshot!(shown, @r#"{"attempt":1,"deviceId":"till-1","jobType":"FIRMWARE_UPDATE","payload":{"version":"2.1"},"priority":"HIGH","state":"ISSUED"}"#);
        }
        for _ in 0..2 {
            assert!(acknowledge(app, &id).await.is_empty());
        }
        until(app, &job, |job| job["devicesAcknowledged"] == 1).await;
        app.clock.advance_ms(2_500);
        for _ in 0..2 {
            assert!(complete(app, &id, "COMPLETED").await.is_empty(), "a repeat is the same");
        }
        assert_eq!(ended(app, &job).await, "COMPLETED 1+0");
        assert_eq!(complete(app, &id, "FAILED").await, ["EXPIRED"], "another answer");
        assert_eq!(acknowledge(app, &id).await, ["EXPIRED"]);
        let data = app.data("{ jobOutcomes(order: FIRST_RECORDED_FIRST) { nodes { scope status durationMs retryCount } }
            commandTransitions(order: FIRST_RECORDED_FIRST) { nodes { state durationMs } } }").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(data, @r#"{"commandTransitions":{"nodes":[{"durationMs":null,"state":"ISSUED"},{"durationMs":null,"state":"ACKNOWLEDGED"},{"durationMs":2500,"state":"COMPLETED"}]},"jobOutcomes":{"nodes":[{"durationMs":2500,"retryCount":0,"scope":"DEVICE","status":"COMPLETED"},{"durationMs":2500,"retryCount":null,"scope":"JOB","status":"COMPLETED"}]}}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn a_device_that_returns_finds_what_was_given_meanwhile_the_most_urgent_first() {
    on_each_database(async |app| {
        app.fleet().await;
        for (ty, priority) in [("RESTART", "NORMAL"), ("HEALTH_CHECK", "URGENT")] {
            let job = made(
                app,
                json!({ "jobType": ty, "deviceIds": ["till-1"], "priority": priority }),
            )
            .await;
            until(app, &job, |job| job["devicesIssued"] == 1).await;
        }
        let pending = "{ pendingCommands(deviceId: \"till-1\") { jobType state } }";
        let pending = app.data(pending).await;
        assert_eq!(
            texts(&pending["pendingCommands"], "jobType"),
            ["HEALTH_CHECK", "RESTART"]
        );
        let mut device = Followed::new(app, Some("till-1")).await;
        let first = device.told("till-1 1 ISSUED").await;
        device.told("till-1 1 ISSUED").await;
        assert!(
            complete(app, &first, "COMPLETED").await.is_empty(),
            "without acknowledging it"
        );
        let left = app.data("{ pendingCommands { jobType } }").await;
        assert_eq!(texts(&left["pendingCommands"], "jobType"), ["HEALTH_CHECK"]);
    })
    .await;
}

#[tokio::test]
async fn what_a_device_has_seen_is_left_out_when_it_goes_on_from_there() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut device = Followed::new(app, Some("till-1")).await;
        made(
            app,
            json!({ "jobType": "RESTART", "deviceIds": ["till-1"] }),
        )
        .await;
        let seen = device.socket.data(&device.commands).await;
        let after = seen["deviceCommands"]["cursor"].clone();
        made(
            app,
            json!({ "jobType": "HEALTH_CHECK", "deviceIds": ["till-1"] }),
        )
        .await;
        let mut socket = app.socket().await;
        let variables = json!({ "device": "till-1", "after": after });
        let again = socket.subscribe(COMMANDS, variables).await;
        let next = socket.data(&again).await;
        assert_eq!(next["deviceCommands"]["command"]["jobType"], "HEALTH_CHECK");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_fails_is_tried_again_after_a_while_and_then_no_more() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut device = Followed::new(app, None).await;
        let job = made(app, json!({ "jobType": "RESTART", "deviceIds": ["till-1"], "retries": 1,
            "retryBackoffSeconds": 30 })).await;
        let first = device.told("till-1 1 ISSUED").await;
        assert!(complete(app, &first, "FAILED").await.is_empty());
        assert!(complete(app, &first, "FAILED").await.is_empty(), "a repeat is the same");
        until(app, &job, |job| job["devicesWaiting"] == 1).await;
        app.clock.advance_ms(30_000);
        let second = device.told("till-1 2 ISSUED").await;
        assert_eq!(complete(app, &first, "COMPLETED").await, ["EXPIRED"]);
        assert!(complete(app, &second, "FAILED").await.is_empty());
        assert_eq!(ended(app, &job).await, "FAILED 0+1");
        let data = app.data("{ jobOutcomes(filter: { scope: { eq: DEVICE } }) { nodes { status retryCount errorCode } } }").await;
        let outcome = json!([{ "status": "FAILED", "retryCount": 1, "errorCode": "E1" }]);
        assert_eq!(data["jobOutcomes"]["nodes"], outcome);
    })
    .await;
}

#[tokio::test]
async fn a_command_runs_out_of_time_whether_or_not_the_device_has_taken_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut devices = Followed::new(app, None).await;
        let job = made(app, json!({ "jobType": "RESTART", "siteIds": ["harbour"], "timeoutSeconds": 60,
            "timeToLiveSeconds": 300 })).await;
        let taken = devices.told("till-1 1 ISSUED").await;
        let left = devices.told("till-2 1 ISSUED").await;
        assert!(acknowledge(app, &taken).await.is_empty());
        until(app, &job, |job| job["devicesAcknowledged"] == 1).await;
        app.clock.advance_ms(60_000);
        devices.told("till-1 1 CANCELLED").await;
        assert_eq!(complete(app, &taken, "COMPLETED").await, ["EXPIRED"], "it comes too late");
        app.clock.advance_ms(240_000);
        devices.told("till-2 1 CANCELLED").await;
        assert_eq!(acknowledge(app, &left).await, ["EXPIRED"]);
        assert_eq!(ended(app, &job).await, "FAILED 0+2");
        let data = app.data("{ jobOutcomes(filter: { scope: { eq: DEVICE } }, order: FIRST_RECORDED_FIRST) { nodes { status errorCode } } }").await;
        assert_eq!(texts(&data["jobOutcomes"]["nodes"], "errorCode"), ["NO_ANSWER", "NOT_TAKEN"]);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_is_stopped_takes_its_commands_back() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut device = Followed::new(app, Some("till-1")).await;
        let job = made(app, json!({ "jobType": "RESTART", "siteIds": ["harbour"] })).await;
        let command = device.told("till-1 1 ISSUED").await;
        assert!(acknowledge(app, &command).await.is_empty());
        let cancel = "mutation($id: ID!) { cancelJob(input: { jobId: $id }) { job { state devicesFailed } userErrors { code } } }";
        let data = app.data_with(cancel, json!({ "id": job })).await;
        assert_eq!(data["cancelJob"]["job"], json!({ "state": "CANCELLED", "devicesFailed": 2 }));
        device.told("till-1 1 CANCELLED").await;
        assert_eq!(complete(app, &command, "COMPLETED").await, ["EXPIRED"]);
        let pending = app.data("{ pendingCommands { commandId } }").await;
        assert_eq!(pending["pendingCommands"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_device_hears_of_its_own_commands_alone_and_answers_no_other() {
    on_each_database(async |app| {
        app.fleet().await;
        let other = made(app, json!({ "jobType": "RESTART", "siteIds": ["harbour"] })).await;
        until(app, &other, |job| job["devicesIssued"] == 2).await;
        let theirs = format!("{other}.1.till-2");
        app.close_to_strangers().await;
        let device = key(app, grant(Role::Device, &[])).await;
        let viewer = key(app, grant(Role::Viewer, &[])).await;
        let ask = async |key: &str, document: &str| {
            let post = app.client().post(app.address("/graphql")).bearer_auth(key);
            let answer = post.json(&json!({ "query": document })).send().await.unwrap();
            answer.json::<Value>().await.unwrap()
        };
        let own = ask(&device, "{ pendingCommands { deviceId } }").await;
        assert_eq!(own["data"]["pendingCommands"], json!([{ "deviceId": "till-1" }]));
        let of_other = ask(&device, "{ pendingCommands(deviceId: \"till-2\") { deviceId } }").await;
        assert_eq!(of_other["errors"][0]["extensions"]["code"], "NOT_FOUND");
        let document = format!("mutation {{ acknowledgeCommand(input: {{ commandId: \"{theirs}\" }}) {{ userErrors {{ code }} }}
            completeCommand(input: {{ commandId: \"{theirs}\", status: COMPLETED }}) {{ userErrors {{ code }} }} }}");
        let told = ask(&device, &document).await;
        for field in ["acknowledgeCommand", "completeCommand"] {
            assert_eq!(texts(&told["data"][field]["userErrors"], "code"), ["NOT_FOUND"], "{field}");
        }
        let seen = ask(&viewer, "{ pendingCommands { deviceId } }").await;
        assert_eq!(seen["errors"][0]["extensions"]["code"], "FORBIDDEN");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_command_or_no_answer_is_told() {
    on_each_database(async |app| {
        app.fleet().await;
        let job = made(
            app,
            json!({ "jobType": "RESTART", "deviceIds": ["till-1"] }),
        )
        .await;
        until(app, &job, |job| job["devicesIssued"] == 1).await;
        for id in [
            "",
            "x",
            "a.b.c",
            "none.1.till-1",
            &format!("{job}.2.till-1"),
            &format!("{job}.1.till-9"),
            &format!("{job}.0.till-1"),
        ] {
            assert_eq!(acknowledge(app, id).await, ["NOT_FOUND"], "{id}");
            assert_eq!(complete(app, id, "COMPLETED").await, ["NOT_FOUND"], "{id}");
        }
        let id = format!("{job}.1.till-1");
        for status in ["TIMEOUT", "CANCELLED"] {
            assert_eq!(complete(app, &id, status).await, ["INVALID"]);
        }
        let long =
            json!({ "commandId": id, "status": "FAILED", "errorMessage": "x".repeat(10_001) });
        assert_eq!(answer(app, "completeCommand", long).await, ["INVALID"]);
        let left = app.data("{ pendingCommands { commandId state } }").await;
        assert_eq!(
            texts(&left["pendingCommands"], "state"),
            ["ISSUED"],
            "nothing is half done"
        );
    })
    .await;
}

#[tokio::test]
async fn whoever_follows_all_devices_hears_of_each_however_many_are_open() {
    on_each_database(async |app| {
        app.fleet().await;
        let device = |n: usize| {
            json!({ "deviceRegistration": { "deviceId": format!("many-{n:04}"), "siteId": "market",
                "deviceType": "GATEWAY" } })
        };
        for numbers in [0..1_000, 1_000..1_200] {
            app.record(numbers.map(device).collect()).await;
        }
        let input = json!({ "jobType": "RESTART", "filter": { "search": "many-" } });
        let job = made(app, input).await;
        until(app, &job, |job| job["devicesIssued"] == 1_200).await;
        let mut devices = Followed::new(app, None).await;
        let mut heard = std::collections::BTreeSet::new();
        while heard.len() < 1_200 {
            heard.insert(devices.next().await["deviceId"].to_string());
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_is_read_once_for_all_its_commands_and_told_as_often_as_there_is_room() {
    on_each_database(async |app| {
        app.fleet().await;
        let device = |number: usize| {
            let id = format!("till-x{number}");
            json!({ "deviceRegistration": { "deviceId": id, "siteId": "market", "deviceType": "POS_TERMINAL" } })
        };
        app.record((0..900).map(device).collect()).await;
        let payload = "x".repeat(65_000);
        let large = json!({ "jobType": "CUSTOM", "name": "large", "payload": payload, "siteIds": ["market"] });
        let job = made(app, large).await;
        until(app, &job, |job| job["devicesIssued"].as_i64() >= Some(901)).await;
        let fields = (0..16).map(|n| format!("p{n}: pendingCommands(first: 900) {{ commandId }}"));
        let fields: Vec<String> = fields.collect();
        let data = app.data(&format!("{{ {} }}", fields.join(" "))).await;
        assert_eq!(data["p15"].as_array().unwrap().len(), 900);
        let few = app.data("{ pendingCommands(first: 50) { payload } }").await;
        assert_eq!(few["pendingCommands"][49]["payload"], payload.as_str());
        for document in [
            "{ a: pendingCommands(first: 600) { payload } b: pendingCommands(first: 600) { payload } }",
            "{ pendingCommands(first: 600) { a: payload b: payload } }",
        ] {
            assert_eq!(app.code(document).await, "LIMIT_EXCEEDED");
        }
        // who follows them is told each, as one item after the other
        let mut all = Followed::new(app, None).await;
        for _ in 0..901 {
            assert_eq!(all.next().await["payload"], payload.as_str());
        }
    })
    .await;
}

#[tokio::test]
async fn of_more_commands_than_are_asked_for_a_device_is_given_the_most_urgent() {
    on_each_database(async |app| {
        app.fleet().await;
        for (name, priority) in [("a", "LOW"), ("b", "NORMAL"), ("c", "URGENT"), ("d", "URGENT"), ("e", "HIGH")] {
            let input = json!({ "jobType": "CUSTOM", "name": name, "deviceIds": ["till-1"], "priority": priority });
            let job = made(app, input).await;
            until(app, &job, |job| job["devicesIssued"] == 1).await;
        }
        for (first, told) in [(2, "c d"), (3, "c d e"), (5, "c d e b a")] {
            let document = format!("{{ pendingCommands(deviceId: \"till-1\", first: {first}) {{ jobType }} }}");
            let data = app.data(&document).await;
            assert_eq!(texts(&data["pendingCommands"], "jobType").join(" "), told);
        }
    })
    .await;
}
