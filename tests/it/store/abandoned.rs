//! Who asks for something may go away at any step of it: what it has begun is ended, and those after it find all
//! connections as they were.

use std::pin::pin;
use std::task::Poll;

use futures_util::future::{join_all, poll_fn, try_join_all};
use homepot_analytics::held::{Ask, Held};
use homepot_analytics::history::alerts;
use homepot_analytics::store::EntityType;

use crate::support::{Database, at, contract};

contract![who_goes_away_while_a_snapshot_is_taken_leaves_none_behind];

/// More than it takes to read a device.
const STEPS: usize = 60;
/// More than there are connections.
const AT_ONCE: usize = 6;

/// Goes a number of steps, at least one, and away; false if it was done before.
async fn go_away_after(steps: usize, work: impl Future) -> bool {
    let (mut work, mut left) = (pin!(work), steps);
    poll_fn(|context| {
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending if left == 0 => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn who_goes_away_while_a_snapshot_is_taken_leaves_none_behind(database: Database) {
    let log = database.open().await.with_fleet().await;
    let key = log.names().key(EntityType::Device, "d1").unwrap();
    let ask = Ask {
        as_of: at("2026-11-22T08:00:00Z"),
        provenance: None,
    };
    let read = async || {
        let held = Held::new(log.handle());
        held.devices(&[key], ask).await.map(drop)
    };
    let mut went_away = 0;
    for steps in 1..STEPS {
        let all = join_all((0..AT_ONCE).map(|_| go_away_after(steps, read()))).await;
        went_away += all.iter().filter(|gone| **gone).count();
        // what is read without a transaction is in none
        let store = log.handle();
        let plain = (0..AT_ONCE).map(|_| alerts::rules(&store));
        try_join_all(plain).await.unwrap();
        let again = (0..AT_ONCE).map(|_| read());
        try_join_all(again).await.unwrap();
    }
    assert!(went_away > AT_ONCE, "{went_away}");
    log.close().await;
}
