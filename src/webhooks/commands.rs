//! Webhooks and recipients of mail are made, changed and deleted, and what was given up is sent again.
//!
//! They are no events: who reads the log must not read their secrets. That they were made, and by whom, is
//! in the audit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lettre::Address;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};
use uuid::Uuid;

use super::secret::{SEALED, opened, sealed};
use super::sign::{KEY_BYTES, is_malformed};
use super::{Reachable, SECRET_CHARACTERS, WEBHOOKS_MAX, Way, WebhookError, address};
use crate::configuration::Keyring;
use crate::event::Instant;
use crate::history::webhooks::{self, WebhookRow};
use crate::kinds::{Code, Refusal};
use crate::store::{Doing, EntityType, Sql, Store, StoreError};

/// A webhook or recipient of mail to be made.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Its id.
    pub webhook_id: Uuid,
    /// Who makes it.
    pub by: String,
    /// What it is.
    pub change: Change,
}

/// A webhook or recipient of mail that is there.
#[derive(Clone, Copy, Debug)]
pub struct Which<'a> {
    /// Its id.
    pub webhook_id: &'a str,
    /// Which of both it is.
    pub way: Way,
    /// Refused when it has another version.
    pub expected: Option<i64>,
}

/// What is given of a webhook or recipient of mail; what is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Where it goes.
    pub url: Option<String>,
    /// To whom it is mailed.
    pub email_address: Option<String>,
    /// The secret with which it is signed.
    pub secret: Option<String>,
    /// The least severity that is sent, a word of `AlertSeverity`.
    pub severity: Option<String>,
    /// The states that are sent, words of `AlertState`.
    pub states: Option<Vec<String>>,
    /// The sites whose alerts are sent; all when it is empty.
    pub site_ids: Option<Vec<String>>,
    /// Whether anything is sent.
    pub is_enabled: Option<bool>,
}

/// Nothing would ever be sent of a site that is not registered.
async fn sites_are_there(store: &Store, change: &Change) -> Result<(), WebhookError> {
    for id in change.site_ids.iter().flatten() {
        if store.key(EntityType::Site, id).await?.is_none() {
            return Err(WebhookError::NoSite(id.clone()));
        }
    }
    Ok(())
}

/// What is sent when nothing else is said.
const STATES: &str = r#"["OPEN","ACKNOWLEDGED","RESOLVED"]"#;
/// Sites at most that a webhook names.
const SITES_MAX: usize = 1_000;
/// Characters at most of an address of mail (RFC 5321).
const EMAIL_CHARACTERS_MAX: usize = 254;
/// Tries at most of a command, when others change the same thing again and again.
const TRIES_MAX: usize = 16;

impl Change {
    const fn way(&self) -> Way {
        if self.email_address.is_some() {
            Way::Mail
        } else {
            Way::Web
        }
    }

    fn check(&self, reachable: Reachable) -> Result<(), Refusal> {
        let invalid =
            |field: &'static str, message: String| Err(Refusal::of(field, Code::Invalid, message));
        if let Some(url) = &self.url
            && let Err(error) = address::read(url, reachable.private)
        {
            return invalid("url", error.to_string());
        }
        if let Some(address) = &self.email_address
            && !is_of_mail(address)
        {
            let message = "emailAddress is no address such as desk@shop.example";
            return invalid("emailAddress", message.to_owned());
        }
        if let Some(message) = self.secret.as_deref().and_then(wrong_of_secret) {
            return invalid("secret", message);
        }
        if self.states.as_ref().is_some_and(Vec::is_empty) {
            return invalid(
                "states",
                "states has none: nothing would be sent".to_owned(),
            );
        }
        if self
            .site_ids
            .as_ref()
            .is_some_and(|ids| ids.len() > SITES_MAX)
        {
            return invalid("siteIds", format!("siteIds has at most {SITES_MAX} ids"));
        }
        let texts = [&self.url, &self.secret, &self.severity, &self.email_address];
        let lists = [&self.states, &self.site_ids];
        let mut all = texts
            .into_iter()
            .flatten()
            .chain(lists.into_iter().flatten().flatten());
        if all.any(|text| text.contains('\0')) {
            return invalid("url", "a text has the character U+0000".to_owned());
        }
        Ok(())
    }

    fn over(self, row: WebhookRow) -> WebhookRow {
        let list = |list: Option<Vec<String>>, before: String| match list {
            Some(list) => serde_json::to_string(&list).unwrap_or(before),
            None => before,
        };
        WebhookRow {
            url: self.url.unwrap_or(row.url),
            email_address: self.email_address.or(row.email_address),
            secret: self.secret.unwrap_or(row.secret),
            severity: self.severity.unwrap_or(row.severity),
            states: list(self.states, row.states),
            site_ids: list(self.site_ids, row.site_ids),
            is_enabled: self.is_enabled.map_or(row.is_enabled, i64::from),
            version: row.version + 1,
            ..row
        }
    }
}

