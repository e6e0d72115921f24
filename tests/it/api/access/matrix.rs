//! The matrix of permissions: what each caller is answered at its own site and at another. Every field at
//! the root of the schema has a row, so that one without a rule fails here; every cell is asserted.

use std::collections::BTreeSet;

use homepot_analytics::identity::Role;
use homepot_analytics::kinds::{Audience, Kind, Spec};
use serde_json::{Value, json};

use super::super::alerts::opened;
use super::super::app::{TestApp, on_each_database};
use super::super::configuration::applied;
use super::super::error_groups::decided;
use super::super::inputs::minimal;
use super::super::job_steps::issued;
use super::{ask, grant, key};

/// The columns: who asks. `@` are those who are bound to the site `harbour`, with the devices `till-1` and
/// `till-2`; the device is `till-1`.
const CALLERS: [(Role, &[&str]); 8] = [
    (Role::Viewer, &[]),
    (Role::Viewer, &["harbour"]),
    (Role::Operator, &[]),
    (Role::Operator, &["harbour"]),
    (Role::Admin, &[]),
    (Role::Device, &[]),
    (Role::Ingest, &[]),
    (Role::Ingest, &["harbour"]),
];

/// The rows: a field of the root, the document that asks for it, and for each caller two letters, of its
/// own site and of another. `Y` is answered, `-` as if there were none, `F` forbidden. `SITE`, `DEVICE` and
/// `JOB` stand for one of the site asked for; `EVENT` for the id of one of its events.
const ROWS: &[(&str, &str, &str)] = &[
    //                                                                VIEW @    OPER @    ADM DEV ING @
    ("viewer", "{ viewer { role } }",                                 "YY YY YY YY YY YY YY YY"),
    ("node", "{ node(id: \"EVENT\") { id } }",                        "YY Y- YY Y- YY Y- FF FF"),
    ("site", "{ site(siteId: \"SITE\") { siteId } }",                 "YY Y- YY Y- YY Y- FF FF"),
    ("device", "{ device(deviceId: \"DEVICE\") { deviceId } }",       "YY Y- YY Y- YY Y- FF FF"),
    ("sites", "{ sites { nodes { siteId } totalCount } }",            "YY YY YY YY YY YY FF FF"),
    ("devices", "{ devices(filter: { siteId: \"SITE\" }) { nodes { deviceId } totalCount } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("events", "{ events(filter: { siteId: { eq: \"SITE\" } }) { nodes { position } totalCount } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("job", "{ job(jobId: \"JOB\") { jobId } }",                      "YY Y- YY Y- YY Y- FF FF"),
    ("jobs", "{ jobs { nodes { jobId } totalCount } }",               "YY YY YY YY YY YY FF FF"),
    ("jobTypes", "{ jobTypes { jobType } }",                          "YY YY YY YY YY YY FF FF"),
    ("previewJob", "{ previewJob(input: { jobType: RESTART, deviceIds: [\"DEVICE\"] }) {
        devicesTargeted userErrors { code } } }",                     "FF FF YY Y- YY FF FF FF"),
    ("pendingCommands", "{ pendingCommands(deviceId: \"DEVICE\") { commandId } }",
                                                                      "FF FF FF FF YY Y- FF FF"),
    ("userSessions", "{ userSessions { nodes { sessionId } } }",      "YY -- YY -- YY -- FF FF"),
    ("topPages", "{ topPages { nodes { pageUrl } } }",                "YY -- YY -- YY -- FF FF"),
    ("topSearches", "{ topSearches { nodes { query } } }",            "YY -- YY -- YY -- FF FF"),
    ("activityByUser", "{ activityByUser { nodes { userId } } }",     "YY -- YY -- YY -- FF FF"),
    ("series", "{ series(measures: [STATE_REPORTS], from: \"2020-01-01T00:00:00Z\", filter: { siteIds: [\"SITE\"] }) {
        nodes: groups { measure } } }",                               "YY Y- YY Y- YY Y- FF FF"),
    ("breakdown", "{ breakdown(measures: [STATE_REPORTS], by: DEVICE, from: \"2020-01-01T00:00:00Z\",
        filter: { siteIds: [\"SITE\"] }) { nodes: provenance } }",    "YY Y- YY Y- YY Y- FF FF"),
    ("heatmap", "{ heatmap(measure: STATE_REPORTS, from: \"2024-01-01T00:00:00Z\", filter: { siteIds: [\"SITE\"] }) {
        nodes: provenance } }",                                       "YY Y- YY Y- YY Y- FF FF"),
    ("stateTimeline", "{ stateTimeline(deviceId: \"DEVICE\", from: \"2024-01-01T00:00:00Z\") { position } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("availability", "{ availability(from: \"2020-01-01T00:00:00Z\", filter: { siteIds: [\"SITE\"] }) {
        nodes: provenance } }",                                       "YY Y- YY Y- YY Y- FF FF"),
    ("apiRequestStats", "{ apiRequestStats(from: \"2020-01-01T00:00:00Z\") { nodes: endpoints { requests } } }",
                                                                      "YY -- YY -- YY -- FF FF"),
    ("errorStats", "{ errorStats(from: \"2020-01-01T00:00:00Z\", filter: { siteIds: [\"SITE\"] }) {
        nodes: byCategory { count } } }",                             "YY Y- YY Y- YY Y- FF FF"),
    ("jobStats", "{ jobStats(from: \"2020-01-01T00:00:00Z\", filter: { siteIds: [\"SITE\"] }) {
        nodes: types { outcomes } } }",                               "YY Y- YY Y- YY Y- FF FF"),
    ("activityStats", "{ activityStats(from: \"2020-01-01T00:00:00Z\") { nodes: byType { count } } }",
                                                                      "YY -- YY -- YY -- FF FF"),
    ("alert", "{ alert(alertId: \"none\") { alertId } }",             "-- -- -- -- -- -- FF FF"),
    ("alerts", "{ alerts(filter: { deviceId: \"DEVICE\" }) { nodes { alertId } totalCount } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("alertRules", "{ alertRules { ruleId } }",                       "YY YY YY YY YY YY FF FF"),
    ("deviceHealth", "{ deviceHealth(deviceId: \"DEVICE\") { status } }", "YY Y- YY Y- YY Y- FF FF"),
    ("healthForecast", "{ healthForecast(deviceId: \"DEVICE\", days: 1) { status } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("failureRisk", "{ failureRisk(deviceId: \"DEVICE\") { status } }", "YY Y- YY Y- YY Y- FF FF"),
    ("devicesAtRisk", "{ devicesAtRisk(filter: { siteId: \"SITE\" }) { nodes { value } totalCount } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    // nothing is unusual in the hour in which all began
    ("anomalies", "{ anomalies(filter: { siteId: \"SITE\" }) { nodes { value } totalCount } }",
                                                                      "-- -- -- -- -- -- FF FF"),
    ("configurationImpact", "{ configurationImpact(deviceId: \"DEVICE\") { verdict } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("reliability", "{ reliability(deviceId: \"DEVICE\") { status } }", "YY Y- YY Y- YY Y- FF FF"),
    ("dataQuality", "{ dataQuality(deviceId: \"DEVICE\") { status } }", "YY Y- YY Y- YY Y- FF FF"),
    ("trend", "{ trend(deviceId: \"DEVICE\", measure: CPU_PERCENT) { status } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("acknowledgeAlert", "mutation { acknowledgeAlert(input: { alertId: \"none\" }) {
        alert { state } userErrors { code } } }",                     "FF FF -- -- -- FF FF FF"),
    ("resolveAlert", "mutation { resolveAlert(input: { alertId: \"none\" }) {
        alert { state } userErrors { code } } }",                     "FF FF -- -- -- FF FF FF"),
    ("silenceAlert", "mutation { silenceAlert(input: { alertId: \"none\", until: \"2026-11-23T13:00:00Z\" }) {
        alert { state } userErrors { code } } }",                     "FF FF -- -- -- FF FF FF"),
    ("createAlertRule", "mutation { createAlertRule(input: { name: \"r\", severity: INFO, siteIds: [\"SITE\"],
        watch: { jobFailure: {} } }) { rule { ruleId } userErrors { code } } }",
                                                                      "FF FF YY Y- YY FF FF FF"),
    ("updateAlertRule", "mutation { updateAlertRule(input: { ruleId: \"none\", name: \"r\" }) {
        rule { ruleId } userErrors { code } } }",                     "FF FF -- -- -- FF FF FF"),
    ("deleteAlertRule", "mutation { deleteAlertRule(input: { ruleId: \"none\" }) {
        rule { ruleId } userErrors { code } } }",                     "FF FF -- -- -- FF FF FF"),
    ("errorGroup", "{ errorGroup(id: \"none\") { id } }",             "-- -- -- -- -- -- FF FF"),
    ("errorGroups", "{ errorGroups(filter: { deviceId: \"DEVICE\" }) { nodes { id } totalCount } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("resolveErrorGroup", "mutation { resolveErrorGroup(input: { id: \"none\" }) {
        errorGroup { status } userErrors { code } } }",               "FF FF -- -- -- FF FF FF"),
    ("ignoreErrorGroup", "mutation { ignoreErrorGroup(input: { id: \"none\" }) {
        errorGroup { status } userErrors { code } } }",               "FF FF -- -- -- FF FF FF"),
    ("reopenErrorGroup", "mutation { reopenErrorGroup(input: { id: \"none\" }) {
        errorGroup { status } userErrors { code } } }",               "FF FF -- -- -- FF FF FF"),
    ("mergeErrorGroups", "mutation { mergeErrorGroups(input: { id: \"none\", mergedIds: [\"none\"] }) {
        errorGroup { status } userErrors { code } } }",               "FF FF -- -- -- FF FF FF"),
    ("webhooks", "{ webhooks { webhookId } }",                        "FF FF FF FF YY FF FF FF"),
    ("webhookDeliveries", "{ webhookDeliveries { deliveryId } }",     "FF FF FF FF YY FF FF FF"),
    ("createWebhook", "mutation { createWebhook(input: { url: \"https://alerts.example/\",
        secret: \"0123456789abcdef\" }) { webhook { webhookId } userErrors { code } } }",
                                                                      "FF FF FF FF YY FF FF FF"),
    ("updateWebhook", "mutation { updateWebhook(input: { webhookId: \"none\" }) {
        webhook { webhookId } userErrors { code } } }",               "FF FF FF FF -- FF FF FF"),
    ("deleteWebhook", "mutation { deleteWebhook(input: { webhookId: \"none\" }) {
        webhook { webhookId } userErrors { code } } }",               "FF FF FF FF -- FF FF FF"),
    ("retentionPolicies", "{ retentionPolicies { kind } }",           "FF FF FF FF YY FF FF FF"),
    ("setRetentionPolicy", "mutation { setRetentionPolicy(input: { kind: errorLog, archiveAfterDays: 800 }) {
        policy { kind } userErrors { code } } }",                     "FF FF FF FF YY FF FF FF"),
    ("runRetention", "mutation { runRetention(dryRun: true) {
        kinds { kind } userErrors { code } } }",                      "FF FF FF FF YY FF FF FF"),
    ("erasePerson", "mutation { erasePerson(userId: \"nobody-9\") {
        events userErrors { code } } }",                              "FF FF FF FF YY FF FF FF"),
    ("erasure", "{ erasure(erasureId: \"none\") { state } }",          "FF FF FF FF -- FF FF FF"),
    ("erasures", "{ erasures { state } }",                            "FF FF FF FF YY FF FF FF"),
    ("export", "{ export(exportId: \"none\") { exportId } }",         "-- -- -- -- -- -- FF FF"),
    ("createExport", "mutation { createExport(input: { format: JSON_LINES, sources: [{ siteRegistrations: {} }] }) {
        export { exportId } userErrors { code } } }",                 "YY YY YY YY YY YY FF FF"),
    ("exports", "{ exports { nodes { exportId } totalCount } }",      "YY YY YY YY YY YY FF FF"),
    ("cancelExport", "mutation { cancelExport(input: { exportId: \"none\" }) {
        export { exportId } userErrors { code } } }",                 "-- -- -- -- -- -- FF FF"),
    ("deleteExport", "mutation { deleteExport(input: { exportId: \"none\" }) {
        export { exportId } userErrors { code } } }",                 "-- -- -- -- -- -- FF FF"),
    ("emailRecipients", "{ emailRecipients { recipientId } }",        "FF FF FF FF YY FF FF FF"),
    ("createEmailRecipient", "mutation { createEmailRecipient(input: { emailAddress: \"desk@shop.example\" }) {
        recipient { recipientId } userErrors { code } } }",           "FF FF FF FF YY FF FF FF"),
    ("updateEmailRecipient", "mutation { updateEmailRecipient(input: { recipientId: \"none\" }) {
        recipient { recipientId } userErrors { code } } }",           "FF FF FF FF -- FF FF FF"),
    ("deleteEmailRecipient", "mutation { deleteEmailRecipient(input: { recipientId: \"none\" }) {
        recipient { recipientId } userErrors { code } } }",           "FF FF FF FF -- FF FF FF"),
    ("redeliverWebhook", "mutation { redeliverWebhook(input: { deliveryId: \"none\" }) {
        delivery { deliveryId } userErrors { code } } }",             "FF FF FF FF -- FF FF FF"),
    ("siteStatus", "{ siteStatus(siteId: \"SITE\") { state } }",      "YY Y- YY Y- YY Y- FF FF"),
    ("operatingHours", "{ operatingHours(siteId: \"SITE\", from: \"2026-11-23T00:00:00Z\",
        to: \"2026-11-30T00:00:00Z\") { start } }",                   "YY Y- YY Y- YY Y- FF FF"),
    ("systemConfiguration", "{ systemConfiguration { value } }",      "YY FF YY FF YY FF FF FF"),
    ("collectionStatus", "{ collectionStatus { asOf } }",             "YY FF YY FF YY FF FF FF"),
    ("storeHealth", "{ storeHealth { head } }",                       "YY FF YY FF YY FF FF FF"),
    ("modelReport", "{ modelReport { status } }",                     "YY FF YY FF YY FF FF FF"),
    ("accessKeys", "{ accessKeys { nodes { id } } }",                 "FF FF FF FF YY FF FF FF"),
    ("enrolmentTokens", "{ enrolmentTokens(siteId: \"SITE\") { id } }", "FF FF YY Y- YY FF FF FF"),
    ("createEnrolmentToken", "mutation { createEnrolmentToken(input: { siteId: \"SITE\", uses: 1 }) {
        secret userErrors { code } } }",                              "FF FF YY Y- YY FF FF FF"),
    ("revokeEnrolmentToken", "mutation { revokeEnrolmentToken(input: { id: \"none\" }) {
        enrolmentToken { id } userErrors { code } } }",               "FF FF -- -- -- FF FF FF"),
    // whoever asks, it is the token that counts
    ("enrolDevice", "mutation { enrolDevice(input: { token: \"none\" }) { secret } }",
                                                                      "-- -- -- -- -- -- -- --"),
    ("rotateOwnKey", "mutation { rotateOwnKey(input: {}) { secret userErrors { code } } }",
                                                                      "FF FF FF FF FF YY FF FF"),
    ("rotateAccessKey", "mutation { rotateAccessKey(input: { id: \"none\" }) {
        secret userErrors { code } } }",                              "FF FF FF FF -- FF FF FF"),
    ("recordEvents", "mutation { recordEvents(input: { events: [{ errorLog: { category: DEVICE,
        severity: ERROR, errorMessage: \"e\", deviceId: \"DEVICE\" } }] }) { outcomes { status } } }",
                                                                      "FF FF FF FF YY Y- YY Y-"),
    ("createJob", "mutation { createJob(input: { jobType: RESTART, deviceIds: [\"DEVICE\"] }) {
        job { jobId } userErrors { code } } }",                       "FF FF YY Y- YY FF FF FF"),
    ("cancelJob", "mutation { cancelJob(input: { jobId: \"JOB\" }) {
        job { state } userErrors { code } } }",                       "FF FF YY Y- YY FF FF FF"),
    ("pauseJob", "mutation { pauseJob(input: { jobId: \"JOB\" }) {
        job { state } userErrors { code } } }",                       "FF FF YY Y- YY FF FF FF"),
    ("resumeJob", "mutation { resumeJob(input: { jobId: \"JOB\" }) {
        job { state } userErrors { code } } }",                       "FF FF YY Y- YY FF FF FF"),
    ("retryJob", "mutation { retryJob(input: { jobId: \"JOB\" }) {
        job { state } userErrors { code } } }",                       "FF FF YY Y- YY FF FF FF"),
    ("acknowledgeCommand", "mutation { acknowledgeCommand(input: { commandId: \"none\" }) {
        commandId userErrors { code } } }",                           "FF FF FF FF -- -- FF FF"),
    ("completeCommand", "mutation { completeCommand(input: { commandId: \"none\", status: COMPLETED }) {
        commandId userErrors { code } } }",                           "FF FF FF FF -- -- FF FF"),
    ("setConfiguration", "mutation { setConfiguration(input: { entityType: DEVICE, entityId: \"DEVICE\",
        changes: [{ parameterName: \"collectionIntervalSeconds\", value: 5 }] }) { version userErrors { code } } }",
                                                                      "FF FF YY Y- YY FF FF FF"),
    ("rollbackConfiguration", "mutation { rollbackConfiguration(input: { entityType: DEVICE, entityId: \"DEVICE\",
        toVersion: \"0\" }) { version userErrors { code } } }",      "FF FF YY Y- YY FF FF FF"),
    ("registerParameter", "mutation { registerParameter(input: { parameterName: \"UNIQUE\", schema: {} }) {
        parameter { version } userErrors { code } } }",               "FF FF FF FF YY FF FF FF"),
    ("configuration", "{ configuration(entityType: DEVICE, entityId: \"DEVICE\") { version } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("effectiveConfiguration", "{ effectiveConfiguration(deviceId: \"DEVICE\") { value } }",
                                                                      "YY Y- YY Y- YY Y- FF FF"),
    ("configurationParameters", "{ configurationParameters { version } }",
                                                                      "YY YY YY YY YY YY FF FF"),
    ("changeEvidence", "{ changeEvidence(commandId: \"none\") { before { readings } } }",
                                                                      "-- -- -- -- -- -- FF FF"),
    ("setSiteSchedule", "mutation { setSiteSchedule(input: { siteId: \"SITE\", dayOfWeek: SUNDAY,
        isClosed: true }) { schedule { position } userErrors { code } } }",
                                                                      "FF FF YY Y- YY FF FF FF"),
    ("setSiteSchedules", "mutation { setSiteSchedules(input: { rows: [{ siteId: \"SITE\", dayOfWeek: SUNDAY,
        isClosed: true }] }) { schedules { position } userErrors { code } } }",
                                                                      "FF FF YY Y- YY FF FF FF"),
    ("registerSite", "mutation { registerSite(input: { siteId: \"UNIQUE\", name: \"n\" }) {
        site { siteId } userErrors { code } } }",                     "FF FF YY -- YY FF FF FF"),
    ("updateSite", "mutation { updateSite(input: { siteId: \"SITE\", name: \"n\" }) {
        site { siteId } userErrors { code } } }",                     "FF FF YY Y- YY FF FF FF"),
    ("registerDevice", "mutation { registerDevice(input: { deviceId: \"UNIQUE\", siteId: \"SITE\",
        deviceType: GATEWAY }) { device { deviceId } userErrors { code } } }",
                                                                      "FF FF YY Y- YY FF FF FF"),
    ("updateDevice", "mutation { updateDevice(input: { deviceId: \"DEVICE\", name: \"n\" }) {
        device { deviceId } userErrors { code } } }",                 "FF FF YY Y- YY FF FF FF"),
    ("moveDevice", "mutation { moveDevice(input: { deviceId: \"DEVICE\", siteId: \"SITE\" }) {
        device { deviceId } userErrors { code } } }",                 "FF FF YY Y- YY FF FF FF"),
    ("retireDevice", "mutation { retireDevice(input: { deviceId: \"none\" }) {
        device { deviceId } userErrors { code } } }",                 "FF FF -- -- -- FF FF FF"),
    ("setDeviceState", "mutation { setDeviceState(input: { deviceId: \"DEVICE\", state: ERROR }) {
        change { position } userErrors { code } } }",                 "FF FF YY Y- YY FF FF FF"),
    ("createAccessKey", "mutation { createAccessKey(input: { name: \"k\", role: VIEWER,
        siteIds: [\"SITE\"] }) { secret userErrors { code } } }",     "FF FF FF FF YY FF FF FF"),
    ("revokeAccessKey", "mutation { revokeAccessKey(input: { id: \"none\" }) {
        accessKey { id } userErrors { code } } }",                    "FF FF FF FF -- FF FF FF"),
];

