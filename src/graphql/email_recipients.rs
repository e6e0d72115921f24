//! Recipients of mail: people whom alerts are mailed to, from the same outbox as webhooks.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::command::{UserError, What, keyed_id};
use super::destinations::{Fields, as_it_is, ids, list, told, which, words};
use super::order::InOrder;
use super::scalars::{DateTime, Long};
use super::words::{AlertSeverities, AlertStates, Word};
use super::{access, api, of_failed};
use crate::event::Instant;
use crate::history::webhooks::{self as rows, WebhookRow};
use crate::webhooks::{self, Change, NewWebhook, Way, WebhookError};

/// Of what refusals of these commands speak.
const FIELDS: Fields = Fields {
    id: "recipientId",
    address: "emailAddress",
};

/// An email recipient: an address to which alerts are mailed.
#[derive(Clone, Debug)]
pub(super) struct EmailRecipient(Arc<WebhookRow>);

/// An email recipient: an address to which alerts are mailed.
#[Object]
impl EmailRecipient {
    /// Its id; deliveries have it as their `webhookId`.
    async fn recipient_id(&self) -> ID {
        ID(self.0.webhook_id.clone())
    }

    /// The address to which it is mailed.
    async fn email_address(&self) -> &str {
        self.0.email_address.as_deref().unwrap_or_default()
    }

    /// The least severity that is mailed.
    async fn severity(&self) -> Word<AlertSeverities> {
        Word::known(&self.0.severity)
    }

    /// The states of alerts that are mailed.
    async fn states(&self) -> Vec<Word<AlertStates>> {
        let states = list(&self.0.states);
        states.iter().map(|word| Word::known(word)).collect()
    }

    /// The sites whose alerts are mailed; all when it is empty.
    async fn site_ids(&self) -> Vec<ID> {
        list(&self.0.site_ids).into_iter().map(ID).collect()
    }

    /// Whether anything is mailed. While it is not, no step is put in, and what waits is kept for 30 days and
    /// mailed when it is enabled again.
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

/// The queries of recipients.
#[derive(Debug)]
pub(super) struct EmailRecipients;

#[Object]
impl EmailRecipients {
    /// The email recipients, in the order in which they were made.
    async fn email_recipients(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<InOrder<EmailRecipient>>>, Error> {
        let found = rows::all(api(ctx).store()).await;
        let mut found = found.map_err(|error| of_failed(api(ctx), &error))?;
        found.retain(|row| Way::of(row) == Way::Mail);
        super::loaders(ctx).count(found.len())?;
        let recipients = found.into_iter().map(|row| EmailRecipient(Arc::new(row)));
        Ok(Some(recipients.map(InOrder).collect()))
    }
}

/// An email recipient to be made.
#[derive(Debug, InputObject)]
struct CreateEmailRecipientInput {
    /// The address to which alerts are mailed, such as `desk@shop.example`; at most 254 characters.
    email_address: String,
    /// The least severity that is mailed.
    severity: Option<Word<AlertSeverities>>,
    /// The states that are mailed; OPEN, ACKNOWLEDGED and RESOLVED when it is left out.
    states: Option<Vec<Word<AlertStates>>>,
    /// The sites whose alerts are mailed; all when it is left out.
    site_ids: Option<Vec<ID>>,
    /// A repeat with the same key makes no second recipient, and with another recipient is refused as CONFLICT; 1
    /// to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

/// An email recipient to be changed: what is left out or null stays as it is.
#[derive(Debug, InputObject)]
struct UpdateEmailRecipientInput {
    /// The recipient.
    recipient_id: ID,
    /// The address to which alerts are mailed, as `createEmailRecipient` takes it.
    email_address: Option<String>,
    /// The least severity that is mailed.
    severity: Option<Word<AlertSeverities>>,
    /// The states that are mailed.
    states: Option<Vec<Word<AlertStates>>>,
    /// The sites whose alerts are mailed; all when it is empty.
    site_ids: Option<Vec<ID>>,
    /// Whether anything is mailed, as `EmailRecipient.isEnabled` says.
    is_enabled: Option<bool>,
    /// Refused as CONFLICT when the recipient has another `version`.
    expected_version: Option<Long>,
}

/// An email recipient to be deleted.
#[derive(Debug, InputObject)]
struct DeleteEmailRecipientInput {
    /// The recipient.
    recipient_id: ID,
    /// Refused as CONFLICT when the recipient has another `version`.
    expected_version: Option<Long>,
}

/// The answer to a command on an email recipient.
#[derive(Debug, SimpleObject)]
struct EmailRecipientPayload {
    /// The recipient as it is now; null when it was deleted or is not there.
    recipient: Option<InOrder<EmailRecipient>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands on recipients.
#[derive(Debug)]
pub(super) struct EmailCommands;

#[Object]
impl EmailCommands {
    /// Has alerts mailed to an address from now on: one mail in plain text for each step, those of an
    /// alert in one thread. Refused as `NO_MAIL` when the server has no SMTP server (`--smtp-url`).
    async fn create_email_recipient(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The recipient.")] input: CreateEmailRecipientInput,
    ) -> Result<InOrder<EmailRecipientPayload>, Error> {
        let caller = access::caller(ctx);
        let id = keyed_id(caller, input.idempotency_key.as_deref(), "email recipient");
        let deed = ("createEmailRecipient", Some(id.to_string()));
        let new = NewWebhook {
            webhook_id: id,
            by: caller.name.to_string(),
            change: Change {
                email_address: Some(input.email_address),
                severity: input.severity.map(|word| word.word()),
                states: words(input.states),
                site_ids: ids(input.site_ids),
                ..Change::default()
            },
        };
        let api = api(ctx);
        let done = webhooks::create(api.store(), &api.keyring, new, api.webhooks).await;
        ended(ctx, (deed, id.to_string()), done).await
    }

