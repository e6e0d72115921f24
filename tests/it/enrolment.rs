//! Devices that enrol on two nodes at once, by the last uses of one token.

use std::sync::Arc;

use homepot_analytics::identity::{self, Enrols, Grant, Keys, Made, More, Role, Secret};
use homepot_analytics::ingest::Ingest;
use homepot_analytics::registry::{EnrolError, Enrolling, enrol};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::{Database, TestLog, contract, request, site};

contract![two_nodes_spend_each_use_of_a_token_once];

/// A node: a door to the log, and the keys that it knows.
struct Node {
    ingest: Ingest,
    keys: Arc<Keys>,
}

impl Node {
    async fn on(log: &TestLog, tasks: (&TaskTracker, &CancellationToken)) -> Self {
        let store = log.handle();
        let keys = Arc::new(Keys::load(&store).await.unwrap());
        tasks
            .0
            .spawn(Arc::clone(&keys).run(store.clone(), tasks.1.clone()));
        let ingest = Ingest::new(store);
        Self { ingest, keys }
    }

    async fn enrol(&self, token: &Secret, n: usize) -> Result<String, EnrolError> {
        let device = Enrolling {
            device_id: Some(format!("new-{n}")),
            ..Enrolling::default()
        };
        let enrolled = enrol(&self.ingest, (&self.keys, token), (device, None)).await;
        enrolled.map(|enrolled| enrolled.device_id)
    }
}

async fn token(node: &Node, uses: u32) -> Secret {
    let grant = Grant {
        name: "two nodes".to_owned(),
        prefix: String::new(),
        role: Role::Enrol,
        site_ids: vec!["s1".to_owned()],
        device_id: None,
        expires_at: None,
        more: More {
            enrols: Some(Enrols {
                uses,
                device_type: None,
            }),
            ..More::default()
        },
    };
    let made = Made {
        actor: "test",
        operation: "token",
        network: None,
        keys: Some(&node.keys),
    };
    let created = identity::create(&node.ingest, grant, (made, None)).await;
    created.unwrap().secret.unwrap()
}

async fn two_nodes_spend_each_use_of_a_token_once(database: Database) {
    let first = database.open().await;
    first.append(request(vec![site("s1")])).await.unwrap();
    // SQLite has one process, and so one store
    let second = if database.is_sqlite() {
        None
    } else {
        Some(database.open().await)
    };
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let one = Node::on(&first, (&tracker, &stop)).await;
    let secret = token(&one, 3).await;
    let other = Node::on(second.as_ref().unwrap_or(&first), (&tracker, &stop)).await;
    let all = (0..10).map(|n| {
        let node = if n % 2 == 0 { &one } else { &other };
        node.enrol(&secret, n)
    });
    let answers = futures_util::future::join_all(all).await;
    let enrolled = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(enrolled, 3, "{answers:?}");
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(
            matches!(refused, EnrolError::UsedUp { uses: 3 }),
            "{refused:?}"
        );
    }
    let registered = "SELECT count(*) FROM device_registrations";
    assert_eq!(database.number(registered).await, 3);
    let made = "SELECT count(*) FROM access_keys WHERE key_grant LIKE '%enrolledBy%'";
    assert_eq!(database.number(made).await, 3);
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    first.close().await;
    if let Some(second) = second {
        second.close().await;
    }
}
