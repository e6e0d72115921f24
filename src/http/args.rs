//! The command line of what stands between clients and this server: pages of other origins, and proxies.

use clap::Args;
use ipnet::IpNet;

use super::origins::Origin;
use super::peers;

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
