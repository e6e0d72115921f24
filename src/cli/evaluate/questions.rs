//! When what is asked: at the times of a file, or as often as was said.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::{EvaluateArgs, Evaluated};
use crate::event::{Fact, Instant};
use crate::insights::input::HOUR;
use crate::insights::replay::{Question, device_of, spans};
use crate::insights::shape::Status;
use crate::kinds::Kind;

/// Questions at most.
const QUESTIONS_MAX: usize = 10_000_000;

/// What is asked: at the times of a file, or as often as was said.
pub(super) fn questions(arguments: &EvaluateArgs, facts: &[Fact]) -> anyhow::Result<Vec<Question>> {
    if let Some(times) = &arguments.times {
        return times_of(times, facts);
    }
    let spans = spans(facts);
    let last = facts.iter().map(|fact| fact.occurred_at).max();
    let question = |device: &str, at: Instant| Question {
        device: device.to_owned(),
        at,
        timestamp: at.to_string(),
    };
    let mut questions = Vec::new();
    match (arguments.insight, arguments.every) {
        (Evaluated::Anomaly, None) => {
            let readings = facts.iter().filter(|fact| fact.kind == Kind::DeviceMetrics);
            let asked = readings.filter_map(|fact| {
                let device = device_of(fact)?;
                Some(question(device, fact.occurred_at))
            });
            questions.extend(asked);
        }
        (Evaluated::Reliability, None) => {
            let devices = spans.keys();
            questions.extend(
                devices
                    .zip(last.into_iter().cycle())
                    .map(|(d, at)| question(d, at)),
            );
        }
        (_, every) => {
            let every = every.unwrap_or(HOUR);
            for (device, (first, last)) in &spans {
                let mut at = first.0.div_euclid(every) * every + every;
                while at <= last.0 && questions.len() <= QUESTIONS_MAX {
                    questions.push(question(device, Instant(at)));
                    at += every;
                }
            }
        }
    }
    if questions.len() > QUESTIONS_MAX {
        bail!("that are more than {QUESTIONS_MAX} questions: ask less often with --every");
    }
    Ok(questions)
}

/// The questions of a file of CSV about what facts say. Those of devices of which they say nothing are told of.
pub(super) fn times_of(file: &Path, facts: &[Fact]) -> anyhow::Result<Vec<Question>> {
    let named = || format!("cannot read {}", file.display());
    let mut reader = csv::Reader::from_path(file).with_context(named)?;
    let headers = reader.headers().with_context(named)?.clone();
    let column = |name: &str| {
        let found = headers.iter().position(|header| header.trim() == name);
        found.with_context(|| format!("{} has no column {name}", file.display()))
    };
    let (device, timestamp) = (column("device")?, column("timestamp")?);
    let mut questions = Vec::new();
    for (line, record) in (2_u64..).zip(reader.records()) {
        let record = record.with_context(named)?;
        let text = record.get(timestamp).unwrap_or_default().trim();
        let at = instant(text).with_context(|| {
            format!(
                "{}, line {line}: {text} is no time such as 2026-03-01T06:00:00Z",
                file.display()
            )
        })?;
        questions.push(Question {
            device: record.get(device).unwrap_or_default().trim().to_owned(),
            at,
            timestamp: text.to_owned(),
        });
    }
    let known: BTreeSet<&str> = facts.iter().filter_map(device_of).collect();
    let asked = questions.iter().map(|question| question.device.as_str());
    let unknown: Vec<&str> = asked.filter(|device| !known.contains(device)).collect();
    if let Some(first) = unknown.first() {
        tracing::warn!(
            "{}: {} of {} questions are of devices of which nothing is told, such as {first}: they are answered by {}",
            file.display(),
            unknown.len(),
            questions.len(),
            Status::Insufficient.word()
        );
    }
    Ok(questions)
}

/// Reads RFC 3339, or the same without a zone, in UTC.
fn instant(text: &str) -> Option<Instant> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(Instant(at.timestamp_micros()));
    }
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let at = forms
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let midnight = || {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    };
    let at = at.or_else(midnight)?;
    Some(Instant(at.and_utc().timestamp_micros()))
}
