//! Secrets are sealed where they are kept, masked wherever they are shown, and told to their device alone.

use homepot_analytics::app::Access;
use homepot_analytics::configuration::Keyring;
use homepot_analytics::identity::Role;
use homepot_analytics::store::{backup, restore};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::access::{ask, grant, key};
use super::super::app::{TestApp, location, on_each_database, texts};
use super::super::device_commands::{Followed, complete, made};
use super::{changes, holds, register, set, setting};

const SECRET: &str = "hunter2-is-no-password";

async fn wifi(app: &TestApp) {
    let schema = json!({ "type": "string", "maxLength": 30, "writeOnly": true });
    let input = json!({ "parameterName": "wifi", "schema": schema });
    assert_eq!(register(app, input).await["parameter"]["sensitive"], true);
}

async fn with_keys(app: &mut TestApp, keys: &str, access: Access) {
    app.restart_as(|start| {
        start.access = access;
        start.keyring = Keyring::read(keys).unwrap();
    })
    .await;
}

/// Everything that can be asked of the log, as one text.
async fn everything(app: &TestApp) -> String {
    let document = "{ configurationHistory { nodes { oldValue newValue } } configurationSettings { nodes { value } }
        jobTransitions { nodes { payload } } jobs { nodes { payload } } pendingCommands { payload }
        configuration(entityType: DEVICE, entityId: \"till-1\") { values { value } versions { changes { value } } }
        device(deviceId: \"till-1\") { configuration { value appliedValue } }
        events { nodes { __typename ... on ConfigurationSetting { value } } }
        auditLog { nodes { target reason } } }";
    let answer = app.text(json!({ "query": document })).await;
    assert!(!answer.contains("\"errors\""), "{answer}");
    answer
}

#[tokio::test]
async fn a_secret_is_nowhere_but_at_its_device() {
    on_each_database(async |app| {
        app.fleet().await;
        with_keys(app, &Keyring::new_key().unwrap(), Access::Open).await;
        wifi(app).await;
        let mut device = Followed::new(app, Some("till-1")).await;
        let answer = set(app, setting("till-1", &[("wifi", json!(SECRET))])).await;
        assert_eq!(
            answer["configuration"]["values"][0]["value"], "***",
            "{answer:#}"
        );
        let command = device.next().await;
        assert_eq!(
            command["payload"],
            json!({ "parameters": { "wifi": "***" } })
        );
        assert_eq!(holds(app, "till-1").await, ["wifi \"***\" DEVICE PENDING"]);
        let id = command["commandId"].as_str().unwrap();
        assert!(complete(app, id, "COMPLETED").await.is_empty());
        assert_eq!(holds(app, "till-1").await, ["wifi \"***\" DEVICE APPLIED"]);
        // set anew to the same it is another change, which nobody can tell from one to another
        set(app, setting("till-1", &[("wifi", json!(SECRET))])).await;
        let id = device.told("till-1 1 ISSUED").await;
        assert!(complete(app, &id, "COMPLETED").await.is_empty());
        let masked = ["till-1 wifi null>\"***\"", "till-1 wifi \"***\">\"***\""];
        assert_eq!(changes(app).await, masked);
        let told = everything(app).await;
        assert!(
            told.contains("***") && !told.contains(SECRET) && !told.contains("$sealed"),
            "{told}"
        );
        kept_nowhere(app).await;
    })
    .await;
}

/// Neither in the tables nor in what is restored from a backup.
async fn kept_nowhere(app: &mut TestApp) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    backup(&location(app.url()), &file, &|_| ()).await.unwrap();
    let restored = folder.path().join("restored.db");
    let url = format!("sqlite://{}", restored.display());
    restore(&file, &location(&url), &|_| ()).await.unwrap();
    app.stop().await;
    let mut kept = std::fs::read(&restored).unwrap();
    if let Some(database) = app.url().strip_prefix("sqlite://") {
        kept.extend(std::fs::read(database).unwrap());
        kept.extend(std::fs::read(format!("{database}-wal")).unwrap_or_default());
    }
    let has = |needle: &[u8]| kept.windows(needle.len()).any(|part| part == needle);
    assert!(has(b"$sealed"), "what is kept of it");
    assert!(!has(SECRET.as_bytes()));
    app.start_again().await;
}

