//! The commands, each from its arguments to its end.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as Stopwatch};

use anyhow::{Context, bail};
use clap::CommandFactory;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::app::{self, App, Start};
use crate::clock::Clock;
use crate::config::{
    Cli, Command, DatabaseArgs, DemoArgs, ImportArgs, LimitArgs, MigrateAction, RebuildArgs,
    ServeArgs,
};
use crate::demo::{self, Beginning};
use crate::ingest::{Import, Ingest, Progress, Tally};
use crate::projections::{self, Runner};
use crate::store::{self, Location};

/// Tells people what went wrong, on one line, and what to do if that is known.
pub fn complain(error: &anyhow::Error) {
    say(
        &mut std::io::stderr(),
        &format!("homepot-analytics: {error:#}"),
    );
}

/// Writes a line; a reader that has gone is no failure of ours.
fn say(to: &mut dyn Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

fn print(line: &str) {
    say(&mut std::io::stdout(), line);
}

/// Runs a command to its end.
///
/// # Errors
/// What the command failed with.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(arguments) => play(arguments).await,
        Command::Serve(arguments) => serve(arguments).await,
        Command::Import(arguments) => import(arguments).await,
        Command::Agent(arguments) => {
            let shutdown = shutdown_on_signal();
            let told = shutdown.clone();
            let totals = crate::agent::run(arguments, Clock::system(), told).await?;
            tracing::info!(?totals, "the agent stopped");
            Ok(())
        }
        Command::Simulate(arguments) => {
            let shutdown = shutdown_on_signal();
            let totals = crate::simulate::run(arguments, Clock::system(), shutdown).await?;
            tracing::info!(?totals, "the simulation stopped");
            Ok(())
        }
        Command::Verify(arguments) => verify(arguments).await,
        Command::Rebuild(arguments) => rebuild(arguments).await,
        Command::Migrate(arguments) => migrate(arguments.action).await,
        Command::Schema => {
            print(crate::graphql::sdl().trim_end());
            Ok(())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "homepot-analytics", &mut script);
            std::io::stdout()
                .write_all(&script)
                .context("cannot write the script")
        }
    }
}

fn location(arguments: &DatabaseArgs, create: bool) -> anyhow::Result<Location> {
    arguments
        .location(create)
        .context("cannot read the file with the address of the database")
}

async fn serve(arguments: ServeArgs) -> anyhow::Result<()> {
    let app = App::start(Start {
        location: location(&arguments.database, true)?,
        listen: arguments.http.listen,
        allowed_hosts: arguments.http.allowed_hosts,
        limits: arguments.limits,
        clock: Clock::system(),
    })
    .await?;
    greet(&app);
    until_told(app).await
}

fn greet(app: &App) {
    let at = format!("http://{}", app.address);
    print(&format!("Listening on {at}"));
    print(&format!("  GraphiQL  {at}/graphiql"));
    print(&format!("  API       {at}/graphql"));
}

async fn until_told(app: App) -> anyhow::Result<()> {
    stop_signal().await?;
    tracing::info!("stopping");
    app.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the process is told to end.
async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for signals"),
        _ = terminate.recv() => Ok(()),
    }
}

/// A token that is cancelled when the process is told to end.
#[expect(
    clippy::disallowed_methods,
    reason = "the task lives as long as the process"
)]
fn shutdown_on_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        if stop_signal().await.is_ok() {
            cancelled.cancel();
        }
    });
    token
}

async fn play(arguments: DemoArgs) -> anyhow::Result<()> {
    if arguments.reset {
        remove_database(&arguments.database)?;
    }
    let readers_max = arguments.limits.readers_max;
    let app = App::start(Start {
        location: Location {
            url: arguments.database,
            readers_max,
            create: true,
        },
        listen: arguments.http.listen,
        allowed_hosts: arguments.http.allowed_hosts,
        limits: arguments.limits,
        clock: Clock::system(),
    })
    .await?;
    let ingest = app.ingest.clone();
    let beginning = Beginning {
        seed: arguments.seed,
        history_hours: arguments.history_hours,
    };
    app.spawn(
        "the simulated fleet",
        demo::run(ingest, beginning, app.stopping()),
    );
    greet(&app);
    print("  A fleet of 12 simulated tills at 3 sites is live. Stop with Ctrl-C.");
    until_told(app).await
}

