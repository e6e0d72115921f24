//! How long events are kept: the policies, runs, and what a client sees of what was archived, deleted or
//! erased.

use homepot_analytics::event::Position;
use homepot_analytics::jobs::{self, NewJob, Plan};
use homepot_analytics::kinds::Kind;
use homepot_analytics::retention;
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::{TestApp, on_each_database};
use super::series::expected;

const POLICIES: &str = "{ retentionPolicies { kind archiveAfterDays deleteAfterDays \
    defaultArchiveAfterDays changedAt changedBy segments archivedEvents archivedFrom archivedTo deletedEvents } }";
const SET: &str = "mutation($input: SetRetentionPolicyInput!) { setRetentionPolicy(input: $input) {
    policy { kind archiveAfterDays deleteAfterDays changedAt } userErrors { field code } } }";
const RUN: &str = "mutation($dryRun: Boolean!) { runRetention(dryRun: $dryRun) {
    isComplete kinds { kind archivedEvents deletedEvents } userErrors { code message } } }";

/// Metrics and activity of an instant.
fn events(when: &str, user: &str) -> Value {
    json!([
        { "deviceMetrics": { "deviceId": "till-1", "cpuPercent": 10, "transactionCount": 5,
            "occurredAt": when } },
        { "userActivity": { "userId": user, "sessionId": "s", "activityType": "PAGE_VIEW",
            "pageUrl": "/", "occurredAt": when } },
        { "userActivity": { "userId": user, "sessionId": "s", "activityType": "SEARCH_QUERY",
            "searchQuery": format!("{user}'s"), "occurredAt": when } },
    ])
}

pub(super) async fn set(app: &TestApp, input: Value) -> Value {
    let mut data = app.data_with(SET, json!({ "input": input })).await;
    data["setRetentionPolicy"].take()
}

pub(super) async fn run(app: &TestApp, dry_run: bool) -> Value {
    let mut data = app.data_with(RUN, json!({ "dryRun": dry_run })).await;
    data["runRetention"].take()
}

/// What a run did with a kind.
pub(super) fn of<'a>(run: &'a Value, kind: &str) -> &'a Value {
    let mut kinds = run["kinds"].as_array().unwrap().iter();
    kinds.find(|of| of["kind"] == kind).unwrap()
}

#[tokio::test]
async fn policies_are_those_of_the_kinds_until_they_are_set() {
    on_each_database(async |app| {
        let data = app.data(POLICIES).await;
        let policies = data["retentionPolicies"].as_array().unwrap();
        let archived = Kind::all().filter(|kind| kind.spec().keeping.archives());
        assert_eq!(policies.len(), archived.count());
        for policy in policies {
            assert_eq!(policy["archiveAfterDays"], policy["defaultArchiveAfterDays"]);
            assert_eq!(policy["deleteAfterDays"], Value::Null);
            assert_eq!(policy["changedAt"], Value::Null);
        }
        let input = json!({ "kind": "deviceMetrics", "archiveAfterDays": 7, "deleteAfterDays": 700 });
        let done = set(app, input).await;
        assert_eq!(done["userErrors"], json!([]));
        assert_eq!(done["policy"]["archiveAfterDays"], 7);
        assert_eq!(done["policy"]["changedAt"], super::app::NOON);
        for (input, field) in [
            (json!({ "kind": "siteRegistration", "archiveAfterDays": 7 }), "kind"),
            (json!({ "kind": "errorLog", "archiveAfterDays": 0 }), "archiveAfterDays"),
            (json!({ "kind": "errorLog", "archiveAfterDays": -1 }), "archiveAfterDays"),
            (json!({ "kind": "errorLog", "deleteAfterDays": 0 }), "deleteAfterDays"),
            (json!({ "kind": "deviceMetrics", "archiveAfterDays": 701 }), "archiveAfterDays"),
            (json!({ "kind": "errorLog", "archiveAfterDays": 9, "deleteAfterDays": 8 }), "deleteAfterDays"),
        ] {
            let refused = set(app, input).await;
            let errors = json!([{ "field": field, "code": "INVALID" }]);
            assert_eq!(refused, json!({ "policy": null, "userErrors": errors }));
        }
        let entries = "{ auditLog(filter: { operation: { eq: \"setRetentionPolicy\" } }, order: FIRST_RECORDED_FIRST) {
            nodes { outcome target } } }";
        let told = app.data(entries).await;
        let told = told["auditLog"]["nodes"].as_array().unwrap();
        assert_eq!(told[0], json!({ "outcome": "DONE", "target": "deviceMetrics" }));
        assert_eq!(told.len(), 7);
    })
    .await;
}

