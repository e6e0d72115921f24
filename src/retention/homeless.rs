//! Where nobody has said where segments lie, nothing is archived: tells of how many kinds events would be.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{RetentionMetrics, policies};
use crate::store::Store;
use crate::telemetry::chain;
use crate::ticks;

/// How often the policies are looked at.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Tells what is not archived by a server that does not know where segments lie.
pub async fn tell_homeless(store: Store, metrics: RetentionMetrics, stop: CancellationToken) {
    let mut looks = ticks::every(LOOK_EVERY);
    while stop.run_until_cancelled(looks.tick()).await.is_some() {
        match policies(&store).await {
            Ok(policies) => {
                let now = store.clock().now();
                let archived = policies.iter().filter(|p| p.archives_before(now).is_some());
                metrics.homeless(archived.count());
            }
            Err(error) => {
                let error = chain(&error).to_string();
                tracing::debug!(error, "it cannot be read how long events are kept");
            }
        }
    }
}