/// Rows of lists of kinds, by what their events name.
const OF_DEVICES: &str = "YY Y- YY Y- YY Y- FF FF";
const OF_SITES: &str = "YY Y- YY Y- YY -- FF FF";
const OF_NOTHING: &str = "YY -- YY -- YY -- FF FF";
const OF_ADMINISTRATORS: &str = "FF FF FF FF YY FF FF FF";
/// Rows of subscriptions: whether one may subscribe; what comes is told elsewhere.
const STREAMS: &str = "YY YY YY YY YY YY FF FF";
const COMMANDS: &str = "FF FF FF FF YY YY FF FF";

fn of_kind(spec: &Spec) -> &'static str {
    if spec.audience == Audience::Administrators {
        return OF_ADMINISTRATORS;
    }
    match (spec.device_index(), spec.site_index()) {
        (Some(_), _) => OF_DEVICES,
        (None, Some(_)) => OF_SITES,
        (None, None) => OF_NOTHING,
    }
}

/// One of the two sites that are asked for.
struct Place {
    site: &'static str,
    device: &'static str,
    event: String,
}

#[tokio::test]
async fn everybody_is_answered_what_the_matrix_says() {
    on_each_database(async |app| {
        let places = furnished(app).await;
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let mut rows: Vec<(String, String, &str)> = ROWS
            .iter()
            .map(|(field, document, cells)| (field.to_string(), document.to_string(), *cells))
            .collect();
        for spec in Kind::ALL.iter().map(|kind| kind.spec()) {
            let list = spec.list;
            let filter = match (spec.device_index(), spec.site_index()) {
                (Some(_), _) => "(filter: { deviceId: { eq: \"DEVICE\" } })",
                (None, Some(_)) => "(filter: { siteId: { eq: \"SITE\" } })",
                (None, None) => "",
            };
            let document = format!("{{ {list}{filter} {{ nodes {{ position }} totalCount }} }}");
            rows.push((list.to_owned(), document, of_kind(spec)));
        }
        let mut wrong = Vec::new();
        for (column, (role, sites)) in CALLERS.iter().enumerate() {
            let key = key(app, grant(*role, sites)).await;
            for (field, document, cells) in &rows {
                let cell = cells.split(' ').nth(column).unwrap();
                let mut found = String::new();
                for place in &places {
                    let document = filled(app, &admin, document, place).await;
                    let (_, answer) = ask(app, &key, json!({ "query": document })).await;
                    found.push(letter(&answer, field));
                }
                if found != cell {
                    wrong.push(format!("{role:?} {sites:?} {field}: {found}, not {cell}"));
                }
            }
        }
        assert_eq!(wrong, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn every_field_of_the_roots_has_a_row() {
    on_each_database(async |app| {
        let document =
            "{ __schema { queryType { fields { name } } mutationType { fields { name } } } }";
        let data = app.data(document).await;
        let names = |root: &str| {
            let fields = data["__schema"][root]["fields"].as_array().unwrap().iter();
            fields
                .map(|field| field["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let asked: BTreeSet<String> = [names("queryType"), names("mutationType")]
            .concat()
            .into_iter()
            .collect();
        let rows = ROWS.iter().map(|(field, ..)| *field);
        let lists = Kind::ALL.iter().map(|kind| kind.spec().list);
        let told: BTreeSet<String> = rows.chain(lists).map(str::to_owned).collect();
        assert_eq!(told, asked);
    })
    .await;
}

#[tokio::test]
async fn nobody_follows_what_they_may_not_read() {
    on_each_database(async |app| {
        furnished(app).await;
        app.close_to_strangers().await;
        let data = app_schema(app).await;
        let fields = data["__schema"]["subscriptionType"]["fields"]
            .as_array()
            .unwrap();
        let mut wrong = Vec::new();
        for (column, (role, sites)) in CALLERS.iter().enumerate() {
            let key = key(app, grant(*role, sites)).await;
            for field in fields.iter().map(|field| field["name"].as_str().unwrap()) {
                let kind = Kind::ALL.iter().find(|kind| kind.spec().stream == field);
                let administrators =
                    kind.is_some_and(|kind| kind.spec().audience == Audience::Administrators);
                let cells = match field {
                    _ if administrators => OF_ADMINISTRATORS,
                    "deviceCommands" => COMMANDS,
                    _ => STREAMS,
                };
                let cell = cells.split(' ').nth(column).unwrap();
                let job = match field {
                    "jobProgress" => "jobId: \"none\", ",
                    "seriesUpdates" => "measures: [READINGS], from: \"2026-01-01T00:00:00Z\", ",
                    _ => "",
                };
                // whoever may follow is told at once that this is no cursor
                let document =
                    format!("subscription {{ {field}({job}after: \"none\") {{ cursor }} }}");
                let post = app.client().post(app.address("/graphql")).bearer_auth(&key);
                let post = post.header("accept", "text/event-stream");
                let answer = post
                    .json(&json!({ "query": document }))
                    .send()
                    .await
                    .unwrap();
                let said = answer.text().await.unwrap();
                let is_forbidden = said.contains("FORBIDDEN");
                assert!(is_forbidden || said.contains("BAD_INPUT"), "{said}");
                if is_forbidden != cell.contains('F') {
                    wrong.push(format!("{role:?} {sites:?} {field}: {said:?}"));
                }
            }
        }
        assert_eq!(wrong, [""; 0]);
    })
    .await;
}

async fn app_schema(app: &TestApp) -> Value {
    let viewer = key(app, grant(Role::Viewer, &[])).await;
    super::data(
        app,
        &viewer,
        "{ __schema { subscriptionType { fields { name } } } }",
    )
    .await
}

/// Two sites with an event of every kind at each, and a parameter of the system.
async fn furnished(app: &TestApp) -> [Place; 2] {
    app.fleet().await;
    let mut places = Vec::new();
    for (site, device, ordinal) in [("harbour", "till-1", 1), ("market", "till-3", 2)] {
        for spec in Kind::ALL
            .iter()
            .map(|kind| kind.spec())
            .filter(|spec| spec.recordable)
        {
            let mut body = minimal(spec, ordinal);
            if spec.kind == Kind::ConfigurationChange {
                body.insert("entityId".to_owned(), json!(device));
            } else if let Some(index) = spec.device_index() {
                body.insert(spec.fields[index].name.to_owned(), json!(device));
            }
            let is_of_site = spec.device_index().is_none() || spec.kind == Kind::DeviceRegistration;
            if let Some(index) = spec.site_index().filter(|_| is_of_site) {
                body.insert(spec.fields[index].name.to_owned(), json!(site));
            }
            app.record(json!([{ spec.wire: body }])).await;
        }
        let data = app
            .data(&format!("{{ device(deviceId: \"{device}\") {{ errorLogs(first: 1) {{ nodes {{ id }} }} }} }}"))
            .await;
        let event = data["device"]["errorLogs"]["nodes"][0]["id"]
            .as_str()
            .unwrap();
        places.push(Place {
            site,
            device,
            event: event.to_owned(),
        });
        job(app, "", device).await;
        issued(app, ordinal).await;
        applied(app, device).await;
    }
    let done = |ty: &str| {
        json!({ "userActivity": { "activityType": ty, "sessionId": "s", "userId": "u", "pageUrl": "/",
            "searchQuery": "tea" } })
    };
    app.record(json!([done("PAGE_VIEW"), done("SEARCH_QUERY")]))
        .await;
    opened(app, &["till-1", "till-3"]).await;
    decided(app).await;
    app.data("mutation { setConfiguration(input: { entityType: SYSTEM, changes: [{ parameterName: \"collectionIntervalSeconds\", value: 1 }] }) { userErrors { code } } }")
        .await;
    places.try_into().ok().unwrap()
}

/// Makes a job for a device.
async fn job(app: &TestApp, admin: &str, device: &str) -> String {
    let document = format!(
        "mutation {{ createJob(input: {{ jobType: RESTART, deviceIds: [\"{device}\"] }}) {{ job {{ jobId }} }} }}"
    );
    let (_, answer) = ask(app, admin, json!({ "query": document })).await;
    let id = answer["data"]["createJob"]["job"]["jobId"].as_str();
    id.unwrap_or_else(|| panic!("{answer:#}")).to_owned()
}

async fn filled(app: &TestApp, admin: &str, document: &str, place: &Place) -> String {
    let mut document = document
        .replace("UNIQUE", &uuid::Uuid::now_v7().to_string())
        .replace("SITE", place.site)
        .replace("\"DEVICE\"", &format!("\"{}\"", place.device))
        .replace("EVENT", &place.event);
    if document.contains("JOB") {
        document = document.replace("JOB", &job(app, admin, place.device).await);
    }
    document
}

/// What an answer comes to.
fn letter(answer: &Value, field: &str) -> char {
    if answer["errors"][0]["extensions"]["code"] == "FORBIDDEN" {
        return 'F';
    }
    let value = &answer["data"][field];
    let is_empty = |list: &Value| list.as_array().is_some_and(Vec::is_empty);
    let is_none = value.is_null()
        || is_empty(&value["nodes"])
        || value["outcomes"][0]["status"] == "REJECTED"
        || value["userErrors"][0]["code"] == "NOT_FOUND";
    // what is not listed is not counted
    let counted = value["totalCount"].as_str();
    assert!(
        counted.is_none_or(|count| (count == "0") == is_none),
        "{field}: {answer:#}"
    );
    if is_none { '-' } else { 'Y' }
}
