//! How many connections there may be, in all and from one address.
//!
//! A place is held until the connection has ended, whatever became of it: a socket keeps that of the
//! connection on which it was opened. There are no more places than the system has files for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::peers::Peers;

/// Files that are not connections of clients: the log, the terminal, those of the runtime, the pages.
const FILES_KEPT: usize = 64;
/// Files of a connection to the database: on SQLite the log, its journal, its index and one that is
/// temporary.
const FILES_OF_READER: usize = 4;
/// Connections at least, however few files there may be.
const CONNECTIONS_MIN: usize = 10;
/// Of so many that are wanted one may be left out for want of files, and nobody is warned of it.
const LEFT_OUT_OF: usize = 10;

/// How many connections there may be.
#[derive(Clone, Debug)]
pub struct Connections {
    /// In all.
    pub connections_max: usize,
    /// From one address; loopback is a proxy on this machine, and has no limit of its own.
    pub per_address_max: usize,
    /// The proxies that are trusted, which have none either.
    pub peers: Peers,
}

impl Connections {
    /// Has the system allow as many open files as it may, and leaves out the connections for which
    /// there are none: one too many would make appends and reads of the database fail.
    #[must_use]
    pub fn within_files(self, readers_max: usize) -> Self {
        let wanted = self.connections_max;
        let files = files_max();
        let connections_max = self.clone().among(files, readers_max).connections_max;
        if are_few(connections_max, wanted) {
            tracing::warn!(
                files,
                connections_max,
                wanted,
                "the system allows too few open files for so many connections: raise the limit \
                 (ulimit -n, LimitNOFILE of systemd), or lower --connections-max"
            );
        } else if connections_max < wanted {
            tracing::info!(
                files,
                connections_max,
                wanted,
                "there may be as many connections as the system allows open files"
            );
        }
        Self {
            connections_max,
            ..self
        }
    }

    /// Those for which there are files; `None` where there is no limit.
    fn among(self, files: Option<u64>, readers_max: usize) -> Self {
        let kept = FILES_KEPT + FILES_OF_READER * readers_max;
        let files = files.and_then(|files| usize::try_from(files).ok());
        let most = files.map_or(usize::MAX, |files| files.saturating_sub(kept));
        Self {
            connections_max: self.connections_max.min(most.max(CONNECTIONS_MIN)),
            ..self
        }
    }
}

/// Whether there are so few places that somebody is to be told who wanted more.
const fn are_few(connections: usize, wanted: usize) -> bool {
    connections < wanted - wanted / LEFT_OUT_OF
}

/// How many files this process may have open, once it may have as many as the system lets it.
fn files_max() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Places for connections.
#[derive(Clone, Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_address_max: usize,
    peers: Peers,
}

/// A place that is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    address: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Places {
    pub(super) fn new(connections: Connections) -> Self {
        Self {
            all: Arc::new(Semaphore::new(connections.connections_max)),
            taken: Arc::default(),
            per_address_max: connections.per_address_max,
            peers: connections.peers,
        }
    }

    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let place = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        let is_proxy = address.is_loopback() || self.peers.trusts(address);
        if *count >= self.per_address_max && !is_proxy {
            return None;
        }
        *count += 1;
        Some(Place {
            _of_all: place,
            address,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::super::args::EdgeArgs;
    use super::*;

    #[test]
    fn there_are_so_many_places_and_so_many_for_one_address() {
        let places = Places::new(Connections {
            connections_max: 4,
            per_address_max: 2,
            peers: Peers::new(&EdgeArgs {
                trusted_proxies: vec![IpNet::from(IpAddr::from([10, 0, 0, 3]))],
                ..EdgeArgs::default()
            }),
        });
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = places.take(one).unwrap();
        let second = places.take(one).unwrap();
        assert!(places.take(one).is_none());
        let _third = places.take(other).unwrap();
        drop(first);
        let _fourth = places.take(one).unwrap();
        let local: IpAddr = [127, 0, 0, 1].into();
        let last = places.take(local).unwrap();
        assert!(places.take(local).is_none());
        drop(last);
        for _ in 0..2 {
            assert!(places.take(local).is_some());
        }
        drop(second);
        let proxy: IpAddr = [10, 0, 0, 3].into();
        let _both = (places.take(proxy).unwrap(), places.take(proxy).unwrap());
        assert_eq!(places.taken.lock().unwrap().len(), 3);
    }

    #[test]
    fn there_are_no_more_connections_than_files() {
        let wanted = Connections {
            connections_max: 1_000,
            per_address_max: 5,
            peers: Peers::new(&EdgeArgs::default()),
        };
        for (files, connections) in [
            (None, 1_000),
            (Some(1_000_000), 1_000),
            (Some(1_024), 1_024 - 64 - 32),
            (Some(20), 10),
        ] {
            let wanted = wanted.clone().among(files, 8);
            assert_eq!(wanted.connections_max, connections);
        }
    }

    #[test]
    fn a_few_connections_less_than_are_wanted_are_enough() {
        for (connections, few) in [
            (20_000, false),
            (19_904, false),
            (18_000, false),
            (17_999, true),
        ] {
            assert_eq!(are_few(connections, 20_000), few, "{connections}");
        }
        assert!(are_few(CONNECTIONS_MIN, 20));
    }
}
