//! Statistics by the names by which people look for them: requests, errors, jobs and activity.

use num_traits::AsPrimitive;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::super::app::on_each_database;
use super::seeds;

/// An event of one of the sources, made up, with the labels by which it is counted.
fn event(random: &mut StdRng, kind: &str) -> Value {
    let at = format!(
        "2026-11-2{}T{:02}:{:02}:00Z",
        random.random_range(1..3),
        random.random_range(0..24),
        random.random_range(0..60)
    );
    let any = |random: &mut StdRng, of: &[&str]| json!(of.choose(random).unwrap());
    let ms = random.random_range(1..5_000);
    let mut body = match kind {
        "apiRequest" => json!({ "endpoint": any(random, &["/a", "/b", "/c"]), "method": "GET",
            "statusCode": ([200, 201, 404, 500].choose(random).unwrap()), "responseTimeMs": ms }),
        "errorLog" => json!({ "category": any(random, &["API", "DEVICE"]), "errorMessage": "x",
            "severity": any(random, &["ERROR", "WARNING", "CRITICAL"]),
            "errorCode": ([None, Some("E1"), Some("E2")].choose(random).unwrap()) }),
        "jobOutcome" => json!({ "jobId": "j", "jobType": any(random, &["RESTART", "UPDATE"]),
            "status": any(random, &["COMPLETED", "COMPLETED", "FAILED", "ERROR", "TIMEOUT", "CANCELLED"]),
            "scope": any(random, &["DEVICE", "DEVICE", "JOB"]), "durationMs": ms }),
        _ => json!({ "activityType": any(random, &["PAGE_VIEW", "BUTTON_CLICK"]), "durationMs": ms,
            "pageUrl": ([None, Some("/x?q=1"), Some("/y")].choose(random).unwrap()) }),
    };
    body["occurredAt"] = json!(at);
    json!({ kind: body })
}

const QUERY: &str = "query($from: DateTime!, $to: DateTime!, $top: Int) {
    apiRequestStats(from: $from, to: $to, top: $top) { total { ...R } endpoints { ...R } }
    errorStats(from: $from, to: $to, top: $top) { total byCategory { ...L } bySeverity { ...L } byCode { ...L } }
    jobStats(from: $from, to: $to, top: $top) { total { ...J } types { ...J } }
    activityStats(from: $from, to: $to, top: $top) { total byType { ...A } byPage { ...A } } }
    fragment R on ApiRequestStat { endpoint isOther requests requestsPerSecond clientErrors serverErrors errorShare
        avgMs p50Ms p95Ms maxMs }
    fragment L on LabelStat { value isOther count share }
    fragment J on JobStat { jobType isOther outcomes completed failed errors timeouts cancelled successShare avgMs
        p50Ms p95Ms maxMs }
    fragment A on ActivityStat { value isOther count share p50Ms }";

/// Events that are counted together, and under which label: none are all of them, or others.
type Counted<'a> = (Option<&'a str>, bool, Vec<&'a Value>);

/// Events by a label: those first of which there are most, then in the order of the labels, those without one
/// last; so many, and the others as one.
fn by<'a>(
    events: &[&'a Value],
    label: &dyn Fn(&'a Value) -> Option<&'a str>,
    top: usize,
) -> Vec<Counted<'a>> {
    let mut labels: Vec<Option<&str>> = events.iter().map(|event| label(event)).collect();
    labels.sort_unstable_by_key(|label| (label.is_none(), *label));
    labels.dedup();
    let of = |wanted: Option<&str>| -> Vec<&Value> {
        let of = events.iter().filter(|event| label(event) == wanted);
        of.copied().collect()
    };
    let mut counted: Vec<Counted<'_>> = labels
        .into_iter()
        .map(|label| (label, false, of(label)))
        .collect();
    counted.sort_by_key(|(_, _, events)| std::cmp::Reverse(events.len()));
    let others: Vec<&Value> = counted
        .iter()
        .skip(top)
        .flat_map(|(_, _, of)| of.clone())
        .collect();
    counted.truncate(top);
    if !others.is_empty() {
        counted.push((None, true, others));
    }
    counted
}

fn near(told: &Value, expected: Option<f64>, within: f64) {
    let off = told.as_f64().unwrap_or(-1.0) - expected.unwrap_or(-1.0);
    assert!(
        off.abs() <= within * expected.unwrap_or(1.0).max(1.0),
        "{told}, not {expected:?}"
    );
}

fn share(part: usize, whole: usize) -> Option<f64> {
    let (part, of): (f64, f64) = (part.as_(), whole.as_());
    (whole > 0).then(|| part / of)
}

/// How many events have one of some values.
fn having(events: &[&Value], field: &str, values: &[Value]) -> usize {
    events
        .iter()
        .filter(|event| values.contains(&event[field]))
        .count()
}

/// Checks what is told of durations.
fn durations(told: &Value, events: &[&Value], field: &str) {
    let mut ms: Vec<f64> = events
        .iter()
        .filter_map(|event| event[field].as_f64())
        .collect();
    ms.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place: usize = (share * (AsPrimitive::<f64>::as_(ms.len()) - 1.0))
            .floor()
            .as_();
        ms.get(place).copied()
    };
    near(&told["p50Ms"], at(0.5), 0.010_001);
    if told.get("p95Ms").is_some() {
        let (sum, count): (f64, f64) = (ms.iter().sum(), ms.len().as_());
        near(&told["p95Ms"], at(0.95), 0.010_001);
        near(&told["maxMs"], ms.last().copied(), 1e-9);
        near(&told["avgMs"], ms.last().map(|_| sum / count), 1e-9);
    }
}

