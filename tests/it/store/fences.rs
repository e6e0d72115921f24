//! What is written for a work that only one server may do is kept only while it is that server's.

use std::future::Future;

use homepot_analytics::ingest::{Ingest, Patience};
use homepot_analytics::kinds::Kind;
use homepot_analytics::nodes::{Heart, Lease, Node, Work};
use homepot_analytics::projections::{self, Runner};
use homepot_analytics::store::{AppendError, Outcome, Standing, Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Backend, Database, TestLog, contract, error};

contract![
    who_has_lost_a_work_writes_nothing_more_for_it,
    who_leaves_gives_its_works_to_another,
    each_server_has_its_share_of_the_works_that_it_can_do_and_keeps_it,
    who_has_given_a_work_to_another_writes_nothing_more_for_it,
    who_does_not_know_whether_it_has_given_a_work_does_it_no_more,
    who_stops_is_given_nothing,
    one_server_has_each_work,
    where_there_is_one_server_it_has_every_work,
    who_can_erase_no_more_gives_that_back_to_one_that_can,
    who_is_older_than_the_log_gives_its_works_back,
];

/// A server that shares a log.
pub(super) struct Server {
    pub(super) node: Node,
    pub(super) heart: Heart,
    pub(super) stop: CancellationToken,
}

impl Server {
    pub(super) async fn join(log: &TestLog, name: &str) -> Self {
        Self::join_for(log, name, &Work::ALL).await
    }

    /// One that can do these works.
    async fn join_for(log: &TestLog, name: &str, works: &[Work]) -> Self {
        let stop = CancellationToken::new();
        let called = (name.to_owned(), "127.0.0.1:0".to_owned());
        let (node, heart) = Node::join(&log.handle(), called, works, stop.clone()).await;
        Self { node, heart, stop }
    }
}

/// Has servers say in turn that they are alive, as often as each could give every work away; what each has then.
async fn level(servers: &mut [Server]) -> Vec<Vec<Work>> {
    for _ in Work::ALL {
        for server in &mut *servers {
            server.heart.beat().await;
        }
    }
    servers.iter().map(|server| server.node.works()).collect()
}

/// The leases of a work as a server gets them.
pub(super) fn leases(
    node: &Node,
    work: Work,
) -> (impl Future<Output = ()> + use<>, mpsc::Receiver<Lease>) {
    let (sender, leases) = mpsc::channel(10);
    let doing = node.clone().once(work, move |lease| {
        let sender = sender.clone();
        async move { sender.send(lease).await.unwrap() }
    });
    (doing, leases)
}

/// Records an event for a work.
async fn record(lease: &Lease, store: &Store, message: &str) -> Result<Vec<Outcome>, AppendError> {
    let door = lease.door(&Ingest::new(store.clone()));
    let given = vec![(Some(Kind::ErrorLog), Ok(error(message)))];
    let appended = door.record(given, None, Patience::None).await?;
    Ok(appended.outcomes)
}

fn is_fenced(error: &AppendError) -> bool {
    matches!(error, AppendError::Store(error) if matches!(**error, StoreError::Fenced { .. }))
}

async fn who_has_lost_a_work_writes_nothing_more_for_it(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let (one, two) = (database.open().await, database.open().await);
    // the first joins, and stalls: it never says again that it is alive
    let stalled = Server::join(&one, "stalled").await;
    let (stalled_does, mut of_stalled) = leases(&stalled.node, Work::Jobs);
    let other = Server::join(&two, "other").await;
    let (other_does, mut of_other) = leases(&other.node, Work::Jobs);
    let beating = other.heart.run(other.stop.clone());
    let checking = async {
        let lease = of_stalled.recv().await.unwrap();
        let recorded = record(&lease, &one.handle(), "before").await.unwrap();
        assert!(matches!(recorded[..], [Outcome::Recorded(_)]));
        let taken = of_other.recv().await.unwrap();
        let head = one.committed_head().await.unwrap();
        assert!(!lease.stopping().is_cancelled(), "it does not know yet");
        let refused = record(&lease, &one.handle(), "too late").await.unwrap_err();
        assert!(is_fenced(&refused), "{refused}");
        assert!(lease.stopping().is_cancelled(), "it has learnt of it");
        let runner = Runner::new(lease.store(&one.handle()), projections::following());
        let refused = runner.follow(Some(head)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Fenced { .. }), "{refused}");
        assert_eq!(one.committed_head().await.unwrap(), head);
        // of what is written together, only what belongs to the work is kept out
        let handle = one.handle();
        let both = futures_util::future::join(
            record(&lease, &handle, "too late"),
            one.record(vec![error("of anybody")]),
        );
        let (refused, recorded) = both.await;
        assert!(is_fenced(&refused.unwrap_err()));
        assert!(matches!(recorded[..], [Outcome::Recorded(_)]));
        let recorded = record(&taken, &two.handle(), "of the other").await;
        assert!(matches!(recorded.unwrap()[..], [Outcome::Recorded(_)]));
        stalled.stop.cancel();
        other.stop.cancel();
    };
    futures_util::future::join4(stalled_does, other_does, beating, checking).await;
    one.close().await;
    two.close().await;
}

