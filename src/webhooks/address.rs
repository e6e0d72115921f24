//! Which addresses may be connected to: those that are public, whatever names lead to them. A name is
//! looked up here, and what it leads to is judged before that and nothing else is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

use super::URL_CHARACTERS_MAX;

/// Why nothing is sent to an address.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum AddressError {
    /// It is none.
    #[error("url is no address such as https://alerts.example/in, of at most 2000 characters")]
    Form,
    /// It has a name or a password in it.
    #[error("url has a user name or a password, which others could read: what is sent is signed")]
    User,
    /// It is not public.
    #[error("the address is of this machine or of a private network")]
    Private,
}

/// Reads the address of a webhook. One that is not public by itself is refused; of a name that is known
/// only when it is looked up.
pub(super) fn read(text: &str, allow_private: bool) -> Result<Url, AddressError> {
    if text.chars().count() > URL_CHARACTERS_MAX {
        return Err(AddressError::Form);
    }
    let url = Url::parse(text).map_err(|_| AddressError::Form)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(AddressError::Form);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::User);
    }
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let literal = address.parse::<IpAddr>().ok();
    if !allow_private && literal.is_some_and(|address| !is_public(address)) {
        return Err(AddressError::Private);
    }
    Ok(url)
}

/// Looks names up, and leaves what is not public.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // the port is that of the address
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|found| is_public(found.ip())).collect();
            if public.is_empty() {
                return Err(AddressError::Private.into());
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address is one of the public network.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By the registry of special addresses of the Internet Assigned Numbers Authority.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_protocol = a == 192 && b == 0 && c == 0;
    let is_benchmark = a == 198 && (b == 18 || b == 19);
    !(a == 0
        || a >= 224
        || is_shared
        || is_protocol
        || is_benchmark
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

/// Of those in which an address of version 4 stands, that one counts. All others are public in `2000::/3`
/// alone.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, protocols and documentation
        [0x2001, 0..0x200 | 0xdb8, ..] => false,
        [0x3fff, 0..0x1000, ..] => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_refused_in_every_form() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "2606:4700::1", "::ffff:1.1.1.1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_is_one_of_the_web_and_has_no_password() {
        let refused = |text: &str| read(text, false).err();
        assert_eq!(refused("https://alerts.example/in"), None);
        assert_eq!(refused("ftp://alerts.example/in"), Some(AddressError::Form));
        assert_eq!(refused("alerts"), Some(AddressError::Form));
        assert_eq!(
            refused("https://a:b@alerts.example/"),
            Some(AddressError::User)
        );
        for private in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::ffff:7f00:1]/",
            "https://[fe80::1]/",
        ] {
            assert_eq!(refused(private), Some(AddressError::Private), "{private}");
            assert!(read(private, true).is_ok());
        }
    }
}
