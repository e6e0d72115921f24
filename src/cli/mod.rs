//! The commands, each from its arguments to its end.

mod evaluate;
mod export;
mod import;
mod key;
mod maintain;
mod retention;

pub use evaluate::EvaluateArgs;
pub use key::KeyArgs;
pub use retention::RetentionArgs;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use futures_util::future::BoxFuture;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::analytics::provenance::Preferred;
use crate::app::{self, Access, App, Start};
use crate::clock::Clock;
use crate::config::{Cli, Command, DatabaseArgs, DemoArgs, HttpArgs, ReplicaArgs, ServeArgs};
use crate::configuration::{self, Keyring};

use crate::demo::{self, Beginning, Stage};
use crate::http::{Documents, Tls, TlsError};
use crate::identity::TokenArgs;
use crate::store::{self, Location};

/// Tells people what went wrong, on one line, and what to do if that is known.
pub fn complain(error: &anyhow::Error) {
    say(
        &mut std::io::stderr(),
        &format!(
            "homepot-analytics: {}",
            crate::telemetry::chain(error.as_ref())
        ),
    );
}

/// Writes a line; a reader that has gone is no failure of ours.
fn say(to: &mut dyn Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

fn print(line: &str) {
    say(&mut std::io::stdout(), line);
}

/// Runs a command to its end. What it does is made in this crate, not once more in that of the program.
///
/// # Errors
/// What the command failed with.
#[must_use]
pub fn run(command: Command) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(done(command))
}

async fn done(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(arguments) => play(arguments).await,
        Command::Serve(arguments) => serve(*arguments).await,
        Command::Import(arguments) => import::import(arguments).await,
        Command::Export(arguments) => export::export(arguments).await,
        Command::Evaluate(arguments) => evaluate::evaluate(&arguments).await,
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
        Command::Verify(arguments) => maintain::verify(arguments).await,
        Command::Backup(arguments) => maintain::backup(arguments).await,
        Command::Restore(arguments) => maintain::restore(arguments).await,
        Command::Rebuild(arguments) => maintain::rebuild(arguments).await,
        Command::Retention(arguments) => retention::retention(arguments).await,
        Command::Migrate(arguments) => maintain::migrate(arguments.action).await,
        Command::Key(arguments) => key::key(arguments).await,
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

fn replica(arguments: &ReplicaArgs) -> anyhow::Result<Option<String>> {
    arguments
        .address()
        .context("cannot read the file with the address of the replica")
}

async fn serve(arguments: ServeArgs) -> anyhow::Result<()> {
    let stop = StopSignal::listen()?;
    let documents = documents(&arguments.http).await?;
    let access = if arguments.no_authentication {
        Access::Open
    } else {
        Access::Closed
    };
    let is_plain = arguments.http.tls_certificate.is_none();
    if access == Access::Closed && is_plain && !arguments.http.listen.ip().is_loopback() {
        tracing::warn!(
            "access keys cross the network for everybody to read: give --tls-certificate and --tls-key, \
             or listen on loopback behind a proxy that speaks TLS"
        );
    }
    let is_for_keys_alone =
        arguments.tokens.jwks.is_none() && arguments.tokens.jwt_secret_file.is_none();
    let app = App::start(Start {
        access,
        preferred: Preferred::Real,
        tokens: arguments.tokens,
        edge: arguments.http.edge.clone(),
        webhooks: arguments.http.webhooks,
        mailer: arguments.http.smtp.mailer()?,
        exports: arguments.http.exports.clone(),
        lake: arguments.lake.lake,
        location: Location {
            replica: replica(&arguments.replica)?,
            ..location(&arguments.database, true)?
        },
        listen: arguments.http.listen,
        name: arguments.http.node_name(),
        documents,
        tls: tls(&arguments.http)?,
        keyring: arguments.configuration.keyring()?,
        allowed_hosts: arguments.http.allowed_hosts,
        limits: arguments.limits,
        clock: Clock::system(),
    })
    .await?;
    greet(&app);
    if access == Access::Open {
        print("  Nobody has to prove who they are: whoever is on this machine may do everything.");
    } else if app.keys.is_empty() && is_for_keys_alone {
        let database = app.ingest.store().address();
        print("  No access key holds, so nobody is let in. Make the first, also while this runs:");
        let create = "homepot-analytics key create --role ADMIN --name me --out me.key";
        print(&format!("    {create} --database {database}"));
        print("  and send it as `Authorization: Bearer …`.");
    }
    until_told(app, stop).await
}

/// The documents that alone are executed, if they are given.
async fn documents(arguments: &HttpArgs) -> anyhow::Result<Documents> {
    match &arguments.documents {
        Some(file) => Box::pin(Documents::registered(file)).await,
        None => Ok(Documents::default()),
    }
}

/// The certificate, if one is given.
fn tls(arguments: &HttpArgs) -> Result<Option<Tls>, TlsError> {
    let files = arguments.tls_certificate.clone();
    let files = files.zip(arguments.tls_key.clone());
    files
        .map(|(certificate, key)| Tls::read(certificate, key))
        .transpose()
}

fn greet(app: &App) {
    let store = app.ingest.store();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %app.address,
        database = store.address(),
        head = store.head().0,
        "serving"
    );
    let at = format!("{}://{}", app.scheme, app.address);
    print(&format!("Listening on {at}"));
    print(&format!("  GraphiQL  {at}/graphiql"));
    print(&format!("  API       {at}/graphql"));
}