#[tokio::test]
async fn what_is_left_out_of_a_policy_stays_and_null_is_never() {
    on_each_database(async |app| {
        for (mut input, then) in [
            (json!({ "deleteAfterDays": 800 }), json!([90, 800])),
            (json!({ "archiveAfterDays": 60 }), json!([60, 800])),
            (json!({ "archiveAfterDays": null }), json!([null, 800])),
            (json!({}), json!([null, 800])),
            (
                json!({ "archiveAfterDays": 60, "deleteAfterDays": null }),
                json!([60, null]),
            ),
        ] {
            input["kind"] = json!("deviceMetrics");
            let done = set(app, input).await;
            assert_eq!(done["userErrors"], json!([]));
            let policy = &done["policy"];
            assert_eq!(
                json!([policy["archiveAfterDays"], policy["deleteAfterDays"]]),
                then
            );
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_archived_is_answered_as_before() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(events("2025-01-05T10:00:00Z", "ann")).await;
        app.record(events("2025-01-05T11:00:00Z", "bob")).await;
        app.record(events("2026-11-23T11:00:00Z", "ann")).await;
        app.record(json!([{ "deviceMetrics": { "deviceId": "till-2", "cpuPercent": 30,
            "occurredAt": "2025-01-05T10:30:00Z" } }])).await;
        app.settle().await;
        let queries = [
            "{ devices { nodes { deviceId latestMetrics { position cpuPercent } } } }",
            "{ deviceMetrics { totalCount nodes { position occurredAt cpuPercent device { deviceId } } } }",
            "{ device(deviceId: \"till-1\") { deviceMetrics(first: 5) { totalCount nodes { position } } } }",
            "{ userActivity(filter: { userId: { eq: \"ann\" } }) { totalCount nodes { position searchQuery } } }",
            "{ events(filter: { siteId: { eq: \"harbour\" } }) { totalCount nodes { position kind } } }",
            "{ topPages(from: \"2025-01-01T00:00:00Z\", to: \"2025-02-01T00:00:00Z\") { nodes { pageUrl views users } } }",
            "{ topSearches(from: \"2025-01-01T00:00:00Z\", to: \"2025-02-01T00:00:00Z\") { nodes { query searches } } }",
            "{ series(measures: [CPU_PERCENT, TRANSACTION_COUNT], from: \"2025-01-05T10:30:00Z\", \
                to: \"2025-01-05T11:07:00Z\", groupBy: [DEVICE], fill: NONE, \
                buckets: { resolution: MINUTE, timeZone: \"UTC\" }) { \
                groups { key { value } measure buckets { start count max increase } } } }",
            "{ activityByUser(from: \"2025-01-01T00:00:00Z\", to: \"2025-02-01T00:00:00Z\") { nodes { userId events } } }",
        ];
        let mut before = Vec::new();
        for query in queries {
            before.push(app.data(query).await);
        }
        app.settle().await;
        let planned = run(app, true).await;
        assert_eq!(of(&planned, "deviceMetrics")["archivedEvents"], "3");
        assert_eq!(planned["isComplete"], false);
        let done = run(app, false).await;
        assert_eq!(done["userErrors"], json!([]));
        assert_eq!(of(&done, "deviceMetrics")["archivedEvents"], "3");
        assert_eq!(of(&done, "userActivity")["archivedEvents"], "4");
        assert_eq!(done["isComplete"], true);
        assert_eq!(run(app, true).await["isComplete"], true);
        for (query, before) in queries.iter().zip(before) {
            assert_eq!(app.data(query).await, before, "{query}");
        }
        let data = app.data(POLICIES).await;
        let policies = data["retentionPolicies"].as_array().unwrap();
        let metrics = policies.iter().find(|p| p["kind"] == "deviceMetrics").unwrap();
        assert_eq!(metrics["segments"], 1);
        assert_eq!(metrics["archivedFrom"], "2025-01-05T10:00:00Z");
        assert_eq!(metrics["archivedTo"], "2025-01-05T11:00:00Z");
    })
    .await;
}

/// How often a device reported that has been silent for long is known after what told it was archived, also if
/// readings came after that which told none.
#[tokio::test]
async fn how_much_was_expected_is_told_as_before() {
    on_each_database(async |app| {
        app.fleet().await;
        let registered = |device: &str| {
            json!({ "deviceRegistration": { "deviceId": device, "siteId": "harbour",
                "deviceType": "GATEWAY", "occurredAt": "2025-01-01T00:00:00Z" } })
        };
        let reading = |device: &str, at: &str, seconds: Value| {
            json!({ "deviceMetrics": { "deviceId": device, "cpuPercent": 10, "occurredAt": at,
                "collectionIntervalSeconds": seconds } })
        };
        app.record(json!([
            registered("silent"),
            registered("late"),
            registered("mute"),
            registered("other"),
            reading("silent", "2025-01-05T10:00:00Z", json!(600)),
            reading("late", "2025-01-05T10:00:00Z", json!(600)),
            reading("mute", "2025-01-05T10:00:00Z", json!(600)),
            reading("mute", "2025-01-05T10:10:00Z", Value::Null),
            reading("other", "2025-01-05T10:00:00Z", json!(600)),
            reading("other", "2026-11-23T10:00:00Z", json!(60)),
        ]))
        .await;
        let told = [
            json!(["late", 6.0]),
            json!(["mute", 6.0]),
            json!(["other", 60.0]),
            json!(["silent", 6.0]),
        ];
        assert_eq!(expected(app, "2025-01-05").await, told);
        app.settle().await;
        assert_eq!(expected(app, "2025-01-05").await, told);
        let archived = run(app, false).await;
        assert_eq!(of(&archived, "deviceMetrics")["archivedEvents"], "5");
        assert_eq!(expected(app, "2025-01-05").await, told);
        // it is older than what was archived
        app.record(json!([reading("late", "2025-01-05T09:00:00Z", json!(60))]))
            .await;
        assert_eq!(expected(app, "2025-01-05").await, told);
    })
    .await;
}

/// A counter that comes late has its day read again, of which all else is archived by then.
#[tokio::test]
async fn a_late_event_is_summed_up_with_the_archived_ones_of_its_day() {
    on_each_database(async |app| {
        app.fleet().await;
        let reading = |hour: i64, count: i64| {
            json!([{ "deviceMetrics": { "deviceId": "till-1", "transactionCount": count,
                "occurredAt": format!("2025-01-05T{hour:02}:00:00Z") } }])
        };
        app.record(reading(10, 10)).await;
        app.record(reading(14, 50)).await;
        app.settle().await;
        assert_eq!(
            of(&run(app, false).await, "deviceMetrics")["archivedEvents"],
            "2"
        );
        app.record(reading(12, 30)).await;
        let store = app.app().ingest.store();
        let all = homepot_analytics::projections::all();
        let verified = store.verify(&all, &|_| {}).await.unwrap();
        assert_eq!(verified.findings, []);
    })
    .await;
}

#[tokio::test]
async fn a_cursor_from_before_what_was_deleted_is_expired() {
    on_each_database(async |app| {
        app.fleet().await;
        let before = app.head().await;
        app.record(events("2026-11-23T11:00:00Z", "ann")).await;
        let after = app.head().await;
        app.record(events("2025-01-05T10:00:00Z", "ann")).await;
        app.settle().await;
        set(
            app,
            json!({ "kind": "deviceMetrics", "deleteAfterDays": 100 }),
        )
        .await;
        let done = run(app, false).await;
        assert_eq!(of(&done, "deviceMetrics")["deletedEvents"], "1");
        // it came late, and was too old from the beginning
        let store = app.app().ingest.store();
        let metrics = Some(&[Kind::DeviceMetrics][..]);
        let lost = store.is_lost_after(Position::START, metrics).await;
        assert!(!lost.unwrap());
        app.clock.advance_ms(101 * 24 * 3_600_000);
        let done = run(app, false).await;
        assert_eq!(of(&done, "deviceMetrics")["deletedEvents"], "1");
        let mut socket = app.socket().await;
        let metrics = "subscription($after: String) { deviceMetrics(after: $after) { position } }";
        let id = socket.subscribe(metrics, json!({ "after": before })).await;
        let told = socket.next(&id).await.unwrap();
        assert_eq!(
            told["errors"][0]["extensions"]["code"], "CURSOR_EXPIRED",
            "{told}"
        );
        // of other kinds nothing was deleted, and after it nothing is missing
        let activity =
            "subscription($after: String) { userActivity(after: $after) { activityType } }";
        let id = socket.subscribe(activity, json!({ "after": before })).await;
        assert_eq!(
            socket.data(&id).await["userActivity"]["activityType"],
            "PAGE_VIEW"
        );
        let id = socket.subscribe(metrics, json!({ "after": after })).await;
        app.record(events("2027-03-03T11:00:00Z", "ann")).await;
        assert!(socket.data(&id).await["deviceMetrics"]["position"].is_string());
    })
    .await;
}

#[tokio::test]
async fn nobody_says_but_the_server_that_something_was_erased() {
    on_each_database(async |app| {
        let record = "mutation($input: RecordEventsInput!) { recordEvents(input: $input) {
            outcomes { status code field } } }";
        let marked = json!([
            { "userActivity": { "activityType": "PAGE_VIEW", "extra": { "erased": true } } },
            { "userActivity": { "activityType": "PAGE_VIEW", "extra": { "erased": false } } },
        ]);
        let input = json!({ "input": { "events": marked } });
        let data = app.data_with(record, input).await;
        let outcomes = &data["recordEvents"]["outcomes"];
        let refused = json!({ "status": "REJECTED", "code": "NOT_ALLOWED", "field": "extra" });
        assert_eq!(outcomes[0], refused, "{data}");
        assert_eq!(outcomes[1]["status"], "RECORDED", "{data}");
        // what the log has of that form is a duplicate when it is sent again
        let body = json!({ "userActivity": { "eventId": "0198c0de-0000-7000-8000-000000000001",
            "activityType": "PAGE_VIEW", "occurredAt": super::app::NOON, "extra": { "erased": true } } });
        let kept = crate::support::request(vec![crate::support::event(&body)]);
        app.app().ingest.store().append(kept).await.unwrap();
        let input = json!({ "input": { "events": [body] } });
        let data = app.data_with(record, input).await;
        let outcome = &data["recordEvents"]["outcomes"][0];
        assert_eq!(outcome["status"], "DUPLICATE", "{data}");
    })
    .await;
}

