//! A projection that is far behind the others, since a newer version has brought it or it was emptied, and that nobody
//! waits for, catches up apart: meanwhile the others go on, and with them the health check and the alerts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::runner::{Checkpoints, Runner, RunnerMetrics};
use crate::event::Position;
use crate::store::{Fold, StoreError};

/// Events by which one that nobody waits for is behind the others at most when it is folded with them.
pub(super) const BEHIND_MAX: i64 = 100_000;
/// How long one that failed to catch up waits before it tries again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Up to where those projections have folded the log that are waited for, or all if nobody waits for any of them.
pub(super) fn in_step(folds: &[Arc<dyn Fold>], checkpoints: &Checkpoints) -> Position {
    let mut waited_for = folds.iter().filter(|fold| fold.is_waited_for()).peekable();
    let upto = |fold: &Arc<dyn Fold>| checkpoints.get(fold.name()).copied();
    let least = if waited_for.peek().is_none() {
        folds.iter().filter_map(upto).min()
    } else {
        waited_for.filter_map(upto).min()
    };
    least.unwrap_or_default()
}

fn furthest(checkpoints: &Checkpoints) -> Position {
    checkpoints.values().max().copied().unwrap_or_default()
}

impl Runner {
    /// The same, with another number of events by which one that nobody waits for may be behind.
    #[must_use]
    pub const fn in_step_within(mut self, behind_max: i64) -> Self {
        self.behind_max = behind_max;
        self
    }

    /// Follows without end. While one that nobody waits for is far behind it catches up apart, and this ends when it
    /// has.
    ///
    /// # Errors
    /// As of [`Runner::follow`].
    pub async fn follow_in_step(&self) -> Result<(), StoreError> {
        let checkpoints = self.checkpoints().await?;
        let furthest = furthest(&checkpoints);
        let is_late = |fold: &Arc<dyn Fold>| {
            let upto = checkpoints.get(fold.name()).copied().unwrap_or_default();
            !fold.is_waited_for() && furthest.0 - upto.0 > self.behind_max
        };
        let folds = self.folds.iter().map(Arc::clone);
        let (late, others): (Vec<_>, Vec<_>) = folds.partition(is_late);
        if late.is_empty() {
            return Box::pin(self.follow(None)).await;
        }
        for fold in &late {
            let projection = fold.name();
            tracing::info!(projection, "it is far behind the others, and catches up");
        }
        let (others, late) = (self.ahead(others), self.behind(late));
        tokio::select! {
            followed = Box::pin(others.follow(None)) => followed,
            () = late.catch_up(furthest) => Ok(()),
        }
    }

    /// Follows until a position is folded. What fails, as where a file of the archive is lost, is tried again and hinders
    /// nobody else.
    async fn catch_up(&self, upto: Position) {
        let mut folded = self.folded();
        let reached = async { folded.wait_for(|folded| *folded >= upto).await.map(drop) };
        let mut reached = std::pin::pin!(reached);
        loop {
            let followed = tokio::select! {
                _ = &mut reached => return,
                followed = Box::pin(self.follow(None)) => followed,
            };
            if let Err(error) = followed {
                self.stopped(&error);
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// A runner for those that go on. How far the slowest is tell the others.
    fn ahead(&self, folds: Vec<Arc<dyn Fold>>) -> Self {
        Self {
            folds,
            metrics: RunnerMetrics::default(),
            ..self.clone()
        }
    }

    /// A runner for those that catch up, of which nobody is told how far they are.
    fn behind(&self, folds: Vec<Arc<dyn Fold>>) -> Self {
        let (folded, _) = watch::channel(Position::START);
        let (settled, _) = watch::channel(Position::START);
        Self {
            folds,
            folded,
            settled,
            put_off: Arc::default(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projections::following;

    #[test]
    fn who_waits_for_the_projections_waits_for_none_that_is_told_of_itself_how_far_it_is() {
        let folds = following();
        let mut checkpoints: Checkpoints = folds.iter().map(|f| (f.name(), Position(9))).collect();
        checkpoints.insert("silences", Position(1));
        assert_eq!(in_step(&folds, &checkpoints), Position(9));
        checkpoints.insert("rollups", Position(4));
        assert_eq!(in_step(&folds, &checkpoints), Position(4));
        let silences = folds.into_iter().filter(|fold| fold.name() == "silences");
        let silences: Vec<Arc<dyn Fold>> = silences.collect();
        assert_eq!(in_step(&silences, &checkpoints), Position(1));
    }
}
