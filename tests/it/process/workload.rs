//! Clients that record a mix of kinds, and what each event must look like when it is read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use homepot_analytics::event::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::api::{Api, RECORD};

/// Devices that the clients speak of.
pub(super) const DEVICES: usize = 8;

/// What is read of each kind: all that is written, under names of its own.
pub(super) const FIELDS: &str = "eventId provenance \
    ... on DeviceMetrics { deviceMetrics_deviceId: deviceId deviceMetrics_cpuPercent: cpuPercent \
        deviceMetrics_transactionVolume: transactionVolume } \
    ... on ErrorLog { errorLog_category: category errorLog_severity: severity \
        errorLog_errorMessage: errorMessage errorLog_context: context } \
    ... on UserActivity { userActivity_activityType: activityType userActivity_pageUrl: pageUrl } \
    ... on JobOutcome { jobOutcome_jobId: jobId jobOutcome_jobType: jobType \
        jobOutcome_status: status jobOutcome_durationMs: durationMs } \
    ... on ConfigurationChange { configurationChange_entityId: entityId \
        configurationChange_newValue: newValue configurationChange_changedBy: changedBy } \
    ... on DeviceStateChange { deviceStateChange_deviceId: deviceId \
        deviceStateChange_newState: newState deviceStateChange_reason: reason } \
    ... on SiteSchedule { siteSchedule_siteId: siteId siteSchedule_dayOfWeek: dayOfWeek \
        siteSchedule_isClosed: isClosed } \
    ... on ApiRequest { apiRequest_endpoint: endpoint apiRequest_statusCode: statusCode }";

/// By what a repeat of a request is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyed {
    /// Each event has an id, or a natural key.
    ByEvent,
    /// The request has a key.
    ByRequest,
    /// By nothing: it must not be repeated.
    Not,
}

/// A request to record events, and its answer if there was one.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) keyed: Keyed,
    pub(super) input: Value,
    /// The place given to each event.
    pub(super) answer: Option<Vec<i64>>,
}

impl Request {
    /// The events with the names of their kinds.
    pub(super) fn events(&self) -> impl Iterator<Item = (&str, &Value)> {
        let events = self.input["events"].as_array().unwrap().iter();
        events.map(|event| {
            let (kind, body) = event.as_object().unwrap().iter().next().unwrap();
            (kind.as_str(), body)
        })
    }
}

/// Makes requests; metrics are never twice of one instant.
pub(super) struct Maker {
    rng: StdRng,
    name: String,
    requests: u32,
    now: Arc<AtomicI64>,
}