#[tokio::test]
async fn a_person_is_erased_and_the_audit_does_not_say_who() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(events("2025-01-05T10:00:00Z", "ann@shop.example"))
            .await;
        app.record(events("2026-11-23T11:00:00Z", "ann@shop.example"))
            .await;
        app.settle().await;
        run(app, false).await;
        let erase = "mutation($id: ID!) { erasePerson(userId: $id) {
            erasure { erasureId } userErrors { field code } } }";
        let asked = app
            .data_with(erase, json!({ "id": "ann@shop.example" }))
            .await;
        assert_eq!(asked["erasePerson"]["userErrors"], json!([]));
        // it is carried out behind the answer
        retention::erase_waiting(app.app().ingest.store())
            .await
            .unwrap();
        let id = &asked["erasePerson"]["erasure"]["erasureId"];
        let query = "query($id: ID!) { erasure(erasureId: $id) { state events segments failure } }";
        let done = app.data_with(query, json!({ "id": id })).await;
        let expected = json!({ "state": "DONE", "events": "4", "segments": 1, "failure": null });
        assert_eq!(done["erasure"], expected);
        let all = app
            .data("{ erasures(first: 5) { erasureId askedBy } }")
            .await;
        assert_eq!(all["erasures"][0]["erasureId"], *id);
        assert!(!all.to_string().contains("ann@shop.example"));
        let data = app
            .data("{ userActivity { nodes { userId sessionId searchQuery pageUrl extra } } }")
            .await;
        for node in data["userActivity"]["nodes"].as_array().unwrap() {
            assert_eq!(node["userId"], Value::Null);
            assert_eq!(node["sessionId"], Value::Null);
            assert_eq!(node["searchQuery"], Value::Null);
            assert_eq!(node["extra"], json!({ "erased": true }));
        }
        let entries = app
            .data("{ auditLog(first: 100) { nodes { operation target reason } } }")
            .await;
        let text = entries.to_string();
        assert!(text.contains("erasePerson") && !text.contains("ann@shop.example"));
        let refused = app.data_with(erase, json!({ "id": "" })).await;
        assert_eq!(
            refused["erasePerson"]["userErrors"],
            json!([{ "field": "userId", "code": "INVALID" }])
        );
    })
    .await;
}

