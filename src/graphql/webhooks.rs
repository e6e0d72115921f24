//! Webhooks: where alerts are sent, and how that and what is mailed went.

use std::sync::Arc;

use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::command::{UserError, What, keyed_id};
use super::destinations::{Fields, as_it_is, ids, list, told, which, words};
use super::error::bad_input;
use super::listed::at_most;
use super::order::InOrder;
use super::scalars::{DateTime, JsonScalar, Long};
use super::words::{AlertSeverities, AlertStates, Word};
use super::{access, api, of_failed};
use crate::event::Instant;
use crate::history::webhooks::{self as rows, DeliveryPlace, DeliveryRow, WebhookRow};
use crate::webhooks::{self, Change, NewWebhook, Way, WebhookError};

/// Deliveries of a page when no number is given.
const PAGE_DEFAULT: usize = 50;
/// Deliveries of a page at most.
const PAGE_MAX: usize = 1_000;

const FIELDS: Fields = Fields {
    id: "webhookId",
    address: "url",
};

/// A webhook: an address to which alerts are sent.
#[derive(Clone, Debug)]
pub(super) struct Webhook(Arc<WebhookRow>);

/// A webhook: an address to which alerts are sent. Its secret is shown to nobody.
#[Object]
impl Webhook {
    /// Its id.
    async fn webhook_id(&self) -> ID {
        ID(self.0.webhook_id.clone())
    }

    /// Where it goes.
    async fn url(&self) -> &str {
        &self.0.url
    }

    /// The least severity that is sent.
    async fn severity(&self) -> Word<AlertSeverities> {
        Word::known(&self.0.severity)
    }

    /// The states of alerts that are sent.
    async fn states(&self) -> Vec<Word<AlertStates>> {
        let states = list(&self.0.states);
        states.iter().map(|word| Word::known(word)).collect()
    }

    /// The sites whose alerts are sent; all when it is empty.
    async fn site_ids(&self) -> Vec<ID> {
        list(&self.0.site_ids).into_iter().map(ID).collect()
    }

    /// Whether anything is sent. While it is not, no step is put in, and what waits is kept for 30 days and sent
    /// when it is enabled again.
    async fn is_enabled(&self) -> bool {
        self.0.is_enabled == 1
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(Instant(self.0.created_at))
    }

    /// Who made it.
    async fn created_by(&self) -> Option<&str> {
        self.0.created_by.as_deref()
    }

    /// How often it has changed, for `expectedVersion`.
    async fn version(&self) -> Long {
        Long(self.0.version)
    }
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum WebhookDeliveryState {
    /// It is tried when it is due, and not while its webhook is disabled.
    Pending,
    /// The other side has taken it.
    Delivered,
    /// It was given up after 8 attempts, or the SMTP server will never take it.
    Dead,
}

impl WebhookDeliveryState {
    fn of_word(word: &str) -> Self {
        match word {
            "DELIVERED" => Self::Delivered,
            "DEAD" => Self::Dead,
            _ => Self::Pending,
        }
    }

    fn word(self) -> String {
        let word = match self {
            Self::Pending => "PENDING",
            Self::Delivered => "DELIVERED",
            Self::Dead => "DEAD",
        };
        word.to_owned()
    }
}

/// A step of an alert that is sent to a webhook, or mailed to an email recipient.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct WebhookDelivery {
    /// Its id, the same at each attempt: the header `webhook-id`, or the `Message-ID` of a mail.
    delivery_id: ID,
    /// As `after`: what comes next.
    cursor: String,
    /// The webhook, or the email recipient.
    webhook_id: ID,
    /// The alert.
    alert_id: ID,
    /// What is sent, or told in a mail.
    body: JsonScalar,
    /// How far it is.
    state: WebhookDeliveryState,
    /// How often it was tried, since it was put in or put in again.
    attempts: i32,
    /// When it is tried next; null when it is not.
    due_at: Option<DateTime>,
    /// When it was tried last.
    tried_at: Option<DateTime>,
    /// The status of HTTP, or of SMTP, with which the other side answered last; null when it did not.
    status_code: Option<i32>,
    /// Why the last attempt failed.
    error: Option<String>,
    /// When it was put in.
    created_at: DateTime,
}

impl WebhookDelivery {
    fn of(row: DeliveryRow) -> Self {
        let state = WebhookDeliveryState::of_word(&row.state);
        let is_pending = state == WebhookDeliveryState::Pending;
        let int = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
        Self {
            delivery_id: ID(row.delivery_id.to_string()),
            cursor: write_cursor(&(row.position, row.webhook_id.clone())),
            webhook_id: ID(row.webhook_id),
            alert_id: ID(row.alert_id),
            body: JsonScalar(serde_json::from_str(&row.body).unwrap_or_default()),
            state,
            attempts: int(row.attempts),
            due_at: is_pending.then_some(DateTime(Instant(row.due_at))),
            tried_at: row.tried_at.map(|at| DateTime(Instant(at))),
            status_code: row.status_code.map(int),
            error: row.error,
            created_at: DateTime(Instant(row.created_at)),
        }
    }
}

