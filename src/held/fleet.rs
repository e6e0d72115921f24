//! What the fleet of a provenance comes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Held;
use crate::event::{Instant, Provenance};
use crate::insights::anomaly::Pool;
use crate::insights::input::Measure;
use crate::insights::reliability::fleet::{Fleet, Prior};
use crate::insights::risk;
use crate::insights::risk::model::{Model, Settings, train};
use crate::store::StoreError;

/// Hours for which the fleet's failures are summed up: 30 days.
const HORIZON_HOURS: f64 = 720.0;

/// A fleet as it was at the last midnight (UTC) before an instant, and what was learned from it until then.
#[derive(Clone, Debug)]
pub struct FleetRead {
    /// As of when it is asked for.
    pub as_of: Instant,
    /// Rates of failures and errors, and levels.
    pub risk: risk::fleet::Fleet,
    /// The model of failures that was in force then.
    pub model: Arc<Model>,
    /// How often devices fail, and how they differ in that.
    pub prior: Prior,
    /// What is usual of each measure over all devices.
    pub pools: BTreeMap<Measure, Pool>,
    /// The same of each site, by its key.
    pub site_pools: BTreeMap<i64, BTreeMap<Measure, Pool>>,
}

impl Held {
    /// What the fleet of a provenance comes to: the sums of the last midnight (UTC) until an instant, and the model
    /// that was in force then.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn fleet(
        &self,
        provenance: Provenance,
        as_of: Instant,
    ) -> BoxFuture<'_, Result<Arc<FleetRead>, StoreError>> {
        let _ = provenance;
        let risk = risk::fleet::Fleet::of([], as_of);
        let model = train(&[], &risk, as_of, Settings::default());
        let fleet = FleetRead {
            as_of,
            risk,
            model: Arc::new(model),
            prior: Fleet::new(HORIZON_HOURS).prior(),
            pools: BTreeMap::new(),
            site_pools: BTreeMap::new(),
        };
        Box::pin(std::future::ready(Ok(Arc::new(fleet))))
    }
}
