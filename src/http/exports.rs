//! The files of exports, whole or in parts, so that one that was broken off is gone on with (RFC 9110, 14).
//!
//! A file is what it was from when it had its name, so that its tag follows from that. It is read as it is
//! taken, and no further once the proof of whoever takes it has ended.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::Web;
use super::answer::refused;
use super::sign_in;
use crate::exports::{Ask, Files, State as ExportState};
use crate::graphql::{ErrorCode, whose_exports};
use crate::history::exports::{ExportRow, export};
use crate::identity::Caller;
use crate::telemetry::chain;

/// What is asked for of a file.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Some(Range<u64>),
    /// Nothing of it is there.
    Beyond,
}

/// Answers with the file of an export.
pub(super) async fn download(
    State(web): State<Web>,
    Path(export_id): Path<String>,
    parts: Parts,
) -> Response {
    let caller = match sign_in::asker(&web, &parts.extensions) {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let found = export(web.api.store(), &whose_exports(&caller), &export_id).await;
    let row = match found {
        Ok(Some(row)) => row,
        Ok(None) => return no_export(),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "an export cannot be read");
            return unavailable();
        }
    };
    let state = ExportState::of_row(&row, web.api.ingest.clock().now());
    match (state, &web.exports) {
        (ExportState::Done, Some(files)) => file(&web, (&row, files), (caller, &parts)).await,
        (ExportState::Done, None) => {
            let message = "this server was started without --exports; another one has the file";
            refused(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                message,
            )
        }
        (ExportState::Queued | ExportState::Running, _) => {
            let message = "the export is not done";
            refused(StatusCode::CONFLICT, ErrorCode::Conflict, message)
        }
        (ExportState::Failed | ExportState::Cancelled | ExportState::Expired, _) => {
            let message = format!("the export is {}: it has no file", state.word());
            refused(StatusCode::GONE, ErrorCode::NotFound, &message)
        }
    }
}

fn no_export() -> Response {
    let message = "there is no such export";
    refused(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
}

fn unavailable() -> Response {
    let message = "the export cannot be read at the moment";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    refused(status, ErrorCode::Unavailable, message)
}

async fn file(
    web: &Web,
    (row, files): (&ExportRow, &Arc<Files>),
    (caller, parts): (Caller, &Parts),
) -> Response {
    let name = row.file.as_deref().unwrap_or_default();
    let length = u64::try_from(row.bytes).unwrap_or_default();
    let ask: Option<Ask> = serde_json::from_str(&row.asked).ok();
    let (tag, Some(ask)) = (format!("\"{name}\""), ask) else {
        return unavailable();
    };
    let part = if is_changed(&parts.headers, &tag) {
        Part::Whole
    } else {
        part_of(&parts.headers, length)
    };
    let (status, range) = match part {
        Part::Whole => (StatusCode::OK, 0..length),
        Part::Some(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Beyond => return beyond(length),
    };
    let body = if parts.method == Method::HEAD {
        Body::empty()
    } else {
        let read = match files.read(name, range.clone()).await {
            Ok(read) => read,
            Err(error) if error.is_missing() => {
                let message = "the file of the export is gone; ask for it anew";
                return refused(StatusCode::GONE, ErrorCode::NotFound, message);
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the file of an export cannot be read");
                return unavailable();
            }
        };
        let clock = web.api.ingest.clock().clone();
        let ended = async move { sign_in::ended(&caller, &clock).await };
        Body::from_stream(read.take_until(Box::pin(ended)))
    };
    let mut headers = headers(&ask, row, (&tag, range.end - range.start));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = range.end.saturating_sub(1);
        put(
            &mut headers,
            header::CONTENT_RANGE,
            &format!("bytes {}-{last}/{length}", range.start),
        );
    }
    (status, headers, body).into_response()
}

fn headers(ask: &Ask, row: &ExportRow, (tag, length): (&str, u64)) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let name = ask.file_name(&row.export_id);
    put(&mut headers, header::CONTENT_TYPE, ask.media_type());
    put(&mut headers, header::CONTENT_LENGTH, &length.to_string());
    put(&mut headers, header::ETAG, tag);
    put(&mut headers, header::ACCEPT_RANGES, "bytes");
    let disposition = format!("attachment; filename=\"{name}\"");
    put(&mut headers, header::CONTENT_DISPOSITION, &disposition);
    headers
}

/// Adds a header of letters, digits and signs.
fn put(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn beyond(length: u64) -> Response {
    let message = format!("the file has {length} bytes");
    let status = StatusCode::RANGE_NOT_SATISFIABLE;
    let mut response = refused(status, ErrorCode::BadRequest, &message);
    let range = format!("bytes */{length}");
    put(response.headers_mut(), header::CONTENT_RANGE, &range);
    response
}

/// Whether a part is asked for only of another file than this.
fn is_changed(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_RANGE);
    known.is_some_and(|known| known.as_bytes() != tag.as_bytes())
}

/// What is asked for of a file. Whatever is no single range of bytes is passed over, as it may be.
fn part_of(headers: &HeaderMap, length: u64) -> Part {
    let asked = headers
        .get(header::RANGE)
        .and_then(|asked| asked.to_str().ok());
    let range = asked.and_then(|asked| asked.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.trim().split_once('-')) else {
        return Part::Whole;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Part::Whole,
        (Ok(first), _) if first >= length && (last.is_empty() || last.parse::<u64>().is_ok()) => {
            Part::Beyond
        }
        (Ok(first), Ok(last)) => Part::Some(first..last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.is_empty() => Part::Some(first..length),
        (Err(_), Ok(0)) if first.is_empty() => Part::Beyond,
        (Err(_), Ok(_)) if first.is_empty() && length == 0 => Part::Beyond,
        (Err(_), Ok(last)) if first.is_empty() => Part::Some(length.saturating_sub(last)..length),
        (Ok(_) | Err(_), _) => Part::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_its_standard_has_it() {
        let part = |asked: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, asked.parse().unwrap());
            part_of(&headers, 10)
        };
        for (asked, expected) in [
            ("bytes=0-3", Part::Some(0..4)),
            ("bytes=3-", Part::Some(3..10)),
            ("bytes=-4", Part::Some(6..10)),
            ("bytes=-40", Part::Some(0..10)),
            ("bytes=3-99", Part::Some(3..10)),
            ("bytes=9-9", Part::Some(9..10)),
            ("bytes=10-", Part::Beyond),
            ("bytes=10-11", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=4-3", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=a-3", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=0-3", Part::Whole),
        ] {
            assert_eq!(part(asked), expected, "{asked}");
        }
        assert_eq!(part_of(&HeaderMap::new(), 10), Part::Whole);
    }
}
