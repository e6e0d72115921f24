//! The program as a process of its own, and the yardstick as another; what each takes of the machine.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection, query};

/// Seconds of a tick in which the system counts the time of processors.
const TICK_SECONDS: f64 = 0.01;

/// Where a log is kept.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    url: String,
    /// Database of PostgreSQL, and who may remove it.
    made: Option<(String, String)>,
}

impl Place {
    /// A file in a folder.
    pub(crate) fn sqlite(folder: &Path, name: &str) -> Self {
        let file = folder.join(format!("{name}.db"));
        Self {
            url: format!("sqlite://{}", file.display()),
            made: None,
        }
    }

    /// A database of its own.
    pub(crate) async fn postgres(admin: &str) -> anyhow::Result<Self> {
        let name = format!("homepot_bench_edge_{}", std::process::id());
        let mut connection = PgConnection::connect(admin).await?;
        let sql = format!("CREATE DATABASE {name}");
        query(AssertSqlSafe(sql)).execute(&mut connection).await?;
        let (base, _) = admin.rsplit_once('/').unwrap_or((admin, ""));
        Ok(Self {
            url: format!("{base}/{name}"),
            made: Some((name, admin.to_owned())),
        })
    }

    /// Removes the database that was made.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        if let Some((name, admin)) = self.made {
            let mut connection = PgConnection::connect(&admin).await?;
            let sql = format!("DROP DATABASE {name} WITH (FORCE)");
            query(AssertSqlSafe(sql)).execute(&mut connection).await?;
        }
        Ok(())
    }
}

/// A process that serves; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Kept, so that what it prints goes somewhere.
    _stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    /// The key of a caller who may do everything.
    pub(crate) key: Option<String>,
}

impl Server {
    /// Starts the program on a log, with a key; a caller may spend what it likes.
    pub(crate) fn start(place: &Place) -> anyhow::Result<Self> {
        Self::start_with(place, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn start_with(place: &Place, given: &[&str]) -> anyhow::Result<Self> {
        let made = program(&["key", "create", "--role", "ADMIN", "--name", "bench"])
            .args(["--database", &place.url])
            .output()?;
        let told = String::from_utf8(made.stdout)?;
        let key = told.split_whitespace().find(|word| word.starts_with("hp_"));
        let key = key.context("no key was made")?.to_owned();
        let mut command = program(&["serve", "--listen", "127.0.0.1:0", "--log", "error"]);
        command.args(["--database", &place.url]);
        command.args(["--cost-per-second-max", "1000000000"]);
        command.args(given);
        Self::spawn(command, Some(key))
    }

    /// Starts the yardstick.
    pub(crate) fn bare() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--bare");
        Self::spawn(command, None)
    }

    fn spawn(mut command: Command, key: Option<String>) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("it has no output")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("Listening on http://") else {
            // it may have ended by itself
            let _ = child.kill();
            anyhow::bail!("the server listens nowhere: {line:?}, {}", child.wait()?);
        };
        Ok(Self {
            child,
            _stdout: stdout,
            address: address.parse()?,
            key,
        })
    }

    /// Bytes of memory that it holds, or has held at most.
    pub(crate) fn memory(&self, held: Memory) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let name = match held {
            Memory::Now => "VmRSS:",
            Memory::Most => "VmHWM:",
        };
        let held = status.lines().find_map(|line| line.strip_prefix(name));
        let held = held.and_then(|rest| rest.split_whitespace().next());
        let kibibytes: u32 = held.context("the server has ended")?.parse()?;
        Ok(f64::from(kibibytes) * 1_024.0)
    }

    /// Seconds of processors that it has used.
    pub(crate) fn processor_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, rest) = stat.rsplit_once(')').context("the server has ended")?;
        // after the name: state, nine more, and then the ticks of the program and of the system for it
        let ticks: Vec<u32> = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .flat_map(str::parse)
            .collect();
        Ok(f64::from(ticks.iter().sum::<u32>()) * TICK_SECONDS)
    }
}

/// Which memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory {
    /// What is held.
    Now,
    /// The most that was held.
    Most,
}

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, without the settings of whoever measures.
fn program<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homepot-analytics"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOMEPOT_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}
