//! With what a server is started, and the log that it opens before it begins anything by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use crate::analytics::provenance::Preferred;
use crate::clock::Clock;
use crate::config::LimitArgs;
use crate::configuration::Keyring;
use crate::exports::ExportsArgs;
use crate::http::{self, EdgeArgs};
use crate::identity::{TokenArgs, Tokens};
use crate::places::Place;
use crate::projections;
use crate::store::{Location, OpenError, Options, Store, Tasks};
use crate::webhooks::{Mailer, WebhookArgs};

/// How much longer than a request a statement of a reader may take: it is stopped when nobody can wait
/// for it any more, so that nobody hears of it.
const READ_BEYOND: Duration = Duration::from_secs(5);

/// What a server is started with.
#[derive(Debug)]
pub struct Start {
    /// Where the log is kept.
    pub location: Location,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What people call this server among those that share the log.
    pub name: String,
    /// Whether everybody is let in, as on a machine of one's own.
    pub access: Access,
    /// Which provenance is summed up where none is asked for.
    pub preferred: Preferred,
    /// The keys by which secret parameters are sealed.
    pub keyring: Keyring,
    /// The certificate, if connections are to be encrypted.
    pub tls: Option<http::Tls>,
    /// Which tokens are taken beside access keys.
    pub tokens: TokenArgs,
    /// What stands between clients and this server.
    pub edge: EdgeArgs,
    /// Where webhooks may go.
    pub webhooks: WebhookArgs,
    /// What mails alerts, if they are mailed.
    pub mailer: Option<Mailer>,
    /// Where exports lie that are asked for over the API.
    pub exports: ExportsArgs,
    /// The data lake that is filled, if there is one.
    pub lake: Option<Place>,
    /// Further names under which it may be reached.
    pub allowed_hosts: Vec<String>,
    /// The documents that are known by a name.
    pub documents: http::Documents,
    /// Limits.
    pub limits: LimitArgs,
    /// The clock.
    pub clock: Clock,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody who reaches the server: only loopback addresses are listened on.
    Open,
    /// Whoever has an access key or a token.
    Closed,
}

/// What is open before a server begins anything by itself, so that it can be left alone still.
#[derive(Debug)]
pub struct Opened {
    pub(super) store: Store,
    pub(super) tasks: Tasks,
    pub(super) tokens: Option<Arc<Tokens>>,
}

impl Opened {
    /// The log.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Closes the log.
    pub async fn close(self) {
        self.tasks.stop().await;
    }
}

impl Start {
    /// Opens the log, to serve it.
    ///
    /// # Errors
    /// When it cannot be opened, another process serves the same file, or the tokens that are to be taken cannot be proved.
    pub async fn open(&self) -> Result<Opened, AppError> {
        let location = Location {
            readers_max: self.limits.readers_max,
            writers_max: self.limits.writers_max,
            reads_within: Some(self.request_within() + READ_BEYOND),
            serves: true,
            ..self.location.clone()
        };
        let tokens = Tokens::open(&self.tokens).await?;
        let (store, tasks) = open(location, &self.limits, self.clock.clone()).await?;
        Ok(Opened {
            store,
            tasks,
            tokens,
        })
    }

    /// How long a request may take.
    pub(super) fn request_within(&self) -> Duration {
        Duration::from_secs(u64::from(self.limits.request_seconds_max))
    }
}

/// Opens a log with everything that is folded inside its appends.
///
/// # Errors
/// When the database cannot be used.
pub async fn open(
    location: Location,
    limits: &LimitArgs,
    clock: Clock,
) -> Result<(Store, Tasks), OpenError> {
    let options = Options {
        location,
        limits: limits.store(),
        folds: projections::inline(),
        clock,
    };
    Store::open(options).await
}
