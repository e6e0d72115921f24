//! `POST /v1/ingest`: events in their wire shape, as lines or as a list of JSON, each answered by a line.
//!
//! The body may be of any length: it is recorded as it comes, in batches, and the answer begins when the
//! first of them is recorded. What happens before that has a status of its own; what happens later stands
//! in the answer, and the lines of events that were not taken say so.

use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};
use tokio::time::timeout;

use super::super::Web;
use super::super::answer::refused;
use super::super::sign_in;
use super::LINES;
use super::answers::answers;
use super::gathered::{Batch, End, Gathered};
use super::pieces::Pieces;
use super::told::Told;
use super::unpacked::{CODINGS, ReadError, Unpacked};
use crate::graphql::{self, ErrorCode};
use crate::identity::{Caller, SignInError};
use crate::ingest::{REQUEST_KEY_CHARACTERS_MAX, RequestKey};
use crate::kinds::Code;
use crate::store::Outcome;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const MINIMAL: &str = "return=minimal";

/// Which events are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Each.
    All,
    /// Those that are not in the log, and at the end how many are.
    Minimal,
}

/// Answers a request.
pub(in super::super) async fn post(
    State(web): State<Web>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let caller = match sign_in::asker(&web, &parts.extensions) {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let Some(pieces) = pieces_of(&parts.headers) else {
        let message =
            "send events as application/x-ndjson, one a line, or as application/json, a list";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return refused(status, ErrorCode::BadRequest, message);
    };
    let key = match key_of(&parts.headers) {
        Ok(key) => key,
        Err(told) => return told.response(),
    };
    let body = match Unpacked::new(&web, &parts.headers, (body, super::BYTES_MAX)).await {
        Ok(body) => body,
        Err(error) => return unread(&error),
    };
    let gathered = Gathered::new(&web, body, pieces);
    let wanted = wanted_of(&parts.headers);
    let mut taking = Taking {
        web,
        caller,
        key,
        gathered,
        wanted,
        index: 0,
        tally: Tally::default(),
        told: Vec::new(),
        end: None,
    };
    if let Err(told) = taking.begin().await {
        return told.response();
    }
    let body = if taking.end.is_some() {
        Body::from(taking.lines().await.unwrap_or_default())
    } else {
        let (answers, body) = answers(&taking.web.bodies);
        let tasks = taking.web.sockets.clone();
        tasks.spawn(async move {
            while let Some(lines) = taking.lines().await {
                if !answers.send(lines).await {
                    return;
                }
            }
        });
        body
    };
    let ty = HeaderValue::from_static(LINES);
    let mut response = ([(header::CONTENT_TYPE, ty)], body).into_response();
    if wanted == Wanted::Minimal {
        let applied = HeaderValue::from_static(MINIMAL);
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    response
}

fn unread(error: &ReadError) -> Response {
    let mut response = Told::unread(error).response();
    if matches!(error, ReadError::Coding) {
        let taken = HeaderValue::from_static(CODINGS);
        response
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, taken);
    }
    response
}

fn pieces_of(headers: &HeaderMap) -> Option<Pieces> {
    let given = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let ty = given.split(';').next().unwrap_or_default().trim();
    match ty.to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
            Some(Pieces::of_lines())
        }
        "application/json" => Some(Pieces::of_list()),
        _ => None,
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<Arc<str>>, Told> {
    let Some(given) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = std::str::from_utf8(given.as_bytes()).ok();
    let key = key.filter(|key| RequestKey::is_one(key)).ok_or_else(|| {
        let message = format!("Idempotency-Key has 1 to {REQUEST_KEY_CHARACTERS_MAX} characters");
        Told::new(StatusCode::BAD_REQUEST, ErrorCode::BadInput, &message)
    })?;
    Ok(Some(Arc::from(key)))
}

fn wanted_of(headers: &HeaderMap) -> Wanted {
    let preferences = headers.get_all(PREFER).iter();
    let preferences = preferences.filter_map(|value| value.to_str().ok());
    let mut preferences = preferences.flat_map(|value| value.split([',', ';']));
    if preferences.any(|one| one.trim().eq_ignore_ascii_case(MINIMAL)) {
        Wanted::Minimal
    } else {
        Wanted::All
    }
}

/// What became of the events so far.
#[derive(Debug, Default)]
struct Tally {
    recorded: u64,
    duplicates: u64,
    conflicts: u64,
    rejected: u64,
    overloaded: u64,
}

/// A request that is being taken.
struct Taking {
    web: Web,
    caller: Caller,
    key: Option<Arc<str>>,
    gathered: Gathered,
    wanted: Wanted,
    /// Index of the next event.
    index: usize,
    tally: Tally,
    /// Lines that are yet to be sent.
    told: Vec<u8>,
    /// Why no more comes.
    end: Option<End>,
}

impl Taking {
    /// Takes the first events; what fails of them has a status of its own, since nothing is recorded then.
    async fn begin(&mut self) -> Result<(), Told> {
        let batch = self.gathered.batch().await;
        if let (true, Some(End::Failed(told))) = (batch.given.is_empty(), &batch.end) {
            return Err(told.clone());
        }
        self.record(batch).await
    }

    /// The next lines; `None` at the end.
    async fn lines(&mut self) -> Option<Bytes> {
        while self.end.is_none() && self.told.is_empty() {
            let batch = self.gathered.batch().await;
            let (first, events) = (self.index, batch.given.len());
            if let Err(told) = self.record(batch).await {
                self.not_taken(first..first + events, &told);
            }
        }
        if let Some(End::Failed(told)) = &self.end {
            let line = json!({ "error": told.json() });
            self.line(&line);
        }
        if self.end.is_some() && self.wanted == Wanted::Minimal {
            self.wanted = Wanted::All;
            let tally = self.tally.json();
            self.line(&tally);
        }
        if self.end.is_some() {
            self.end = Some(End::Whole);
        }
        let lines = std::mem::take(&mut self.told);
        (!lines.is_empty()).then(|| lines.into())
    }

    /// Records a batch, and answers its events if it was taken.
    async fn record(&mut self, batch: Batch) -> Result<(), Told> {
        self.end = batch.end;
        let given = batch.given;
        if given.is_empty() {
            return Ok(());
        }
        let first = self.index;
        self.index += given.len();
        if !self.caller.is_valid(self.web.api.ingest.clock().now()) {
            let message = SignInError::Ended.to_string();
            let status = StatusCode::UNAUTHORIZED;
            return Err(Told::new(status, ErrorCode::Unauthenticated, &message));
        }
        let key = self.key.as_deref().map(|key| RequestKey { key, first });
        let (api, allowance) = (&self.web.api, self.web.api.store().allowance());
        let recorder = api.recorder(&self.caller);
        let recorded = recorder.record(given, key, &allowance);
        let recorded = timeout(self.web.request_within, recorded).await;
        let recorded = recorded.map_err(|_| Told::late(self.web.request_within))?;
        let recorded =
            recorded.map_err(|failed| Told::of(&graphql::of_unrecorded(api, &failed)))?;
        for (index, outcome) in (first..).zip(&recorded.outcomes) {
            self.outcome(index, outcome);
        }
        Ok(())
    }

    fn outcome(&mut self, index: usize, outcome: &Outcome) {
        let (count, is_kept) = match outcome {
            Outcome::Recorded(_) => (&mut self.tally.recorded, true),
            Outcome::Duplicate(_) => (&mut self.tally.duplicates, true),
            Outcome::Conflict(_) => (&mut self.tally.conflicts, false),
            Outcome::Rejected(_) => (&mut self.tally.rejected, false),
        };
        *count += 1;
        if is_kept && self.wanted == Wanted::Minimal {
            return;
        }
        self.line(&outcome_line(index, outcome));
    }

    /// Answers events that were not taken, and are to be sent again.
    fn not_taken(&mut self, events: Range<usize>, told: &Told) {
        for index in events {
            self.tally.overloaded += 1;
            let line = json!({
                "index": index,
                "status": "OVERLOADED",
                "retryAfterMs": told.retry_after_ms,
                "code": told.code,
                "message": told.message,
            });
            self.line(&line);
        }
    }

    fn line(&mut self, line: &Json) {
        self.told.extend_from_slice(line.to_string().as_bytes());
        self.told.push(b'\n');
    }
}

impl Tally {
    fn json(&self) -> Json {
        json!({ "summary": {
            "recorded": self.recorded,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "rejected": self.rejected,
            "overloaded": self.overloaded,
        } })
    }
}

/// What became of an event.
pub(super) fn outcome_line(index: usize, outcome: &Outcome) -> Json {
    let mut line = Map::new();
    line.insert("index".to_owned(), index.into());
    line.insert("status".to_owned(), outcome.word().into());
    let position = outcome.position().map(|position| position.to_string());
    for (name, value) in [
        ("position", position.as_deref()),
        ("code", outcome.code().map(Code::word)),
        ("field", outcome.field()),
        ("message", outcome.message()),
    ] {
        if let Some(value) = value {
            line.insert(name.to_owned(), value.into());
        }
    }
    Json::Object(line)
}
