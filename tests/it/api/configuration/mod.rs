//! Configuration over the API: what is set, what holds, what devices apply, and the hours of sites.

mod applied;
mod arrivals;
mod effective;
mod evidence;
mod parameters;
mod schedules;
mod secrets;
mod sizes;
mod versions;

use homepot_analytics::kinds::Kind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::TestApp;
use super::device_commands::{complete, until};

const SET: &str = "mutation($input: SetConfigurationInput!) { setConfiguration(input: $input) {
    version configuration { entityType entityId version values { parameterName value version } }
    jobs { jobId devicesTargeted payload } userErrors { code field message } } }";
const REGISTER: &str = "mutation($input: RegisterParameterInput!) { registerParameter(input: $input) {
    parameter { parameterName version schema sensitive scopes } userErrors { code field message } } }";
const ROLL_BACK: &str = "mutation($input: RollbackConfigurationInput!) { rollbackConfiguration(input: $input) {
    version configuration { version values { parameterName value } } jobs { jobId devicesTargeted payload }
    userErrors { code field } } }";

async fn set(app: &TestApp, input: Value) -> Value {
    let mut data = app.data_with(SET, json!({ "input": input })).await;
    data["setConfiguration"].take()
}

async fn roll_back(app: &TestApp, input: Value) -> Value {
    let mut data = app.data_with(ROLL_BACK, json!({ "input": input })).await;
    data["rollbackConfiguration"].take()
}

async fn register(app: &TestApp, input: Value) -> Value {
    let mut data = app.data_with(REGISTER, json!({ "input": input })).await;
    data["registerParameter"].take()
}

/// Registers parameters with whole numbers as their values.
pub(super) async fn parameters(app: &TestApp, names: &[&str]) {
    for name in names {
        let input = json!({ "parameterName": name, "schema": { "type": "integer" } });
        assert_eq!(register(app, input).await["userErrors"], json!([]));
    }
}

/// What is set on a thing, of the name of a parameter and its value; null unsets it.
fn setting(entity: &str, changes: &[(&str, Value)]) -> Value {
    let (entity_type, id) = match entity {
        "system" => ("SYSTEM", entity),
        _ if entity.starts_with("till") => ("DEVICE", entity),
        _ => ("SITE", entity),
    };
    let changes = changes
        .iter()
        .map(|(name, value)| json!({ "parameterName": name, "value": value }));
    json!({ "entityType": entity_type, "entityId": id, "changes": changes.collect::<Vec<_>>() })
}

/// Sets parameters, which must succeed; the jobs by which devices are told.
async fn done(app: &TestApp, entity: &str, changes: &[(&str, Value)]) -> Vec<Value> {
    let answer = set(app, setting(entity, changes)).await;
    assert_eq!(answer["userErrors"], json!([]), "{answer:#}");
    answer["jobs"].as_array().unwrap().clone()
}

/// What holds on a device: of each parameter its value, where that comes from, and whether it is applied.
async fn holds(app: &TestApp, device: &str) -> Vec<String> {
    let document = "query($id: ID!) { effectiveConfiguration(deviceId: $id) { parameterName value source status } }";
    let data = app.data_with(document, json!({ "id": device })).await;
    let rows = data["effectiveConfiguration"].as_array().unwrap();
    let told = |row: &Value| {
        let text = |field: &str| row[field].as_str().unwrap_or("-").to_owned();
        let (name, source, status) = (text("parameterName"), text("source"), text("status"));
        format!("{name} {} {source} {status}", row["value"])
    };
    rows.iter().map(told).collect()
}

/// The devices that jobs tell something, as `device payload`.
async fn told(app: &TestApp, jobs: &[Value]) -> Vec<String> {
    let mut told = Vec::new();
    for job in jobs {
        let document = "query($id: ID!) { job(jobId: $id) { targets { device { deviceId } } } }";
        let data = app.data_with(document, json!({ "id": job["jobId"] })).await;
        for target in data["job"]["targets"].as_array().unwrap() {
            let device = target["device"]["deviceId"].as_str().unwrap();
            told.push(format!("{device} {}", job["payload"]["parameters"]));
        }
    }
    told.sort_unstable();
    told
}

/// The changes that were applied, as `device parameter old>new`.
async fn changes(app: &TestApp) -> Vec<String> {
    let document = "{ configurationHistory(order: FIRST_RECORDED_FIRST) { nodes { entityId parameterName oldValue newValue } } }";
    let data = app.data(document).await;
    let rows = data["configurationHistory"]["nodes"].as_array().unwrap();
    let told = |row: &Value| {
        let text = |field: &str| row[field].as_str().unwrap().to_owned();
        let (id, name) = (text("entityId"), text("parameterName"));
        format!("{id} {name} {}>{}", row["oldValue"], row["newValue"])
    };
    rows.iter().map(told).collect()
}

/// Whether events of a kind are made where something is configured.
pub(super) fn is_of_configuration(kind: Kind) -> bool {
    let kinds = [
        Kind::ParameterRegistration,
        Kind::ConfigurationSetting,
        Kind::ConfigurationEvidence,
    ];
    kinds.contains(&kind)
}

/// Registers a parameter and has a device apply it: an event of each of those kinds.
pub(super) async fn applied(app: &TestApp, device: &str) {
    let name = Uuid::now_v7();
    let document = format!(
        "mutation {{ registerParameter(input: {{ parameterName: \"{name}\", schema: {{}} }}) {{ userErrors {{ code }} }}
            setConfiguration(input: {{ entityType: DEVICE, entityId: \"{device}\",
            changes: [{{ parameterName: \"{name}\", value: 1 }}] }}) {{ jobs {{ jobId }} }} }}"
    );
    let data = app.data(&document).await;
    let job = data["setConfiguration"]["jobs"][0]["jobId"]
        .as_str()
        .unwrap();
    until(app, job, |job| job["devicesIssued"] == 1).await;
    let told = complete(app, &format!("{job}.1.{device}"), "COMPLETED").await;
    assert!(told.is_empty(), "{told:?}");
}
