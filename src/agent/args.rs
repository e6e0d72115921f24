//! The command line of the agent.

use std::path::PathBuf;

use clap::Args;

use crate::client::ServerArgs;

/// Report the metrics of this machine to a server.
#[derive(Args, Clone, Debug)]
pub struct AgentArgs {
    /// Which server, and as whom
    #[command(flatten)]
    pub server: ServerArgs,

    /// Id of this device [default: the host name]
    #[arg(long, env = "HOMEPOT_DEVICE", value_name = "ID")]
    pub device: Option<String>,

    /// What this device is
    #[arg(
        long,
        env = "HOMEPOT_DEVICE_TYPE",
        default_value = "POS_TERMINAL",
        value_parser = DEVICE_TYPES
    )]
    pub device_type: String,

    /// Id of the site at which it stands [default: site- and the host name]
    #[arg(long, env = "HOMEPOT_SITE", value_name = "ID")]
    pub site: Option<String>,

    /// Name of the site, if the server does not know it yet [default: its id]
    #[arg(long, env = "HOMEPOT_SITE_NAME", value_name = "NAME")]
    pub site_name: Option<String>,

    /// Time zone of the site, if the server does not know it yet (IANA name)
    #[arg(
        long,
        env = "HOMEPOT_TIME_ZONE",
        default_value = "UTC",
        value_parser = time_zone
    )]
    pub time_zone: String,

    /// Token by which this device enrols on its first start, at the site of the token: it is then given an
    /// access key of its own, which it keeps in its spool folder and uses from then on. By the environment
    /// others do not see it in the list of processes
    #[arg(
        long,
        env = "HOMEPOT_ENROL_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub enrol_token: Option<EnrolToken>,

    /// Time between two samples, in seconds (1 to 3600)
    #[arg(
        long = "interval",
        env = "HOMEPOT_INTERVAL",
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=3_600)
    )]
    pub interval_seconds: u32,

    /// A file of whose newest lines it tells when it is commanded to (LOG_COLLECTION). May be repeated; in
    /// the environment, files are parted by commas
    #[arg(
        long = "log-file",
        env = "HOMEPOT_LOG_FILE",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub log_files: Vec<PathBuf>,

    /// Folder in which events wait while the server is away; one agent each
    #[arg(
        long,
        env = "HOMEPOT_SPOOL",
        value_name = "FOLDER",
        default_value = "homepot-spool"
    )]
    pub spool: PathBuf,

    /// Size of that folder at most, in MiB (4 to 4096); beyond it the oldest events are dropped
    #[arg(
        long,
        env = "HOMEPOT_SPOOL_MIB",
        value_name = "MIB",
        default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(4..=4_096)
    )]
    pub spool_mib: u64,
}

/// An enrolment token. It is shown only where it is asked for by name.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolToken(String);

impl EnrolToken {
    /// The token itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for EnrolToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnrolToken(…)")
    }
}

impl std::str::FromStr for EnrolToken {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().to_owned()))
    }
}

/// Types that a device can have.
const DEVICE_TYPES: [&str; 5] = [
    "POS_TERMINAL",
    "IOT_SENSOR",
    "GATEWAY",
    "INDUSTRIAL_CONTROLLER",
    "UNKNOWN",
];

fn time_zone(text: &str) -> Result<String, String> {
    let known = text.parse::<chrono_tz::Tz>();
    known
        .map(|zone| zone.name().to_owned())
        .map_err(|_| "this is no IANA time zone such as Europe/Berlin".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{Kind, Type};

    #[test]
    fn device_types_are_those_of_the_registration() {
        let fields = Kind::DeviceRegistration.spec().fields;
        let field = fields
            .iter()
            .find(|field| field.name == "deviceType")
            .unwrap();
        let Type::Enum(set) = field.ty else {
            panic!("deviceType is a word");
        };
        let words: Vec<&str> = set.values.iter().map(|(word, _)| *word).collect();
        assert_eq!(words, DEVICE_TYPES);
    }

    #[test]
    fn time_zone_must_be_known() {
        assert_eq!(time_zone("Europe/Berlin").as_deref(), Ok("Europe/Berlin"));
        assert!(time_zone("Berlin").is_err());
    }
}