fn write_cursor((position, webhook_id): &DeliveryPlace) -> String {
    URL_SAFE_NO_PAD.encode(format!("delivery:{position}:{webhook_id}"))
}

fn read_cursor(text: &str) -> Result<DeliveryPlace, Error> {
    let place = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (position, id) = text.strip_prefix("delivery:")?.split_once(':')?;
        (!id.contains('\0')).then_some((position.parse().ok()?, id.to_owned()))
    };
    place().ok_or_else(|| bad_input("not a cursor of this list"))
}

/// The queries of webhooks.
#[derive(Debug)]
pub(super) struct Webhooks;

#[Object]
impl Webhooks {
    /// The webhooks, in the order in which they were made.
    async fn webhooks(&self, ctx: &Context<'_>) -> Result<Option<Vec<InOrder<Webhook>>>, Error> {
        let found = rows::all(api(ctx).store()).await;
        let mut found = found.map_err(|error| of_failed(api(ctx), &error))?;
        found.retain(|row| Way::of(row) == Way::Web);
        super::loaders(ctx).count(found.len())?;
        let webhooks = found.into_iter().map(|row| InOrder(Webhook(Arc::new(row))));
        Ok(Some(webhooks.collect()))
    }

    #[expect(clippy::too_many_arguments, reason = "they are those of a page")]
    /// What is sent to webhooks and email recipients, or was in the last 30 days: the newest steps of alerts
    /// first.
    async fn webhook_deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "To this webhook or email recipient.")] webhook_id: Option<ID>,
        #[graphql(desc = "In one of these states.")] states: Option<Vec<WebhookDeliveryState>>,
        #[graphql(desc = "Rows at most; 50 when it is left out, 1000 at most.")] first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
    ) -> Result<Option<Vec<InOrder<WebhookDelivery>>>, Error> {
        let first = match first {
            None => PAGE_DEFAULT,
            Some(first) => at_most("first", first, PAGE_MAX)?,
        };
        let after = after.as_deref().map(read_cursor).transpose()?;
        let limit = u64::try_from(first).unwrap_or(u64::MAX);
        let states =
            states.map(|states| states.into_iter().map(WebhookDeliveryState::word).collect());
        let webhook = webhook_id.map(|id| id.0.replace('\0', " "));
        let found = rows::deliveries(api(ctx).store(), webhook.as_deref(), states, (after, limit));
        let found = found.await.map_err(|error| of_failed(api(ctx), &error))?;
        super::loaders(ctx).count(found.len())?;
        super::take(
            ctx,
            found
                .iter()
                .map(|row| 2 * row.body.len() + size_of_val(row))
                .sum(),
        )?;
        let deliveries = found.into_iter().map(WebhookDelivery::of).map(InOrder);
        Ok(Some(deliveries.collect()))
    }
}

/// A webhook to be made.
#[derive(Debug, InputObject)]
struct CreateWebhookInput {
    /// Where it goes: an address of http or https, of at most 2000 characters; a public one, unless the
    /// server allows others (`--webhooks-allow-private`).
    url: String,
    /// The secret with which what is sent is signed; 16 to 255 characters. `whsec_` and 24 to 64 random bytes in
    /// Base64 is what libraries of Standard Webhooks take; of any other its bytes are the key. It is shown to
    /// nobody again.
    #[graphql(secret)]
    secret: String,
    /// The least severity that is sent.
    severity: Option<Word<AlertSeverities>>,
    /// The states that are sent; OPEN, ACKNOWLEDGED and RESOLVED when it is left out.
    states: Option<Vec<Word<AlertStates>>>,
    /// The sites whose alerts are sent; all when it is left out.
    site_ids: Option<Vec<ID>>,
    /// A repeat with the same key makes no second webhook, and with another webhook is refused as CONFLICT; 1 to
    /// 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

/// A webhook to be changed: what is left out or null stays as it is.
#[derive(Debug, InputObject)]
struct UpdateWebhookInput {
    /// The webhook.
    webhook_id: ID,
    /// Where it goes, as `createWebhook` takes it.
    url: Option<String>,
    /// The secret with which what is sent is signed, as `createWebhook` takes it.
    #[graphql(secret)]
    secret: Option<String>,
    /// The least severity that is sent.
    severity: Option<Word<AlertSeverities>>,
    /// The states that are sent.
    states: Option<Vec<Word<AlertStates>>>,
    /// The sites whose alerts are sent; all when it is empty.
    site_ids: Option<Vec<ID>>,
    /// Whether anything is sent, as `Webhook.isEnabled` says.
    is_enabled: Option<bool>,
    /// Refused as CONFLICT when the webhook has another `version`.
    expected_version: Option<Long>,
}

/// A webhook to be deleted.
#[derive(Debug, InputObject)]
struct DeleteWebhookInput {
    /// The webhook.
    webhook_id: ID,
    /// Refused as CONFLICT when the webhook has another `version`.
    expected_version: Option<Long>,
}

/// A delivery to be sent once more.
#[derive(Debug, InputObject)]
struct RedeliverWebhookInput {
    /// The delivery.
    delivery_id: ID,
}

/// The answer to a command on a webhook.
#[derive(Debug, SimpleObject)]
struct WebhookPayload {
    /// The webhook as it is now; null when it was deleted or is not there.
    webhook: Option<InOrder<Webhook>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The answer to `redeliverWebhook`.
#[derive(Debug, SimpleObject)]
struct RedeliverWebhookPayload {
    /// The delivery as it is now.
    delivery: Option<InOrder<WebhookDelivery>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands on webhooks.
#[derive(Debug)]
pub(super) struct WebhookCommands;

#[Object]
impl WebhookCommands {
    /// Has alerts sent to an address from now on, signed with a secret as the Standard Webhooks
    /// specification says: `webhook-signature` is `v1,` and the HMAC-SHA256 of `webhook-id`,
    /// `webhook-timestamp` and the body, with dots between them, in Base64. The key is what stands in Base64
    /// behind `whsec_` in the secret; of a secret in another form it is its bytes, and libraries check that
    /// with `whsec_` and the Base64 of those. The end of an alert that began silenced and was never open is not
    /// sent, unless SILENCED is.
    async fn create_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The webhook.")] input: CreateWebhookInput,
    ) -> Result<InOrder<WebhookPayload>, Error> {
        let caller = access::caller(ctx);
        let webhook_id = keyed_id(caller, input.idempotency_key.as_deref(), "webhook");
        let deed = ("createWebhook", Some(webhook_id.to_string()));
        let change = Change {
            url: Some(input.url),
            secret: Some(input.secret),
            severity: input.severity.map(|word| word.word()),
            states: words(input.states),
            site_ids: ids(input.site_ids),
            ..Change::default()
        };
        let new = NewWebhook {
            webhook_id,
            by: caller.name.to_string(),
            change,
        };
        let api = api(ctx);
        let done = webhooks::create(api.store(), &api.keyring, new, api.webhooks).await;
        ended(ctx, (deed, webhook_id.to_string()), done).await
    }

