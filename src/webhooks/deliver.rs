//! Tries a delivery once, and keeps how that went.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use reqwest::redirect::Policy;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::address::{self, PublicOnly};
use super::letter::{Envelope, letter};
use super::outbox::delivery_id;
use super::secret::opened;
use super::sign::signature;
use super::{ATTEMPTS_MAX, Mailer, Way};
use crate::configuration::Keyring;
use crate::event::{Instant, Position};
use crate::history::alerts;
use crate::history::webhooks::{self, DeliveryRow, WebhookRow};
use crate::store::{Doing, Sql, Store, StoreError};
use crate::telemetry::chain;

/// Longest time to reach an address.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest time until it has answered.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Before the second attempt; doubled with each further one.
const RETRY_AFTER_MS: i64 = 30_000;
/// Redirects at most that are followed, where that is allowed.
const REDIRECTS_MAX: usize = 3;
/// Characters at most that are kept of why an attempt failed.
const ERROR_CHARACTERS_MAX: usize = 500;

/// How an attempt went.
#[derive(Debug)]
struct Tried {
    status: Option<u16>,
    error: Option<String>,
    /// Whether a further attempt would be for nothing.
    is_for_ever: bool,
}

impl Tried {
    fn failed(error: impl Into<String>) -> Self {
        Self {
            status: None,
            error: Some(error.into()),
            is_for_ever: false,
        }
    }
}

/// Sends to webhooks, and mails.
#[derive(Debug)]
pub(super) struct Sender {
    allow_private: bool,
    mailer: Option<Mailer>,
    keyring: Arc<Keyring>,
}

impl Sender {
    pub(super) const fn new(
        allow_private: bool,
        mailer: Option<Mailer>,
        keyring: Arc<Keyring>,
    ) -> Self {
        Self {
            allow_private,
            mailer,
            keyring,
        }
    }

    /// Tries a delivery once, and keeps how that went.
    pub(super) async fn send(
        &self,
        store: &Store,
        row: &DeliveryRow,
        hook: Option<&WebhookRow>,
    ) -> Result<(), StoreError> {
        let tried = match hook {
            Some(WebhookRow {
                email_address: Some(address),
                ..
            }) => self.mail(store, row, address).await?,
            Some(hook) => self.attempt(row, hook, store.clock().now()).await,
            None => Tried {
                is_for_ever: true,
                ..Tried::failed("the webhook was deleted")
            },
        };
        let now = store.clock().now();
        let (state, due_at) = match (&tried.error, row.attempts) {
            (None, _) => ("DELIVERED", now),
            (Some(_), _) if tried.is_for_ever => ("DEAD", now),
            (Some(_), attempts) if attempts >= ATTEMPTS_MAX => ("DEAD", now),
            (Some(_), attempts) => ("PENDING", now.plus_ms(retry_after_ms(attempts))),
        };
        if state == "DEAD" {
            let is_mail = hook.is_some_and(|hook| Way::of(hook) == Way::Mail);
            let error = if is_mail {
                // what the server says may have the address of the recipient in it
                "the SMTP server has not taken it"
            } else {
                tried.error.as_deref().unwrap_or_default()
            };
            tracing::warn!(error, attempts = row.attempts, "an alert is not sent");
        }
        let (id, claimed) = (row.delivery_id, row.claimed_until);
        let kept = store.transact(move |tx| {
            Box::pin(async move {
                let mut sql = Sql::new("UPDATE webhook_deliveries SET state = ");
                sql.bind(state).push(", due_at = ").bind(due_at.0);
                sql.push(", claimed_until = NULL, status_code = ");
                sql.bind(tried.status.map(i64::from)).push(", error = ");
                sql.bind(tried.error).push(" WHERE delivery_id = ").bind(id);
                // whose claim has run out meanwhile is another's
                sql.push(" AND claimed_until = ").bind(claimed);
                let statement = sql.statement(tx.get_database_backend());
                let kept = tx.execute_raw(statement).await;
                kept.doing("keep how a webhook went").map(drop)
            })
        });
        kept.await
    }

    /// Mails a step. The mails of an alert answer the one with which it began, also when nobody was sent
    /// that.
    async fn mail(
        &self,
        store: &Store,
        row: &DeliveryRow,
        address: &str,
    ) -> Result<Tried, StoreError> {
        let Some(mailer) = &self.mailer else {
            return Ok(Tried::failed("this server has no SMTP server"));
        };
        let Ok(to) = address.parse::<lettre::Address>() else {
            return Ok(Tried::failed("emailAddress is no address"));
        };
        let envelope = Envelope {
            from: mailer.from(),
            to: to.into(),
            begun_by: begun_by(store, row).await?,
        };
        let sent = match letter(row, envelope) {
            Ok(letter) => mailer.send(letter).await,
            Err(error) => return Ok(Tried::failed(chain(&error).to_string())),
        };
        Ok(match sent {
            Ok(status) => Tried {
                status: Some(status),
                error: None,
                is_for_ever: false,
            },
            Err(untaken) => Tried {
                status: untaken.status,
                error: Some(bounded(&untaken.error)),
                is_for_ever: untaken.is_for_ever,
            },
        })
    }

    async fn attempt(&self, row: &DeliveryRow, hook: &WebhookRow, now: Instant) -> Tried {
        match address::read(&hook.url, self.allow_private) {
            Ok(url) => self.post(url, (row, hook), now).await,
            Err(error) => Tried::failed(error.to_string()),
        }
    }

