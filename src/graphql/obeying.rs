//! Subscriptions to commands of devices: each device has one, open for weeks, and hardly ever is there a command.
//!
//! Such a subscription is executed as far as there is something to be told, and then sleeps: what executes it
//! is dropped, and only its [`Rest`] and what was asked are kept until something happens.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::Response;
use futures_util::stream::{BoxStream, StreamExt};

use super::live::Asked;
use super::{Api, ApiSchema, ResumeAfter};
use crate::event::Position;
use crate::history::Within;
use crate::jobs::Followed;
use crate::store::Allowance;

/// A subscription to commands.
#[derive(Debug)]
pub struct Obeying {
    asked: Asked,
    /// The cursor after which it begins; none for all that is open.
    after: Option<String>,
    rest: Rest,
}

/// Where a subscription to commands goes on when it wakes.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Waiting>>>);

/// Whose commands are followed, and how far they are told.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) within: Within,
    pub(super) device_key: Option<i64>,
    pub(super) upto: Position,
    pub(super) followed: Followed,
}

impl Rest {
    pub(super) fn take(&self) -> Option<Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put(&self, place: Waiting) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }
}

impl Obeying {
    pub(super) fn new(asked: Asked, after: Option<String>) -> Self {
        Self {
            asked,
            after,
            rest: Rest::default(),
        }
    }

    /// What there is to be told now; it ends when that is told.
    #[must_use]
    pub fn awake(
        &self,
        schema: &ApiSchema,
        api: &Api,
        room: Arc<Allowance>,
    ) -> BoxStream<'static, (Response, Option<String>)> {
        let mut request = self.asked.request().data(self.rest.clone());
        if let Some(after) = &self.after {
            request = request.data(ResumeAfter(after.clone()));
        }
        self.asked.run(schema, api, request, room).boxed()
    }

    /// Waits until there is something to be told; false when it has ended and nothing will come any more.
    pub async fn wakes(&self) -> bool {
        let Some(place) = self.rest.take() else {
            return false;
        };
        place.followed.has_happened().await;
        self.rest.put(place);
        true
    }
}
