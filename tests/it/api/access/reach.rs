//! Whoever is bound to sites or to a device sees and touches nothing else: in what is nested, counted,
//! followed, named by an id, and in what errors say.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::super::alerts::rule;
use super::super::app::{TestApp, at, on_each_database};
use super::super::socket::Socket;
use super::{ask, data, grant, key, recorded};

fn metrics(device: &str, minutes: i64) -> Value {
    json!({ "deviceMetrics": { "deviceId": device, "cpuPercent": 5, "occurredAt": at(minutes) } })
}

fn registration(device: &str, site: &str) -> Value {
    json!({ "deviceRegistration": { "deviceId": device, "siteId": site, "deviceType": "GATEWAY" } })
}

async fn bound(app: &mut TestApp, role: Role) -> String {
    app.fleet().await;
    app.close_to_strangers().await;
    let sites: &[&str] = if role == Role::Device {
        &[]
    } else {
        &["harbour"]
    };
    key(app, grant(role, sites)).await
}

#[tokio::test]
async fn a_job_for_several_sites_is_shown_with_the_devices_within_reach() {
    on_each_database(async |app| {
        app.fleet().await;
        let made = app
            .data("mutation { createJob(input: { jobType: RESTART, siteIds: [\"harbour\", \"market\"] }) { job { jobId } } }")
            .await;
        let id = made["createJob"]["job"]["jobId"].as_str().unwrap().to_owned();
        let viewer = bound(app, Role::Operator).await;
        let document = format!("{{ job(jobId: \"{id}\") {{ devicesTargeted devicesPending targets {{ device {{ deviceId }} }} }}
            jobs {{ nodes {{ devicesTargeted }} totalCount }} }}");
        let seen = data(app, &viewer, &document).await;
        let targets = json!([{ "device": { "deviceId": "till-1" } }, { "device": { "deviceId": "till-2" } }]);
        assert_eq!(seen["job"], json!({ "devicesTargeted": 2, "devicesPending": 2, "targets": targets }));
        assert_eq!(seen["jobs"], json!({ "nodes": [{ "devicesTargeted": 2 }], "totalCount": "1" }));
        // it is for others too, so it is not theirs to stop
        let cancel = format!("mutation {{ cancelJob(input: {{ jobId: \"{id}\" }}) {{ userErrors {{ code }} job {{ state }} }} }}");
        let refused = data(app, &viewer, &cancel).await;
        assert_eq!(refused["cancelJob"]["userErrors"], json!([{ "code": "WRONG_STATE" }]));
        assert_ne!(refused["cancelJob"]["job"]["state"], "CANCELLED");
    })
    .await;
}

#[tokio::test]
async fn what_is_nested_ends_at_the_reach_of_the_caller() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([
            metrics("till-1", -1), metrics("till-2", -1), metrics("till-3", -1),
            { "jobOutcome": { "jobId": "j", "jobType": "RESTART", "status": "FAILED", "deviceId": "till-1", "siteId": "market" } },
        ]))
        .await;
        let device = bound(app, Role::Device).await;
        let seen = data(app, &device, "{ device(deviceId: \"till-1\") { deviceMetrics { totalCount }
            site { siteId devices { nodes { deviceId } totalCount } deviceMetrics { totalCount nodes { device { deviceId } } } } } }").await;
        assert_eq!(seen["device"], json!({ "deviceMetrics": { "totalCount": "1" }, "site": {
            "siteId": "harbour", "devices": { "nodes": [{ "deviceId": "till-1" }], "totalCount": "1" },
            "deviceMetrics": { "totalCount": "1", "nodes": [{ "device": { "deviceId": "till-1" } }] } } }));
        let viewer = key(app, grant(Role::Viewer, &["market"])).await;
        // the outcome says that it happened at the market; its device stands elsewhere
        let seen = data(app, &viewer, "{ jobOutcomes { nodes { jobId siteId device { deviceId } } } }").await;
        assert_eq!(seen["jobOutcomes"]["nodes"], json!([{ "jobId": "j", "siteId": "market", "device": null }]));
    })
    .await;
}

