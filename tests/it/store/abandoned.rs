//! Who asks for something may go away at any step of it: what it has begun is ended, and those after it find all
//! connections as they were.

use std::pin::pin;
use std::task::Poll;

use futures_util::StreamExt as _;
use futures_util::future::{poll_fn, ready, try_join_all};
use futures_util::stream::FuturesUnordered;
use homepot_analytics::held::{Ask, Held};
use homepot_analytics::store::{EntityType, Outcome};

use crate::support::{Database, at, contract, metrics};

contract![who_goes_away_while_a_snapshot_is_taken_leaves_none_behind];

/// More than there are connections.
const AT_ONCE: usize = 6;
/// More than it takes to read a device.
const STEPS_MAX: usize = 1_000;

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

/// One after the other goes a step further before it goes away, up to one that comes to its end.
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
    let mut ended_after = None;
    for steps in 1..STEPS_MAX {
        // each is asked to go on only when it can: what one waits for is no step of another
        let all: FuturesUnordered<_> = (0..AT_ONCE).map(|_| go_away_after(steps, read())).collect();
        let went_away = all.filter(|went_away| ready(*went_away)).count().await;
        // what is read without a transaction is in none: it sees what was recorded since
        let now = i64::try_from(steps).unwrap();
        let appended = log.record(vec![metrics("d1", now, 1.0)]).await;
        let [Outcome::Recorded(recorded)] = appended.as_slice() else {
            panic!("{appended:?}");
        };
        let store = log.handle();
        let heads = try_join_all((0..AT_ONCE).map(|_| store.committed_head()));
        assert_eq!(heads.await.unwrap(), [*recorded; AT_ONCE]);
        let again = (0..AT_ONCE).map(|_| read());
        try_join_all(again).await.unwrap();
        if went_away == 0 {
            ended_after = Some(steps);
            break;
        }
    }
    println!("read after {ended_after:?} steps");
    assert!(ended_after.is_some_and(|steps| steps > 1));
    log.close().await;
}