/// A job for two devices that somebody has made.
async fn of_ann(app: &TestApp) -> String {
    let job_id = Uuid::now_v7();
    let job = NewJob {
        job_id,
        job_type: "RESTART".to_owned(),
        payload: None,
        plan: Plan::default(),
        targets: ["till-1", "till-2"].map(str::to_owned).to_vec(),
        created_by: "ann".to_owned(),
        parent_job_id: None,
    };
    jobs::create(&app.app().ingest, job).await.unwrap();
    job_id.to_string()
}

/// Who carries it out has read who made it long before.
#[tokio::test]
async fn who_made_a_job_that_goes_on_is_named_no_more() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        let job = of_ann(app).await;
        let mut socket = app.socket().await;
        let steps = "subscription($after: String) { commandTransitions(after: $after) { state } }";
        let id = socket.subscribe(steps, json!({ "after": head })).await;
        let step = socket.data(&id).await;
        assert_eq!(step["commandTransitions"]["state"], "ISSUED");
        let store = app.app().ingest.store();
        retention::erase_person(store, "ann", "test").await.unwrap();
        retention::erase_waiting(store).await.unwrap();
        let ended = ["till-1", "till-2"].map(|device| {
            json!({ "jobOutcome": { "jobId": job, "jobType": "RESTART", "deviceId": device,
                "status": "COMPLETED" } })
        });
        app.outcomes(json!(ended)).await;
        super::jobs::progress(app, &job).await;
        let data = app
            .data(
                "{ jobs { nodes { state createdBy } } \
                jobOutcomes(filter: { scope: { eq: JOB } }) { nodes { status initiatedBy } } }",
            )
            .await;
        let of_job = json!([{ "state": "COMPLETED", "createdBy": "erased" }]);
        assert_eq!(data["jobs"]["nodes"], of_job);
        let of_outcome = json!([{ "status": "COMPLETED", "initiatedBy": "erased" }]);
        assert_eq!(data["jobOutcomes"]["nodes"], of_outcome);
        app.settle().await;
        let all = homepot_analytics::projections::all();
        let verified = store.verify(&all, &|_| {}).await.unwrap();
        assert_eq!(verified.findings, []);
    })
    .await;
}
