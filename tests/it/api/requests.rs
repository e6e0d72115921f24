//! This server's own requests and faults, as events.

use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use entity::api_request_logs::Column;
use homepot_analytics::clock::Clock;
use homepot_analytics::ingest::{Background, RequestLog};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::app::{TestApp, on_each_database};
use super::socket::Socket;

const REQUESTS: &str = "subscription($a: String) { apiRequests(after: $a) {
    endpoint method operationName statusCode ipAddress userAgent errorMessage provenance responseTimeMs requestBytes } }";

async fn requests(app: &TestApp) -> (Socket, String) {
    let head = app.app().ingest.store().head();
    let mut socket = app.socket().await;
    // the opening of the socket is itself a request
    let mut moved = app.app().ingest.store().watch_head();
    moved.wait_for(|now| *now > head).await.unwrap();
    let data = app.data("{ storeHealth { cursor } }").await;
    let id = socket
        .subscribe(REQUESTS, json!({ "a": data["storeHealth"]["cursor"] }))
        .await;
    let own = socket.data(&id).await;
    assert_eq!(own["apiRequests"]["endpoint"], "/graphql");
    (socket, id)
}

async fn next(socket: &mut Socket, id: &str) -> Value {
    let mut data = socket.data(id).await;
    let mut request = data["apiRequests"].take();
    assert!(request["responseTimeMs"].take().is_f64());
    request
}

#[tokio::test]
async fn a_request_is_recorded_with_its_operation_status_and_cut_address() {
    on_each_database(async |app| {
        let (mut socket, id) = requests(app).await;
        app.data("query Who { viewer { name } }").await;
        let shown = next(&mut socket, &id).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @r#"{"endpoint":"/graphql","errorMessage":null,"ipAddress":"127.0.0.0/24","method":"POST","operationName":"Who","provenance":"REAL","requestBytes":"56","responseTimeMs":null,"statusCode":200,"userAgent":null}"#);
        }
    })
    .await;
}

#[tokio::test]
async fn routes_are_recorded_by_their_templates_and_unknown_paths_as_no_route() {
    on_each_database(async |app| {
        let (mut socket, id) = requests(app).await;
        for (path, endpoint, status) in [
            ("/graphiql", "/graphiql", 200),
            ("/graphiql/boot.js", "/graphiql/{file}", 200),
            ("/graphiql/none.js", "/graphiql/{file}", 404),
            ("/secret/4711?token=abc", "(no route)", 404),
        ] {
            let request = app
                .client()
                .get(app.address(path))
                .header("user-agent", "probe/1");
            request.send().await.unwrap();
            let recorded = next(&mut socket, &id).await;
            assert_eq!(recorded["endpoint"], endpoint);
            assert_eq!(recorded["statusCode"], status);
            assert_eq!(recorded["userAgent"], "probe/1");
        }
    })
    .await;
}

#[tokio::test]
async fn requests_that_watch_over_the_server_are_not_recorded() {
    on_each_database(async |app| {
        let (mut socket, id) = requests(app).await;
        for path in ["/healthz", "/readyz", "/metrics", "/graphiql"] {
            app.client().get(app.address(path)).send().await.unwrap();
        }
        assert_eq!(next(&mut socket, &id).await["endpoint"], "/graphiql");
    })
    .await;
}

#[tokio::test]
async fn metrics_leave_out_what_the_database_does_not_have() {
    on_each_database(async |app| {
        let scrape = app.client().get(app.address("/metrics"));
        let text = scrape.send().await.unwrap().text().await.unwrap();
        let is_file = app.app().ingest.store().file().is_some();
        for name in ["homepot_disk_free_bytes ", "homepot_wal_bytes "] {
            let is_shown = text.lines().any(|line| line.starts_with(name));
            assert_eq!(is_shown, is_file, "{name}: {text}");
        }
    })
    .await;
}