    async fn post(
        &self,
        url: reqwest::Url,
        (row, hook): (&DeliveryRow, &WebhookRow),
        now: Instant,
    ) -> Tried {
        let client = match self.client(&url) {
            Ok(client) => client,
            Err(error) => return Tried::failed(chain(&error).to_string()),
        };
        let (id, seconds) = (row.delivery_id.to_string(), now.0.div_euclid(1_000_000));
        let Some(secret) = opened(&self.keyring, &hook.webhook_id, &hook.secret) else {
            return Tried::failed("the server has not the key with which the secret was sealed");
        };
        let Some(signed) = signature(&secret, (&id, seconds), &row.body) else {
            return Tried::failed("the secret signs nothing");
        };
        let asked = client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signed)
            .body(row.body.clone());
        match asked.send().await {
            Ok(answer) if answer.status().is_success() => Tried {
                status: Some(answer.status().as_u16()),
                error: None,
                is_for_ever: false,
            },
            Ok(answer) => {
                let status = answer.status();
                let refused = if status.is_redirection() {
                    format!("the answer has the status {status}, and no redirect is followed")
                } else {
                    format!("the answer has the status {status}")
                };
                Tried {
                    status: Some(status.as_u16()),
                    error: Some(refused),
                    is_for_ever: false,
                }
            }
            Err(error) => Tried::failed(bounded(&chain(&error.without_url()).to_string())),
        }
    }

    /// A client for one attempt: nothing of a connection to one webhook is left for another.
    fn client(&self, url: &reqwest::Url) -> Result<reqwest::Client, reqwest::Error> {
        // an error says that a provider is installed already; it is the same one
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("homepot-analytics/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            // a proxy would connect to what is refused here
            .no_proxy()
            .pool_max_idle_per_host(0);
        if url.scheme() == "http" {
            // so that a machine without certificates of authorities can speak plain HTTP
            client = client.tls_certs_only([]);
        }
        client = if self.allow_private {
            client.redirect(Policy::limited(REDIRECTS_MAX))
        } else {
            client.redirect(Policy::none()).dns_resolver(PublicOnly)
        };
        client.build()
    }
}

/// The id of what is sent of the step with which the alert of a delivery began; nothing of that step itself.
async fn begun_by(store: &Store, row: &DeliveryRow) -> Result<Option<Uuid>, StoreError> {
    let first = alerts::first_step(store, &row.alert_id).await?;
    let Some(first) = first.filter(|position| *position != row.position) else {
        return Ok(None);
    };
    // it may have been sent before the log was restored, under an id of that epoch
    let sent = webhooks::delivery_of(store, (&row.webhook_id, &row.alert_id), first).await?;
    let id = || delivery_id(store.identity(), &row.webhook_id, Position(first));
    Ok(Some(sent.unwrap_or_else(id)))
}

/// Why an attempt failed, as much as is kept of it.
fn bounded(error: &str) -> String {
    error.chars().take(ERROR_CHARACTERS_MAX).collect()
}

/// How long after a failed attempt the next is made: longer each time, and not of all at once.
fn retry_after_ms(attempts: i64) -> i64 {
    let doubled = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or(0)
        .min(16);
    let base = RETRY_AFTER_MS.saturating_mul(1 << doubled);
    base + rand::rng().random_range(0..=base / 4)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use axum::routing::any;

    use super::*;

    /// Where a webhook goes that leads elsewhere, and what came there.
    async fn leading_elsewhere() -> (reqwest::Url, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let (told, came) = tokio::sync::mpsc::unbounded_channel();
        let elsewhere = move |body: String| {
            told.send(body).unwrap();
            async { StatusCode::NO_CONTENT }
        };
        let away = || async {
            (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response()
        };
        let router = Router::new()
            .route("/in", any(away))
            .route("/elsewhere", any(elsewhere));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        #[expect(
            clippy::disallowed_methods,
            reason = "the task is that of the test and ends with its runtime"
        )]
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url.parse().unwrap(), came)
    }

    fn delivery() -> (DeliveryRow, WebhookRow) {
        let row = DeliveryRow {
            delivery_id: Uuid::from_u128(1),
            webhook_id: "w".to_owned(),
            position: 1,
            alert_id: "a".to_owned(),
            body: "{}".to_owned(),
            state: "PENDING".to_owned(),
            attempts: 1,
            due_at: 0,
            claimed_until: None,
            created_at: 0,
            tried_at: None,
            status_code: None,
            error: None,
        };
        let hook = WebhookRow {
            webhook_id: "w".to_owned(),
            url: String::new(),
            secret: "sixteen letters and more".to_owned(),
            severity: "INFO".to_owned(),
            states: "[]".to_owned(),
            site_ids: "[]".to_owned(),
            is_enabled: 1,
            created_at: 0,
            created_by: None,
            version: 1,
            email_address: None,
        };
        (row, hook)
    }

    #[tokio::test]
    async fn nobody_is_led_elsewhere_unless_any_address_is_allowed() {
        let (row, hook) = delivery();
        let (url, mut came) = leading_elsewhere().await;
        // whose address is public cannot lead to one that is not
        let sender = Sender::new(false, None, Arc::default());
        let tried = sender.post(url.clone(), (&row, &hook), Instant(0)).await;
        assert_eq!(tried.status, Some(307));
        let error = tried.error.unwrap();
        assert!(error.contains("no redirect is followed"), "{error}");
        assert!(came.try_recv().is_err(), "nothing came");
        let sender = Sender::new(true, None, Arc::default());
        let tried = sender.post(url, (&row, &hook), Instant(0)).await;
        assert_eq!((tried.status, tried.error), (Some(204), None));
        assert_eq!(came.recv().await.unwrap(), "{}");
    }
}
