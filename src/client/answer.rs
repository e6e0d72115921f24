//! What the server answered: outcomes, or an error together with what is to be done about it.

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::event::Instant;

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It is stored.
    Recorded,
    /// It was stored before.
    Duplicate,
    /// Its key was stored before with another body.
    Conflict,
    /// It was refused; it will be refused again.
    Rejected,
}

/// The answer to one event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    /// Place of the event in the request, from 0.
    pub index: usize,
    /// What became of it.
    pub status: Status,
    /// Code of the refusal.
    pub code: Option<String>,
    /// Field that was refused.
    pub field: Option<String>,
}

impl Outcome {
    /// Whether the event was refused because its device or site is not registered.
    #[must_use]
    pub fn is_of_unknown_place(&self) -> bool {
        let code = self.code.as_deref();
        self.status == Status::Rejected && matches!(code, Some("UNKNOWN_DEVICE" | "UNKNOWN_SITE"))
    }

    /// Whether the event was refused because the key of this program may not record it.
    #[must_use]
    pub fn is_not_allowed(&self) -> bool {
        self.status == Status::Rejected && self.code.as_deref() == Some("NOT_ALLOWED")
    }

    /// Whether the event was refused because the server's clock has not reached it yet.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.status == Status::Rejected && self.code.as_deref() == Some("IN_FUTURE")
    }
}

/// What to do about a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Try again, not before this time has passed.
    Retry(Option<Duration>),
    /// Send fewer events at once; an event that fails alone is at fault itself.
    Split,
    /// Somebody must act (key, address, version); try again seldom and keep everything.
    Hold,
}

/// A request that failed as a whole.
#[derive(Debug, Error)]
pub enum CallError {
    /// No answer came: no network, no server, or not in time.
    #[error("the server did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// The server refused the request.
    #[error("the server refused the request with status {status}, code {}", code.as_deref().unwrap_or("none"))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Code of the first error, if the answer has one.
        code: Option<String>,
        /// What to do.
        remedy: Remedy,
    },
    /// An answer that is none of this API: a proxy or a login page, perhaps.
    #[error("the answer with status {status} is not one of this API: {what}")]
    NotUnderstood {
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl CallError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable(_) | Self::NotUnderstood { .. } => Remedy::Retry(None),
            Self::Refused { remedy, .. } => *remedy,
        }
    }

    /// The code of the refusal, if it has one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => code.as_deref(),
            Self::Unreachable(_) | Self::NotUnderstood { .. } => None,
        }
    }

    /// Whether the server itself found fault with what was sent, so that an event which fails
    /// alone can never be recorded. A bare status may come from a proxy and does not count.
    #[must_use]
    pub const fn is_fault_of_events(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: Some(_),
                remedy: Remedy::Split,
                ..
            }
        )
    }
}

/// A device that has enrolled, with its access key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    /// Its id.
    pub device_id: String,
    /// The site at which it is registered.
    pub site_id: String,
    /// Its access key.
    pub secret: String,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolled")
            .field("device_id", &self.device_id)
            .field("site_id", &self.site_id)
            .finish_non_exhaustive()
    }
}

/// Why a device did not enrol.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// The request failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server would not have it.
    #[error("the server refused to enrol the device: {message}")]
    Refused {
        /// Why.
        message: String,
    },
}

/// An answer over HTTP, as far as it matters.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<Fault>,
}