#[tokio::test]
async fn whoever_follows_hears_of_what_is_within_reach_alone() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        let viewer = bound(app, Role::Viewer).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let device = key(app, grant(Role::Device, &[])).await;
        let document = "subscription($after: String) { errorLogs(after: $after) { errorMessage } }";
        let mut sockets = Vec::new();
        for holder in [&viewer, &device] {
            let mut socket = Socket::open_as(app.app().address, holder).await;
            let id = socket.subscribe(document, json!({ "after": head })).await;
            sockets.push((socket, id));
        }
        let error = |device: Value, message: &str| {
            json!({ "errorLog": { "category": "DEVICE",
            "severity": "ERROR", "errorMessage": message, "deviceId": device } })
        };
        let events = json!([
            error(json!(null), "of nobody"),
            error(json!("till-3"), "elsewhere"),
            error(json!("till-2"), "beside"),
            error(json!("till-1"), "own"),
        ]);
        recorded(app, &admin, events).await;
        let (socket, id) = &mut sockets[0];
        for expected in ["beside", "own"] {
            assert_eq!(socket.data(id).await["errorLogs"]["errorMessage"], expected);
        }
        let (socket, id) = &mut sockets[1];
        assert_eq!(socket.data(id).await["errorLogs"]["errorMessage"], "own");
    })
    .await;
}