fn request(told: &Value, (label, is_other, events): &Counted<'_>, seconds: f64) {
    assert_eq!(
        (&told["endpoint"], &told["isOther"]),
        (&json!(label), &json!(is_other))
    );
    assert_eq!(told["requests"], events.len().to_string());
    let of = |status: &[i64]| {
        let status: Vec<Value> = status.iter().map(|status| json!(status)).collect();
        having(events, "statusCode", &status)
    };
    assert_eq!(told["clientErrors"], of(&[404]).to_string());
    assert_eq!(told["serverErrors"], of(&[500]).to_string());
    near(
        &told["errorShare"],
        share(of(&[404, 500]), events.len()),
        1e-9,
    );
    let count: f64 = events.len().as_();
    near(&told["requestsPerSecond"], Some(count / seconds), 1e-9);
    durations(told, events, "responseTimeMs");
}

fn job(told: &Value, (label, is_other, events): &Counted<'_>) {
    assert_eq!(
        (&told["jobType"], &told["isOther"]),
        (&json!(label), &json!(is_other))
    );
    assert_eq!(told["outcomes"], events.len().to_string());
    let of = |status: &str| having(events, "status", &[json!(status)]);
    for (name, status) in [
        ("completed", "COMPLETED"),
        ("failed", "FAILED"),
        ("errors", "ERROR"),
        ("timeouts", "TIMEOUT"),
        ("cancelled", "CANCELLED"),
    ] {
        assert_eq!(told[name], of(status).to_string(), "{name}");
    }
    let counted = events.len() - of("CANCELLED");
    near(&told["successShare"], share(of("COMPLETED"), counted), 1e-9);
    durations(told, events, "durationMs");
}

fn labels(told: &Value, counted: &[Counted<'_>], whole: usize, has_durations: bool) {
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), counted.len(), "{told:?}");
    for (told, (label, is_other, events)) in told.iter().zip(counted) {
        assert_eq!(
            (&told["value"], &told["isOther"]),
            (&json!(label), &json!(is_other))
        );
        assert_eq!(told["count"], events.len().to_string());
        near(&told["share"], share(events.len(), whole), 1e-9);
        if has_durations {
            durations(told, events, "durationMs");
        }
    }
}

/// Checks what is told of the events of each kind.
fn check<'a>(told: &Value, of: &dyn Fn(&str) -> Vec<&'a Value>, (seconds, top): (f64, usize)) {
    let requests = of("apiRequest");
    let stats = &told["apiRequestStats"];
    request(&stats["total"], &(None, false, requests.clone()), seconds);
    let endpoints = by(&requests, &|body| body["endpoint"].as_str(), top);
    assert_eq!(
        stats["endpoints"].as_array().unwrap().len(),
        endpoints.len()
    );
    for (told, counted) in stats["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .zip(&endpoints)
    {
        request(told, counted, seconds);
    }
    let errors = of("errorLog");
    let stats = &told["errorStats"];
    assert_eq!(stats["total"], errors.len().to_string());
    for (name, field) in [
        ("byCategory", "category"),
        ("bySeverity", "severity"),
        ("byCode", "errorCode"),
    ] {
        let counted = by(&errors, &|body| body[field].as_str(), top);
        labels(&stats[name], &counted, errors.len(), false);
    }
    let mut jobs = of("jobOutcome");
    jobs.retain(|job| job["scope"] == "DEVICE");
    let stats = &told["jobStats"];
    job(&stats["total"], &(None, false, jobs.clone()));
    for (told, counted) in stats["types"].as_array().unwrap().iter().zip(&by(
        &jobs,
        &|body| body["jobType"].as_str(),
        top,
    )) {
        job(told, counted);
    }
    let activity = of("userActivity");
    let stats = &told["activityStats"];
    assert_eq!(stats["total"], activity.len().to_string());
    let types = by(&activity, &|body| body["activityType"].as_str(), top);
    labels(&stats["byType"], &types, activity.len(), true);
    let pages = by(&activity, &path_of, top);
    labels(&stats["byPage"], &pages, activity.len(), true);
}

/// The path of the page of an activity.
fn path_of(body: &Value) -> Option<&str> {
    body["pageUrl"].as_str()?.split('?').next()
}

#[tokio::test]
async fn statistics_are_what_a_count_over_the_events_comes_to() {
    for seed in seeds(1) {
        on_each_database(async |app| {
            let mut random = StdRng::seed_from_u64(seed);
            app.fleet().await;
            let kinds = ["apiRequest", "errorLog", "jobOutcome", "userActivity"];
            let mut events = Vec::new();
            for _ in 0..300 {
                let kind = kinds.choose(&mut random).unwrap();
                events.push(event(&mut random, kind));
            }
            for part in events.chunks(70) {
                app.outcomes(json!(part)).await;
            }
            // what was recorded last is in it, whether or not it is summed up yet
            for (from, hours, top) in [(21, 24, 50), (22, 12, 1), (21, 48, 2)] {
                let from = format!("2026-11-{from}T00:00:00Z");
                let to = super::recorded::micros(&from) + hours * 3_600_000_000;
                let to = super::recorded::text(to);
                let variables = json!({ "from": from, "to": to, "top": top });
                let told = app.data_with(QUERY, variables).await;
                let of = |kind: &str| -> Vec<&Value> {
                    let of = events
                        .iter()
                        .map(|event| &event[kind])
                        .filter(|body| !body.is_null());
                    of.filter(|body| {
                        let at = body["occurredAt"].as_str().unwrap();
                        let at = super::recorded::micros(at);
                        (super::recorded::micros(&from)..super::recorded::micros(&to)).contains(&at)
                    })
                    .collect()
                };
                let seconds: f64 = (hours * 3_600).as_();
                check(&told, &of, (seconds, top));
            }
        })
        .await;
    }
}