/// What is wrong of a secret.
fn wrong_of_secret(secret: &str) -> Option<String> {
    if !SECRET_CHARACTERS.contains(&secret.chars().count()) {
        let (min, max) = (SECRET_CHARACTERS.start(), SECRET_CHARACTERS.end());
        return Some(format!("secret has not between {min} and {max} characters"));
    }
    if is_malformed(secret) {
        let (min, max) = (KEY_BYTES.start(), KEY_BYTES.end());
        return Some(format!(
            "secret begins with whsec_, and has not {min} to {max} bytes in Base64 behind that"
        ));
    }
    let is_taken = secret.starts_with(SEALED);
    is_taken.then(|| format!("secret begins with {SEALED}"))
}

/// Whether a text is an address of mail. One in quotes is refused, which few servers take.
fn is_of_mail(text: &str) -> bool {
    let is_short = text.chars().count() <= EMAIL_CHARACTERS_MAX;
    let is_plain = !text.contains(|letter: char| letter.is_control() || "\"<>".contains(letter));
    is_short && is_plain && text.parse::<Address>().is_ok()
}

/// Makes a webhook, or a recipient of mail. Making the same again with the same id does nothing.
///
/// # Errors
/// When a value is out of bounds, there is nothing to mail with, there are too many, another was made with
/// that id, or it cannot be kept.
pub async fn create(
    store: &Store,
    keyring: &Keyring,
    new: NewWebhook,
    reachable: Reachable,
) -> Result<(), WebhookError> {
    if new.change.way() == Way::Mail && !reachable.mail {
        return Err(WebhookError::NoMail);
    }
    let checked = new.change.check(reachable);
    checked.map_err(WebhookError::Refused)?;
    sites_are_there(store, &new.change).await?;
    let all = webhooks::all(store).await?;
    let id = new.webhook_id.to_string();
    let row = new.change.over(WebhookRow {
        webhook_id: id.clone(),
        url: String::new(),
        secret: String::new(),
        severity: "INFO".to_owned(),
        states: STATES.to_owned(),
        site_ids: "[]".to_owned(),
        is_enabled: 1,
        created_at: store.clock().now().0,
        created_by: Some(new.by),
        version: 0,
        email_address: None,
    });
    if let Some(made) = all.iter().find(|made| made.webhook_id == id) {
        return repeated(keyring, made, row);
    }
    if all.len() >= WEBHOOKS_MAX {
        return Err(WebhookError::TooMany);
    }
    let mut kept = row.clone();
    if !kept.secret.is_empty() {
        kept.secret = seal(keyring, &id, kept.secret)?;
    }
    if insert(store, kept).await? {
        return Ok(());
    }
    // somebody else has made it meanwhile, and may have deleted it again
    let made = webhooks::one(store, &id).await?;
    made.map_or(Ok(()), |made| repeated(keyring, &made, row))
}

/// Whether what was made is what is to be made. Of one that was changed since then it is not known what it
/// was made as, and it stays as it is.
fn repeated(keyring: &Keyring, made: &WebhookRow, row: WebhookRow) -> Result<(), WebhookError> {
    let secret = opened(keyring, &made.webhook_id, &made.secret);
    let is_other = secret.is_some_and(|secret| secret != row.secret);
    let again = WebhookRow {
        secret: made.secret.clone(),
        created_at: made.created_at,
        created_by: made.created_by.clone(),
        ..row
    };
    if made.version == again.version && (is_other || *made != again) {
        return Err(WebhookError::OtherRepeat);
    }
    Ok(())
}

fn seal(keyring: &Keyring, webhook_id: &str, secret: String) -> Result<String, WebhookError> {
    sealed(keyring, webhook_id, secret).map_err(|error| {
        let refusal = Refusal::of("secret", Code::Invalid, error.to_string());
        WebhookError::Refused(refusal)
    })
}

/// Changes a webhook, or a recipient of mail.
///
/// # Errors
/// When there is none, it has changed, a value is out of bounds, or it cannot be kept.
pub async fn update(
    store: &Store,
    keyring: &Keyring,
    which: Which<'_>,
    (mut change, reachable): (Change, Reachable),
) -> Result<(), WebhookError> {
    change.check(reachable).map_err(WebhookError::Refused)?;
    sites_are_there(store, &change).await?;
    if let Some(secret) = change.secret.take() {
        change.secret = Some(seal(keyring, which.webhook_id, secret)?);
    }
    for _ in 0..TRIES_MAX {
        let row = found(store, which).await?;
        if replace(store, change.clone().over(row)).await? {
            return Ok(());
        }
        // others have changed or deleted it since it was read
    }
    let version = found(store, which).await?.version;
    Err(WebhookError::Stale { version })
}

/// Deletes a webhook or a recipient of mail, and all that is to be sent to it.
///
/// # Errors
/// When there is none, it has changed, or it cannot be deleted.
pub async fn delete(store: &Store, which: Which<'_>) -> Result<(), WebhookError> {
    for _ in 0..TRIES_MAX {
        let row = found(store, which).await?;
        if remove(store, row).await? {
            return Ok(());
        }
        // others have changed or deleted it since it was read
    }
    let version = found(store, which).await?.version;
    Err(WebhookError::Stale { version })
}

