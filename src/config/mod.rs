//! The command line, and in `limits` every limit, with its unit, its default and its reason. The
//! only reader of the environment.

mod limits;
mod place;
mod replica;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::places::Place;
use crate::store::Location;
pub use limits::LimitArgs;
pub(crate) use place::place;
pub use replica::ReplicaArgs;

/// Records everything a fleet of payment terminals does, and answers over GraphQL.
#[derive(Debug, Parser)]
#[command(name = "homepot-analytics", version, about, max_term_width = 100)]
pub struct Cli {
    /// Form of the logs on standard error.
    #[arg(long, global = true, env = "HOMEPOT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,homepot_analytics::store=debug`.
    #[arg(
        long,
        global = true,
        env = "HOMEPOT_LOG",
        default_value = "info,sea_orm_migration=warn,sqlx=warn"
    )]
    pub log: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line. A value that is refused and was not given there is told with the
    /// variable that it comes from.
    ///
    /// # Errors
    /// When it cannot be followed, or asks for help.
    pub fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments).map_err(|mut error| {
            if let Some(variable) = variable_of(&error, arguments) {
                let told = format!("the value is that of the environment variable {variable}");
                let told = ContextValue::StyledStrs(vec![told.into()]);
                error.insert(ContextKind::Suggested, told);
            }
            error
        })
    }
}

/// The environment variable with the value that an error refuses.
fn variable_of(error: &clap::Error, given: &[OsString]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg)?;
    let mut program = Cli::command();
    program.build();
    let mut arguments = program
        .get_subcommands()
        .chain([&program])
        .flat_map(clap::Command::get_arguments)
        .filter(|known| known.to_string() == *argument);
    let argument = arguments.next()?;
    let flag = format!("--{}", argument.get_long()?);
    let is_given = |text: &OsString| {
        let text = text.to_string_lossy();
        text.split('=').next() == Some(flag.as_str())
    };
    let variable = argument.get_env()?;
    let is_set = std::env::var_os(variable).is_some();
    let is_its_value = is_set && !given.iter().any(is_given);
    is_its_value.then(|| variable.to_string_lossy().into_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let of = "it is not of the form of 127.0.0.1:8081, an address and a port";
    text.parse().map_err(|_| of.to_owned())
}

/// Characters at most of the name of a server.
const NODE_CHARACTERS_MAX: usize = 100;

fn node_name(text: &str) -> Result<String, String> {
    let (text, of) = (text.trim(), "it has 1 to 100 characters");
    let fits = (1..=NODE_CHARACTERS_MAX).contains(&text.chars().count());
    fits.then(|| text.to_owned()).ok_or_else(|| of.to_owned())
}

impl HttpArgs {
    /// What people call this server.
    #[must_use]
    pub fn node_name(&self) -> String {
        let of_machine = || {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned()
        };
        self.node.clone().unwrap_or_else(of_machine)
    }
}

/// Form of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve with a simulated fleet in a database of its own: for trying it out.
    Demo(DemoArgs),
    /// Serve the API.
    ///
    /// A file of SQLite has one server at a time, beside which all other commands work; several servers share a
    /// database of PostgreSQL.
    Serve(Box<ServeArgs>),
    /// Import events from files of JSON lines, plain or gzip; `-` is standard input.
    ///
    /// A line that is refused does not hold up the others: it is written to a file with its number,
    /// its code and its reason, and counted in the summary. The exit code is 0 when every line was
    /// read and either stored or written there, and 1 when there were lines and each was refused,
    /// when the source could not be read to its end, or when the database could not be written; what
    /// came before is kept, and the same command goes on from there without repeating anything. A
    /// line has at most 1 MiB.
    Import(ImportArgs),
    /// Export events into a file or a data lake; also beside a running server.
    ///
    /// An export has what was recorded when it began, in the order in which it happened. JSON lines are what was
    /// recorded, sites and devices first: imported into this log they are all duplicates, and into an empty one they
    /// make the same. CSV and Parquet have what is derived, too. A file gets its name when it is whole: one that is
    /// broken off leaves nothing behind, and one that is killed `FILE.partial`, which the next export into this file
    /// replaces. A data lake (`--lake`) goes on where it is: each event is in exactly one of its files, also when this
    /// is ended anywhere and run again.
    Export(crate::export::ExportArgs),
    /// Ask an insight of a file of events at given instants, to see how good it is.
    ///
    /// The events are replayed in order of time, and what is asked at an instant is answered from what happened until
    /// then, and nothing later. No database is read or written. The answers are CSV with the columns `device`,
    /// `timestamp`, `value`, `low`, `high` and `status`; where nothing can be said the three in the middle are empty.
    Evaluate(crate::cli::EvaluateArgs),
    /// Report this machine's own metrics to a server.
    Agent(crate::agent::AgentArgs),
    /// Play a fleet that reports to a server over its public API.
    Simulate(crate::simulate::SimulateArgs),
    /// Make, list and revoke access keys; also beside a running server.
    Key(crate::cli::KeyArgs),
    /// Check that the log keeps its promises; also beside a running server.
    Verify(DatabaseArgs),
    /// Back the log up into one file, also beside a running server.
    Backup(BackupArgs),
    /// Restore a backup into an empty or new database; it becomes a new epoch of its log.
    Restore(RestoreArgs),
    /// Fold the whole log into a projection again; servers may run meanwhile.
    Rebuild(RebuildArgs),
    /// Look at what is archived, or archive now; servers may run meanwhile, and do it by themselves.
    Retention(crate::cli::RetentionArgs),
    /// Look at or run the migrations of the database.
    Migrate(MigrateArgs),
    /// Print the GraphQL schema in the schema definition language.
    Schema,
    /// Print a script that completes commands in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which database.
