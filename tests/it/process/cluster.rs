//! Several servers on one database, and clients that go to whichever answers.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::api::{Api, RECORD, Subscription, long};
use super::database::Database;
use super::program::{DEADLINE, Program};
use super::workload::{DEVICES, Keyed, Maker, Request};

/// From one try to the next of a client whom nobody has answered.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Servers on one database.
pub(super) struct Cluster {
    pub(super) database: Database,
    pub(super) api: Api,
    pub(super) servers: Vec<Program>,
    pub(super) addresses: watch::Sender<Vec<String>>,
}

impl Cluster {
    /// So many servers, all of which start at once on an empty database.
    pub(super) fn start(database: Database, count: usize) -> Self {
        let mut servers: Vec<Program> = (0..count).map(|_| begin(&database)).collect();
        let addresses = servers.iter_mut();
        let addresses = addresses.map(|server| server.address().expect("it serves"));
        let (addresses, _) = watch::channel(addresses.collect());
        Self {
            database,
            api: Api::new(),
            servers,
            addresses,
        }
    }

    pub(super) fn address(&self, index: usize) -> String {
        self.addresses.borrow()[index].clone()
    }

    /// Registers the site and the devices; the cursor of the first event.
    pub(super) async fn register(&self) -> String {
        let mut events = vec![json!({ "siteRegistration": { "siteId": "s0", "name": "Site" } })];
        events.extend((0..DEVICES).map(|device| {
            json!({ "deviceRegistration": { "deviceId": format!("d{device}"), "siteId": "s0",
                "deviceType": "POS_TERMINAL" } })
        }));
        let outcomes = self.api.record(&self.address(0), json!(events)).await;
        outcomes[0]["cursor"].as_str().unwrap().to_owned()
    }

    /// Starts one more server.
    pub(super) fn join(&mut self) {
        let mut server = begin(&self.database);
        let address = server.address().expect("it serves");
        self.servers.push(server);
        self.addresses.send_modify(|all| all.push(address));
    }

    /// Starts a server in the place of one that has gone.
    pub(super) fn restart(&mut self, index: usize) {
        let mut server = begin(&self.database);
        let address = server.address().expect("it serves");
        self.servers[index] = server;
        self.addresses.send_modify(|all| all[index] = address);
    }

    /// Which server does a work, as another sees it.
    pub(super) async fn holder(&self, asked: usize, work: &str) -> Option<usize> {
        let query = "{ storeHealth { nodes { address isAlive works } } }";
        let address = self.address(asked);
        let data = self.api.data(&address, query, json!({})).await;
        let nodes = data["storeHealth"]["nodes"].as_array().unwrap();
        let has = |node: &&Value| {
            let works = node["works"].as_array().unwrap();
            node["isAlive"] == true && works.contains(&json!(work))
        };
        let address = nodes.iter().find(has)?["address"].as_str()?;
        let all = self.addresses.borrow();
        all.iter().position(|known| known.ends_with(address))
    }
}

fn begin(database: &Database) -> Program {
    database.start(&["serve", "--no-authentication", "--listen", "127.0.0.1:0"])
}

/// What became of a request.
enum Told {
    /// Whether its events are new, and where they are.
    Answered(Vec<i64>),
    /// Nobody knows.
    Unknown,
}

async fn tell(api: &Api, server: &str, request: &Request) -> Told {
    let variables = json!({ "input": request.input });
    let Ok(answer) = api.call(server, RECORD, variables).await else {
        return Told::Unknown;
    };
    if let Some(error) = answer["errors"].get(0) {
        let code = error["extensions"]["code"].as_str().unwrap_or_default();
        assert!(["UNAVAILABLE", "OVERLOADED"].contains(&code), "{answer}");
        return Told::Unknown;
    }
    let Some(outcomes) = answer["data"]["recordEvents"]["outcomes"].as_array() else {
        // the body of an answer that was cut off, or one that says that the server stops
        return Told::Unknown;
    };
    let position = |outcome: &Value| {
        let status = outcome["status"].as_str().unwrap();
        assert!(["RECORDED", "DUPLICATE"].contains(&status), "{outcome}");
        long(&outcome["position"])
    };
    Told::Answered(outcomes.iter().map(position).collect())
}

/// Records request after request with whichever server answers, until it is told to stop. What may be
/// repeated is repeated until it is answered; of the rest an answer may be missing.
pub(super) async fn record_with_any(
    (api, seed): (Api, u64),
    addresses: watch::Receiver<Vec<String>>,
    mut maker: Maker,
    (acknowledged, stop): (watch::Sender<usize>, watch::Receiver<bool>),
) -> Vec<Request> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut requests = Vec::new();
    while !*stop.borrow() {
        let mut request = maker.request();
        request.answer = loop {
            let server = any(&addresses, &mut rng);
            match tell(&api, &server, &request).await {
                Told::Answered(positions) => break Some(positions),
                Told::Unknown if request.keyed == Keyed::Not => break None,
                Told::Unknown => tokio::time::sleep(TRY_AGAIN).await,
            }
        };
        requests.push(request);
        acknowledged.send_modify(|count| *count += 1);
    }
    requests
}

fn any(addresses: &watch::Receiver<Vec<String>>, rng: &mut StdRng) -> String {
    let all = addresses.borrow();
    all[rng.random_range(0..all.len())].clone()
}

/// Follows the log with whichever server answers, from where it was, and sees each position once.
pub(super) async fn follow_any(
    addresses: watch::Receiver<Vec<String>>,
    mut cursor: String,
    seed: u64,
    seen: watch::Sender<i64>,
) {
    let query = "subscription Follow($after: String) { events(after: $after) { position cursor } }";
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        let server = any(&addresses, &mut rng);
        let opened = Subscription::open(&server, query, json!({ "after": cursor }));
        if let Some(mut stream) = opened.await {
            while let Some(item) = stream.next().await {
                let event = &item["events"];
                let last = *seen.borrow();
                assert_eq!(long(&event["position"]), last + 1, "after {cursor}");
                cursor = event["cursor"].as_str().unwrap().to_owned();
                seen.send_replace(last + 1);
            }
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Waits until something is so.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    };
    let seen = tokio::time::timeout(DEADLINE, looking).await;
    assert!(seen.is_ok(), "{what} in time");
}
