//! A server that reads from a real streaming replica: its callers see what they wrote, whether the replica
//! keeps up, stands still or is gone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::api::{Api, long};
use super::cluster::until;
use super::program::{DEADLINE, Program, free_port};

/// A primary and a replica of PostgreSQL of a test's own, which end with it.
struct Pair {
    folder: TempDir,
    binaries: PathBuf,
    primary: u16,
    replica: u16,
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| text.trim().to_owned())
}

impl Pair {
    /// Where the programs of PostgreSQL are, if it is to be tested.
    fn start() -> Option<Self> {
        if std::env::var_os("HOMEPOT_TEST_POSTGRES").is_none() {
            println!("not covered: HOMEPOT_TEST_POSTGRES names no PostgreSQL");
            return None;
        }
        let binaries = output("pg_config", &["--bindir"]).expect("PostgreSQL is installed");
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            let path = folder.path().to_str().unwrap();
            output("chown", &["postgres", path]).expect("there is a user for PostgreSQL");
        }
        let mut pair = Self {
            folder,
            binaries: binaries.into(),
            primary: free_port(),
            replica: 0,
        };
        let data = pair.data("primary");
        let given = ["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8"];
        pair.run(
            "initdb",
            &[given.as_slice(), &["--locale=C.UTF-8", "-N"]].concat(),
        );
        pair.serve("primary", pair.primary);
        let (data, port) = (pair.data("replica"), pair.primary.to_string());
        let from = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        let to = ["-D", &data, "-R", "-N", "-X", "stream", "-c", "fast"];
        pair.run("pg_basebackup", &[from.as_slice(), &to].concat());
        pair.replica = free_port();
        pair.serve("replica", pair.replica);
        Some(pair)
    }

    fn data(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a program of PostgreSQL, which does not run as root.
    fn run(&self, name: &str, arguments: &[&str]) {
        let program = self.binaries.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let log = self.folder.path().join("log");
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        command.args(arguments).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.stderr(file).status().unwrap();
        let told = || {
            let logs = [
                log,
                self.data("primary.log").into(),
                self.data("replica.log").into(),
            ];
            // what was not started yet has none
            logs.map(|log| std::fs::read_to_string(log).unwrap_or_default())
                .concat()
        };
        assert!(
            status.success(),
            "{name} {arguments:?}: {status}, after {}",
            told()
        );
    }

    fn serve(&self, name: &str, port: u16) {
        // a replica that has stood still goes on at once, and cancels what hinders it, unless it may wait
        let settings = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
             -c wal_level=replica -c max_standby_streaming_delay=-1"
        );
        let (data, log) = (self.data(name), self.data(&format!("{name}.log")));
        let given = ["-D", &data, "-l", &log, "-w", "-o", &settings, "start"];
        self.run("pg_ctl", &given);
    }

    fn stop(&self, name: &str) {
        let data = self.data(name);
        self.run("pg_ctl", &["-D", &data, "-m", "immediate", "-w", "stop"]);
    }

    fn start_server(&self, folder: &Path) -> Program {
        let address = |port| format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let (database, replica) = (address(self.primary), address(self.replica));
        // the address of the replica as a secret is given
        let file = folder.join("replica");
        std::fs::write(&file, format!("{replica}\n")).unwrap();
        let file = file.to_str().unwrap();
        let serve = ["serve", "--no-authentication", "--listen", "127.0.0.1:0"];
        let databases = ["--database", &database, "--database-read-file", file];
        let segments = folder.join("segments");
        let segments = ["--segments", segments.to_str().unwrap()];
        Program::start(folder, &[&serve, &databases[..], &segments].concat())
    }

    async fn on_replica(&self) -> PgConnection {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.replica);
        PgConnection::connect(&url).await.unwrap()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in ["replica", "primary"] {
            if Path::new(&self.data(name)).join("postmaster.pid").exists() {
                self.stop(name);
            }
        }
    }
}

fn is_root() -> bool {
    output("id", &["-u"]).as_deref() == Some("0")
}

