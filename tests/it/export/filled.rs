//! A data lake is filled to where the log is, and whoever is interrupted says how far it came.

use homepot_analytics::event::Position;
use homepot_analytics::export::ExportError;
use homepot_analytics::export::lake::{Round, fill};
use homepot_analytics::places::Place;
use tokio_util::sync::CancellationToken;

use crate::support::{Database, TestLog, contract, error};

contract![one_that_is_interrupted_says_so_and_is_gone_on_with];

/// Fills a lake, until it is told to stop.
async fn filled(
    log: &TestLog,
    place: &Place,
    stop: &CancellationToken,
) -> Result<Round, ExportError> {
    fill(&log.handle(), place, (&|_| {}, stop)).await
}

async fn one_that_is_interrupted_says_so_and_is_gone_on_with(database: Database) {
    let log = database.open().await;
    let place = Place::Folder(database.dir().join("lake"));
    let (goes_on, stopped) = (CancellationToken::new(), CancellationToken::new());
    stopped.cancel();
    let mut reached = Position(0);
    for _ in 0..2 {
        log.record(vec![error("a"); 3]).await;
        let expected = log.head();
        let told = filled(&log, &place, &stopped).await.unwrap_err();
        let ExportError::Interrupted { position, head } = told else {
            panic!("{told:?}");
        };
        assert_eq!((position, head), (reached, expected));
        let round = filled(&log, &place, &goes_on).await.unwrap();
        assert_eq!((round.events, round.position), (3, expected));
        // it lacks nothing
        let round = filled(&log, &place, &stopped).await.unwrap();
        assert_eq!((round.events, round.position), (0, expected));
        reached = expected;
    }
    log.close().await;
}
