//! The access keys that hold now, as this server knows them.
//!
//! They are in memory, so that proving who one is costs a hash and a look into a map. The log tells what
//! is made and revoked, on this server and on others: a key holds within a quarter of a second
//! everywhere, and what its holder has open is cut as fast when it is revoked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use entity::{access_keys, audit_log};
use futures_util::TryStreamExt;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Caller, Grant, Reach, Role, Secret, SignInError};
use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;
use crate::store::{Doing, Sql, Store, StoreError, Tail};
use crate::ticks;

/// How often it is written when keys were last used, which is told to this.
const WRITE_EVERY: Duration = Duration::from_mins(1);
/// How often it is looked which keys have ended that were replaced.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it takes until the log is read again after that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A key that holds.
#[derive(Debug)]
struct Known {
    grant: Grant,
    reach: Reach,
    kinds: Arc<[Kind]>,
    /// As its holder is called.
    name: Arc<str>,
    /// When it ends although it was given for longer, since it was replaced; the greatest number if it is
    /// not.
    ends_at: AtomicI64,
    revoked: CancellationToken,
    /// When it was last used since that was last written; 0 when it was not.
    used_at: AtomicI64,
}

impl Known {
    /// From when on it holds no more.
    fn expires_at(&self) -> Option<Instant> {
        let ends_at = Instant(self.ends_at.load(Ordering::Relaxed));
        let ends_at = (ends_at.0 < i64::MAX).then_some(ends_at);
        match (self.grant.expires_at, ends_at) {
            (Some(expires_at), Some(ends_at)) => Some(expires_at.min(ends_at)),
            (expires_at, ends_at) => expires_at.or(ends_at),
        }
    }

    fn holds(&self, now: Instant) -> bool {
        self.expires_at().is_none_or(|end| now < end)
    }
}

/// The keys that hold now.
#[derive(Debug)]
pub struct Keys {
    known: RwLock<HashMap<String, Arc<Known>>>,
    /// Of these, those that are bound to the pages of some origins: few, and looked through whenever a
    /// page of another origin asks.
    of_pages: RwLock<HashMap<String, Arc<Known>>>,
    read: watch::Sender<Position>,
}