    /// Changes where alerts are sent, which, or the secret.
    async fn update_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which webhook, and what of it.")] input: UpdateWebhookInput,
    ) -> Result<InOrder<WebhookPayload>, Error> {
        let deed = ("updateWebhook", Some(input.webhook_id.to_string()));
        let change = Change {
            url: input.url,
            secret: input.secret,
            severity: input.severity.map(|word| word.word()),
            states: words(input.states),
            site_ids: ids(input.site_ids),
            is_enabled: input.is_enabled,
            ..Change::default()
        };
        let which = which(Way::Web, &input.webhook_id, input.expected_version);
        let api = api(ctx);
        let done = webhooks::update(api.store(), &api.keyring, which, (change, api.webhooks)).await;
        ended(ctx, (deed, input.webhook_id.0), done).await
    }

    /// Deletes a webhook: nothing more is sent to it, also of what waits.
    async fn delete_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which webhook.")] input: DeleteWebhookInput,
    ) -> Result<InOrder<WebhookPayload>, Error> {
        let deed = ("deleteWebhook", Some(input.webhook_id.to_string()));
        let which = which(Way::Web, &input.webhook_id, input.expected_version);
        let done = webhooks::delete(api(ctx).store(), which).await;
        ended(ctx, (deed, input.webhook_id.0), done).await
    }

    /// Sends or mails once more what was given up, or was delivered.
    async fn redeliver_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which delivery.")] input: RedeliverWebhookInput,
    ) -> Result<InOrder<RedeliverWebhookPayload>, Error> {
        let deed = ("redeliverWebhook", Some(input.delivery_id.to_string()));
        let store = api(ctx).store();
        let id = Uuid::parse_str(&input.delivery_id).ok();
        let done = match id {
            Some(id) => webhooks::redeliver(store, id).await,
            None => Err(WebhookError::Unknown("delivery")),
        };
        let fields = Fields {
            id: "deliveryId",
            ..FIELDS
        };
        let user_errors = told(ctx, &deed, done, fields).await?;
        let mut delivery = None;
        if let Some(id) = id {
            let row = rows::delivery(store, id).await;
            let row = row.map_err(|error| of_failed(api(ctx), &error))?;
            delivery = row.map(WebhookDelivery::of).map(InOrder);
        }
        Ok(InOrder(RedeliverWebhookPayload {
            delivery,
            user_errors,
        }))
    }
}

async fn ended(
    ctx: &Context<'_>,
    (deed, webhook_id): (What<'_>, String),
    done: Result<(), WebhookError>,
) -> Result<InOrder<WebhookPayload>, Error> {
    let user_errors = told(ctx, &deed, done, FIELDS).await?;
    let row = as_it_is(ctx, Way::Web, &webhook_id).await?;
    Ok(InOrder(WebhookPayload {
        webhook: row.map(|row| InOrder(Webhook(row))),
        user_errors,
    }))
}