#[tokio::test]
async fn a_device_is_told_its_secrets_by_a_key_of_its_own() {
    on_each_database(async |app| {
        app.fleet().await;
        with_keys(app, &Keyring::new_key().unwrap(), Access::Open).await;
        wifi(app).await;
        let mut device = Followed::new(app, None).await;
        set(app, setting("harbour", &[("wifi", json!(SECRET))])).await;
        for device_told in ["till-1 1 ISSUED", "till-2 1 ISSUED"] {
            device.told(device_told).await;
        }
        let keys = Keyring::new_key().unwrap();
        app.close_to_strangers().await;
        let own = key(app, grant(Role::Device, &[])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let pending = json!({ "query": "{ pendingCommands(deviceId: \"till-1\") { payload } }" });
        let payload = async |app: &TestApp, key: &str| {
            let (_, answer) = ask(app, key, pending.clone()).await;
            answer["data"]["pendingCommands"][0]["payload"]["parameters"].clone()
        };
        assert_eq!(
            payload(app, &own).await,
            json!({}),
            "without the key it cannot be told"
        );
        with_keys(app, &keys, Access::Closed).await;
        assert_eq!(payload(app, &own).await, json!({}), "nor with another");
        assert_eq!(payload(app, &admin).await, json!({ "wifi": "***" }));
    })
    .await;
    on_each_database(async |app| {
        app.fleet().await;
        let (old, new) = (Keyring::new_key().unwrap(), Keyring::new_key().unwrap());
        with_keys(app, &old, Access::Open).await;
        wifi(app).await;
        let mut device = Followed::new(app, Some("till-1")).await;
        set(app, setting("harbour", &[("wifi", json!(SECRET))])).await;
        device.told("till-1 1 ISSUED").await;
        with_keys(app, &format!("{new},{old}"), Access::Closed).await;
        let own = key(app, grant(Role::Device, &[])).await;
        let query =
            json!({ "query": "{ pendingCommands { payload } jobs { nodes { payload } } }" });
        let (_, answer) = ask(app, &own, query).await;
        let parameters = |value: &str| json!({ "parameters": { "wifi": value } });
        assert_eq!(
            answer["data"]["pendingCommands"][0]["payload"],
            parameters(SECRET)
        );
        assert_eq!(
            answer["data"]["jobs"]["nodes"][0]["payload"],
            parameters("***")
        );
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_is_refused_is_not_told_either() {
    on_each_database(async |app| {
        app.fleet().await;
        wifi(app).await;
        let no_key = set(app, setting("till-1", &[("wifi", json!(SECRET))])).await;
        assert_eq!(texts(&no_key["userErrors"], "code"), ["NO_KEY"]);
        with_keys(app, &Keyring::new_key().unwrap(), Access::Open).await;
        let long = format!("{SECRET}{SECRET}");
        let refused = set(app, setting("till-1", &[("wifi", json!(long))])).await;
        assert_eq!(texts(&refused["userErrors"], "field"), ["changes.0.value"]);
        assert!(!refused.to_string().contains(SECRET), "{refused}");
        set(app, setting("till-1", &[("wifi", json!(SECRET))])).await;
        let mut guess = setting("till-1", &[("wifi", json!("other"))]);
        guess["changes"][0]["expectedValue"] = json!(SECRET);
        let guess = set(app, guess).await;
        assert_eq!(
            texts(&guess["userErrors"], "field"),
            ["changes.0.expectedValue"]
        );
        assert_eq!(texts(&guess["userErrors"], "code"), ["INVALID"]);
        assert!(!everything(app).await.contains(SECRET));
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_known_by_its_secret_and_what_was_set_can_be_set_again() {
    on_each_database(async |app| {
        app.fleet().await;
        with_keys(app, &Keyring::new_key().unwrap(), Access::Open).await;
        wifi(app).await;
        let mut input = setting("till-1", &[("wifi", json!(SECRET))]);
        input["idempotencyKey"] = json!("k");
        let first = set(app, input.clone()).await;
        assert_eq!(set(app, input.clone()).await, first);
        input["changes"][0]["value"] = json!("other");
        let other = set(app, input).await;
        assert_eq!(texts(&other["userErrors"], "field"), ["idempotencyKey"]);
        set(app, setting("till-1", &[("wifi", Value::Null)])).await;
        let back = json!({ "entityType": "DEVICE", "entityId": "till-1", "toVersion": "1" });
        let back = super::roll_back(app, back).await;
        assert_eq!(back["version"], "3", "{back:#}");
        assert_eq!(holds(app, "till-1").await, ["wifi \"***\" DEVICE PENDING"]);
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_does_not_open_is_not_recorded_as_applied() {
    on_each_database(async |app| {
        app.fleet().await;
        with_keys(app, &Keyring::new_key().unwrap(), Access::Open).await;
        wifi(app).await;
        super::parameters(app, &["volume"]).await;
        let both = [("wifi", json!(SECRET)), ("volume", json!(3))];
        let jobs = super::done(app, "till-1", &both).await;
        // the key is lost
        with_keys(app, &Keyring::new_key().unwrap(), Access::Open).await;
        let mut device = Followed::new(app, Some("till-1")).await;
        let id = device.told("till-1 1 ISSUED").await;
        for _ in 0..2 {
            assert!(complete(app, &id, "COMPLETED").await.is_empty());
        }
        assert_eq!(
            holds(app, "till-1").await,
            ["volume 3 DEVICE APPLIED", "wifi \"***\" DEVICE PENDING"]
        );
        assert_eq!(changes(app).await, ["till-1 volume null>3"]);
        let job = jobs[0]["jobId"].as_str().unwrap();
        let outcomes = "{ jobOutcomes(filter: { scope: { eq: DEVICE } }) { nodes { jobId status errorCode } } }";
        let data = app.data(outcomes).await;
        let outcome = json!({ "jobId": job, "status": "ERROR", "errorCode": "NOT_OPENED" });
        assert_eq!(data["jobOutcomes"]["nodes"], json!([outcome]));
    })
    .await;
}

/// That `till-1` has got another value of a parameter, as somebody else tells it.
fn changed(parameter: &str, old: &Value, new: &Value) -> Value {
    json!({ "configurationChange": { "entityType": "DEVICE", "entityId": "till-1", "parameterName": parameter,
        "oldValue": old, "newValue": new, "changedBy": "somebody" } })
}

#[tokio::test]
async fn a_secret_is_not_recorded_by_hand_either() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut before = changed("wifi", &Value::Null, &json!("before"));
        before["configurationChange"]["eventId"] = json!(Uuid::now_v7());
        app.record(json!([before])).await;
        wifi(app).await;
        let (secret, mask) = (json!(SECRET), json!("***"));
        let outcomes = app
            .outcomes(json!([
                changed("wifi", &Value::Null, &secret),
                changed("wifi", &secret, &mask),
                changed("volume", &Value::Null, &secret),
                changed("wifi", &Value::Null, &mask),
                before,
            ]))
            .await;
        let statuses = ["REJECTED", "REJECTED", "RECORDED", "RECORDED", "DUPLICATE"];
        assert_eq!(texts(&outcomes, "status"), statuses, "{outcomes:#}");
        for (index, field) in [(0, "newValue"), (1, "oldValue")] {
            let refused = &outcomes[index];
            assert_eq!(
                (&refused["code"], &refused["field"]),
                (&json!("NOT_ALLOWED"), &json!(field))
            );
            let message = refused["message"].as_str().unwrap();
            assert!(
                message.contains("setConfiguration") && !message.contains(SECRET),
                "{message}"
            );
        }
        let told = [
            "till-1 wifi null>\"before\"".to_owned(),
            format!("till-1 volume null>\"{SECRET}\""),
            "till-1 wifi null>\"***\"".to_owned(),
        ];
        assert_eq!(changes(app).await, told);
    })
    .await;
}

#[tokio::test]
async fn a_secret_does_not_slip_in_with_the_registration_of_its_parameter() {
    on_each_database(async |app| {
        app.fleet().await;
        let events = json!([changed("wifi", &Value::Null, &json!(SECRET))]);
        // some are recorded before, and none after
        let mut positions = Vec::new();
        let ((), outcomes) = tokio::join!(wifi(app), async {
            let mut told = Vec::new();
            for _ in 0..20 {
                told.push(app.outcomes(events.clone()).await);
            }
            told
        });
        for outcome in &outcomes {
            positions.extend(
                outcome[0]["position"]
                    .as_str()
                    .map(|text| text.parse::<i64>().unwrap()),
            );
        }
        let registered = "{ parameterRegistrations { nodes { position } } }";
        let registered = app.data(registered).await;
        let registered = registered["parameterRegistrations"]["nodes"][0]["position"]
            .as_str()
            .unwrap();
        let registered: i64 = registered.parse().unwrap();
        assert!(
            positions.iter().all(|position| *position < registered),
            "{positions:?} {registered}"
        );
        assert_eq!(outcomes[19][0]["status"], "REJECTED");
    })
    .await;
}

#[tokio::test]
async fn what_a_job_told_before_its_parameter_was_registered_is_recorded_masked() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([changed("wifi", &Value::Null, &json!("before"))]))
            .await;
        let mut device = Followed::new(app, Some("till-1")).await;
        let payload = json!({ "parameters": { "wifi": SECRET } });
        made(
            app,
            json!({ "jobType": "UPDATE_POS_CONFIG", "deviceIds": ["till-1"], "payload": payload }),
        )
        .await;
        let id = device.told("till-1 1 ISSUED").await;
        wifi(app).await;
        assert!(complete(app, &id, "COMPLETED").await.is_empty());
        let told = ["till-1 wifi null>\"before\"", "till-1 wifi \"***\">\"***\""];
        assert_eq!(changes(app).await, told);
    })
    .await;
}
