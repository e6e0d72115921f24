//! Who asks, and what they may do.
//!
//! A caller is proved by an access key or a token ([`Authority`]), has one [`Role`], and reaches the
//! whole fleet, some sites, or one device ([`Reach`]). What is not given to a role is refused, and what
//! is out of reach is as if it were not there.

mod audit;
mod authority;
mod commands;
mod denials;
mod grant;
mod keys;
mod newcomers;
mod origin;
mod recordable;
mod recorder;
mod rotate;
mod secret;
mod spending;
mod tokens;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::event::Instant;
use crate::kinds::Kind;

pub use audit::{COMMAND_LINE, Deed};
pub use authority::{Authority, SignInError, Source};
pub(crate) use commands::New;
pub use commands::{Created, KeyError, Made, create, revocation, revoke};
pub use denials::Denials;
pub use grant::{Enrols, Grant, GrantError, More, USES_MAX};
pub use keys::Keys;
pub use origin::{Origin, OriginError};
pub use recorder::{RecordError, Recorder};
pub use rotate::{OVERLAP_SECONDS_MAX, Rotation, rotate};
pub use secret::Secret;
pub use spending::{Balance, Exceeded, Rates, Spending, Spent};
pub(crate) use tokens::account_of_subject;
pub use tokens::{SetError, TokenArgs, Tokens, TokensError};

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Reads what is recorded.
    Viewer,
    /// Reads, and gives commands: jobs, configuration, schedules.
    Operator,
    /// Everything: also records, gives out keys and reads the audit.
    Admin,
    /// One device: records and reads what is its own.
    Device,
    /// Records, and reads nothing.
    Ingest,
    /// Has a device enrol, and nothing else: the role of tokens, which let nobody in.
    Enrol,
}

impl Role {
    /// All roles that somebody may be let in with.
    pub const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Operator,
        Self::Admin,
        Self::Device,
        Self::Ingest,
    ];

    /// The word of the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "VIEWER",
            Self::Operator => "OPERATOR",
            Self::Admin => "ADMIN",
            Self::Device => "DEVICE",
            Self::Ingest => "INGEST",
            Self::Enrol => "ENROL",
        }
    }

    /// The role of a word, in letters of either case.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|role| role.word().eq_ignore_ascii_case(word))
    }
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Ask who one is.
    BeKnown,
    /// Read what is recorded and is within reach.
    Read,
    /// Read what is of no site: the server itself, and what it counts over the whole fleet.
    ReadWhole,
    /// Record events of what is within reach.
    Record,
    /// Give commands on what is within reach.
    Command,
    /// Take the commands to devices within reach, and answer them.
    Obey,
    /// Have a device enrol, by a token.
    Enrol,
    /// Have one's own key replaced.
    RotateOwn,
    /// Give out access keys and take them back, and read the audit.
    Administer,
}

/// What of the fleet somebody sees and touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    Whole,
    /// These sites, and the devices that are registered there now.
    Sites(Arc<BTreeSet<Arc<str>>>),
    /// One device.
    Device(Arc<str>),
}

impl Reach {
    /// A key of somebody's own: no two who reach something else come to the same, whatever their keys and
    /// ids are. So nobody is answered with what is not theirs.
    #[must_use]
    pub fn own(&self, key: &str) -> String {
        match self {
            Self::Whole => format!("whole/{key}"),
            Self::Sites(sites) => {
                // with their number and lengths, since an id may have any sign
                let ids = sites.iter().map(|id| format!("{}:{id}", id.len()));
                let ids: Vec<String> = ids.collect();
                format!("sites/{}/{}/{key}", ids.len(), ids.join("/"))
            }
            Self::Device(device) => format!("device/{}:{device}/{key}", device.len()),
        }
    }
}

/// Somebody who has proved who they are.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name for people, in the audit and beside what is changed.
    pub name: Arc<str>,
    /// What the caller is.
    pub role: Role,
    /// What the caller sees and touches.
    pub reach: Reach,
    /// From when on the proof holds no more.
    pub expires_at: Option<Instant>,
    /// Told when the proof is taken back before that.
    pub revoked: CancellationToken,
    /// Under which name what is spent is counted.
    pub account: Arc<str>,
    /// From where: an address without its last part.
    pub network: Option<Arc<str>>,
    /// Whether what the caller records of a device that is not known registers it.
    pub registers_devices: bool,
    /// The kinds of events that the caller records; all when there are none.
    pub kinds: Arc<[Kind]>,
    /// Whether the key stands in pages, where everybody can read it.
    pub is_public: bool,
}

impl Caller {
    /// Whoever is on this machine, where nobody needs to prove anything.
    #[must_use]
    pub fn local() -> Self {
        Self {
            name: Arc::from("local"),
            role: Role::Admin,
            reach: Reach::Whole,
            expires_at: None,
            revoked: CancellationToken::new(),
            account: Arc::from("local"),
            network: None,
            registers_devices: false,
            kinds: Arc::default(),
            is_public: false,
        }
    }

    /// Somebody who has proved nothing, and may do no more than have a device enrol.
    #[must_use]
    pub fn nobody(network: Option<&Arc<str>>) -> Self {
        let from = network.map_or("somewhere", |network| &**network);
        Self {
            name: Arc::from("nobody"),
            role: Role::Enrol,
            reach: Reach::Sites(Arc::default()),
            account: Arc::from(format!("nobody from {from}")),
            network: network.map(Arc::clone),
            ..Self::local()
        }
    }

    /// Whether the caller has proved nothing.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.role == Role::Enrol
    }

    /// Whether the caller may do something of a sort.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        let is_one_of = |roles: &[Role]| roles.contains(&self.role);
        match permission {
            Permission::BeKnown => !self.is_nobody(),
            Permission::Enrol => true,
            Permission::RotateOwn => is_one_of(&[Role::Device]),
            Permission::Read => {
                is_one_of(&[Role::Viewer, Role::Operator, Role::Admin, Role::Device])
            }
            Permission::ReadWhole => self.may(Permission::Read) && self.reach == Reach::Whole,
            Permission::Record => is_one_of(&[Role::Admin, Role::Device, Role::Ingest]),
            Permission::Obey => is_one_of(&[Role::Admin, Role::Device]),
            Permission::Command => is_one_of(&[Role::Operator, Role::Admin]),
            Permission::Administer => is_one_of(&[Role::Admin]),
        }
    }

    /// Whether the proof still holds.
    #[must_use]
    pub fn is_valid(&self, now: Instant) -> bool {
        !self.revoked.is_cancelled() && self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_reaches_never_meet() {
        let sites = |ids: &[&str]| {
            let ids = ids.iter().map(|id| Arc::from(*id));
            Reach::Sites(Arc::new(ids.collect()))
        };
        let all = [
            Reach::Whole.own("sites/1/1:a/k"),
            Reach::Whole.own("k"),
            sites(&["a"]).own("k"),
            sites(&["a"]).own("1:b/k"),
            sites(&["a", "b"]).own("k"),
            sites(&["a/1:b"]).own("k"),
            sites(&["a/b"]).own("k"),
            Reach::Device(Arc::from("a")).own("k"),
            Reach::Device(Arc::from("a/k")).own(""),
            Reach::Device(Arc::from("a")).own("k/"),
        ];
        let different: BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