const PAGES: &str = "{ userActivity(first: 1) { nodes { position elementId } } \
    storeHealth { head replicaHead } }";

/// Waits until the replica has what the log has by now. Whoever asks is recorded as well.
async fn caught_up(api: &Api, server: &str) {
    let told = api.data(server, PAGES, json!({})).await;
    let head = long(&told["storeHealth"]["head"]);
    let has = |data: &Value| {
        let replica = &data["storeHealth"]["replicaHead"];
        !replica.is_null() && long(replica) >= head
    };
    api.until(server, PAGES, has).await;
}

/// Records an event, and reads at another server what was recorded last, as one who was told its position.
async fn written_is_read(api: &Api, (one, other): (&str, &str), id: &str) -> Value {
    let click = json!([{ "userActivity": { "activityType": "BUTTON_CLICK", "elementId": id } }]);
    let outcomes = api.record(one, click).await;
    let position = outcomes[0]["position"].as_str().unwrap();
    let data = api.data_knowing(other, PAGES, position).await;
    let node = &data["userActivity"]["nodes"][0];
    assert_eq!(node["elementId"], id, "{data}");
    data["storeHealth"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_read_whether_the_replica_keeps_up_or_not() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut servers = [(); 2].map(|()| pair.start_server(folder.path()));
    let [one, other] = servers.each_mut().map(|server| server.address().unwrap());
    let api = Api::new();
    for number in 0..40 {
        let ways = if number % 2 == 0 {
            (&*one, &*other)
        } else {
            (&*one, &*one)
        };
        written_is_read(&api, ways, &format!("a{number}")).await;
    }
    let mut replica = pair.on_replica().await;
    let scans = "SELECT coalesce(sum(seq_scan + idx_scan), 0)::bigint FROM pg_stat_user_tables \
        WHERE relname LIKE 'user_activity%'";
    until("the replica is read from", async || {
        let (scans,): (i64,) = sqlx::query_as(scans).fetch_one(&mut replica).await.unwrap();
        scans > 0
    })
    .await;
    // it stands still
    let run = async |replica: &mut PgConnection, sql: &'static str| {
        sqlx::raw_sql(sql).execute(replica).await.unwrap();
    };
    run(&mut replica, "SELECT pg_wal_replay_pause()").await;
    let health = written_is_read(&api, (&one, &other), "paused").await;
    assert_ne!(health["head"], health["replicaHead"], "{health}");
    run(&mut replica, "SELECT pg_wal_replay_resume()").await;
    caught_up(&api, &other).await;
    // it is gone
    drop(replica);
    pair.stop("replica");
    for number in 0..5 {
        written_is_read(&api, (&one, &other), &format!("gone{number}")).await;
    }
    let is_known = |data: &Value| data["storeHealth"]["replicaHead"].is_null();
    api.until(&other, PAGES, is_known).await;
    // and comes back
    pair.serve("replica", pair.replica);
    caught_up(&api, &other).await;
    for mut server in servers {
        server.terminate();
        let until = std::time::Instant::now() + DEADLINE;
        while server.runs() && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

const ERRORS: &str =
    "{ errorLogs(first: 20, filter: { category: { eq: API } }) { nodes { position } totalCount } }";

/// Archives and deletes what is older than some days, once it is folded; how many events of a kind are archived and
/// were deleted, by this or by what the servers do by themselves.
async fn retained(api: &Api, server: &str, policy: &str) -> Value {
    let set = format!(
        "mutation {{ setRetentionPolicy(input: {{ kind: errorLog, {policy} }}) {{ userErrors {{ code }} }} }}"
    );
    let set = api.data(server, &set, json!({})).await;
    assert_eq!(set["setRetentionPolicy"]["userErrors"], json!([]));
    let run = "mutation { runRetention { userErrors { code } kinds { kind waitingForProjectionEvents } } }";
    let is_done = |data: &Value| {
        let ran = &data["runRetention"];
        assert_eq!(ran["userErrors"], json!([]));
        errors_of(&ran["kinds"])["waitingForProjectionEvents"] == "0"
    };
    api.until(server, run, is_done).await;
    let policies = "{ retentionPolicies { kind archivedEvents deletedEvents } }";
    let data = api.data(server, policies, json!({})).await;
    let errors = errors_of(&data["retentionPolicies"]);
    json!([errors["archivedEvents"], errors["deletedEvents"]])
}

/// What is told of errors among what is told of each kind.
fn errors_of(kinds: &Value) -> &Value {
    let mut kinds = kinds.as_array().unwrap().iter();
    kinds.find(|kind| kind["kind"] == "errorLog").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_archived_is_read_while_the_replica_has_not_heard_of_it() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut servers = [(); 2].map(|()| pair.start_server(folder.path()));
    let [one, other] = servers.each_mut().map(|server| server.address().unwrap());
    let api = Api::new();
    let error = |day: usize| {
        json!({ "errorLog": { "category": "API", "severity": "INFO", "errorMessage": "old",
            "occurredAt": format!("2024-03-{day:02}T12:00:00Z") } })
    };
    // by itself a server archives nothing of it before it is told to
    retained(&api, &one, "archiveAfterDays: 10000").await;
    api.record(&one, (1..=9).map(error).collect()).await;
    let has_all = |data: &Value| data["errorLogs"]["totalCount"] == "9";
    for server in [&one, &other] {
        api.until(server, ERRORS, has_all).await;
    }
    let mut replica = pair.on_replica().await;
    let mut run = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&mut replica).await.unwrap();
    };
    // it does not hear that they are archived
    run("SELECT pg_wal_replay_pause()").await;
    let ran = retained(&api, &one, "archiveAfterDays: 30").await;
    assert_eq!(ran, json!(["9", "0"]));
    for server in [&one, &other] {
        for _ in 0..3 {
            let data = api.data(server, ERRORS, json!({})).await;
            assert!(has_all(&data), "{data}");
        }
    }
    run("SELECT pg_wal_replay_resume()").await;
    caught_up(&api, &other).await;
    // it knows of files that are gone
    run("SELECT pg_wal_replay_pause()").await;
    let policy = "archiveAfterDays: 30, deleteAfterDays: 40";
    assert_eq!(retained(&api, &one, policy).await, json!(["0", "9"]));
    for server in [&one, &other] {
        for _ in 0..3 {
            let data = api.data(server, ERRORS, json!({})).await;
            assert_eq!(data["errorLogs"]["totalCount"], "0", "{data}");
        }
    }
    run("SELECT pg_wal_replay_resume()").await;
}