impl Keys {
    /// Reads the keys of a log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        // the head first: what is read after it is at least as new
        let head = store.committed_head().await?;
        let keys = Self {
            known: RwLock::default(),
            of_pages: RwLock::default(),
            read: watch::Sender::new(head),
        };
        let now = store.clock().now();
        let held = access_keys::Entity::find()
            .filter(unrevoked(now))
            .filter(access_keys::Column::KeyGrant.is_not_null())
            .stream(store.readers())
            .await
            .doing("read the access keys")?;
        let add = |row: access_keys::Model| {
            let grant = row.key_grant.as_deref().unwrap_or_default();
            keys.add(&row.key_id, serde_json::from_str(grant).ok());
            if let Some(ends_at) = row.revoked_at {
                keys.end(&row.key_id, Instant(ends_at));
            }
            std::future::ready(Ok(()))
        };
        let all = held.try_for_each(add).await;
        all.doing("read the access keys")?;
        Ok(keys)
    }

    /// Whether there is no key that holds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.is_empty()
    }

    /// Who holds a key, if it holds and is for whoever asks from there. A token lets nobody in.
    ///
    /// # Errors
    /// When it does not, or is not.
    pub(super) fn holder(
        &self,
        key: &Secret,
        origin: Option<&str>,
        now: Instant,
    ) -> Result<Caller, SignInError> {
        let key_id = key.id();
        let known = self.held(&key_id, now);
        let known = known.filter(|known| known.grant.role != Role::Enrol);
        let known = known.ok_or(SignInError::Key)?;
        if !known.grant.more.is_for(origin) {
            return Err(SignInError::Origin);
        }
        known.used_at.fetch_max(now.0, Ordering::Relaxed);
        let expires_at = known.expires_at();
        Ok(Caller {
            name: Arc::clone(&known.name),
            role: known.grant.role,
            reach: known.reach.clone(),
            expires_at,
            registers_devices: known.grant.more.registers_devices,
            kinds: Arc::clone(&known.kinds),
            is_public: !known.grant.more.origins.is_empty(),
            revoked: known.revoked.clone(),
            account: Arc::from(key_id),
            network: None,
        })
    }

    /// Whether a key that holds is bound to the pages of an origin.
    pub(super) fn has_pages_of(&self, origin: &str, now: Instant) -> bool {
        let of_pages = self.of_pages.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = of_pages.values();
        all.any(|known| known.holds(now) && known.grant.more.is_for(Some(origin)))
    }

    /// Whether somebody has a token by which devices enrol, as far as this server knows.
    #[must_use]
    pub fn enrols(&self, token: &Secret, now: Instant) -> bool {
        let known = self.held(&token.id(), now);
        let known = known.filter(|known| known.grant.role == Role::Enrol);
        if let Some(known) = &known {
            known.used_at.fetch_max(now.0, Ordering::Relaxed);
        }
        known.is_some()
    }

    fn held(&self, key_id: &str, now: Instant) -> Option<Arc<Known>> {
        let known = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.get(key_id)?)
        };
        known.holds(now).then_some(known)
    }

    /// When a key was last used on this server, if that is not written yet.
    #[must_use]
    pub fn used_at(&self, key_id: &str) -> Option<Instant> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let used_at = known.get(key_id)?.used_at.load(Ordering::Relaxed);
        (used_at > 0).then_some(Instant(used_at))
    }

    /// Waits until this server knows what the log says up to a position.
    pub(super) async fn know(&self, position: Position) {
        let mut read = self.read.subscribe();
        // whoever stops the server stops this too
        let _ = read.wait_for(|read| *read >= position).await;
    }

    fn add(&self, key_id: &str, grant: Option<Grant>) {
        let Some(grant) = grant else {
            tracing::error!(
                key.id = key_id,
                "an access key cannot be read and does not hold"
            );
            return;
        };
        let known = Arc::new(Known {
            name: Arc::from(called(&grant)),
            reach: grant.reach(),
            kinds: grant.more.kinds(),
            grant,
            ends_at: AtomicI64::new(i64::MAX),
            revoked: CancellationToken::new(),
            used_at: AtomicI64::new(0),
        });
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let held = all.entry(key_id.to_owned()).or_insert(known);
        if !held.grant.more.origins.is_empty() {
            let mut of_pages = self
                .of_pages
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            of_pages.insert(key_id.to_owned(), Arc::clone(held));
        }
    }

    fn remove(&self, key_id: &str) {
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.remove(key_id) {
            known.revoked.cancel();
            let mut of_pages = self
                .of_pages
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            of_pages.remove(key_id);
        }
    }

    /// Has a key end at an instant that is yet to come.
    fn end(&self, key_id: &str, at: Instant) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(key_id) {
            known.ends_at.fetch_min(at.0, Ordering::Relaxed);
        }
    }

    /// Closes what the holders of keys have open that were replaced and have ended since.
    fn close_ended(&self, now: Instant) {
        let ended: Vec<String> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let ended = known
                .iter()
                .filter(|(_, known)| known.ends_at.load(Ordering::Relaxed) <= now.0);
            ended.map(|(id, _)| id.clone()).collect()
        };
        for key_id in ended {
            self.remove(&key_id);
        }
    }

    fn take(&self, event: &Event) {
        let text = |column| event.fact.cell(column).text();
        let Some(key_id) = text(audit_log::Column::KeyId) else {
            return;
        };
        match text(audit_log::Column::Action) {
            Some("KEY_CREATED") => {
                self.add(
                    key_id,
                    Grant::of_cell(event.fact.cell(audit_log::Column::KeyGrant)),
                );
            }
            // one that was replaced holds for a while
            Some("KEY_REVOKED") if event.fact.occurred_at > event.recorded_at => {
                self.end(key_id, event.fact.occurred_at);
            }
            Some("KEY_REVOKED") => self.remove(key_id),
            _ => {}
        }
    }

    /// Follows the log until it is told to stop.
    pub async fn run(self: Arc<Self>, store: Store, stop: CancellationToken) {
        let mut tail = self.tail(&store);
        let mut looks = ticks::every(LOOK_EVERY);
        loop {
            let events = tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {
                    self.close_ended(store.clock().now());
                    continue;
                }
                events = tail.next_looked_at() => events,
            };
            match events {
                Ok(events) => {
                    for event in &events {
                        self.take(event);
                    }
                    self.read.send_replace(tail.position());
                }
                Err(error) => {
                    let error = crate::telemetry::chain(&error).to_string();
                    tracing::error!(error, "cannot read which access keys hold; trying again");
                    stop.run_until_cancelled(sleep(AGAIN_AFTER)).await;
                    tail = self.tail(&store);
                }
            }
        }
    }

    /// Writes every so often when keys were used, until it is told to stop, and once more then. It runs
    /// apart, so that a revocation is heard while a database takes its time.
    pub async fn note(self: Arc<Self>, store: Store, stop: CancellationToken) {
        loop {
            let waited = stop.run_until_cancelled(sleep(WRITE_EVERY)).await;
            self.write(&store).await;
            if waited.is_none() {
                return;
            }
        }
    }

    fn tail(&self, store: &Store) -> Tail {
        store.tail(*self.read.borrow(), Some(&[Kind::AuditEntry]))
    }

    /// Writes when keys were last used, in the order of their ids, so that two servers that do so never
    /// wait for each other. What cannot be written is written the next time.
    async fn write(&self, store: &Store) {
        let mut used: Vec<(String, i64)> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let used = known
                .iter()
                .map(|(id, known)| (id.clone(), known.used_at.swap(0, Ordering::Relaxed)));
            used.filter(|(_, at)| *at > 0).collect()
        };
        used.sort();
        for some in used.chunks(WRITTEN_AT_ONCE) {
            let rows = some.to_vec();
            let written = store
                .transact(move |tx| Box::pin(async move { note(tx, rows).await }))
                .await;
            if let Err(error) = written {
                let error = crate::telemetry::chain(&error).to_string();
                tracing::warn!(error, "cannot write when access keys were used");
                self.put_back(some);
            }
        }
    }

    fn put_back(&self, used: &[(String, i64)]) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        for (id, at) in used {
            if let Some(known) = known.get(id) {
                known.used_at.fetch_max(*at, Ordering::Relaxed);
            }
        }
    }
}

/// The condition on keys that were not revoked at an instant.
fn unrevoked(now: Instant) -> Condition {
    let revoked_at = access_keys::Column::RevokedAt;
    Condition::any()
        .add(revoked_at.is_null())
        .add(revoked_at.gt(now.0))
}

/// Keys of which it is written at once when they were used: others append in between.
const WRITTEN_AT_ONCE: usize = 500;

async fn note(
    tx: &sea_orm::DatabaseTransaction,
    used: Vec<(String, i64)>,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("INSERT INTO access_key_usage (key_id, last_used_at) VALUES ");
    for (ordinal, (key_id, at)) in used.into_iter().enumerate() {
        sql.push(if ordinal > 0 { ", " } else { "" });
        sql.bind_list([key_id.into(), at.into()]);
    }
    sql.push(" ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at ");
    sql.push("WHERE excluded.last_used_at > access_key_usage.last_used_at");
    let statement = sql.statement(tx.get_database_backend());
    let noted = tx.execute_raw(statement).await;
    noted.doing("note the use of access keys").map(drop)
}

/// As the holder of a key is called: by its name, and by what tells two of one name apart.
pub(super) fn called(grant: &Grant) -> String {
    format!("{} ({}…)", grant.name, grant.prefix)
}