/// Has what was given up, or was delivered, sent once more, with as many attempts as at first.
///
/// # Errors
/// When there is none, it is yet to be tried, or that cannot be kept.
pub async fn redeliver(store: &Store, delivery_id: Uuid) -> Result<(), WebhookError> {
    let row = webhooks::delivery(store, delivery_id).await?;
    let row = row.ok_or(WebhookError::Unknown("delivery"))?;
    if row.state == "PENDING" {
        return Err(WebhookError::Pending);
    }
    let now = store.clock().now();
    let again = store.transact(move |tx| Box::pin(put_in_again(tx, delivery_id, now)));
    again.await?;
    Ok(())
}

async fn put_in_again(
    tx: &DatabaseTransaction,
    delivery_id: Uuid,
    now: Instant,
) -> Result<(), StoreError> {
    let mut sql =
        Sql::new("UPDATE webhook_deliveries SET state = 'PENDING', attempts = 0, due_at = ");
    sql.bind(now.0)
        .push(", claimed_until = NULL WHERE state <> 'PENDING' AND delivery_id = ")
        .bind(delivery_id);
    run(tx, sql).await.map(drop)
}

async fn found(store: &Store, which: Which<'_>) -> Result<WebhookRow, WebhookError> {
    let row = webhooks::one(store, which.webhook_id).await?;
    let row = row.filter(|row| Way::of(row) == which.way);
    let row = row.ok_or(WebhookError::Unknown(which.way.name()))?;
    match which.expected {
        Some(expected) if expected != row.version => Err(WebhookError::Stale {
            version: row.version,
        }),
        _ => Ok(row),
    }
}

/// Writes a webhook that is not there yet, and says whether that is so.
async fn insert(store: &Store, row: WebhookRow) -> Result<bool, StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO webhooks (webhook_id, url, secret, severity, states, site_ids, is_enabled, \
         created_at, created_by, version, email_address) VALUES ",
    );
    let values: [Value; 11] = [
        row.webhook_id.into(),
        row.url.into(),
        row.secret.into(),
        row.severity.into(),
        row.states.into(),
        row.site_ids.into(),
        row.is_enabled.into(),
        row.created_at.into(),
        row.created_by.into(),
        row.version.into(),
        row.email_address.into(),
    ];
    sql.bind_list(values);
    sql.push(" ON CONFLICT (webhook_id) DO NOTHING");
    is_written(store, vec![sql]).await
}

/// Writes a webhook in place of the version before it, and says whether that was there.
async fn replace(store: &Store, row: WebhookRow) -> Result<bool, StoreError> {
    let mut sql = Sql::new("UPDATE webhooks SET url = ");
    sql.bind(row.url).push(", secret = ").bind(row.secret);
    sql.push(", severity = ").bind(row.severity);
    sql.push(", states = ").bind(row.states);
    sql.push(", site_ids = ").bind(row.site_ids);
    sql.push(", is_enabled = ").bind(row.is_enabled);
    sql.push(", email_address = ").bind(row.email_address);
    sql.push(", version = ").bind(row.version);
    sql.push(" WHERE webhook_id = ").bind(row.webhook_id);
    sql.push(" AND version = ").bind(row.version - 1);
    is_written(store, vec![sql]).await
}

/// Deletes that version of a webhook, and what is to be sent to it, and says whether that was there.
async fn remove(store: &Store, row: WebhookRow) -> Result<bool, StoreError> {
    let mut one = Sql::new("DELETE FROM webhooks WHERE webhook_id = ");
    one.bind(row.webhook_id.as_str());
    one.push(" AND version = ").bind(row.version);
    let mut its = Sql::new("DELETE FROM webhook_deliveries WHERE webhook_id = ");
    its.bind(row.webhook_id);
    is_written(store, vec![one, its]).await
}

/// Runs statements in one transaction, the others when the first has written something, and says whether it
/// has.
async fn is_written(store: &Store, statements: Vec<Sql>) -> Result<bool, StoreError> {
    let written = Arc::new(AtomicBool::new(false));
    let is_written = Arc::clone(&written);
    let done = store.transact(move |tx| {
        Box::pin(async move {
            for sql in statements {
                let rows = run(tx, sql).await?;
                if rows == 0 && !is_written.load(Ordering::Relaxed) {
                    break;
                }
                is_written.store(true, Ordering::Relaxed);
            }
            Ok(())
        })
    });
    done.await?;
    Ok(written.load(Ordering::Relaxed))
}

/// Runs a statement, and says how many rows it has written.
async fn run(tx: &DatabaseTransaction, sql: Sql) -> Result<u64, StoreError> {
    let statement = sql.statement(tx.get_database_backend());
    let done = tx.execute_raw(statement).await;
    done.doing("keep webhooks").map(|done| done.rows_affected())
}
