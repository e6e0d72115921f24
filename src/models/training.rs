//! Learns from the examples that are kept, if there is enough more than when it was learned last.

use tokio::task::spawn_blocking;

use super::examples;
use super::failures::failures;
use super::night::Night;
use crate::event::Provenance;
use crate::held::models::{Which, model};
use crate::insights::risk::fleet::Fleet;
use crate::insights::risk::learning::Learned;
use crate::insights::risk::succession::{Training, learn};
use crate::store::StoreError;

/// Trains a model on what was known at the midnight of a night, beside the tasks of the server; nothing where there is
/// not enough more to learn from.
pub(super) async fn train(
    night: &Night<'_>,
    fleet: &Fleet,
) -> Result<Option<Training>, StoreError> {
    let (store, provenance) = (night.store, night.provenance);
    let kept = examples::all(store, provenance).await?;
    let until = (provenance, night.midnight);
    let failures = failures(store, &kept.devices, until).await?;
    let newest = model(store, provenance, (Which::Newest, night.midnight)).await?;
    let before = newest.map_or_else(Learned::default, |newest| newest.report.learned);
    let now = Learned {
        examples: kept.examples.len(),
        failures: failures.count(),
    };
    if !before.is_outgrown(now) {
        return Ok(None);
    }
    let in_force = model(store, provenance, (Which::InForce, night.midnight)).await?;
    let in_force = in_force.and_then(|in_force| in_force.tried);
    let (fleet, midnight) = (fleet.clone(), night.midnight);
    let learning = spawn_blocking(move || {
        let examples = (kept.examples, &failures);
        learn(examples, &fleet, in_force.as_ref(), midnight)
    });
    let trained = learning.await.map_err(|_| StoreError::Panicked)?;
    Ok(Some(trained))
}

/// Tells what was learned.
pub(super) fn tell(provenance: Provenance, trained: &Training) {
    let (provenance, failures) = (provenance.word(), trained.model.failures);
    let examples = trained.report.learned.examples;
    if !trained.model.is_fitted() {
        tracing::debug!(
            provenance,
            failures,
            examples,
            "too few failures to learn from"
        );
    } else if trained.succeeds() {
        tracing::info!(
            provenance,
            failures,
            examples,
            "the model of failures was trained"
        );
    } else {
        tracing::warn!(
            provenance,
            failures,
            examples,
            "a model of failures was trained that says less well what came: the one before it stays in force"
        );
    }
}