async fn who_leaves_gives_its_works_to_another(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let (one, two) = (database.open().await, database.open().await);
    let first = Server::join(&one, "first").await;
    let second = Server::join(&two, "second").await;
    assert_eq!(
        (first.node.works().len(), second.node.works().len()),
        (Work::ALL.len(), 0)
    );
    first.stop.cancel();
    first.heart.run(first.stop.clone()).await;
    let (doing, mut leases) = leases(&second.node, Work::Alerts);
    let beating = second.heart.run(second.stop.clone());
    let checking = async {
        let lease = leases.recv().await.unwrap();
        let recorded = record(&lease, &two.handle(), "of the second").await;
        assert!(matches!(recorded.unwrap()[..], [Outcome::Recorded(_)]));
        let peers = second.node.peers(&two.handle()).await.unwrap();
        let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
        assert_eq!(names, ["second"]);
        assert_eq!(peers[0].works.len(), Work::ALL.len());
        second.stop.cancel();
    };
    futures_util::future::join3(doing, beating, checking).await;
    one.close().await;
    two.close().await;
}

async fn each_server_has_its_share_of_the_works_that_it_can_do_and_keeps_it(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let log = database.open().await;
    let mut servers = vec![
        Server::join(&log, "first").await,
        Server::join(&log, "second").await,
    ];
    let (live, beside) = Work::ALL.split_at(6);
    assert_eq!(level(&mut servers).await, [live, beside]);
    servers.push(Server::join(&log, "third").await);
    let shares = level(&mut servers).await;
    assert_eq!(shares.iter().map(Vec::len).max(), Some(4), "{shares:?}");
    assert_eq!(shares[0], live[..4]);
    let few = [Work::Jobs, Work::Health];
    servers.push(Server::join_for(&log, "of few", &few).await);
    let shares = level(&mut servers).await;
    assert!(
        shares[3].iter().all(|work| few.contains(work)),
        "{shares:?}"
    );
    assert!(!shares[3].is_empty(), "{shares:?}");
    let mut all = shares.concat();
    all.sort_unstable();
    assert_eq!(all, Work::ALL, "each is of one server");
    assert_eq!(level(&mut servers).await, shares, "none is given any more");
    log.close().await;
}

async fn who_has_given_a_work_to_another_writes_nothing_more_for_it(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let (one, two) = (database.open().await, database.open().await);
    let mut first = Server::join(&one, "first").await;
    let (first_does, mut of_first) = leases(&first.node, Work::Lake);
    let mut second = Server::join(&two, "second").await;
    let (second_does, mut of_second) = leases(&second.node, Work::Lake);
    let checking = async {
        let lease = of_first.recv().await.unwrap();
        first.heart.beat().await;
        assert!(lease.stopping().is_cancelled());
        let refused = record(&lease, &one.handle(), "too late").await.unwrap_err();
        assert!(is_fenced(&refused), "{refused}");
        // it is in nobody's hands but those of the other, from its next sign of life on
        first.heart.beat().await;
        assert!(!first.node.works().contains(&Work::Lake));
        second.heart.beat().await;
        let lease = of_second.recv().await.unwrap();
        let recorded = record(&lease, &two.handle(), "of the other").await;
        assert!(matches!(recorded.unwrap()[..], [Outcome::Recorded(_)]));
        first.stop.cancel();
        second.stop.cancel();
    };
    futures_util::future::join3(first_does, second_does, checking).await;
    one.close().await;
    two.close().await;
}

/// Has the database fail when a work goes from one server to another.
const NO_GIFTS: &str = "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN RAISE EXCEPTION 'no answer'; END $$; \
    CREATE TRIGGER fail BEFORE UPDATE ON leases FOR EACH ROW \
    WHEN (OLD.node_id <> NEW.node_id) EXECUTE FUNCTION fail()";