async fn scrape(app: &TestApp) -> String {
    // what this server says of itself is appended behind its requests
    while app.app().ingest.store().queued_events() > 0 {
        tokio::task::yield_now().await;
    }
    let scrape = app.client().get(app.address("/metrics"));
    scrape.send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn metrics_tell_of_the_queue_as_it_is_and_of_appends_that_failed() {
    on_each_database(async |app| {
        app.fleet().await;
        let text = scrape(app).await;
        assert!(text.contains("homepot_append_queue_events 0\n"), "{text}");
        assert!(text.contains("homepot_append_failed_total 0\n"), "{text}");
        let harm = app.database().await;
        let drop = "DROP TABLE configuration_history CASCADE";
        let drop = match harm.get_database_backend() {
            sea_orm::DbBackend::Sqlite => drop.trim_end_matches(" CASCADE"),
            _ => drop,
        };
        sea_orm::ConnectionTrait::execute_unprepared(&harm, drop)
            .await
            .unwrap();
        let change = json!([{ "configurationChange": {
            "entityType": "DEVICE", "entityId": "till-1", "changedBy": "me",
            "parameterName": "volume", "newValue": 3 } }]);
        let input = json!({ "input": { "events": change } });
        let code = app.code_with(super::app::RECORD, input).await;
        assert_eq!(code, "INTERNAL");
        let text = scrape(app).await;
        assert!(text.contains("homepot_append_failed_total 1\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn metrics_count_every_subscription_of_a_socket() {
    on_each_database(async |app| {
        let (mut socket, _) = requests(app).await;
        for _ in 0..3 {
            // from here on, so that it gets the request whether or not it had begun by then
            let from = app.head().await;
            let id = socket.subscribe(REQUESTS, json!({ "a": from })).await;
            app.data("{ viewer { name } }").await;
            next(&mut socket, &id).await;
        }
        let scrape = app.client().get(app.address("/metrics"));
        let text = scrape.send().await.unwrap().text().await.unwrap();
        assert!(text.contains("homepot_socket_operations 4\n"), "{text}");
        assert!(text.contains("homepot_subscriber_sockets 1\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_failed_operation_is_recorded_with_its_error() {
    on_each_database(async |app| {
        let (mut socket, id) = requests(app).await;
        app.code("query Bad { weather }").await;
        let recorded = next(&mut socket, &id).await;
        assert_eq!(recorded["operationName"], "Bad");
        assert!(
            recorded["errorMessage"]
                .as_str()
                .unwrap()
                .contains("weather")
        );
    })
    .await;
}

#[tokio::test]
async fn a_fault_of_the_server_is_told_by_an_incident_and_recorded_as_an_error_log() {
    on_each_database(async |app| {
        app.fleet().await;
        let head = app.head().await;
        let harm = app.database().await;
        sea_orm::ConnectionTrait::execute_unprepared(&harm, "DROP TABLE configuration_values").await.unwrap();
        let answer = app
            .query(json!({ "query": "{ device(deviceId: \"till-1\") { configuration { value } } }" }))
            .await;
        let failed = &answer["errors"][0];
        assert_eq!(failed["extensions"]["code"], "INTERNAL");
        assert!(!failed["message"].as_str().unwrap().contains("configuration_values"));
        let incident = failed["extensions"]["incident"].as_str().unwrap();
        let mut socket = app.socket().await;
        let document = "subscription($a: String) { errorLogs(after: $a) { eventId category severity errorCode errorMessage context } }";
        let id = socket.subscribe(document, json!({ "a": head })).await;
        let recorded = socket.data(&id).await["errorLogs"].take();
        assert_eq!(recorded["eventId"], incident);
        assert_eq!(recorded["category"], "DATABASE");
        assert_eq!(recorded["severity"], "ERROR");
        assert_eq!(recorded["context"]["incident"], incident);
        assert!(recorded["errorMessage"].as_str().unwrap().contains("configuration_values"));
    })
    .await;
}

#[tokio::test]
async fn a_request_for_another_name_is_refused() {
    on_each_database(async |app| {
        let request = app
            .client()
            .get(app.address("/healthz"))
            .header("host", "evil.example");
        assert_eq!(request.send().await.unwrap().status(), 421);
    })
    .await;
}

#[tokio::test]
async fn queries_are_answered_by_get_and_mutations_are_not() {
    on_each_database(async |app| {
        let get = async |query: &str| {
            let url = reqwest::Url::parse_with_params(&app.address("/graphql"), [("query", query)])
                .unwrap();
            app.client().get(url).send().await.unwrap()
        };
        let answer = get("{ viewer { name } }")
            .await
            .json::<Value>()
            .await
            .unwrap();
        assert_eq!(answer["data"]["viewer"]["name"], "local");
        let refused =
            get("mutation { cancelJob(input: { jobId: \"1\" }) { job { state } } }").await;
        assert_eq!(refused.status(), 405);
        let text = app
            .client()
            .post(app.address("/graphql"))
            .body("{}")
            .send()
            .await
            .unwrap();
        assert_eq!(text.status(), 415);
    })
    .await;
}

#[tokio::test]
async fn a_request_whose_client_gives_up_is_recorded() {
    let (background, mut queue) = Background::new(10);
    let log = RequestLog {
        background,
        clock: Clock::system(),
        strangers: homepot_analytics::ingest::Strangers::default(),
    };
    let (begun, mut begins) = mpsc::channel::<()>(1);
    let slow = async move || {
        begun.send(()).await.unwrap();
        std::future::pending::<String>().await
    };
    let router = Router::new()
        .route("/slow/{name}", get(slow))
        .layer(from_fn_with_state(log, RequestLog::layer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = b"GET /slow/one HTTP/1.1\r\nhost: localhost\r\nuser-agent: probe/1\r\n\r\n";
    client.write_all(request).await.unwrap();
    begins.recv().await.unwrap();
    drop(client);
    let event = tokio::time::timeout(Duration::from_secs(20), queue.recv()).await;
    let fact = event.expect("it is recorded").unwrap().fact;
    assert_eq!(fact.cell(Column::Endpoint).text(), Some("/slow/{name}"));
    assert_eq!(fact.cell(Column::UserAgent).text(), Some("probe/1"));
    assert_eq!(fact.cell(Column::StatusCode).int(), Some(499));
    let told = fact.cell(Column::ErrorMessage).text();
    assert_eq!(told, Some("the client gave up before the answer"));
}

#[tokio::test]
async fn a_document_may_be_named_by_its_hash_on_every_transport() {
    on_each_database(async |app| {
        const TYPENAME: &str = "ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38";
        let named = json!({ "persistedQuery": { "version": 1, "sha256Hash": TYPENAME } });
        let unknown = app.query(json!({ "extensions": named })).await;
        let error = &unknown["errors"][0];
        assert_eq!(error["message"], "PersistedQueryNotFound", "{unknown}");
        assert_eq!(error["extensions"]["code"], "PERSISTED_QUERY_NOT_FOUND");
        let both = json!({ "query": "{__typename}", "extensions": named });
        let expected = json!({ "data": { "__typename": "Query" } });
        assert_eq!(app.query(both).await, expected);
        assert_eq!(app.query(json!({ "extensions": named })).await, expected);
        let extensions = named.to_string().replace('"', "%22").replace('{', "%7B");
        let address = app.address(&format!("/graphql?extensions={extensions}"));
        let answer = app.client().get(&address).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap(), expected);
        let unknown = address.replace("ecf4", "ecf5");
        let stream = app
            .client()
            .get(unknown)
            .header("accept", "text/event-stream");
        let events = stream.send().await.unwrap().text().await.unwrap();
        assert!(
            events.starts_with("event: next\ndata: {\"errors\":[{"),
            "{events}"
        );
        assert!(events.contains("PersistedQueryNotFound"), "{events}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_compressed_for_who_takes_that_and_kept_nowhere() {
    on_each_database(async |app| {
        app.fleet().await;
        let query = "{ __schema { types { name description } } }";
        let post = app.client().post(app.address("/graphql"));
        let post = post
            .header("accept-encoding", "gzip")
            .json(&json!({ "query": query }));
        let answer = post.send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let packed = answer.bytes().await.unwrap();
        let plain = app.text(json!({ "query": query })).await;
        let mut unpacked = String::new();
        let mut reader = flate2::read::GzDecoder::new(packed.as_ref());
        std::io::Read::read_to_string(&mut reader, &mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
        for path in ["/healthz", "/nothing", "/graphql"] {
            let answer = app.client().get(app.address(path)).send().await.unwrap();
            assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
            assert_eq!(
                answer.headers()["x-content-type-options"],
                "nosniff",
                "{path}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_of_another_site_asks_nothing_that_it_is_not_shown() {
    on_each_database(async |app| {
        for (site, mode, status) in [
            ("cross-site", "no-cors", 403),
            ("same-site", "cors", 403),
            ("cross-site", "navigate", 200),
            ("same-origin", "cors", 200),
            ("none", "navigate", 200),
        ] {
            let get = app
                .client()
                .get(app.address("/graphql?query=%7B__typename%7D"));
            let get = get
                .header("sec-fetch-site", site)
                .header("sec-fetch-mode", mode);
            assert_eq!(get.send().await.unwrap().status(), status, "{site} {mode}");
        }
    })
    .await;
}

#[tokio::test]
async fn extensions_that_nobody_knows_are_passed_over_however_large_they_are() {
    on_each_database(async |app| {
        let extensions = json!({ "tracing": vec![0; 1_000_000] });
        let answer = app
            .query(json!({ "query": "{ __typename }", "extensions": extensions }))
            .await;
        assert_eq!(answer, json!({ "data": { "__typename": "Query" } }));
    })
    .await;
}
