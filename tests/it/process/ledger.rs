//! Compares the log with what clients were told.

use std::collections::HashMap;

use homepot_analytics::event::Instant;
use serde_json::{Value, json};

use super::api::{Api, long};
use super::workload::{FIELDS, Keyed, Request, send};

/// The log as it was read, page by page.
#[derive(Default)]
pub(super) struct Ledger {
    /// Every event, by its position less one.
    pub(super) events: Vec<Value>,
    by_mark: HashMap<String, i64>,
}

impl Ledger {
    /// Reads what has come since, without a hole.
    pub(super) async fn read(&mut self, api: &Api, server: &str) {
        let after = self.events.last().map(|event| event["cursor"].clone());
        let after = after.and_then(|cursor| cursor.as_str().map(str::to_owned));
        for event in api.log(server, after, FIELDS).await {
            let position = long(&event["position"]);
            assert_eq!(position, self.head() + 1, "the log has a hole: {event}");
            if let Some(mark) = event["extra"]["mark"].as_str() {
                let first = self.by_mark.insert(mark.to_owned(), position);
                assert_eq!(first, None, "{mark} is there twice");
            }
            self.events.push(event);
        }
    }

    pub(super) fn head(&self) -> i64 {
        i64::try_from(self.events.len()).unwrap()
    }

    /// How many events of clients there are.
    pub(super) fn marks(&self) -> usize {
        self.by_mark.len()
    }

    fn at(&self, position: i64) -> &Value {
        &self.events[usize::try_from(position - 1).unwrap()]
    }

    /// The positions of a request's events: all or none, in one commit, each as it was written.
    fn found(&self, request: &Request) -> Option<Vec<i64>> {
        let position_of = |body: &Value| self.by_mark.get(body["extra"]["mark"].as_str()?).copied();
        let found: Vec<Option<i64>> = request
            .events()
            .map(|(_, body)| position_of(body))
            .collect();
        if found.iter().all(Option::is_none) {
            return None;
        }
        let positions: Option<Vec<i64>> = found.iter().copied().collect();
        let positions =
            positions.unwrap_or_else(|| panic!("a part is there: {found:?}, {request:?}"));
        let first = positions[0];
        let wanted: Vec<i64> = (first..).take(positions.len()).collect();
        assert_eq!(
            positions, wanted,
            "the events of one request stand together"
        );
        for ((kind, body), position) in request.events().zip(&positions) {
            let read = self.at(*position);
            assert_eq!(
                read["recordedAt"],
                self.at(first)["recordedAt"],
                "they are of one commit"
            );
            assert_same(kind, body, read);
        }
        Some(positions)
    }

    /// Checks a request that was answered.
    pub(super) fn check(&self, request: &Request) {
        assert_eq!(self.found(request), request.answer, "{request:?}");
    }

    /// Checks a request that was not answered, and sends it again if that may be done.
    pub(super) async fn settle(&self, api: &Api, server: &str, request: &mut Request) -> Settled {
        let found = self.found(request);
        if request.keyed == Keyed::Not {
            let settled = found.as_ref().map_or(Settled::Absent, |_| Settled::Present);
            if found.is_none() {
                // it is never sent again, and must never appear
                request.input = json!({ "events": [] });
            }
            request.answer = Some(found.unwrap_or_default());
            return settled;
        }
        let outcomes = send(api, server, request).await.expect("the server lives");
        let (statuses, positions): (Vec<String>, Vec<i64>) = outcomes.into_iter().unzip();
        let wanted = if found.is_some() {
            "DUPLICATE"
        } else {
            "RECORDED"
        };
        assert!(
            statuses.iter().all(|status| status == wanted),
            "{statuses:?}"
        );
        let settled = found.as_ref().map_or(Settled::Absent, |_| Settled::Present);
        if let Some(found) = found {
            assert_eq!(positions, found);
        }
        request.answer = Some(positions);
        settled
    }
}

/// Whether a request without an answer had been recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Present,
    Absent,
}

/// Checks that an event is read as it was written.
fn assert_same(kind: &str, body: &Value, read: &Value) {
    let instant = |value: &Value| Instant::parse(value.as_str().unwrap()).unwrap();
    for (name, written) in body.as_object().unwrap() {
        match name.as_str() {
            "occurredAt" => assert_eq!(instant(written), instant(&read[name])),
            "extra" | "eventId" => assert_eq!(written, &read[name]),
            _ => {
                let read = read.get(format!("{kind}_{name}"));
                if kind == "configurationChange"
                    && matches!(name.as_str(), "entityType" | "parameterName")
                {
                    continue;
                }
                if kind == "apiRequest" && matches!(name.as_str(), "method" | "responseTimeMs") {
                    continue;
                }
                assert_eq!(Some(written), read, "{kind}.{name}");
            }
        }
    }
}
