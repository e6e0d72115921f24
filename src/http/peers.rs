//! From where a request comes: from the other end of its connection, or, where that is a proxy that is
//! trusted, from whom and how the proxy says.
//!
//! Of each header the last part counts, since the proxy itself has written it; those before may be
//! anybody's. Of the addresses it is the last one that is no trusted proxy. Whoever is not trusted is
//! believed nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;
use thiserror::Error;

use super::args::EdgeArgs;
use super::hosts::{AskedHost, Encrypted};
use super::server::ENCRYPTED_ONLY;
use crate::ingest::{AskedFrom, Peer};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What is no address and no network.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("it is neither an address such as 10.0.0.7 nor a network such as 10.0.0.0/8")]
pub struct NetworkError;

/// Reads a network, or an address as the network of it alone.
pub(super) fn network(text: &str) -> Result<IpNet, NetworkError> {
    let text = text.trim();
    let alone = text.parse::<IpAddr>().map(IpNet::from);
    alone.or_else(|_| text.parse()).map_err(|_| NetworkError)
}

/// Who is believed, and how much of an address is told.
#[derive(Clone, Debug)]
pub struct Peers {
    trusted: Arc<[IpNet]>,
    told: Told,
}

/// How much of an address is told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// As much as names a household, and not a person.
    Network,
    /// All of it.
    Whole,
}

impl Told {
    fn of(self, address: IpAddr) -> String {
        match (self, address.to_canonical()) {
            (Self::Whole, address) => address.to_string(),
            (Self::Network, IpAddr::V4(address)) => {
                let [a, b, c, _] = address.octets();
                format!("{a}.{b}.{c}.0/24")
            }
            (Self::Network, IpAddr::V6(address)) => {
                let [a, b, c, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}::/48")
            }
        }
    }
}

impl Peers {
    /// Those of a command line.
    #[must_use]
    pub fn new(args: &EdgeArgs) -> Self {
        Self {
            trusted: args.trusted_proxies.clone().into(),
            told: if args.keep_addresses {
                Told::Whole
            } else {
                Told::Network
            },
        }
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// Puts on a request from where it comes, and how, before anybody else looks at it.
    pub async fn layer(State(peers): State<Self>, mut request: Request, next: Next) -> Response {
        let peer = request.extensions().get::<ConnectInfo<Peer>>();
        let Some(peer) = peer.map(|peer| peer.0.0.ip()) else {
            return next.run(request).await;
        };
        let is_proxy = peers.trusts(peer);
        let headers = request.headers();
        let from = if is_proxy {
            peers.client(peer, headers)
        } else {
            peer
        };
        let host = last(headers, &FORWARDED_HOST)
            .filter(|_| is_proxy)
            .map(Arc::from);
        let proto = last(headers, &FORWARDED_PROTO).filter(|_| is_proxy);
        let is_encrypted = proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        let extensions = request.extensions_mut();
        extensions.insert(AskedFrom(peers.told.of(from).into()));
        if let Some(host) = host {
            extensions.insert(AskedHost(host));
        }
        if is_encrypted {
            extensions.insert(Encrypted);
        }
        let mut response = next.run(request).await;
        if is_encrypted {
            let headers = response.headers_mut();
            let told = headers.entry(header::STRICT_TRANSPORT_SECURITY);
            told.or_insert(ENCRYPTED_ONLY);
        }
        response
    }

    /// Who asks a trusted proxy: the last address that is no trusted proxy. One that cannot be read hides
    /// those before it.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        for text in parts(headers, &FORWARDED_FOR) {
            let Some(address) = address(text) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }
}

/// The parts of a header, the last first.
fn parts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let all: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    let texts = all
        .into_iter()
        .rev()
        .map(|value| value.to_str().unwrap_or_default());
    texts.flat_map(|text| text.rsplit(',').map(str::trim))
}

fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    parts(headers, name).next().filter(|last| !last.is_empty())
}

/// An address, which some proxies write with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let alone = bare.unwrap_or(text).parse::<IpAddr>().ok();
    alone.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(trusted: &[&str]) -> Peers {
        Peers::new(&EdgeArgs {
            trusted_proxies: trusted.iter().map(|text| network(text).unwrap()).collect(),
            ..EdgeArgs::default()
        })
    }

    #[test]
    fn an_address_is_told_without_its_last_part_unless_all_of_it_is_kept() {
        for (address, network, whole) in [
            ("203.0.113.77", "203.0.113.0/24", "203.0.113.77"),
            (
                "2001:db8:85a3:8d3:1319:8a2e:370:7348",
                "2001:db8:85a3::/48",
                "2001:db8:85a3:8d3:1319:8a2e:370:7348",
            ),
            ("::ffff:203.0.113.77", "203.0.113.0/24", "203.0.113.77"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(Told::Network.of(address), network);
            assert_eq!(Told::Whole.of(address), whole);
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        let peers = peers(&["10.0.0.0/8", "127.0.0.1", "fd00::/8"]);
        for (lines, client) in [
            (&[][..], "10.0.0.1"),
            (&["203.0.113.7"], "203.0.113.7"),
            (&["1.1.1.1, 203.0.113.7, 10.2.3.4"], "203.0.113.7"),
            (
                &["1.1.1.1", "203.0.113.7", "10.2.3.4,127.0.0.1"],
                "203.0.113.7",
            ),
            (&["10.2.3.4"], "10.2.3.4"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::7]:4711, fd00::1"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["203.0.113.7, unknown, 10.2.3.4"], "10.2.3.4"),
            (&["203.0.113.7, "], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
            }
            let found = peers.client("10.0.0.1".parse().unwrap(), &headers);
            assert_eq!(found.to_string(), client, "{lines:?}");
        }
    }

    #[test]
    fn a_network_is_an_address_or_a_range_and_nothing_else() {
        assert!(peers(&["10.0.0.7"]).trusts("::ffff:10.0.0.7".parse().unwrap()));
        assert!(!peers(&["10.0.0.7"]).trusts("10.0.0.8".parse().unwrap()));
        for text in ["", "proxy.example", "10.0.0.0/33", "10.0.0.7:80"] {
            assert_eq!(network(text), Err(NetworkError), "{text}");
        }
    }
}
