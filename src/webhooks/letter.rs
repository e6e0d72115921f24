//! The mail that tells a step of an alert: plain text, whose headers nothing of the fleet can add to.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, Message};
use serde_json::Value;
use uuid::Uuid;

use crate::history::webhooks::DeliveryRow;

/// Characters at most of a subject.
const SUBJECT_CHARACTERS_MAX: usize = 200;

/// Who writes to whom, and what the mail belongs to.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    /// Who writes.
    pub(super) from: &'a Mailbox,
    /// Who is written to.
    pub(super) to: Mailbox,
    /// The delivery with which the alert began, unless it is this one.
    pub(super) begun_by: Option<Uuid>,
}

/// Writes the mail of a delivery. It is the same at each attempt.
pub(super) fn letter(
    row: &DeliveryRow,
    envelope: Envelope<'_>,
) -> Result<Message, lettre::error::Error> {
    let body: Value = serde_json::from_str(&row.body).unwrap_or_default();
    let step = Step(&body["event"]["alertTransition"]);
    let domain = envelope.from.email.domain().to_owned();
    let id = |delivery: Uuid| format!("<{delivery}@{domain}>");
    let written_at = Duration::from_micros(u64::try_from(row.created_at).unwrap_or(0));
    let mut letter = Message::builder()
        .message_id(Some(id(row.delivery_id)))
        .date(UNIX_EPOCH + written_at)
        .from(envelope.from.clone())
        .to(envelope.to)
        .subject(step.subject())
        // so that no automatic answer comes back (RFC 3834)
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .header(ContentType::TEXT_PLAIN);
    if let Some(begun_by) = envelope.begun_by {
        letter = letter.in_reply_to(id(begun_by)).references(id(begun_by));
    }
    let encoding = ContentTransferEncoding::QuotedPrintable;
    let text = Body::new_with_encoding(step.text(), encoding);
    letter.body(text.unwrap_or_else(Body::new))
}

/// A step of an alert, as it is sent.
struct Step<'a>(&'a Value);

impl Step<'_> {
    /// A field for people, on one line; `None` when it has none.
    fn field(&self, name: &str) -> Option<String> {
        let value = &self.0[name];
        let text = value.as_str().map(str::to_owned);
        let text = text.or_else(|| (!value.is_null()).then(|| value.to_string()));
        text.map(|text| one_line(&text))
    }

    fn title(&self) -> String {
        let name = self.field("ruleName").or_else(|| self.field("ruleId"));
        name.unwrap_or_default()
    }

    fn severity(&self) -> String {
        self.field("severity").unwrap_or_default()
    }

    fn state(&self) -> String {
        match self.0["state"].as_str() {
            Some("OPEN") => "opened".to_owned(),
            _ => self.field("state").unwrap_or_default().to_lowercase(),
        }
    }

    /// What it is for.
    fn place(&self) -> String {
        let device = self.field("deviceId");
        let thing = device.or_else(|| self.field("jobId").map(|job| format!("job {job}")));
        match (thing, self.field("siteId")) {
            (Some(thing), Some(site)) => format!("{thing} at {site}"),
            (Some(thing), None) => thing,
            (None, Some(site)) => site,
            (None, None) => "the fleet".to_owned(),
        }
    }

    fn subject(&self) -> String {
        let (severity, state, title) = (self.severity(), self.state(), self.title());
        let subject = format!("{severity} {state}: {title}, {}", self.place());
        subject.chars().take(SUBJECT_CHARACTERS_MAX).collect()
    }

    fn text(&self) -> String {
        let (title, state, place) = (self.title(), self.state(), self.place());
        let mut lines = vec![format!("{title} is {state} for {place}."), String::new()];
        for (name, field) in [
            ("Severity", "severity"),
            ("Device", "deviceId"),
            ("Site", "siteId"),
            ("Job", "jobId"),
            ("At", "occurredAt"),
            ("Measured", "value"),
            ("Threshold", "threshold"),
            ("By", "changedBy"),
            ("Why", "reason"),
        ] {
            lines.extend(self.field(field).map(|value| format!("{name}: {value}")));
        }
        let lasted = self.seconds("durationMs", 1_000);
        lines.extend(lasted.map(|seconds| format!("Lasted: {seconds} s")));
        let silenced = self.seconds("silencedSeconds", 1);
        lines.extend(silenced.map(|seconds| format!("Nobody is told for: {seconds} s")));
        let alert = self.field("alertId").unwrap_or_default();
        lines.extend([String::new(), format!("Alert {alert}"), String::new()]);
        lines.join("\r\n")
    }

    /// A length in seconds, of which a field has so many a second; large numbers are sent as texts.
    fn seconds(&self, field: &str, in_a_second: i64) -> Option<i64> {
        let value = &self.0[field];
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
        Some(number / in_a_second)
    }
}