async fn until_told(app: App, stop: StopSignal) -> anyhow::Result<()> {
    stop.wait().await;
    tracing::info!("stopping");
    app.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// That the process is told to end. It is listened for from when this is made: before anybody is told
/// that there is something to end.
struct StopSignal {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignal {
    fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = "cannot listen for signals";
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context(failed)?,
            interrupt: signal(SignalKind::interrupt()).context(failed)?,
        })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
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
    let stop = StopSignal::listen();
    tokio::spawn(async move {
        if let Ok(stop) = stop {
            stop.wait().await;
            cancelled.cancel();
        }
    });
    token
}

/// The key for secret parameters that the demo makes beside its log; none where that is no file.
fn keyring_beside(database: &str) -> anyhow::Result<Keyring> {
    match database.strip_prefix("sqlite://") {
        Some(file) => {
            let file = file.split('?').next().unwrap_or(file);
            let path = PathBuf::from(format!("{file}.configuration-key"));
            Ok(configuration::kept(&path)?)
        }
        None => Ok(Keyring::default()),
    }
}

async fn play(arguments: DemoArgs) -> anyhow::Result<()> {
    let stop = StopSignal::listen()?;
    let tls = tls(&arguments.http)?;
    let documents = documents(&arguments.http).await?;
    // first of all, so that a demo that runs there already is left alone
    let listener = app::listen(arguments.http.listen, Access::Open).await?;
    if arguments.reset {
        store::reset(&arguments.database).await?;
    }
    let beginning = Beginning {
        seed: arguments.seed,
        history_hours: arguments.history_hours,
    };
    let start = demo_start(arguments, (tls, documents))?;
    // before anything is changed or begun, or made beside the log, that is another's
    let claim = demo::claim(&start.location).await?;
    let opened = start.open().await?;
    let _claim = match demo::take(opened.store(), beginning, claim).await {
        Ok(claim) => claim,
        Err(error) => {
            opened.close().await;
            return Err(error.into());
        }
    };
    let start = Start {
        keyring: keyring_beside(&start.location.url)?,
        ..start
    };
    let app = App::start_on(listener, opened, start).await?;
    app.spawn(
        "the simulated fleet",
        demo::run(
            (app.ingest.clone(), app.deliveries.clone()),
            beginning,
            app.stopping(),
            demo_progress(),
        ),
    );
    greet(&app);
    until_told(app, stop).await
}

/// With what a demo is started; the key for secret parameters is not read yet.
fn demo_start(
    arguments: DemoArgs,
    (tls, documents): (Option<Tls>, Documents),
) -> anyhow::Result<Start> {
    Ok(Start {
        access: Access::Open,
        preferred: Preferred::Simulated,
        tokens: TokenArgs::default(),
        edge: arguments.http.edge.clone(),
        webhooks: arguments.http.webhooks,
        mailer: arguments.http.smtp.mailer()?,
        exports: arguments.http.exports.clone(),
        lake: None,
        location: Location {
            url: arguments.database,
            create: true,
            ..Location::default()
        },
        listen: arguments.http.listen,
        name: arguments.http.node_name(),
        documents,
        keyring: Keyring::default(),
        tls,
        allowed_hosts: arguments.http.allowed_hosts,
        limits: arguments.limits,
        clock: Clock::system(),
    })
}

/// Shows the making of history on a terminal, elsewhere each tenth of it, and says when the fleet lives.
fn demo_progress() -> impl FnMut(Stage) + Send {
    let shown = bar(Some(0), "of its history");
    let mut told = 0;
    move |stage| match stage {
        Stage::History {
            made_seconds,
            seconds,
        } => {
            shown.set_length(seconds);
            shown.set_position(made_seconds);
            let tenths = 10 * made_seconds / seconds.max(1);
            if shown.is_hidden() && tenths > told && tenths < 10 {
                tracing::info!("{tenths}0 % of the history of the simulated fleet are made");
                told = tenths;
            }
        }
        Stage::Live => {
            shown.finish_and_clear();
            print("  A fleet of 12 simulated tills at 3 sites is live. Stop with Ctrl-C.");
        }
    }
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