#[derive(Deserialize)]
struct Anything {
    data: Option<serde_json::Value>,
    #[serde(default)]
    errors: Vec<Fault>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "recordEvents")]
    record_events: Option<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct EnrolAnswer {
    data: Option<EnrolData>,
    #[serde(default)]
    errors: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnrolData {
    enrol_device: Option<EnrolPayload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnrolPayload {
    device_id: Option<String>,
    site_id: Option<String>,
    secret: Option<String>,
    user_errors: Vec<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    message: String,
}

#[derive(Default, Deserialize)]
struct Fault {
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    code: Option<String>,
    retryable: Option<bool>,
    retry_after_ms: Option<u64>,
}

impl Received {
    /// The outcomes of the first events sent, in their order and without a gap; at least one.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn outcomes(&self, sent: usize) -> Result<Vec<Outcome>, CallError> {
        let Ok(answer) = serde_json::from_slice::<Answer>(&self.body) else {
            return Err(self.without_answer());
        };
        if let Some(payload) = answer.data.and_then(|data| data.record_events) {
            let outcomes = in_order(payload.outcomes, sent);
            return if outcomes.is_empty() {
                Err(self.not_understood("it has no outcome for the first event"))
            } else {
                Ok(outcomes)
            };
        }
        match answer.errors.into_iter().next() {
            Some(fault) => Err(self.refused(fault.extensions)),
            None => Err(self.without_answer()),
        }
    }

    /// The data of an answer without errors.
    ///
    /// # Errors
    /// When there are errors, or there is no data.
    pub(super) fn data(&self) -> Result<serde_json::Value, CallError> {
        let Ok(answer) = serde_json::from_slice::<Anything>(&self.body) else {
            return Err(self.without_answer());
        };
        match (answer.errors.into_iter().next(), answer.data) {
            (Some(fault), _) => Err(self.refused(fault.extensions)),
            (None, Some(data)) => Ok(data),
            (None, None) => Err(self.without_answer()),
        }
    }

    /// The device that has enrolled.
    ///
    /// # Errors
    /// When it has not.
    pub(super) fn enrolled(&self) -> Result<Enrolled, EnrolError> {
        let Ok(answer) = serde_json::from_slice::<EnrolAnswer>(&self.body) else {
            return Err(self.without_answer().into());
        };
        if let Some(payload) = answer.data.and_then(|data| data.enrol_device) {
            if let Some(error) = payload.user_errors.into_iter().next() {
                let message = error.message;
                return Err(EnrolError::Refused { message });
            }
            let enrolled = payload.device_id.zip(payload.site_id).zip(payload.secret);
            return match enrolled {
                Some(((device_id, site_id), secret)) => Ok(Enrolled {
                    device_id,
                    site_id,
                    secret,
                }),
                None => Err(self.not_understood("it has no access key").into()),
            };
        }
        match answer.errors.into_iter().next() {
            Some(fault) => Err(self.refused(fault.extensions).into()),
            None => Err(self.without_answer().into()),
        }
    }

    fn refused(&self, extensions: Extensions) -> CallError {
        let asked = extensions.retry_after_ms.map(Duration::from_millis);
        let remedy = match extensions.code.as_deref() {
            Some("OVERLOADED" | "RATE_LIMITED" | "UNAVAILABLE" | "TIMEOUT" | "INTERNAL") => {
                Remedy::Retry(asked.max(self.retry_after))
            }
            Some("BAD_INPUT" | "LIMIT_EXCEEDED") => Remedy::Split,
            _ if extensions.retryable == Some(true) => Remedy::Retry(asked.max(self.retry_after)),
            Some(_) => Remedy::Hold,
            None => remedy_of_status(self.status, self.retry_after),
        };
        CallError::Refused {
            status: self.status,
            code: extensions.code,
            remedy,
        }
    }

    fn without_answer(&self) -> CallError {
        if (200..300).contains(&self.status) {
            return self.not_understood("it is not an answer of GraphQL");
        }
        CallError::Refused {
            status: self.status,
            code: None,
            remedy: remedy_of_status(self.status, self.retry_after),
        }
    }

    fn not_understood(&self, what: &'static str) -> CallError {
        CallError::NotUnderstood {
            status: self.status,
            what,
        }
    }
}

fn remedy_of_status(status: u16, retry_after: Option<Duration>) -> Remedy {
    match status {
        408 | 425 | 429 | 500..=599 => Remedy::Retry(retry_after),
        413 => Remedy::Split,
        200..300 => Remedy::Retry(None),
        _ => Remedy::Hold,
    }
}

/// Outcomes 0, 1, 2 … up to the first that is missing; further ones are left out, and their events
/// sent again.
fn in_order(mut outcomes: Vec<Outcome>, sent: usize) -> Vec<Outcome> {
    outcomes.sort_by_key(|outcome| outcome.index);
    outcomes.dedup_by_key(|outcome| outcome.index);
    let whole = outcomes
        .iter()
        .enumerate()
        .take_while(|(place, outcome)| outcome.index == *place && *place < sent)
        .count();
    outcomes.truncate(whole);
    outcomes
}

/// The wait of a `Retry-After` header: seconds or a date.
pub(super) fn retry_after(header: Option<&HeaderValue>, now: Instant) -> Option<Duration> {
    let text = header?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = Instant::of(DateTime::parse_from_rfc2822(text).ok()?.to_utc());
    let microseconds = u64::try_from(at.0.saturating_sub(now.0)).ok()?;
    Some(Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Vec<Outcome>, CallError> {
        let received = Received {
            status,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        };
        received.outcomes(3)
    }

    fn remedy(status: u16, body: &str) -> Remedy {
        read(status, body).unwrap_err().remedy()
    }

    fn coded(code: &str) -> String {
        format!(r#"{{"data":null,"errors":[{{"message":"x","extensions":{{"code":"{code}"}}}}]}}"#)
    }

    #[test]
    fn codes_that_pass_are_tried_again_at_any_status() {
        for code in [
            "OVERLOADED",
            "RATE_LIMITED",
            "UNAVAILABLE",
            "TIMEOUT",
            "INTERNAL",
        ] {
            for status in [200, 400, 429, 503] {
                assert_eq!(remedy(status, &coded(code)), Remedy::Retry(None), "{code}");
            }
        }
    }

    #[test]
    fn fault_of_the_input_splits_and_fault_of_the_caller_holds() {
        assert_eq!(remedy(200, &coded("BAD_INPUT")), Remedy::Split);
        assert_eq!(remedy(400, &coded("VALIDATION_FAILED")), Remedy::Hold);
        assert_eq!(remedy(401, &coded("UNAUTHENTICATED")), Remedy::Hold);
        assert_eq!(remedy(200, &coded("SOMETHING_NEW")), Remedy::Hold);
    }

    #[test]
    fn bare_statuses_have_their_remedies() {
        let waits = [408, 429, 500, 502, 503, 504];
        assert!(
            waits
                .iter()
                .all(|status| remedy(*status, "") == Remedy::Retry(None))
        );
        assert!(
            [301, 400, 401, 403, 404]
                .iter()
                .all(|status| remedy(*status, "<p>") == Remedy::Hold)
        );
        assert_eq!(remedy(413, ""), Remedy::Split);
        assert!(!read(413, "").unwrap_err().is_fault_of_events());
        assert!(
            read(200, &coded("BAD_INPUT"))
                .unwrap_err()
                .is_fault_of_events()
        );
    }

    #[test]
    fn login_page_of_a_network_is_no_answer() {
        assert_eq!(remedy(200, "<html>Sign in</html>"), Remedy::Retry(None));
    }

    #[test]
    fn longer_of_the_two_waits_that_the_server_asks_for_counts() {
        let body = r#"{"errors":[{"extensions":{"code":"OVERLOADED","retryAfterMs":1500}}]}"#;
        let received = |seconds| Received {
            status: 503,
            retry_after: Some(Duration::from_secs(seconds)),
            body: body.as_bytes().to_vec(),
        };
        let remedy = |seconds| received(seconds).outcomes(1).unwrap_err().remedy();
        assert_eq!(remedy(1), Remedy::Retry(Some(Duration::from_millis(1_500))));
        assert_eq!(remedy(2), Remedy::Retry(Some(Duration::from_secs(2))));
    }

    #[test]
    fn outcomes_count_up_to_the_first_that_is_missing() {
        let body = |indexes: &[usize]| {
            let outcomes: Vec<_> = indexes
                .iter()
                .map(|index| serde_json::json!({ "index": index, "status": "RECORDED" }))
                .collect();
            serde_json::json!({ "data": { "recordEvents": { "outcomes": outcomes } } }).to_string()
        };
        assert_eq!(read(200, &body(&[1, 0, 2])).unwrap().len(), 3);
        assert_eq!(read(200, &body(&[0, 2])).unwrap().len(), 1);
        assert_eq!(read(200, &body(&[0, 1, 2, 3])).unwrap().len(), 3);
        assert_eq!(remedy(200, &body(&[1, 2])), Remedy::Retry(None));
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = Instant::parse("2026-11-23T08:30:00Z").unwrap();
        let wait = |text: &'static str| retry_after(Some(&HeaderValue::from_static(text)), now);
        assert_eq!(wait("120"), Some(Duration::from_mins(2)));
        assert_eq!(
            wait("Mon, 23 Nov 2026 08:31:00 GMT"),
            Some(Duration::from_mins(1))
        );
        assert_eq!(wait("Mon, 23 Nov 2026 08:29:00 GMT"), None);
        assert_eq!(wait("soon"), None);
    }
}