/// A text on one line: what would end it, or means something to a terminal, is a space.
pub(super) fn one_line(text: &str) -> String {
    let ends = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    let plain = |letter: char| if ends(letter) { ' ' } else { letter };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(step: &Value, begun_by: Option<Uuid>) -> String {
        let row = DeliveryRow {
            delivery_id: Uuid::from_u128(1),
            webhook_id: "w".to_owned(),
            position: 7,
            alert_id: "a".to_owned(),
            body: json!({ "event": { "alertTransition": step } }).to_string(),
            state: "PENDING".to_owned(),
            attempts: 1,
            due_at: 0,
            claimed_until: None,
            created_at: 1_764_000_000_000_000,
            tried_at: None,
            status_code: None,
            error: None,
        };
        let from: Mailbox = "HOMEPOT <alerts@shop.example>".parse().unwrap();
        let envelope = Envelope {
            from: &from,
            to: "desk@shop.example".parse().unwrap(),
            begun_by,
        };
        let letter = letter(&row, envelope).unwrap();
        String::from_utf8(letter.formatted()).unwrap()
    }

    #[test]
    fn a_letter_is_plain_and_answers_the_one_with_which_the_alert_began() {
        let step = json!({ "alertId": "a", "ruleName": "Kühlung", "severity": "WARNING", "state": "RESOLVED",
            "siteId": "harbour", "durationMs": "61000", "reason": "it is heard of again" });
        insta::assert_snapshot!(written(&step, Some(Uuid::from_u128(2))), @r"
        Message-ID: <00000000-0000-0000-0000-000000000001@shop.example>
        Date: Mon, 24 Nov 2025 16:00:00 +0000
        From: HOMEPOT <alerts@shop.example>
        To: desk@shop.example
        Subject: WARNING resolved: =?utf-8?b?S8O8aGx1bmcs?= harbour
        Auto-Submitted: auto-generated
        Content-Type: text/plain; charset=utf-8
        In-Reply-To: <00000000-0000-0000-0000-000000000002@shop.example>
        References: <00000000-0000-0000-0000-000000000002@shop.example>
        Content-Transfer-Encoding: quoted-printable

        K=C3=BChlung is resolved for harbour.

        Severity: WARNING
        Site: harbour
        Why: it is heard of again
        Lasted: 61 s

        Alert a
        ");
    }

    #[test]
    fn no_text_of_the_fleet_becomes_a_header_or_a_line_of_its_own() {
        for end in ["\r\n", "\n", "\r", "\u{2028}", "\u{b}", "\r\n\r\n"] {
            let text = format!("x{end}Bcc: thief@evil.example{end}.{end}QUIT");
            let fields = [
                "ruleName", "deviceId", "siteId", "reason", "severity", "state",
            ];
            for name in fields {
                let written = written(&json!({ "alertId": "a", name: text }), None);
                assert!(!written.contains("\nBcc"), "{name}: {written}");
                assert!(!written.contains("\n.\r"), "{name}: {written}");
                let (head, _) = written.split_once("\r\n\r\n").unwrap();
                assert!(
                    head.contains("Content-Transfer-Encoding"),
                    "{name}: {written}"
                );
            }
        }
    }
}
