//! Webhooks: what becomes of alerts is sent to addresses of others, signed, or mailed to people.
//!
//! The [`Outbox`] follows the steps of alerts and puts what is to be sent into a table, and takes from it
//! what is due, beside that and for each destination beside the others: each thing is claimed by one node for a while, tried, and tried again later when that
//! failed, until it is given up and shown as dead. Where it goes and the secret of a webhook are in a table
//! of their own and never in the log, which others read.

mod address;
mod commands;
mod deliver;
mod letter;
mod outbox;
mod secret;
mod sending;
mod sign;
mod smtp;

use clap::Args;
use thiserror::Error;

use crate::history::webhooks::WebhookRow;
use crate::kinds::Refusal;
use crate::store::{AppendError, StoreError};

pub use commands::{Change, NewWebhook, Which, create, delete, redeliver, update};
pub use outbox::Outbox;
pub use smtp::{Mailer, SmtpArgs, SmtpError};

/// Webhooks and recipients of mail at most.
pub const WEBHOOKS_MAX: usize = 50;
/// Attempts at most of one delivery.
pub const ATTEMPTS_MAX: i64 = 8;
/// Characters at most of an address.
pub const URL_CHARACTERS_MAX: usize = 2_000;
/// Characters at least and at most of a secret.
pub const SECRET_CHARACTERS: std::ops::RangeInclusive<usize> = 16..=255;

/// Where webhooks may go.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct WebhookArgs {
    /// Send webhooks to addresses of this machine and of private networks too, and follow where they
    /// are redirected to. Otherwise only public addresses are connected to.
    #[arg(
        long = "webhooks-allow-private",
        env = "HOMEPOT_WEBHOOKS_ALLOW_PRIVATE"
    )]
    pub allow_private: bool,
}

/// By what way alerts are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a webhook.
    Web,
    /// To a recipient of mail.
    Mail,
}

impl Way {
    /// That of what is kept.
    #[must_use]
    pub const fn of(row: &WebhookRow) -> Self {
        if row.email_address.is_some() {
            Self::Mail
        } else {
            Self::Web
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Web => "webhook",
            Self::Mail => "email recipient",
        }
    }
}

/// What this server sends to.
#[derive(Clone, Copy, Debug)]
pub struct Reachable {
    /// Addresses of this machine and of private networks too.
    pub private: bool,
    /// Addresses of mail: there is an SMTP server.
    pub mail: bool,
}

/// Why a command on webhooks was not done.
#[derive(Debug, Error)]
pub enum WebhookError {
    /// There is no such webhook or delivery.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// One of the sites that it names is not registered.
    #[error("{0} is not registered")]
    NoSite(String),
    /// There are too many.
    #[error("there are {WEBHOOKS_MAX} webhooks and email recipients, and there may be no more")]
    TooMany,
    /// There is nothing to mail with.
    #[error("this server sends no mail: it was started without --smtp-url")]
    NoMail,
    /// It is not what the caller has read.
    #[error("it has changed: its version is {version}")]
    Stale {
        /// How often it has changed.
        version: i64,
    },
    /// The key was used before for another command.
    #[error("the idempotency key was used before for another command")]
    OtherRepeat,
    /// It is yet to be tried.
    #[error("it is PENDING: it is tried again by itself")]
    Pending,
    /// One of its values is out of bounds.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The tables cannot be read or written.
    #[error("cannot keep webhooks")]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error("cannot record the command")]
    Append(#[from] AppendError),
}