#[derive(Clone, Debug)]
pub struct DatabaseArgs {
    /// Its address, unless that is in a file.
    pub database: String,
    /// The file with its address.
    pub database_file: Option<PathBuf>,
    /// Where what is archived lies.
    pub segments: Option<Place>,
}

#[derive(Args)]
struct DatabaseFlags {
    /// Where the log is kept: `sqlite://FILE`, which one server at a time serves, or
    /// `postgres://USER:PASSWORD@HOST/DATABASE`, which several may.
    #[arg(
        long,
        env = "HOMEPOT_DATABASE",
        default_value = "sqlite://homepot.db",
        hide_env_values = true
    )]
    database: String,
    /// A file with the address of the database, for keeping its password out of the environment;
    /// it goes before `HOMEPOT_DATABASE`. Line breaks and blanks around it are no part of it.
    #[arg(long, env = "HOMEPOT_DATABASE_FILE")]
    database_file: Option<PathBuf>,
    /// Where what is archived lies, one for all nodes: a folder, or `s3://BUCKET/PREFIX` (`AWS_…`). Beside a
    /// file of SQLite `FILE.segments` unless it is given; on PostgreSQL nothing is archived until it is.
    #[arg(long, env = "HOMEPOT_SEGMENTS", value_name = "PLACE", value_parser = place)]
    segments: Option<Place>,
}

impl Args for DatabaseArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        DatabaseFlags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        DatabaseFlags::augment_args_for_update(command)
    }
}