/// Removes the files of the demo's own SQLite database, and of no other database.
fn remove_database(url: &str) -> anyhow::Result<()> {
    let Some(file) = url.strip_prefix("sqlite://") else {
        bail!("--reset empties SQLite files only, and {url} is none");
    };
    let file = file.split('?').next().unwrap_or(file);
    for suffix in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{file}{suffix}"));
        if path.exists() {
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

async fn import(arguments: ImportArgs) -> anyhow::Result<()> {
    let limits = LimitArgs::default();
    let location = location(&arguments.database, true)?;
    let (store, tasks) = app::open(location, &limits, Clock::system()).await?;
    let ingest = Ingest::new(store.clone());
    let mut done = Ok(());
    for file in &arguments.files {
        let imported = import_one(&ingest, file, arguments.refused.as_deref()).await;
        let name = if is_stdin(file) {
            "standard input".into()
        } else {
            file.display().to_string()
        };
        match imported {
            Ok(tally) => print(&format!("{name}: {}", told(&tally))),
            Err(error) => {
                done = Err(error.context(format!(
                    "cannot import {name}; what came before is kept, run it again to go on"
                )));
                break;
            }
        }
    }
    if done.is_ok() {
        // what follows the log is brought up to date here, should no server run
        let runner = Runner::new(store.clone(), projections::following());
        if let Err(error) = runner.follow(Some(store.head())).await {
            let error = crate::telemetry::chain(&error).to_string();
            tracing::debug!(error, "a running server folds the log");
        }
    }
    ingest.refusals().write(&store).await?;
    tasks.stop().await;
    done
}

fn told(tally: &Tally) -> String {
    format!(
        "{} lines: {} recorded, {} duplicates, {} conflicts, {} refused",
        tally.lines, tally.recorded, tally.duplicates, tally.conflicts, tally.rejected
    )
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

async fn import_one(ingest: &Ingest, file: &Path, refused: Option<&Path>) -> anyhow::Result<Tally> {
    let default = if is_stdin(file) {
        PathBuf::from("stdin.refused.jsonl")
    } else {
        PathBuf::from(format!("{}.refused.jsonl", file.display()))
    };
    let refused_path = refused.map_or(default, Path::to_path_buf);
    let mut refused = LazyFile {
        path: refused_path.clone(),
        file: None,
    };
    let (source, bytes): (Box<dyn std::io::Read + Send>, Option<u64>) = if is_stdin(file) {
        (Box::new(std::io::stdin()), None)
    } else {
        let opened = File::open(file).context("cannot open it")?;
        let bytes = opened.metadata().ok().map(|metadata| metadata.len());
        (Box::new(opened), bytes)
    };
    let bar = bar(bytes, "{bytes}/{total_bytes} {msg}");
    let began = Stopwatch::now();
    let progress = |progress: Progress| {
        bar.set_position(progress.bytes_read);
        let lines = progress.tally.lines;
        let millis = u64::try_from(began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = lines.saturating_mul(1_000) / millis;
        let refused = progress.tally.refused();
        bar.set_message(format!(
            "{} lines, {rate}/s, {refused} refused",
            HumanCount(lines)
        ));
    };
    let import = Import {
        ingest,
        refused: &mut refused,
        progress: &progress,
    };
    let tally = import.run(source).await?;
    bar.finish_and_clear();
    if tally.refused() > 0 {
        let (count, path) = (tally.refused(), refused_path.display());
        print(&format!(
            "{count} lines were refused; they stand with their reasons in {path}"
        ));
    }
    Ok(tally)
}

/// A bar on a terminal, nothing elsewhere.
fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = format!("{{spinner}} {{wide_bar}} {template} {{eta}}");
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = length
        .map_or_else(ProgressBar::new_spinner, ProgressBar::new)
        .with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A file that is made when the first byte is written.
struct LazyFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Write for LazyFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(File::create(&self.path)?)),
        };
        file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

async fn verify(_arguments: DatabaseArgs) -> anyhow::Result<()> {
    let _ = HumanBytes(0);
    bail!("not yet")
}

async fn rebuild(arguments: RebuildArgs) -> anyhow::Result<()> {
    let limits = LimitArgs::default();
    let location = location(&arguments.database, false)?;
    let (store, tasks) = app::open(location, &limits, Clock::system()).await?;
    let bar = bar(
        u64::try_from(store.head().0).ok(),
        "{human_pos}/{human_len} events",
    );
    let shown = bar.clone();
    let done = projections::rebuild(&store, &arguments.projection, move |position, head| {
        shown.set_length(u64::try_from(head.0).unwrap_or(0));
        shown.set_position(u64::try_from(position.0).unwrap_or(0));
    })
    .await;
    bar.finish_and_clear();
    tasks.stop().await;
    done?;
    print(&format!("{} is rebuilt", arguments.projection));
    Ok(())
}

async fn migrate(action: MigrateAction) -> anyhow::Result<()> {
    match action {
        MigrateAction::Status(arguments) => {
            let missing = store::missing_migrations(&location(&arguments, false)?).await?;
            if missing.is_empty() {
                print("the database is up to date");
                return Ok(());
            }
            for migration in &missing {
                print(&format!("missing: {migration}"));
            }
            bail!(
                "the database lacks {} migrations; run `migrate up`",
                missing.len()
            )
        }
        MigrateAction::Up(arguments) => {
            store::migrate(&location(&arguments, true)?).await?;
            print("the database is up to date");
            Ok(())
        }
    }
}