#[tokio::test]
async fn whoever_follows_alerts_hears_of_those_within_reach_alone() {
    on_each_database(async |app| {
        app.fleet().await;
        rule(app, "{ state: { states: [ERROR] } }").await;
        let head = app.head().await;
        app.close_to_strangers().await;
        let viewer = key(app, grant(Role::Viewer, &["harbour"])).await;
        let device = key(app, grant(Role::Device, &[])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let document =
            "subscription($after: String) { alerts(after: $after) { state alert { cause } } }";
        let mut sockets = Vec::new();
        for holder in [&viewer, &device, &admin] {
            let mut socket = Socket::open_as(app.app().address, holder).await;
            let id = socket.subscribe(document, json!({ "after": head })).await;
            sockets.push((socket, id));
        }
        // one after the other, so that their alerts come in this order
        for till in ["till-3", "till-2", "till-1"] {
            let event = json!([{ "deviceStateChange": { "deviceId": till, "newState": "ERROR" } }]);
            recorded(app, &admin, event).await;
            let (socket, id) = &mut sockets[2];
            let cause = format!("device/{till}");
            assert_eq!(socket.data(id).await["alerts"]["alert"]["cause"], cause);
        }
        for (bound, heard) in [
            (0, ["device/till-2", "device/till-1"].as_slice()),
            (1, &["device/till-1"]),
        ] {
            let (socket, id) = &mut sockets[bound];
            for cause in heard {
                assert_eq!(socket.data(id).await["alerts"]["alert"]["cause"], *cause);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_device_that_moves_leaves_its_history_where_it_was() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([metrics("till-3", -1)])).await;
        let here = bound(app, Role::Viewer).await;
        let there = key(app, grant(Role::Viewer, &["market"])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let count = "{ deviceMetrics { totalCount } devices { totalCount } }";
        let seen = |metrics: &str, devices: &str| {
            json!({ "deviceMetrics": { "totalCount": metrics }, "devices": { "totalCount": devices } })
        };
        assert_eq!(data(app, &here, count).await, seen("0", "2"));
        assert_eq!(data(app, &there, count).await, seen("1", "1"));
        let health = data(app, &admin, "{ storeHealth { cursor } }").await;
        let head = &health["storeHealth"]["cursor"];
        app.clock.advance_ms(60_000);
        recorded(app, &admin, json!([registration("till-3", "harbour")])).await;
        // one comes late, one is new, and one who follows hears of no other
        let document = "subscription($after: String) { deviceMetrics(after: $after) { occurredAt site { siteId } } }";
        let mut sockets = Vec::new();
        for holder in [&here, &there] {
            let mut socket = Socket::open_as(app.app().address, holder).await;
            let id = socket.subscribe(document, json!({ "after": head })).await;
            sockets.push((socket, id));
        }
        recorded(app, &admin, json!([metrics("till-3", -2), metrics("till-3", 1)])).await;
        assert_eq!(data(app, &here, count).await, seen("1", "3"));
        assert_eq!(data(app, &there, count).await, seen("2", "0"));
        let expected = [(1, "harbour"), (-2, "market")];
        for ((mut socket, id), (minutes, site)) in sockets.into_iter().zip(expected) {
            let found = socket.data(&id).await["deviceMetrics"].take();
            assert_eq!(found, json!({ "occurredAt": at(minutes), "site": { "siteId": site } }));
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_out_of_reach_is_spoken_of_as_what_is_not_there() {
    on_each_database(async |app| {
        let operator = bound(app, Role::Operator).await;
        let alike = async |document: &str| {
            let mut told = Vec::new();
            for id in ["till-3", "till-9", "market", "nowhere"] {
                let document = document.replace("ID", id);
                let (status, mut answer) = ask(app, &operator, json!({ "query": document })).await;
                answer.as_object_mut().unwrap().remove("extensions");
                told.push(format!("{status} {answer}").replace(id, "ID"));
            }
            assert_eq!(told[0], told[1], "{document}");
            assert_eq!(told[2], told[3], "{document}");
        };
        alike("{ device(deviceId: \"ID\") { deviceId } site(siteId: \"ID\") { siteId } }").await;
        alike("{ errorLogs(filter: { deviceId: { eq: \"ID\" } }) { totalCount } }").await;
        alike("mutation { createJob(input: { jobType: RESTART, deviceIds: [\"ID\"] }) { userErrors { field message code } } }").await;
        alike("mutation { createJob(input: { jobType: RESTART, siteIds: [\"ID\"] }) { userErrors { field message code } } }").await;
        alike("mutation { setConfiguration(input: { entityType: DEVICE, entityId: \"ID\", changes: [{ parameterName: \"collectionIntervalSeconds\", value: 1 }] }) { userErrors { field message code } } }").await;
        alike("mutation { setConfiguration(input: { entityType: SITE, entityId: \"ID\", changes: [{ parameterName: \"collectionIntervalSeconds\", value: 1 }] }) { userErrors { field message code } } }").await;
        alike("{ siteStatus(siteId: \"ID\") { state } operatingHours(siteId: \"ID\", from: \"2026-11-23T00:00:00Z\", to: \"2026-11-30T00:00:00Z\") { start } }").await;
        alike("mutation { setSiteSchedules(input: { siteId: \"ID\", rows: [{ dayOfWeek: MONDAY, isClosed: true }] }) { userErrors { field message code } } }").await;
        alike("mutation { setSiteSchedule(input: { siteId: \"ID\", dayOfWeek: MONDAY, isClosed: true }) { userErrors { field message code } } }").await;
    })
    .await;
}

#[tokio::test]
async fn an_ingestion_key_of_a_site_records_what_is_of_that_site() {
    on_each_database(async |app| {
        let ingest = bound(app, Role::Ingest).await;
        let site = |id: &str| json!({ "siteRegistration": { "siteId": id, "name": "n" } });
        let events = json!([
            metrics("till-1", -1), metrics("till-3", -1), metrics("till-9", -1),
            registration("till-4", "harbour"), metrics("till-4", -1), metrics("till-5", -1),
            registration("till-3", "harbour"), registration("till-6", "market"),
            site("market"), site("another"),
            { "userActivity": { "activityType": "PAGE_VIEW" } },
            { "configurationChange": { "entityType": "SYSTEM", "entityId": "system", "parameterName": "p", "newValue": 1, "changedBy": "x" } },
            { "configurationChange": { "entityType": "DEVICE", "entityId": "till-1", "parameterName": "p", "newValue": 1, "changedBy": "x" } },
            { "configurationChange": { "entityType": "DEVICE", "entityId": "till-3", "parameterName": "p", "newValue": 1, "changedBy": "x" } },
            { "jobOutcome": { "jobId": "j", "jobType": "RESTART", "status": "FAILED", "deviceId": "till-1", "siteId": "market" } },
        ]);
        assert_eq!(recorded(app, &ingest, events).await, [
            "RECORDED", "REJECTED UNKNOWN_DEVICE", "REJECTED UNKNOWN_DEVICE",
            "RECORDED", "RECORDED", "REJECTED UNKNOWN_DEVICE",
            "REJECTED NOT_ALLOWED", "REJECTED UNKNOWN_SITE",
            "REJECTED UNKNOWN_SITE", "REJECTED UNKNOWN_SITE",
            "REJECTED NOT_ALLOWED", "REJECTED NOT_ALLOWED",
            "REJECTED NOT_ALLOWED", "REJECTED NOT_ALLOWED", "REJECTED UNKNOWN_SITE",
        ]);
    })
    .await;
}

#[tokio::test]
async fn nobody_takes_the_history_of_another_site_over() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([metrics("till-1", -1)])).await;
        app.clock.advance_ms(60_000);
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        recorded(app, &admin, json!([registration("till-1", "market")])).await;
        let there = key(app, grant(Role::Viewer, &["market"])).await;
        let ingest = key(app, grant(Role::Ingest, &["market"])).await;
        let device = key(app, grant(Role::Device, &[])).await;
        let mut early = registration("till-1", "market");
        early["deviceRegistration"]["occurredAt"] = json!(at(-60));
        for holder in [&ingest, &device] {
            assert_eq!(recorded(app, holder, json!([early])).await, ["RECORDED"]);
            let seen = data(app, &there, "{ deviceMetrics { totalCount } }").await;
            assert_eq!(seen["deviceMetrics"]["totalCount"], "0");
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_tells_another_history_of_the_own_site() {
    on_each_database(async |app| {
        let ingest = bound(app, Role::Ingest).await;
        let site = |change: (&str, Value)| {
            let mut site = json!({ "siteId": "harbour", "name": "n", "timeZone": "Europe/London",
                "currency": "GBP", "occurredAt": at(1) });
            site[change.0] = change.1;
            json!({ "siteRegistration": site })
        };
        let events = json!([
            site(("name", json!("another"))),
            site(("timeZone", json!("Asia/Tokyo"))),
            site(("timeZone", Value::Null)),
            site(("currency", json!("EUR"))),
            site(("currency", Value::Null)),
            site(("occurredAt", json!(at(-60)))),
        ]);
        let refused = "REJECTED NOT_ALLOWED";
        let outcomes = recorded(app, &ingest, events).await;
        assert_eq!(
            outcomes,
            ["RECORDED", refused, refused, refused, refused, refused]
        );
    })
    .await;
}

#[tokio::test]
async fn a_device_is_moved_by_whoever_is_bound_from_when_it_was_registered_last() {
    on_each_database(async |app| {
        app.fleet().await;
        app.record(json!([metrics("till-1", -1)])).await;
        app.close_to_strangers().await;
        let there = key(app, grant(Role::Viewer, &["market"])).await;
        let ingest = key(app, grant(Role::Ingest, &["harbour", "market"])).await;
        let mut early = registration("till-1", "market");
        early["deviceRegistration"]["occurredAt"] = json!(at(-60));
        assert_eq!(recorded(app, &ingest, json!([early])).await, ["RECORDED"]);
        let seen = data(app, &there, "{ deviceMetrics { totalCount } }").await;
        assert_eq!(seen["deviceMetrics"]["totalCount"], "0");
    })
    .await;
}

#[tokio::test]
async fn a_device_is_registered_so_often_and_no_more() {
    on_each_database(async |app| {
        let device = bound(app, Role::Device).await;
        let often = vec![registration("till-1", "harbour"); 1_000];
        recorded(app, &device, json!(often)).await;
        let more = json!([registration("till-1", "harbour"), metrics("till-1", -1)]);
        assert_eq!(
            recorded(app, &device, more).await,
            ["REJECTED TOO_MANY_DEVICES", "RECORDED"]
        );
        let admin = key(app, grant(Role::Admin, &[])).await;
        let more = json!([registration("till-1", "harbour")]);
        assert_eq!(recorded(app, &admin, more).await, ["RECORDED"]);
    })
    .await;
}

#[tokio::test]
async fn nobody_takes_an_id_that_the_server_gives() {
    on_each_database(async |app| {
        let device = bound(app, Role::Device).await;
        let own = json!([{ "errorLog": { "eventId": "6f1c6c9e-3c1b-8f0e-9a52-0b5c9d3e7b6a", "category": "DEVICE",
            "severity": "INFO", "errorMessage": "e", "deviceId": "till-1" } }]);
        assert_eq!(recorded(app, &device, own.clone()).await, ["REJECTED NOT_ALLOWED"]);
        // such as what is moved from one log to another
        let admin = key(app, grant(Role::Admin, &[])).await;
        assert_eq!(recorded(app, &admin, own).await, ["RECORDED"]);
    })
    .await;
}

#[tokio::test]
async fn a_device_records_what_is_its_own() {
    on_each_database(async |app| {
        let device = bound(app, Role::Device).await;
        let events = json!([
            metrics("till-1", -1), metrics("till-2", -1), metrics("till-9", -1),
            registration("till-1", "harbour"), registration("till-1", "market"),
            { "siteRegistration": { "siteId": "harbour", "name": "n" } },
            { "errorLog": { "category": "API", "severity": "ERROR", "errorMessage": "e" } },
            { "deviceStateChange": { "deviceId": "till-1", "newState": "ONLINE" } },
        ]);
        assert_eq!(
            recorded(app, &device, events).await,
            [
                "RECORDED",
                "REJECTED NOT_ALLOWED",
                "REJECTED NOT_ALLOWED",
                "RECORDED",
                "REJECTED NOT_ALLOWED",
                "REJECTED NOT_ALLOWED",
                "REJECTED NOT_ALLOWED",
                "RECORDED",
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn an_idempotency_key_is_its_callers_own() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let document = "mutation($input: RecordEventsInput!) { recordEvents(input: $input) { outcomes { status position } } }";
        let mut positions = std::collections::BTreeSet::new();
        for site in ["harbour", "market"] {
            let holder = key(app, grant(Role::Ingest, &[site])).await;
            let device = if site == "harbour" { "till-1" } else { "till-3" };
            let event = json!({ "errorLog": { "category": "API", "severity": "ERROR",
                "errorMessage": "e", "deviceId": device, "occurredAt": at(-1) } });
            for expected in ["RECORDED", "DUPLICATE"] {
                let input = json!({ "events": [event], "idempotencyKey": "k" });
                let request = json!({ "query": document, "variables": { "input": input } });
                let (_, answer) = ask(app, &holder, request).await;
                let outcome = &answer["data"]["recordEvents"]["outcomes"][0];
                assert_eq!(outcome["status"], expected, "{answer:#}");
                positions.insert(outcome["position"].to_string());
            }
        }
        assert_eq!(positions.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn whoever_records_gives_no_commands() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let change = json!({ "configurationChange": { "entityType": "DEVICE", "entityId": "till-1",
            "parameterName": "p", "newValue": 1, "changedBy": "root" } });
        let hours = json!({ "siteSchedule": { "siteId": "harbour", "dayOfWeek": "MONDAY", "isClosed": true } });
        for grant in [
            grant(Role::Device, &[]),
            grant(Role::Ingest, &["harbour"]),
            grant(Role::Ingest, &[]),
        ] {
            let holder = key(app, grant).await;
            let refused = recorded(app, &holder, json!([change, hours])).await;
            assert_eq!(refused, ["REJECTED NOT_ALLOWED"; 2]);
        }
        let admin = key(app, grant(Role::Admin, &[])).await;
        assert_eq!(recorded(app, &admin, json!([change, hours])).await, ["RECORDED"; 2]);
    })
    .await;
}

#[tokio::test]
async fn whoever_runs_the_fleet_has_the_last_word_on_a_device() {
    on_each_database(async |app| {
        let device = bound(app, Role::Device).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let register = |site: &str, minutes: f64, lifecycle: Option<&str>| {
            let at = homepot_analytics::event::Instant::parse(&at(0)).unwrap();
            #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a few minutes")]
            let at = at.plus_ms((minutes * 60_000.0) as i64).to_string();
            let mut body = json!({ "deviceId": "till-1", "siteId": site, "deviceType": "GATEWAY", "occurredAt": at });
            if let Some(lifecycle) = lifecycle {
                body["lifecycle"] = json!(lifecycle);
            }
            json!([{ "deviceRegistration": body }])
        };
        assert_eq!(recorded(app, &device, register("harbour", 4.9, None)).await, ["RECORDED"]);
        assert_eq!(
            recorded(app, &device, register("harbour", 0.0, Some("RETIRED"))).await,
            ["REJECTED NOT_ALLOWED"]
        );
        app.clock.advance_ms(1_000);
        let moved = register("market", 0.01, Some("RETIRED"));
        assert_eq!(recorded(app, &admin, moved).await, ["RECORDED"]);
        let seen = data(app, &admin, "{ device(deviceId: \"till-1\") { lifecycle site { siteId } } }").await;
        assert_eq!(seen["device"], json!({ "lifecycle": "RETIRED", "site": { "siteId": "market" } }));
        assert_eq!(
            recorded(app, &device, register("market", 0.0, None)).await,
            ["REJECTED NOT_ALLOWED"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_device_tells_nothing_of_the_jobs_of_others() {
    on_each_database(async |app| {
        app.fleet().await;
        let made = app
            .data("mutation { createJob(input: { jobType: RESTART, deviceIds: [\"till-2\"] }) { job { jobId } } }")
            .await;
        let of_others = made["createJob"]["job"]["jobId"].as_str().unwrap().to_owned();
        let made = app
            .data("mutation { createJob(input: { jobType: RESTART, deviceIds: [\"till-1\"] }) { job { jobId } } }")
            .await;
        let own = made["createJob"]["job"]["jobId"].as_str().unwrap().to_owned();
        let device = bound(app, Role::Device).await;
        let outcome = |job: &str, scope: &str| {
            json!({ "jobOutcome": { "jobId": job, "jobType": "RESTART", "scope": scope, "status": "FAILED", "deviceId": "till-1" } })
        };
        let events = json!([
            outcome(&of_others, "DEVICE"), outcome(&own, "JOB"), outcome(&own, "DEVICE"),
            outcome("of elsewhere", "DEVICE"),
        ]);
        assert_eq!(recorded(app, &device, events).await, [
            "REJECTED NOT_ALLOWED", "REJECTED NOT_ALLOWED", "RECORDED", "RECORDED",
        ]);
    })
    .await;
}
