//! A whole server for a test, in this process, on a database of its own: SQLite always, and
//! PostgreSQL too when `HOMEPOT_TEST_POSTGRES` names a server. Its clock stands until it is moved.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use futures_util::FutureExt;
use homepot_analytics::app::{Access, App, Start};
use homepot_analytics::clock::Clock;
use homepot_analytics::config::LimitArgs;
use homepot_analytics::event::Instant;
use homepot_analytics::exports::ExportsArgs;
use homepot_analytics::ingest::Ingest;
use homepot_analytics::places::Place;
use homepot_analytics::store::Location;
use sea_orm::DatabaseConnection;
use serde_json::{Value, json};

use super::socket::Socket;
use crate::support::{self, Backend};

/// When every test begins, a Monday.
pub(super) const NOON: &str = "2026-11-23T12:00:00Z";

/// A running server.
pub(super) struct TestApp {
    app: Option<App>,
    pub(super) clock: Clock,
    url: String,
    client: reqwest::Client,
}

/// Runs a test on each database; what was made for it is removed, also when it fails.
pub(super) async fn on_each_database(test: impl AsyncFn(&mut TestApp)) {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let Some(database) = support::Database::make(backend).await else {
            continue;
        };
        let url = database.location().url;
        let ran = AssertUnwindSafe(run(&url, &test)).catch_unwind().await;
        database.remove().await;
        if let Err(panic) = ran {
            std::panic::resume_unwind(panic);
        }
    }
}

