//! `key`: access keys are made, listed and revoked, beside a running server or before there is one.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::{location, print, say};
use crate::app;
use crate::clock::Clock;
use crate::config::{DatabaseArgs, LimitArgs};
use crate::event::Instant;
use crate::history::fleet::IdPage;
use crate::history::keys::{KeyRow, key as key_by_id, keys_page, usage};
use crate::identity::{self, Created, Grant, GrantError, Made, More, Role, Secret};
use crate::ingest::Ingest;
use crate::places::make_private;
use crate::store::Store;

/// Keys that are listed at once.
const PAGE: u64 = 1_000;
/// Characters at least of the beginning of an id or key that names one.
const BEGINNING_MIN: usize = 6;
/// Characters at most that are shown of what was given: it may be a key.
const SHOWN_CHARACTERS: usize = 9;

/// Arguments of `key`.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: KeyAction,
}

/// What `key` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum KeyAction {
    /// Make an access key and print it: it is shown once and kept nowhere.
    Create(CreateArgs),
    /// List the access keys.
    List(DatabaseArgs),
    /// Revoke an access key: it holds no more, and what its holder has open is closed.
    Revoke(RevokeArgs),
}

/// Arguments of `key create`.
#[derive(Clone, Debug, Args)]
pub struct CreateArgs {
    /// Name for people, such as that of the program that is to have it (1 to 100 characters).
    #[arg(long)]
    pub name: String,
    /// What its holder may do: VIEWER reads, OPERATOR also gives commands, ADMIN may do everything,
    /// DEVICE is one device (with --device), INGEST records and reads nothing.
    #[arg(long, value_parser = role)]
    pub role: Role,
    /// Bind its holder to a site; may be repeated (VIEWER, OPERATOR, INGEST).
    #[arg(long = "site", value_name = "SITE_ID")]
    pub sites: Vec<String>,
    /// The device that its holder is (DEVICE, which needs it); it is to be registered.
    #[arg(long, value_name = "DEVICE_ID")]
    pub device: Option<String>,
    /// Have what it records of a device that is not known register that device (INGEST with one site).
    #[arg(long)]
    pub registers_devices: bool,
    /// Bind it to the pages of an origin, such as `https://shop.example`; may be repeated (INGEST with --kind:
    /// whoever is shown such a page can read its key).
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub origins: Vec<String>,
    /// Have it record events of this kind alone, such as userActivity; may be repeated (INGEST).
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// How long it holds, such as 12h or 90d; until it is revoked when left out.
    #[arg(long, value_parser = lifetime)]
    pub expires_in: Option<Lifetime>,
    /// Write the key to a new file that its owner alone can read, instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Arguments of `key revoke`.
#[derive(Clone, Debug, Args)]
pub struct RevokeArgs {
    /// Its id or its beginning as `key list` shows them; at least 6 characters.
    pub key: String,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// How long a key holds, in hours.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime(i64);

fn role(text: &str) -> Result<Role, String> {
    let words: Vec<&str> = Role::ALL.iter().map(|role| role.word()).collect();
    Role::of_word(text).ok_or_else(|| format!("it is none of {}", words.join(", ")))
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    let hours = || {
        let (number, hours) = match text.strip_suffix('d') {
            Some(days) => (days, 24),
            None => (text.strip_suffix('h')?, 1),
        };
        let number: i64 = number.parse().ok().filter(|n| (1..=36_500).contains(n))?;
        Some(Lifetime(number * hours))
    };
    hours().ok_or_else(|| "it is not of the form of 12h or 90d".to_owned())
}

/// Who makes and revokes keys here.
const MADE: Made<'_> = Made {
    actor: identity::COMMAND_LINE,
    operation: "",
    network: None,
    keys: None,
};

/// Runs `key`.
pub(super) async fn key(arguments: KeyArgs) -> anyhow::Result<()> {
    match arguments.action {
        KeyAction::Create(arguments) => create(arguments).await,
        KeyAction::List(database) => list(database).await,
        KeyAction::Revoke(arguments) => revoke(arguments).await,
    }
}

async fn create(arguments: CreateArgs) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let grant = Grant {
        name: arguments.name,
        prefix: String::new(),
        role: arguments.role,
        site_ids: arguments.sites,
        device_id: arguments.device,
        expires_at: arguments
            .expires_in
            .map(|Lifetime(hours)| now.plus_ms(hours * 3_600_000)),
        more: More {
            registers_devices: arguments.registers_devices,
            origins: arguments.origins,
            kinds: arguments.kinds,
            ..More::default()
        },
    };
    if let Err(error) = grant.check(now) {
        bail!(
            "cannot make the access key: {}",
            in_flags(&error, grant.role)
        );
    }
    // before a key is made that nobody would see
    let mut file = arguments.out.as_deref().map(new_file).transpose()?;
    let created = create_in(&arguments.database, grant).await;
    if created.is_err()
        && let Some(path) = &arguments.out
    {
        let _ = std::fs::remove_file(path);
    }
    let (created, database) = created?;
    let secret = created.secret.as_ref().map_or("", Secret::reveal);
    match &mut file {
        Some(file) => writeln!(file, "{secret}").context("cannot write the access key")?,
        None => print(secret),
    }
    let told = format!(
        "id {}, in {database}; the key is shown this once and kept nowhere",
        created.key_id
    );
    say(&mut std::io::stderr(), &told);
    Ok(())
}