    /// Changes to whom alerts are mailed, or which.
    async fn update_email_recipient(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which recipient, and what of it.")] input: UpdateEmailRecipientInput,
    ) -> Result<InOrder<EmailRecipientPayload>, Error> {
        let deed = ("updateEmailRecipient", Some(input.recipient_id.to_string()));
        let change = Change {
            email_address: input.email_address,
            severity: input.severity.map(|word| word.word()),
            states: words(input.states),
            site_ids: ids(input.site_ids),
            is_enabled: input.is_enabled,
            ..Change::default()
        };
        let which = which(Way::Mail, &input.recipient_id, input.expected_version);
        let api = api(ctx);
        let done = webhooks::update(api.store(), &api.keyring, which, (change, api.webhooks)).await;
        ended(ctx, (deed, input.recipient_id.0), done).await
    }

    /// Deletes an email recipient: nothing more is mailed to it, also of what waits.
    async fn delete_email_recipient(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which recipient.")] input: DeleteEmailRecipientInput,
    ) -> Result<InOrder<EmailRecipientPayload>, Error> {
        let deed = ("deleteEmailRecipient", Some(input.recipient_id.to_string()));
        let which = which(Way::Mail, &input.recipient_id, input.expected_version);
        let done = webhooks::delete(api(ctx).store(), which).await;
        ended(ctx, (deed, input.recipient_id.0), done).await
    }
}

async fn ended(
    ctx: &Context<'_>,
    (deed, id): (What<'_>, String),
    done: Result<(), WebhookError>,
) -> Result<InOrder<EmailRecipientPayload>, Error> {
    let user_errors = told(ctx, &deed, done, FIELDS).await?;
    let row = as_it_is(ctx, Way::Mail, &id).await?;
    Ok(InOrder(EmailRecipientPayload {
        recipient: row.map(|row| InOrder(EmailRecipient(row))),
        user_errors,
    }))
}