const POLICIES: &str = "{ retentionPolicies { kind archiveAfterDays } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_is_read_too_while_the_replica_has_not_heard_of_it() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut server = pair.start_server(folder.path());
    let address = server.address().unwrap();
    let api = Api::new();
    let mut replica = pair.on_replica().await;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", pair.primary);
    let mut primary = PgConnection::connect(&url).await.unwrap();
    let pause = sqlx::raw_sql("SELECT pg_wal_replay_pause()");
    pause.execute(&mut replica).await.unwrap();
    for days in 40..45 {
        // as another server does
        let set = format!(
            "INSERT INTO retention_policies (kind, archive_after_days, changed_at, changed_by) \
             SELECT {}, {days}, 0, 'test' ON CONFLICT (kind) DO UPDATE SET \
             archive_after_days = excluded.archive_after_days",
            homepot_analytics::kinds::Kind::ErrorLog.code()
        );
        let set = sqlx::raw_sql(sqlx::AssertSqlSafe(set));
        set.execute(&mut primary).await.unwrap();
        let data = api.data(&address, POLICIES, json!({})).await;
        let policies = data["retentionPolicies"].as_array().unwrap();
        let errors = policies.iter().find(|policy| policy["kind"] == "errorLog");
        assert_eq!(errors.unwrap()["archiveAfterDays"], days, "{data}");
    }
    let resume = sqlx::raw_sql("SELECT pg_wal_replay_resume()");
    resume.execute(&mut replica).await.unwrap();
    server.terminate();
}