impl FromArgMatches for DatabaseArgs {
    /// A flag goes before the environment, and the file before the address.
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = DatabaseFlags::from_arg_matches(matches)?;
        let is_flag = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let (address, file) = (is_flag("database"), is_flag("database_file"));
        if address && file {
            let message = "--database and --database-file exclude each other\n";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        Ok(Self {
            database: flags.database,
            database_file: flags.database_file.filter(|_| !address),
            segments: flags.segments,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// How the API is served.
#[derive(Clone, Debug, Args)]
pub struct HttpArgs {
    /// Address to listen on, such as `127.0.0.1:8081`. Where nobody proves who they are, only a loopback address is allowed.
    #[arg(long, env = "HOMEPOT_LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// What people call this server where several share a database (1 to 100 characters); the name of the
    /// machine by default.
    #[arg(long, env = "HOMEPOT_NODE", value_parser = node_name)]
    pub node: Option<String>,
    /// A further name under which browsers may reach this server; others are refused, so that no
    /// page elsewhere can reach it under a name of its own (DNS rebinding). May be repeated; in the
    /// environment, names are parted by commas.
    #[arg(
        long = "allowed-host",
        env = "HOMEPOT_ALLOWED_HOST",
        value_delimiter = ','
    )]
    pub allowed_hosts: Vec<String>,
    /// A JSON file with the documents that alone are executed, by names that clients may send in their
    /// place; without it any document is executed. The server does not start with one that can never be executed.
    #[arg(long, env = "HOMEPOT_DOCUMENTS")]
    pub documents: Option<PathBuf>,
    /// The certificate with which connections are encrypted (TLS 1.2 and 1.3): a PEM file with the
    /// chain, that of the server first. It is read again within a minute when it is renewed.
    #[arg(
        long,
        env = "HOMEPOT_TLS_CERTIFICATE",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_certificate: Option<PathBuf>,
    /// The private key of that certificate: a PEM file, not encrypted.
    #[arg(
        long,
        env = "HOMEPOT_TLS_KEY",
        value_name = "FILE",
        requires = "tls_certificate"
    )]
    pub tls_key: Option<PathBuf>,
    /// What stands between clients and this server.
    #[command(flatten)]
    pub edge: crate::http::EdgeArgs,
    /// Where webhooks may go.
    #[command(flatten)]
    pub webhooks: crate::webhooks::WebhookArgs,
    /// By which server alerts are mailed.
    #[command(flatten)]
    pub smtp: crate::webhooks::SmtpArgs,
    /// How exports are kept.
    #[command(flatten)]
    pub exports: crate::exports::ExportsArgs,
}

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Let everybody on this machine do everything, without an access key. Only a loopback address is
    /// listened on then.
    #[arg(long, env = "HOMEPOT_NO_AUTHENTICATION")]
    pub no_authentication: bool,
    /// Which tokens are taken.
    #[command(flatten)]
    pub tokens: crate::identity::TokenArgs,
    /// The keys for secret parameters.
    #[command(flatten)]
    pub configuration: crate::configuration::ConfigurationArgs,
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Where it is read besides.
    #[command(flatten)]
    pub replica: ReplicaArgs,
    /// Which data lake is filled.
    #[command(flatten)]
    pub lake: crate::export::LakeArgs,
    /// How it is served.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Limits.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Where the log of the demo is kept. `HOMEPOT_DATABASE` does not count here, so that no fleet
    /// is simulated into a log that is in use.
    #[arg(
        long,
        env = "HOMEPOT_DEMO_DATABASE",
        default_value = "sqlite://homepot-demo.db"
    )]
    pub database: String,
    /// Begin anew with an empty log; only a file that `demo` made is emptied, and none in use.
    #[arg(long, env = "HOMEPOT_DEMO_RESET")]
    pub reset: bool,
    /// Seed of the simulated fleet: the same seed gives the same sites, tills and habits; what it
    /// lives through also depends on when it is begun.
    #[arg(long, env = "HOMEPOT_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Hours of history that the fleet has when the demo is first started (0 to 720).
    #[arg(long, env = "HOMEPOT_HISTORY_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=720))]
    pub history_hours: u32,
    /// How it is served.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Limits.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Arguments of `import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// Files of JSON lines, plain or gzip; `-` is standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where refused lines of all files are written with their reasons; beside each file by
    /// default. One that cannot be written, or is itself to be imported, is told before anything is imported.
    #[arg(long, env = "HOMEPOT_REFUSED")]
    pub refused: Option<PathBuf>,
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Arguments of `backup`.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// The file to make, which its owner alone can read; one that is there is not overwritten. Until it is whole it is
    /// `FILE.partial`; one that is killed leaves that, and the next backup of this name replaces it.
    pub file: PathBuf,
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Arguments of `restore`.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// The file that `backup` made.
    pub file: PathBuf,
    /// Which database; it must be empty or not there yet.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Arguments of `rebuild`.
#[derive(Clone, Debug, Args)]
pub struct RebuildArgs {
    /// Name of the projection; a wrong one lists them.
    pub projection: String,
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Arguments of `migrate`.
#[derive(Clone, Debug, Args)]
pub struct MigrateArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: MigrateAction,
}

/// What `migrate` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum MigrateAction {
    /// Say which migrations the database lacks; the exit code is 1 when it lacks any.
    Status(DatabaseArgs),
    /// Run the migrations that the database lacks.
    Up(DatabaseArgs),
    /// Make hypertables of the large tables where PostgreSQL (not SQLite) has TimescaleDB, with chunks of a week that
    /// are compressed a week later. All their rows are moved in one transaction, in which nobody appends:
    /// do it early, or while the servers are stopped.
    Timescale(DatabaseArgs),
}

impl DatabaseArgs {
    /// Where the log is kept.
    ///
    /// # Errors
    /// When the file with the address cannot be read.
    pub fn location(&self, create: bool) -> std::io::Result<Location> {
        let url = match &self.database_file {
            Some(file) => std::fs::read_to_string(file)?.trim().to_owned(),
            None => self.database.clone(),
        };
        Ok(Location {
            url,
            create,
            segments: self.segments.clone(),
            ..Location::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_and_its_environment_variable_have_one_name() {
        let program = Cli::command();
        for command in program.get_subcommands().chain([&program]) {
            // no fleet is to be simulated into a log that is in use, nor one to be emptied
            let own =
                |flag: &str| command.get_name() == "demo" && ["database", "reset"].contains(&flag);
            for argument in command.get_arguments() {
                let (Some(flag), Some(variable)) = (argument.get_long(), argument.get_env()) else {
                    continue;
                };
                let prefix = if own(flag) {
                    "HOMEPOT_DEMO_"
                } else {
                    "HOMEPOT_"
                };
                let name = format!("{prefix}{}", flag.to_uppercase().replace('-', "_"));
                assert_eq!(
                    variable,
                    name.as_str(),
                    "--{flag} of {}",
                    command.get_name()
                );
            }
        }
    }
}