async fn who_does_not_know_whether_it_has_given_a_work_does_it_no_more(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let (one, two) = (database.open().await, database.open().await);
    let mut first = Server::join(&one, "first").await;
    let (first_does, mut of_first) = leases(&first.node, Work::Lake);
    let mut second = Server::join(&two, "second").await;
    database.execute(NO_GIFTS).await;
    let checking = async {
        let before = of_first.recv().await.unwrap();
        first.heart.beat().await;
        assert!(before.stopping().is_cancelled());
        assert!(!first.node.works().contains(&Work::Lake));
        // it goes on when it has taken the work anew, by which a gift would come to nothing
        second.stop.cancel();
        second.heart.beat().await;
        first.heart.beat().await;
        assert_eq!(first.node.works(), Work::ALL);
        let lease = of_first.recv().await.unwrap();
        let recorded = record(&lease, &one.handle(), "taken anew").await;
        assert!(matches!(recorded.unwrap()[..], [Outcome::Recorded(_)]));
        let refused = record(&before, &one.handle(), "too late").await;
        assert!(is_fenced(&refused.unwrap_err()));
        first.stop.cancel();
    };
    futures_util::future::join(first_does, checking).await;
    one.close().await;
    two.close().await;
}

async fn who_stops_is_given_nothing(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let log = database.open().await;
    let mut first = Server::join(&log, "first").await;
    let mut second = Server::join(&log, "second").await;
    second.stop.cancel();
    second.heart.beat().await;
    first.heart.beat().await;
    assert_eq!(first.node.works(), Work::ALL);
    let peers = first.node.peers(&log.handle()).await.unwrap();
    assert!(peers[1].is_alive && peers[1].works.is_empty(), "{peers:?}");
    log.close().await;
}

async fn one_server_has_each_work(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let log = database.open().await;
    let joining = (0..5).map(|number| Server::join(&log, if number == 0 { "a" } else { "b" }));
    let servers = futures_util::future::join_all(joining).await;
    let mut works: Vec<Work> = servers
        .iter()
        .flat_map(|server| server.node.works())
        .collect();
    works.sort_unstable();
    assert!(
        works.is_sorted_by(|a, b| a < b),
        "one is done twice: {works:?}"
    );
    let peers = servers[0].node.peers(&log.handle()).await.unwrap();
    assert_eq!(peers.len(), 5);
    log.close().await;
}

async fn who_can_erase_no_more_gives_that_back_to_one_that_can(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let blind = TestLog::open_with(&database, |opening| opening.archives = false).await;
    let log = database.open().await;
    let first = Server::join(&blind, "first").await;
    let (first_does, mut of_first) = leases(&first.node, Work::Erasures);
    let other = Server::join(&log, "other").await;
    let (other_does, mut of_other) = leases(&other.node, Work::Erasures);
    let first_beats = first.heart.run(first.stop.clone());
    let other_beats = other.heart.run(other.stop.clone());
    let checking = async {
        let lease = of_first.recv().await.unwrap();
        log.record(vec![error("old")]).await;
        let later = log.clock.now().plus_ms(1_000);
        let archived = log.archive(Kind::ErrorLog, later, log.head()).await;
        assert!(archived.unwrap().is_some());
        lease.stopping().cancelled().await;
        of_other.recv().await.unwrap();
        assert!(!first.node.works().contains(&Work::Erasures));
        first.stop.cancel();
        other.stop.cancel();
    };
    let beating = futures_util::future::join(first_beats, other_beats);
    let all = futures_util::future::join4(first_does, other_does, beating, checking);
    Box::pin(all).await;
    blind.close().await;
    log.close().await;
}

async fn where_there_is_one_server_it_has_every_work(database: Database) {
    if database.backend == Backend::Postgres {
        return;
    }
    let log = database.open().await;
    let server = Server::join(&log, "alone").await;
    assert_eq!(server.node.works(), Work::ALL);
    let peers = server.node.peers(&log.handle()).await.unwrap();
    assert_eq!((peers.len(), peers[0].name.as_str()), (1, "alone"));
    assert!(peers[0].is_alive);
    log.close().await;
}

async fn who_is_older_than_the_log_gives_its_works_back(database: Database) {
    if database.backend == Backend::Sqlite {
        return;
    }
    let log = database.open().await;
    let mut server = Server::join(&log, "older").await;
    assert_eq!(server.node.works().len(), Work::ALL.len());
    let newer = "UPDATE log_head SET schema = schema + 1";
    database.execute(newer).await;
    while log.standing() == Standing::Sound {
        tokio::task::yield_now().await;
    }
    // nor does it take them anew
    for _ in 0..2 {
        server.heart.beat().await;
        assert_eq!(server.node.works(), []);
    }
    let held = "SELECT count(*) FROM leases WHERE node_id IS NOT NULL";
    assert_eq!(database.number(held).await, 0);
    server.stop.cancel();
    log.close().await;
}
