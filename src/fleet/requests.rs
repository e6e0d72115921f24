//! The calls that tills make to the API of the back office.

use chrono::{DateTime, Utc};
use rand::RngExt;
use serde_json::{Value, json};

use super::day::Day;
use super::device::Device;
use super::faults;
use super::health::State;
use super::random::{Rng, event_id, seconds_between, tenths};
use super::trouble::Trouble;
use super::wire::event;

#[derive(Debug)]
struct Route {
    method: &'static str,
    endpoint: &'static str,
    /// How often it is called against the others, in percent of calls of an open shop.
    share: u32,
    /// Milliseconds to answer, at least and usually at most.
    milliseconds: (f64, f64),
    request_bytes: (u32, u32),
    response_bytes: (u32, u32),
}

const SALES: &str = "/v1/sales";
const PAYMENTS: &str = "/v1/payments";

const HEARTBEAT: Route = Route {
    method: "POST",
    endpoint: "/v1/tills/{tillId}/heartbeat",
    share: 14,
    milliseconds: (4.0, 18.0),
    request_bytes: (180, 260),
    response_bytes: (40, 60),
};

const ROUTES: [Route; 6] = [
    Route {
        method: "GET",
        endpoint: "/v1/products/{sku}",
        share: 34,
        milliseconds: (6.0, 35.0),
        request_bytes: (0, 1),
        response_bytes: (420, 1_900),
    },
    Route {
        method: "POST",
        endpoint: SALES,
        share: 22,
        milliseconds: (18.0, 90.0),
        request_bytes: (600, 4_800),
        response_bytes: (180, 320),
    },
    Route {
        method: "POST",
        endpoint: PAYMENTS,
        share: 18,
        milliseconds: (240.0, 1_400.0),
        request_bytes: (380, 620),
        response_bytes: (260, 480),
    },
    Route {
        method: "GET",
        endpoint: "/v1/customers/{customerId}/loyalty",
        share: 8,
        milliseconds: (9.0, 60.0),
        request_bytes: (0, 1),
        response_bytes: (220, 700),
    },
    Route {
        method: "POST",
        endpoint: "/v1/refunds",
        share: 2,
        milliseconds: (40.0, 180.0),
        request_bytes: (320, 700),
        response_bytes: (180, 300),
    },
    Route {
        method: "GET",
        endpoint: "/v1/price-lists/current",
        share: 2,
        milliseconds: (60.0, 400.0),
        request_bytes: (0, 1),
        response_bytes: (38_000, 64_000),
    },
];

impl Device {
    /// When the first call is made, after the first report; the first device makes it soon.
    pub(super) fn first_request(&mut self, start: DateTime<Utc>) -> DateTime<Utc> {
        let most = if self.id == "pos-01-01" { 10 } else { 240 };
        self.due_at.max(start) + seconds_between(&mut self.rng, 3, most)
    }

    /// Makes a call, unless nothing can be heard from the device; returns when to make the next.
    pub(super) fn request(
        &mut self,
        at: DateTime<Utc>,
        day: &Day,
        out: &mut Vec<Value>,
    ) -> DateTime<Utc> {
        let open = day.is_open(at);
        if self.state != State::Unknown && !self.is_silent(at) {
            let route = route(open, &mut self.rng);
            self.call(route, at, out);
        }
        let (least, most) = if open { (40, 320) } else { (500, 1_300) };
        at + seconds_between(&mut self.rng, least, most)
    }

    fn call(&mut self, route: &Route, at: DateTime<Utc>, out: &mut Vec<Value>) {
        let trouble = self.trouble();
        let (status, message) = answer(route, trouble, &mut self.rng);
        let slow = trouble.map_or(1.0, Trouble::slowness);
        let rng = &mut self.rng;
        let (least, most) = route.milliseconds;
        let rare = if rng.random_bool(0.03) { 4.0 } else { 1.0 };
        let milliseconds = rng.random_range(least..most) * slow * rare;
        let request_bytes = bytes(route.request_bytes, rng);
        let response_bytes = match message {
            Some(_) => bytes((90, 260), rng),
            None => bytes(route.response_bytes, rng),
        };
        let body = json!({
            "endpoint": route.endpoint,
            "method": route.method,
            "statusCode": status,
            "responseTimeMs": tenths(milliseconds),
            "userId": self.id,
            "ipAddress": address(self.key),
            "userAgent": format!("till/{}", self.firmware()),
            "requestBytes": request_bytes,
            "responseBytes": response_bytes,
            "errorMessage": message,
        });
        let id = event_id(&mut self.rng, at);
        out.push(event("apiRequest", at, Some(id), body));
        self.log_failure(route, status, at, out);
    }

    fn log_failure(&mut self, route: &Route, status: u16, at: DateTime<Utc>, out: &mut Vec<Value>) {
        let fault = match status {
            500 if route.endpoint == SALES => &faults::DATABASE,
            500 => &faults::API,
            422 => &faults::VALIDATION,
            _ => return,
        };
        let id = event_id(&mut self.rng, at);
        let context = json!({ "statusCode": status, "method": route.method });
        let who = json!({
            "deviceId": self.id,
            "endpoint": route.endpoint,
            "context": context,
        });
        out.push(fault.log(at, id, who));
    }
}

fn route(open: bool, rng: &mut Rng) -> &'static Route {
    if !open {
        return &HEARTBEAT;
    }
    let mut draw = rng.random_range(0..100);
    for route in &ROUTES {
        if draw < route.share {
            return route;
        }
        draw -= route.share;
    }
    &HEARTBEAT
}

/// Status of an answer, and what the till says of it when it is no success.
fn answer(route: &Route, trouble: Option<Trouble>, rng: &mut Rng) -> (u16, Option<&'static str>) {
    if route.endpoint == PAYMENTS && trouble == Some(Trouble::PaymentDown) {
        return (503, Some("the payment gateway does not answer"));
    }
    let draw = rng.random_range(0..1_000);
    match (draw, route.method) {
        (0..3, _) => (500, Some("internal error")),
        (3..5, _) => (503, Some("the back office is overloaded")),
        (5..12, "GET") => (404, Some("not found")),
        (5..12, _) => (422, Some("the discount code has expired")),
        (12..15, "POST") => (409, Some("the sale was sent before")),
        (15..17, _) => (401, Some("the access token has expired")),
        (_, "POST") if route.endpoint != HEARTBEAT.endpoint => (201, None),
        _ => (200, None),
    }
}

fn bytes((least, most): (u32, u32), rng: &mut Rng) -> u32 {
    rng.random_range(least..most)
}

/// An address of the block that RFC 2544 sets apart for tests.
fn address(key: u64) -> String {
    let [a, b, c, ..] = key.to_le_bytes();
    format!("198.{}.{b}.{c}", 18 + (a & 1))
}