/// Makes a key in a database; it, and the address of that.
async fn create_in(database: &DatabaseArgs, grant: Grant) -> anyhow::Result<(Created, String)> {
    let location = location(database, true)?;
    let (store, tasks) = app::open(location, &LimitArgs::default(), Clock::system()).await?;
    let address = store.address().to_owned();
    let made = Made {
        operation: "key create",
        ..MADE
    };
    let created = identity::create(&Ingest::new(store), grant, (made, None)).await;
    tasks.stop().await;
    Ok((created.context("cannot make the access key")?, address))
}

/// What is wrong with what was given, in the words of the command line.
fn in_flags(error: &GrantError, role: Role) -> String {
    let told = match error {
        GrantError::Device if role == Role::Device => {
            "--role DEVICE is that of one device: give --device DEVICE_ID, the id of one that is registered"
        }
        GrantError::Device => "--device is for --role DEVICE alone",
        GrantError::Sites => {
            "--site is for the roles VIEWER, OPERATOR and INGEST: an ADMIN reaches all sites, a DEVICE itself alone"
        }
        GrantError::Registers => "--registers-devices needs --role INGEST and exactly one --site",
        GrantError::Origins => {
            "--origin needs --role INGEST and --kind: whoever is shown a page can read its key"
        }
        GrantError::Kinds => "--kind is for --role INGEST",
        GrantError::Name
        | GrantError::TooManySites
        | GrantError::Id
        | GrantError::Enrols
        | GrantError::TooManyOrigins
        | GrantError::Origin { .. }
        | GrantError::Kind(_)
        | GrantError::Uses
        | GrantError::Expired => return error.to_string(),
    };
    told.to_owned()
}

fn new_file(path: &Path) -> anyhow::Result<std::fs::File> {
    let file = make_private(path);
    file.with_context(|| format!("cannot make the file {}", path.display()))
}

async fn list(database: DatabaseArgs) -> anyhow::Result<()> {
    let location = location(&database, false)?;
    let (store, tasks) = app::open(location, &LimitArgs::default(), Clock::system()).await?;
    let keys = all(&store).await;
    tasks.stop().await;
    let keys = keys?;
    if keys.is_empty() {
        say(
            &mut std::io::stderr(),
            "there are no access keys; make one with `key create`",
        );
        return Ok(());
    }
    print("ID                                BEGINNING  ROLE      NAME, REACH, STATE");
    let now = Clock::system().now();
    for (row, grant, used_at) in keys {
        let role = grant.role.word();
        let told = told(&row, &grant, (used_at, now));
        print(&format!(
            "{}  {:<9}  {role:<8}  {told}",
            row.key_id, grant.prefix
        ));
    }
    Ok(())
}

type Listed = (KeyRow, Grant, Option<Instant>);