async fn run(url: &str, test: impl AsyncFn(&mut TestApp)) {
    let clock = Clock::by_hand(Instant::parse(NOON).unwrap());
    let app = start(url, clock.clone()).await;
    // without a certificate store: it speaks to this machine only, and not encrypted
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut app = TestApp {
        app: Some(app),
        clock,
        url: url.to_owned(),
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    test(&mut app).await;
    if let Some(app) = app.app.take() {
        app.stop().await;
    }
    let folders = [exports(url), segments(url)].into_iter().flatten();
    for folder in folders.filter(|folder| folder.exists()) {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

pub(super) fn location(url: &str) -> Location {
    Location {
        url: url.to_owned(),
        readers_max: 4,
        reads_within: None,
        create: true,
        segments: segments(url).map(Place::Folder),
        ..Location::default()
    }
}

/// Where what is archived lies: beside a file, and of PostgreSQL in a folder that is removed with it.
pub(super) fn segments(url: &str) -> Option<PathBuf> {
    let name = url.strip_prefix("postgres://")?.rsplit('/').next()?;
    Some(std::env::temp_dir().join(format!("{name}.segments")))
}

/// Where exports lie: beside a file, and of PostgreSQL in a folder that is removed with it.
pub(super) fn exports(url: &str) -> Option<PathBuf> {
    let name = url.strip_prefix("postgres://")?.rsplit('/').next()?;
    Some(std::env::temp_dir().join(format!("{name}.exports")))
}

/// Starts a server on a database.
pub(super) async fn start(url: &str, clock: Clock) -> App {
    let limits = LimitArgs {
        drain_seconds: 1,
        ..LimitArgs::default()
    };
    start_with(url, clock, limits).await
}

pub(super) async fn start_with(url: &str, clock: Clock, limits: LimitArgs) -> App {
    start_for(Access::Open, url, clock, limits).await
}

async fn start_for(access: Access, url: &str, clock: Clock, limits: LimitArgs) -> App {
    let start = Start {
        limits,
        ..beginning(access, url, clock)
    };
    App::start(start).await.unwrap()
}

fn beginning(access: Access, url: &str, clock: Clock) -> Start {
    Start {
        access,
        location: location(url),
        listen: "127.0.0.1:0".parse().unwrap(),
        name: "test".to_owned(),
        documents: homepot_analytics::http::Documents::default(),
        tokens: homepot_analytics::identity::TokenArgs::default(),
        edge: homepot_analytics::http::EdgeArgs::default(),
        webhooks: homepot_analytics::webhooks::WebhookArgs::default(),
        mailer: None,
        exports: ExportsArgs {
            exports: exports(url).map(Place::Folder),
            ..ExportsArgs::default()
        },
        lake: None,
        preferred: homepot_analytics::analytics::provenance::Preferred::Real,
        keyring: homepot_analytics::configuration::Keyring::default(),
        tls: None,
        allowed_hosts: Vec::new(),
        limits: LimitArgs {
            drain_seconds: 1,
            ..LimitArgs::default()
        },
        clock,
    }
}

impl TestApp {
    /// Stops the server and starts it again on the same database.
    pub(super) async fn restart(&mut self) {
        self.stop().await;
        self.app = Some(start(&self.url, self.clock.clone()).await);
    }

    /// Stops the server.
    pub(super) async fn stop(&mut self) {
        self.app.take().unwrap().stop().await;
    }

    /// Starts the server again after it was stopped.
    pub(super) async fn start_again(&mut self) {
        self.app = Some(start(&self.url, self.clock.clone()).await);
    }

    /// Stops the server and starts it again with other limits.
    pub(super) async fn restart_with(&mut self, limits: LimitArgs) {
        self.stop().await;
        self.app = Some(start_with(&self.url, self.clock.clone(), limits).await);
    }

    /// Stops the server and starts it again so that it lets in only who has a key.
    pub(super) async fn close_to_strangers(&mut self) {
        self.close_with(LimitArgs::default()).await;
    }

    /// The same, with other limits.
    pub(super) async fn close_with(&mut self, limits: LimitArgs) {
        self.stop().await;
        let clock = self.clock.clone();
        self.app = Some(start_for(Access::Closed, &self.url, clock, limits).await);
    }

    /// Stops the server and starts it again with something else about it, closed to strangers.
    pub(super) async fn restart_as(&mut self, change: impl FnOnce(&mut Start)) {
        self.stop().await;
        let mut start = beginning(Access::Closed, &self.url, self.clock.clone());
        change(&mut start);
        self.app = Some(App::start(start).await.unwrap());
    }

    /// Stops the server, writes to its log as a server would that died thereafter, and starts it.
    pub(super) async fn restart_after(&mut self, write: impl AsyncFnOnce(Ingest)) {
        self.stop().await;
        let limits = LimitArgs::default();
        let opened = homepot_analytics::app::open(location(&self.url), &limits, self.clock.clone());
        let (store, tasks) = opened.await.unwrap();
        write(Ingest::new(store)).await;
        tasks.stop().await;
        self.app = Some(start(&self.url, self.clock.clone()).await);
    }

    /// The address of the database.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The server.
    pub(super) fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    /// A connection of its own to the database, for doing harm to it.
    pub(super) async fn database(&self) -> DatabaseConnection {
        support::connect(&self.url).await
    }

    /// An address of the server.
    pub(super) fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.app().address)
    }

    /// The client, for requests that are not GraphQL.
    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The whole answer to a request, as it is written.
    pub(super) async fn text(&self, request: Value) -> String {
        let request = self.client.post(self.address("/graphql")).json(&request);
        request.send().await.unwrap().text().await.unwrap()
    }

    /// The whole answer to a request, its fields in the order of their names.
    pub(super) async fn query(&self, request: Value) -> Value {
        let mut answer: Value = serde_json::from_str(&self.text(request).await).unwrap();
        answer.sort_all_objects();
        answer
    }

    /// The data of a document without variables that must not fail.
    pub(super) async fn data(&self, document: &str) -> Value {
        self.data_with(document, json!({})).await
    }

    /// The data of a document that must not fail.
    pub(super) async fn data_with(&self, document: &str, variables: Value) -> Value {
        let request = json!({ "query": document, "variables": variables });
        let mut answer = self.query(request).await;
        assert!(answer.get("errors").is_none(), "{document}: {answer:#}");
        answer["data"].take()
    }

    /// The code of the error with which a document must fail.
    pub(super) async fn code(&self, document: &str) -> String {
        self.code_with(document, json!({})).await
    }

    /// The code of the error with which a document must fail.
    pub(super) async fn code_with(&self, document: &str, variables: Value) -> String {
        let request = json!({ "query": document, "variables": variables });
        let answer = self.query(request).await;
        let code = answer["errors"][0]["extensions"]["code"].as_str();
        code.unwrap_or_else(|| panic!("{document}: {answer:#}"))
            .to_owned()
    }

    /// The outcomes of events.
    pub(super) async fn outcomes(&self, events: Value) -> Value {
        let mut data = self
            .data_with(RECORD, json!({ "input": { "events": events } }))
            .await;
        data["recordEvents"]["outcomes"].take()
    }

    /// Records events, all of which must be new, and awaits that the projections have them.
    pub(super) async fn record(&self, events: Value) -> Vec<i64> {
        let positions = self.recorded(events).await;
        self.settled(last(&positions)).await;
        positions
    }

    /// The same, and does not await what is put off of them.
    pub(super) async fn record_folded(&self, events: Value) -> Vec<i64> {
        let positions = self.recorded(events).await;
        let mut folded = self.app().folded.clone();
        let folded = folded.wait_for(|folded| folded.0 >= last(&positions));
        folded.await.unwrap();
        positions
    }

    async fn recorded(&self, events: Value) -> Vec<i64> {
        let outcomes = self.outcomes(events).await;
        let position = |outcome: &Value| {
            assert_eq!(outcome["status"], "RECORDED", "{outcome:#}");
            outcome["position"].as_str().unwrap().parse().unwrap()
        };
        outcomes.as_array().unwrap().iter().map(position).collect()
    }

    async fn settled(&self, position: i64) {
        let mut settled = self.app().settled.clone();
        let settled = settled.wait_for(|settled| settled.0 >= position);
        settled.await.unwrap();
    }

    /// Waits until the projections have folded what the log holds now.
    pub(super) async fn settle(&self) {
        self.settled(self.app().ingest.store().head().0).await;
    }

    /// Registers two sites, `harbour` with the devices `till-1` and `till-2`, `market` with `till-3`.
    pub(super) async fn fleet(&self) {
        let site = |id: &str, name: &str| {
            json!({ "siteRegistration": {
            "siteId": id, "name": name, "timeZone": "Europe/London", "currency": "GBP" } })
        };
        let device = |id: &str, site: &str| {
            json!({ "deviceRegistration": {
            "deviceId": id, "siteId": site, "deviceType": "POS_TERMINAL", "name": format!("Till {id}") } })
        };
        self.record(json!([
            site("harbour", "Harbour shop"),
            site("market", "Market hall"),
            device("till-1", "harbour"),
            device("till-2", "harbour"),
            device("till-3", "market"),
        ]))
        .await;
    }

    /// Cursor of the head: what is recorded from now on comes after it.
    pub(super) async fn head(&self) -> String {
        let data = self.data("{ storeHealth { cursor } }").await;
        data["storeHealth"]["cursor"].as_str().unwrap().to_owned()
    }

    /// A socket on which subscriptions can be made.
    pub(super) async fn socket(&self) -> Socket {
        Socket::open(self.app().address).await
    }
}

/// The mutation with everything that an outcome says.
pub(super) const RECORD: &str =
    "mutation($input: RecordEventsInput!) { recordEvents(input: $input) {
    outcomes { index status position code field message cursor } clientMutationId } }";

/// A time so many minutes after noon, or before it.
pub(super) fn at(minutes: i64) -> String {
    let noon = Instant::parse(NOON).unwrap();
    noon.plus_ms(minutes * 60_000).to_string()
}

/// The texts of one field of a list of objects.
pub(super) fn texts(rows: &Value, field: &str) -> Vec<String> {
    let rows = rows.as_array().unwrap_or_else(|| panic!("no list: {rows}"));
    let text = |row: &Value| match &row[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    rows.iter().map(text).collect()
}

fn last(positions: &[i64]) -> i64 {
    positions.iter().max().map_or(0, |last| *last)
}
