//! The command line of what stands between clients and this server: pages of other origins, and proxies.

use clap::Args;
use ipnet::IpNet;

use super::peers;
use crate::identity::{Origin, Secret};

/// What stands between clients and this server.
#[derive(Clone, Debug, Default, Args)]
pub struct EdgeArgs {
    /// An origin whose pages may use the API, such as `https://shop.example`; those of all others may
    /// not. May be repeated; in the environment, origins are parted by commas.
    #[arg(
        long = "cors-origin",
        env = "HOMEPOT_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<Origin>,
    /// An access key of the role INGEST that is bound to kinds and to origins, that of this server among
    /// them: by it the pages of this server tell what people do on them. It can be read by whoever is shown
    /// them, and so it is no secret.
    #[arg(
        long,
        env = "HOMEPOT_TRACKING_KEY",
        value_name = "KEY",
        value_parser = tracking_key
    )]
    pub tracking_key: Option<String>,
    /// A proxy in front of this server, by its address or network (such as `10.0.0.0/8`): it alone is
    /// believed from where a request comes and how (X-Forwarded-For, -Proto, -Host). May be repeated; in
    /// the environment, addresses are parted by commas.
    #[arg(
        long = "trusted-proxy",
        env = "HOMEPOT_TRUSTED_PROXY",
        value_name = "ADDRESS-OR-NETWORK",
        value_delimiter = ',',
        value_parser = peers::network
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// Record whole addresses of clients. Otherwise the last byte of IPv4 and all but the first three
    /// groups of IPv6 are left out.
    #[arg(long, env = "HOMEPOT_KEEP_ADDRESSES")]
    pub keep_addresses: bool,
}

fn tracking_key(text: &str) -> Result<String, String> {
    // it is put into pages
    let is_plain = |key: &Secret| {
        let mut signs = key.reveal().chars();
        signs.all(|sign| sign.is_ascii_alphanumeric() || "-_".contains(sign))
    };
    let key = Secret::read(text.trim()).filter(is_plain);
    let key = key.ok_or_else(|| "it is no access key".to_owned())?;
    Ok(key.reveal().to_owned())
}