impl Maker {
    pub(super) fn new(seed: u64, name: String, now: Arc<AtomicI64>) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            name,
            requests: 0,
            now,
        }
    }

    pub(super) fn request(&mut self) -> Request {
        self.requests += 1;
        let keyed = match self.rng.random_range(0..5) {
            0 | 1 => Keyed::ByEvent,
            2 | 3 => Keyed::ByRequest,
            _ => Keyed::Not,
        };
        let events = match self.rng.random_range(0..3) {
            0 => 1,
            1 => self.rng.random_range(2..=20),
            _ => self.rng.random_range(21..=100),
        };
        let events: Vec<Value> = (0..events).map(|index| self.event(keyed, index)).collect();
        let mut input = json!({ "events": events });
        if keyed == Keyed::ByRequest {
            input["idempotencyKey"] = json!(format!("{}/{}", self.name, self.requests));
        }
        Request {
            keyed,
            input,
            answer: None,
        }
    }

    fn event(&mut self, keyed: Keyed, index: u32) -> Value {
        let device = format!("d{}", self.rng.random_range(0..DEVICES));
        let number: i32 = self.rng.random_range(0..1_000_000);
        let text = format!(
            "“{number}” ünï ☂ {}",
            "x".repeat(usize::try_from(number % 200).unwrap())
        );
        let kinds = if keyed == Keyed::Not { 1..8 } else { 0..8 };
        let (kind, mut body) = match self.rng.random_range(kinds) {
            0 => {
                let cpu = f64::from(number % 100) + 0.25;
                let money = format!("{number}.1234");
                let body =
                    json!({ "deviceId": device, "cpuPercent": cpu, "transactionVolume": money });
                ("deviceMetrics", body)
            }
            1 => {
                let context = json!({ "n": number, "deep": [text] });
                let body = json!({ "category": "SYSTEM", "severity": "ERROR", "errorMessage": text, "context": context });
                ("errorLog", body)
            }
            2 => (
                "userActivity",
                json!({ "activityType": "PAGE_VIEW", "pageUrl": text }),
            ),
            3 => {
                let job = format!("job-{number}");
                let body = json!({ "jobId": job, "jobType": "SYNC", "status": "FAILED", "durationMs": number });
                ("jobOutcome", body)
            }
            4 => {
                let body = json!({ "entityType": "DEVICE", "entityId": device, "parameterName": format!("p{}", number % 9), "newValue": { "v": number }, "changedBy": text });
                ("configurationChange", body)
            }
            5 => {
                let state =
                    ["ONLINE", "ERROR", "MAINTENANCE"][usize::try_from(number % 3).unwrap()];
                let body = json!({ "deviceId": device, "newState": state, "reason": text });
                ("deviceStateChange", body)
            }
            6 => {
                let day = ["MONDAY", "FRIDAY", "SUNDAY"][usize::try_from(number % 3).unwrap()];
                (
                    "siteSchedule",
                    json!({ "siteId": "s0", "dayOfWeek": day, "isClosed": true }),
                )
            }
            _ => {
                let body = json!({ "endpoint": "/till/{id}", "method": "GET", "statusCode": 200 + number % 300, "responseTimeMs": 1.5 });
                ("apiRequest", body)
            }
        };
        // one after the other for all clients, so that no two metrics share an instant
        let at = Instant(self.now.fetch_add(1_000, Ordering::Relaxed));
        body["occurredAt"] = json!(at.to_string());
        body["extra"] = json!({ "mark": format!("{}/{}/{index}", self.name, self.requests) });
        if keyed == Keyed::ByEvent && kind != "deviceMetrics" {
            body["eventId"] = json!(Uuid::from_u128(self.rng.random()));
        }
        json!({ kind: body })
    }
}

/// What a client did while a server lived.
pub(super) struct Shift {
    pub(super) maker: Maker,
    pub(super) requests: Vec<Request>,
}

/// Records request after request until the server is gone; the last one may be without an answer.
/// Now and then it repeats one that was answered, which must be answered with the same places.
pub(super) async fn record_until_killed(
    api: Api,
    server: String,
    mut maker: Maker,
    acknowledged: watch::Sender<usize>,
) -> Shift {
    let mut requests: Vec<Request> = Vec::new();
    loop {
        let answered: Vec<&Request> = requests.iter().filter(|r| r.keyed != Keyed::Not).collect();
        let repeat = !answered.is_empty() && maker.rng.random_range(0..8) == 0;
        if repeat {
            let request = answered[maker.rng.random_range(0..answered.len())];
            match send(&api, &server, request).await {
                Some(again) => assert_again(request, &again),
                None => break,
            }
            continue;
        }
        let mut request = maker.request();
        let answer = send(&api, &server, &request).await;
        let gone = answer.is_none();
        request.answer = answer.map(|outcomes| {
            let new = outcomes.iter().all(|(status, _)| status == "RECORDED");
            assert!(new, "{outcomes:?}");
            outcomes.into_iter().map(|(_, position)| position).collect()
        });
        requests.push(request);
        if gone {
            break;
        }
        acknowledged.send_modify(|count| *count += 1);
    }
    Shift { maker, requests }
}

/// The status and place of each event, or nothing if there was no answer.
pub(super) async fn send(api: &Api, server: &str, request: &Request) -> Option<Vec<(String, i64)>> {
    let variables = json!({ "input": request.input });
    let answer = api.call(server, RECORD, variables).await.ok()?;
    assert!(answer.get("errors").is_none(), "{answer}");
    let outcomes = answer["data"]["recordEvents"]["outcomes"].as_array()?;
    let read = |outcome: &Value| {
        let status = outcome["status"].as_str().unwrap().to_owned();
        assert!(status != "REJECTED" && status != "CONFLICT", "{outcome}");
        (status, super::api::long(&outcome["position"]))
    };
    Some(outcomes.iter().map(read).collect())
}

/// Checks that a repeat of an answered request is answered as one.
fn assert_again(request: &Request, again: &[(String, i64)]) {
    let duplicates: Vec<i64> = again
        .iter()
        .map(|(status, position)| {
            assert_eq!(status, "DUPLICATE");
            *position
        })
        .collect();
    assert_eq!(Some(&duplicates), request.answer.as_ref());
}