async fn all(store: &Store) -> anyhow::Result<Vec<Listed>> {
    let (mut keys, mut last): (Vec<Listed>, Option<String>) = (Vec::new(), None);
    loop {
        let page = IdPage {
            after: last.clone(),
            limit: PAGE,
            ..IdPage::default()
        };
        let rows = keys_page(store, &page, &Store::own_allowance()).await?;
        if rows.is_empty() {
            return Ok(keys);
        }
        let ids: Vec<String> = rows.iter().map(|row| row.key_id.clone()).collect();
        let used = usage(store, &ids).await?;
        for row in rows {
            let grant = row.key_grant.as_deref().unwrap_or_default();
            let Ok(grant) = serde_json::from_str(grant) else {
                let told = format!("the key {} cannot be read and does not hold", row.key_id);
                say(&mut std::io::stderr(), &told);
                last = Some(row.key_id);
                continue;
            };
            let used_at = used.get(&row.key_id).copied().map(Instant);
            last = Some(row.key_id.clone());
            keys.push((row, grant, used_at));
        }
    }
}

fn told(row: &KeyRow, grant: &Grant, (used_at, now): (Option<Instant>, Instant)) -> String {
    let device = grant.device_id.as_ref();
    let joined = |ids: &[String]| Some(ids.join(" ")).filter(|ids| !ids.is_empty());
    let sites = joined(&grant.site_ids);
    let state = match (row.revoked_at, grant.expires_at) {
        (Some(at), _) => Some(format!("revoked {}", Instant(at))),
        (None, Some(end)) if end <= now => Some(format!("expired {end}")),
        (None, Some(end)) => Some(format!("holds until {end}")),
        (None, None) => None,
    };
    let used = used_at.map_or("not used yet".to_owned(), |at| format!("last used {at}"));
    let parts = [
        Some(grant.name.clone()),
        device.map(|device| format!("device {device}")),
        sites.map(|sites| format!("sites {sites}")),
        joined(&grant.more.kinds).map(|kinds| format!("records {kinds}")),
        joined(&grant.more.origins).map(|origins| format!("for pages of {origins}")),
        state,
        Some(used),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

async fn revoke(arguments: RevokeArgs) -> anyhow::Result<()> {
    let location = location(&arguments.database, false)?;
    let (store, tasks) = app::open(location, &LimitArgs::default(), Clock::system()).await?;
    let revoked = revoke_in(store, &arguments).await;
    tasks.stop().await;
    print(&format!("revoked {}", revoked?));
    Ok(())
}

/// The id of the key that is meant: by the key itself, or by its beginning or that of its id.
async fn named(store: &Store, given: &str) -> anyhow::Result<String> {
    if let Some(secret) = Secret::read(given) {
        let row = key_by_id(store, &secret.id()).await?;
        let prefix = secret.prefix();
        let row = row.with_context(|| format!("there is no access key {prefix}…"))?;
        return Ok(row.key_id);
    }
    if given.len() < BEGINNING_MIN {
        bail!("give at least {BEGINNING_MIN} characters of the id or of the key");
    }
    let mut keys = all(store).await?;
    keys.retain(|(row, grant, _)| {
        // more of a key than is known here may be given
        let is_its = !grant.prefix.is_empty() && given.starts_with(&grant.prefix);
        row.key_id.starts_with(given) || grant.prefix.starts_with(given) || is_its
    });
    // a whole key may have been given, with a slip
    let shown: String = given.chars().take(SHOWN_CHARACTERS).collect();
    match keys.as_slice() {
        [(row, ..)] => Ok(row.key_id.clone()),
        [] => bail!("there is no access key that begins with {shown}"),
        _ => bail!("several access keys begin with {shown}; give more of the id"),
    }
}

async fn revoke_in(store: Store, arguments: &RevokeArgs) -> anyhow::Result<String> {
    let key_id = named(&store, arguments.key.trim_end_matches('…')).await?;
    let made = Made {
        operation: "key revoke",
        ..MADE
    };
    let why = (made, arguments.reason.as_deref());
    identity::revoke(&Ingest::new(store), (&key_id, None), why).await?;
    Ok(key_id)
}
