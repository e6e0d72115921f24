//! The staff of the shops at the console: sessions of views, searches, clicks and forms.

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use rand::RngExt;
use serde_json::{Value, json};

use super::random::{Rng, event_id, pick, seconds_between, stream};
use super::site::Site;
use super::wire::event;

/// Says that a stream of random numbers belongs to a person.
const STREAM: u64 = 0x57af;

/// People at each site.
pub(super) const AT_SITE: usize = 2;

/// People of a fleet at most.
pub(super) const PEOPLE_MAX: usize = 400;

/// Local hours in which people work at the console.
const WORKING_HOURS: std::ops::Range<u32> = 8..19;

#[derive(Debug)]
struct Page {
    url: &'static str,
    buttons: &'static [&'static str],
}

const HOME: Page = Page {
    url: "/dashboard",
    buttons: &["refresh", "open-alerts"],
};

const PAGES: [Page; 6] = [
    HOME,
    Page {
        url: "/devices",
        buttons: &["sort-by-state", "export-csv", "restart-device"],
    },
    Page {
        url: "/sites",
        buttons: &["show-map", "edit-hours"],
    },
    Page {
        url: "/jobs",
        buttons: &["run-health-check", "cancel-job"],
    },
    Page {
        url: "/errors",
        buttons: &["acknowledge", "copy-trace"],
    },
    Page {
        url: "/reports/sales",
        buttons: &["last-7-days", "export-csv"],
    },
];

const SEARCHES: [&str; 8] = [
    "offline",
    "pos-01-02",
    "printer",
    "firmware 4.12",
    "payment timeout",
    "refund",
    "till 3",
    "restart failed",
];

const FORMS: [&str; 4] = ["device-settings", "site-hours", "new-job", "alert-rule"];

/// Somebody who uses the console.
#[derive(Debug)]
pub(super) struct Person {
    /// Index of the site where the person works.
    pub(super) site: usize,
    id: String,
    rng: Rng,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    id: String,
    left: u32,
    page: usize,
}

impl Person {
    /// The person with a number (from 0) at a site.
    pub(super) fn new(seed: u64, (index, number): (usize, usize), site: &Site) -> Self {
        let place = |index| u64::try_from(index).unwrap_or_default();
        let role = if number == 0 { "manager" } else { "clerk" };
        Self {
            site: index,
            id: format!("{role}-{}", site.id),
            rng: stream(&[seed, STREAM, place(index), place(number)]),
            session: None,
        }
    }

    /// When the person first sits down; at the first site soon, whatever the hour.
    pub(super) fn first(&mut self, start: DateTime<Utc>) -> DateTime<Utc> {
        if self.site == 0 {
            self.begin_session();
            return start + seconds_between(&mut self.rng, 3, 30);
        }
        start + seconds_between(&mut self.rng, 60, 1_800)
    }

    /// Does the next thing; returns when to do the one after it.
    pub(super) fn act(
        &mut self,
        at: DateTime<Utc>,
        zone: Tz,
        out: &mut Vec<Value>,
    ) -> DateTime<Utc> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None if WORKING_HOURS.contains(&at.with_timezone(&zone).hour()) => {
                self.begin_session();
                return at + TimeDelta::seconds(1);
            }
            None => return at + seconds_between(&mut self.rng, 1_800, 5_400),
        };
        self.do_something(&mut session, at, out);
        if session.left > 0 {
            self.session = Some(session);
            return at + seconds_between(&mut self.rng, 3, 45);
        }
        at + seconds_between(&mut self.rng, 600, 4_200)
    }

    fn begin_session(&mut self) {
        self.session = Some(Session {
            id: format!("s-{:016x}", self.rng.random::<u64>()),
            left: self.rng.random_range(4..16),
            page: 0,
        });
    }

    fn do_something(&mut self, session: &mut Session, at: DateTime<Utc>, out: &mut Vec<Value>) {
        session.left = session.left.saturating_sub(1);
        let rng = &mut self.rng;
        let page = PAGES.get(session.page).unwrap_or(&HOME);
        let milliseconds = rng.random_range(120..2_500);
        let mut body = match rng.random_range(0..100) {
            0..28 => json!({
                "activityType": "BUTTON_CLICK",
                "elementId": pick(rng, page.buttons, &"refresh"),
            }),
            28..42 => json!({
                "activityType": "SEARCH_QUERY",
                "elementId": "search",
                "searchQuery": pick(rng, &SEARCHES, &"offline"),
            }),
            42..50 => json!({
                "activityType": "FORM_SUBMIT",
                "elementId": pick(rng, &FORMS, &"new-job"),
            }),
            _ => {
                session.page = rng.random_range(0..PAGES.len());
                json!({ "activityType": "PAGE_VIEW" })
            }
        };
        let page = PAGES.get(session.page).unwrap_or(&HOME);
        body["userId"] = Value::from(self.id.as_str());
        body["sessionId"] = Value::from(session.id.as_str());
        body["pageUrl"] = Value::from(page.url);
        body["durationMs"] = Value::from(milliseconds);
        let id = event_id(&mut self.rng, at);
        out.push(event("userActivity", at, Some(id), body));
    }
}
