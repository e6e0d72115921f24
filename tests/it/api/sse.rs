//! Operations as server-sent events.

use reqwest::Response;
use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};
use super::inputs::error;

const FOLLOW: &str = "subscription { errorLogs { errorMessage } }";

/// A stream of events as it comes.
struct Events {
    response: Response,
    text: String,
}

async fn ask(app: &TestApp, query: &str, last: Option<&str>) -> Response {
    let query = query.replace(' ', "%20").replace('{', "%7B");
    let address = app.address(&format!("/graphql?query={query}"));
    let mut request = app.client().get(address);
    request = request.header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.send().await.unwrap()
}

impl Events {
    /// Asks by GET, as a browser does, after the last event that was seen.
    async fn open(app: &TestApp, query: &str, last: Option<&str>) -> Self {
        let response = ask(app, query, last).await;
        assert_eq!(response.status(), 200);
        let ty = &response.headers()["content-type"];
        assert_eq!(ty, "text/event-stream; charset=utf-8");
        let text = String::new();
        Self { response, text }
    }

    /// The next event: its name, id and data; `None` at the end.
    async fn next(&mut self) -> Option<(String, Option<String>, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event == ":" {
                    continue;
                }
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    line.map(|value| value.trim_start().to_owned())
                };
                let data = field("data").unwrap();
                let data = serde_json::from_str(&data).unwrap_or(Value::Null);
                return Some((field("event").unwrap(), field("id"), data));
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The message of the next error, and the id of its event.
    async fn message(&mut self) -> (String, String) {
        let (event, id, data) = self.next().await.unwrap();
        assert_eq!(event, "next");
        let message = &data["data"]["errorLogs"]["errorMessage"];
        (message.as_str().unwrap().to_owned(), id.unwrap())
    }
}

#[tokio::test]
async fn a_stream_of_events_goes_on_after_the_last_one_that_was_seen() {
    on_each_database(async |app| {
        app.fleet().await;
        let mut events = Events::open(app, FOLLOW, None).await;
        app.record(json!([error("one", "INFO"), error("two", "INFO")]))
            .await;
        let (message, last) = events.message().await;
        assert_eq!(message, "one");
        drop(events);
        app.record(json!([error("three", "INFO")])).await;
        let mut again = Events::open(app, FOLLOW, Some(&last)).await;
        assert_eq!(again.message().await.0, "two");
        assert_eq!(again.message().await.0, "three");
        app.record(json!([error("four", "INFO")])).await;
        let (message, last) = again.message().await;
        assert_eq!(message, "four");
        // it ends with the server, and goes on with the next one
        app.restart().await;
        assert_eq!(again.next().await, None);
        let mut after = Events::open(app, FOLLOW, Some(&last)).await;
        app.record(json!([error("five", "INFO")])).await;
        assert_eq!(after.message().await.0, "five");
    })
    .await;
}

#[tokio::test]
async fn what_ends_is_complete_and_what_cannot_be_executed_says_why() {
    on_each_database(async |app| {
        for (query, place) in [
            ("{ __typename }", "/data/__typename"),
            ("{", "/errors/0/message"),
        ] {
            let mut events = Events::open(app, query, None).await;
            let (event, id, data) = events.next().await.unwrap();
            assert_eq!((event.as_str(), id), ("next", None));
            assert!(data.pointer(place).is_some(), "{data}");
            let complete = ("complete".to_owned(), None, Value::Null);
            assert_eq!(events.next().await, Some(complete));
            assert_eq!(events.next().await, None);
        }
        // a subscription that is asked for like a query
        let code = app.code(FOLLOW).await;
        assert_eq!(code, "BAD_REQUEST");
    })
    .await;
}

/// A browser comes back to where a stream has ended for ever, and gives up at a status.
#[tokio::test]
async fn an_event_that_nothing_can_follow_is_a_final_answer() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        // the same place of another log
        let other = of_another_log(&head);
        for (last, status, code) in [
            ("of no log", 400, "BAD_INPUT"),
            (other.as_str(), 410, "CURSOR_EXPIRED"),
        ] {
            let response = ask(app, FOLLOW, Some(last)).await;
            assert_eq!(response.status(), status, "{last}");
            let answer: Value = response.json().await.unwrap();
            assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
        }
        // clients of the protocol give it as an argument, and read why
        let after = format!("subscription {{ errorLogs(after: \"{other}\") {{ cursor }} }}");
        let mut events = Events::open(app, &after, None).await;
        let (_, _, data) = events.next().await.unwrap();
        let code = &data["errors"][0]["extensions"]["code"];
        assert_eq!(code, "CURSOR_EXPIRED", "{data}");
        assert_eq!(events.next().await.unwrap().0, "complete");
        // what follows nothing begins after nothing
        let mut events = Events::open(app, "{ __typename }", Some("of no log")).await;
        let (_, _, data) = events.next().await.unwrap();
        assert_eq!(data["data"]["__typename"], "Query");
    })
    .await;
}

/// A cursor with the identity of another log.
fn of_another_log(cursor: &str) -> String {
    let at = if cursor.as_bytes()[4] == b'A' {
        'B'
    } else {
        'A'
    };
    format!("{}{at}{}", &cursor[..4], &cursor[5..])
}

#[tokio::test]
async fn by_get_the_operation_that_is_chosen_decides() {
    on_each_database(async |app| {
        let document = "query A { __typename } mutation B { __typename } \
            subscription C { errorLogs { cursor } }";
        let ask = async |name: &str, accept: &str| {
            let query = document.replace(' ', "%20").replace('{', "%7B");
            let address = format!("/graphql?query={query}&operationName={name}");
            let get = app.client().get(app.address(&address));
            get.header("accept", accept).send().await.unwrap()
        };
        let json = "application/graphql-response+json";
        let query = ask("A", json).await;
        assert_eq!(query.status(), 200);
        let mutation = ask("B", json).await;
        assert_eq!(mutation.status(), 405);
        assert_eq!(mutation.headers()["allow"], "POST");
        let subscription = ask("C", json).await;
        assert_eq!(subscription.status(), 406);
        let told: Value = subscription.json().await.unwrap();
        let told = told["errors"][0]["message"].as_str().unwrap();
        assert!(told.contains("text/event-stream"), "{told}");
        assert_eq!(ask("C", "text/event-stream").await.status(), 200);
        assert_eq!(ask("B", "text/event-stream").await.status(), 405);
        assert_eq!(ask("D", json).await.status(), 400);
    })
    .await;
}
