//! What a key or a token gives its holder.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Origin, OriginError, Reach, Role};
use crate::event::{Cell, Instant};
use crate::kinds::Kind;

/// Characters at most of a name.
const NAME_CHARACTERS_MAX: usize = 100;
/// Sites at most of a grant.
pub(super) const SITES_MAX: usize = 100;
/// Origins at most of a grant.
pub(super) const ORIGINS_MAX: usize = 20;
/// Characters at most of an id.
const ID_CHARACTERS_MAX: usize = 255;

/// What somebody is given, as it stands in the audit and in tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Name for people.
    pub name: String,
    /// By which people know the key; it is its beginning.
    #[serde(default)]
    pub prefix: String,
    /// What its holder is.
    pub role: Role,
    /// The sites that its holder reaches; all when there are none, and no device either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_ids: Vec<String>,
    /// The device that its holder is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// From when on it holds no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
    /// What only some have.
    #[serde(flatten)]
    pub more: More,
}

/// What only some grants have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct More {
    /// Whether what is recorded of a device that is not known registers it; for INGEST at one site.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub registers_devices: bool,
    /// Which devices may enrol by it; for ENROL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrols: Option<Enrols>,
    /// Id of the token by which the device has enrolled that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolled_by: Option<String>,
    /// Id of the key in the place of which it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_from: Option<String>,
    /// The origins whose pages alone may use it; for INGEST that is bound to kinds, since whoever is shown
    /// such a page can read it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// What the kinds are called on the wire that alone it records; for INGEST.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
}

/// Devices that may enrol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrols {
    /// How many at most.
    pub uses: u32,
    /// What they are, if it is to be one thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_type: Option<String>,
}

/// Devices at most that enrol by one token.
pub const USES_MAX: u32 = 10_000;

/// Why something cannot be granted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GrantError {
    /// The name is none.
    #[error("a name has 1 to {NAME_CHARACTERS_MAX} characters, none of them a control character")]
    Name,
    /// A device is the holder of no other role.
    #[error("deviceId (--device) is given for the role DEVICE, and for no other")]
    Device,
    /// A device or an administrator is bound to no site.
    #[error(
        "siteIds are for the roles VIEWER, OPERATOR and INGEST: an ADMIN reaches all sites, a DEVICE itself alone"
    )]
    Sites,
    /// There are too many sites.
    #[error("siteIds has at most {SITES_MAX} ids")]
    TooManySites,
    /// An id is none.
    #[error("an id has 1 to {ID_CHARACTERS_MAX} characters")]
    Id,
    /// Devices are registered where there is no doubt at which site they stand.
    #[error("registersDevices is for the role INGEST with exactly one site")]
    Registers,
    /// Nobody is let in by a token.
    #[error("the role ENROL is given by createEnrolmentToken alone, for one site")]
    Enrols,
    /// A key that stands in pages records some kinds, and nothing else.
    #[error("origins are for the role INGEST with kinds: whoever is shown a page can read its key")]
    Origins,
    /// There are too many origins.
    #[error("origins has at most {ORIGINS_MAX}")]
    TooManyOrigins,
    /// It is no origin.
    #[error("{origin} is no origin: {error}")]
    Origin {
        /// What was given.
        origin: String,
        /// Why it is none.
        error: OriginError,
    },
    /// Others record nothing, or what is theirs.
    #[error("kinds are for the role INGEST")]
    Kinds,
    /// Nobody records events of the kind from outside.
    #[error("{0} is no kind of events that is recorded by a key")]
    Kind(String),
    /// So many devices do not enrol.
    #[error("uses is not between 1 and {USES_MAX}")]
    Uses,
    /// It would never hold.
    #[error("expiresAt is not in the future")]
    Expired,
}

impl GrantError {
    /// The field of the input that is at fault.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Device => "deviceId",
            Self::Sites | Self::TooManySites | Self::Id => "siteIds",
            Self::Registers => "registersDevices",
            Self::Enrols => "role",
            Self::Origins | Self::TooManyOrigins | Self::Origin { .. } => "origins",
            Self::Kinds | Self::Kind(_) => "kinds",
            Self::Uses => "uses",
            Self::Expired => "expiresAt",
        }
    }
}

impl Grant {
    /// What an entry of the audit says was granted.
    pub(super) fn of_cell(cell: &Cell) -> Option<Self> {
        let Cell::Json(json) = cell else { return None };
        Self::deserialize(&**json).ok()
    }

    /// Checks that it can be given.
    ///
    /// # Errors
    /// What of it cannot.
    pub fn check(&self, now: Instant) -> Result<(), GrantError> {
        let characters = self.name.chars().count();
        let is_name = (1..=NAME_CHARACTERS_MAX).contains(&characters)
            && !self.name.chars().any(char::is_control);
        let is_id = |id: &String| (1..=ID_CHARACTERS_MAX).contains(&id.chars().count());
        let bound = !matches!(self.role, Role::Admin | Role::Device);
        if !is_name {
            return Err(GrantError::Name);
        }
        if (self.role == Role::Device) != self.device_id.is_some() {
            return Err(GrantError::Device);
        }
        if !self.site_ids.is_empty() && !bound {
            return Err(GrantError::Sites);
        }
        if self.site_ids.len() > SITES_MAX {
            return Err(GrantError::TooManySites);
        }
        if !self.site_ids.iter().chain(&self.device_id).all(is_id) {
            return Err(GrantError::Id);
        }
        self.more.check(self.role, self.site_ids.len())?;
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(GrantError::Expired);
        }
        Ok(())
    }

    /// What of the fleet its holder sees and touches.
    #[must_use]
    pub fn reach(&self) -> Reach {
        if let Some(device) = &self.device_id {
            return Reach::Device(Arc::from(device.as_str()));
        }
        if self.site_ids.is_empty() {
            return Reach::Whole;
        }
        let sites = self.site_ids.iter();
        Reach::Sites(Arc::new(sites.map(|id| Arc::from(id.as_str())).collect()))
    }
}

impl More {
    /// The kinds that alone are recorded; all when there are none.
    pub(super) fn kinds(&self) -> Arc<[Kind]> {
        self.kinds
            .iter()
            .filter_map(|wire| Kind::of_wire(wire))
            .collect()
    }

    /// Whether it may be used by whoever asks from an origin: a page, or for `None` something else.
    pub(super) fn is_for(&self, origin: Option<&str>) -> bool {
        let is_its = |origin: &str| self.origins.iter().any(|of| of == origin);
        self.origins.is_empty() || origin.is_some_and(is_its)
    }

    fn check_bounds(&self, role: Role) -> Result<(), GrantError> {
        if !self.kinds.is_empty() && role != Role::Ingest {
            return Err(GrantError::Kinds);
        }
        for wire in &self.kinds {
            let kind = Kind::of_wire(wire).filter(|kind| kind.spec().recordable);
            kind.ok_or_else(|| GrantError::Kind(wire.clone()))?;
        }
        if !self.origins.is_empty() && self.kinds.is_empty() {
            return Err(GrantError::Origins);
        }
        if self.origins.len() > ORIGINS_MAX {
            return Err(GrantError::TooManyOrigins);
        }
        for origin in &self.origins {
            let named = origin.parse::<Origin>();
            let is_other = |origin_of: &Origin| origin_of.name() != origin;
            let error = match named {
                Ok(named) if is_other(&named) => OriginError::Otherwise(named.name().to_owned()),
                Ok(_) => continue,
                Err(error) => error,
            };
            let origin = origin.clone();
            return Err(GrantError::Origin { origin, error });
        }
        Ok(())
    }

    fn check(&self, role: Role, sites: usize) -> Result<(), GrantError> {
        if self.registers_devices && (role != Role::Ingest || sites != 1) {
            return Err(GrantError::Registers);
        }
        self.check_bounds(role)?;
        match &self.enrols {
            Some(enrols) if role == Role::Enrol && sites == 1 => {
                let is_some = (1..=USES_MAX).contains(&enrols.uses);
                is_some.then_some(()).ok_or(GrantError::Uses)
            }
            None if role != Role::Enrol => Ok(()),
            Some(_) | None => Err(GrantError::Enrols),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role) -> Grant {
        Grant {
            name: "till".to_owned(),
            prefix: String::new(),
            role,
            site_ids: Vec::new(),
            device_id: (role == Role::Device).then(|| "till-1".to_owned()),
            expires_at: None,
            more: More::default(),
        }
    }

    #[test]
    fn an_administrator_and_a_device_are_bound_to_no_site() {
        for role in Role::ALL {
            let free = grant(role);
            assert_eq!(free.check(Instant(0)), Ok(()));
            let bound = Grant {
                site_ids: vec!["harbour".to_owned()],
                ..free
            };
            let refused = matches!(role, Role::Admin | Role::Device);
            assert_eq!(bound.check(Instant(0)).is_err(), refused, "{role:?}");
        }
    }

    #[test]
    fn what_cannot_hold_is_not_granted() {
        let refused = |grant: Grant| grant.check(Instant(10)).unwrap_err();
        let of = || grant(Role::Viewer);
        assert_eq!(
            refused(Grant {
                name: String::new(),
                ..of()
            }),
            GrantError::Name
        );
        assert_eq!(
            refused(Grant {
                name: "a\nb".to_owned(),
                ..of()
            }),
            GrantError::Name
        );
        assert_eq!(
            refused(Grant {
                device_id: Some("t".to_owned()),
                ..of()
            }),
            GrantError::Device
        );
        assert_eq!(
            refused(Grant {
                device_id: None,
                ..grant(Role::Device)
            }),
            GrantError::Device
        );
        assert_eq!(
            refused(Grant {
                site_ids: vec![String::new()],
                ..of()
            }),
            GrantError::Id
        );
        assert_eq!(
            refused(Grant {
                expires_at: Some(Instant(10)),
                ..of()
            }),
            GrantError::Expired
        );
        let many = vec!["s".to_owned(); SITES_MAX + 1];
        assert_eq!(
            refused(Grant {
                site_ids: many,
                ..of()
            }),
            GrantError::TooManySites
        );
    }

    #[test]
    fn what_only_some_have_is_not_given_to_others() {
        let with = |role: Role, sites: &[&str], more: More| {
            let site_ids = sites.iter().map(ToString::to_string).collect();
            let grant = Grant {
                site_ids,
                more,
                ..grant(role)
            };
            grant.check(Instant(0))
        };
        let registers = || More {
            registers_devices: true,
            ..More::default()
        };
        let enrols = |uses: u32| More {
            enrols: Some(Enrols {
                uses,
                device_type: None,
            }),
            ..More::default()
        };
        assert_eq!(with(Role::Ingest, &["a"], registers()), Ok(()));
        assert_eq!(with(Role::Enrol, &["a"], enrols(1)), Ok(()));
        for (role, sites) in [
            (Role::Ingest, [].as_slice()),
            (Role::Ingest, &["a", "b"]),
            (Role::Operator, &["a"]),
        ] {
            let refused = with(role, sites, registers());
            assert_eq!(refused, Err(GrantError::Registers), "{role:?}");
        }
        for (role, sites, more) in [
            (Role::Enrol, ["a"].as_slice(), More::default()),
            (Role::Enrol, &[], enrols(1)),
            (Role::Enrol, &["a", "b"], enrols(1)),
            (Role::Ingest, &["a"], enrols(1)),
        ] {
            assert_eq!(with(role, sites, more), Err(GrantError::Enrols), "{role:?}");
        }
        for uses in [0, USES_MAX + 1] {
            assert_eq!(
                with(Role::Enrol, &["a"], enrols(uses)),
                Err(GrantError::Uses)
            );
        }
    }

    #[test]
    fn a_key_for_pages_records_some_kinds_and_nothing_else() {
        let bound = |role: Role, origins: &[&str], kinds: &[&str]| {
            let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
            let more = More {
                origins: texts(origins),
                kinds: texts(kinds),
                ..More::default()
            };
            let grant = Grant {
                more,
                ..grant(role)
            };
            grant.check(Instant(0)).map_err(|error| error.field())
        };
        let (shop, activity) = (["https://shop.example"].as_slice(), ["userActivity"]);
        assert_eq!(bound(Role::Ingest, shop, &activity), Ok(()));
        assert_eq!(bound(Role::Ingest, &[], &activity), Ok(()));
        assert_eq!(bound(Role::Ingest, shop, &[]), Err("origins"));
        assert_eq!(bound(Role::Ingest, &["*"], &activity), Err("origins"));
        let spaced = ["https://shop.example "];
        assert_eq!(bound(Role::Ingest, &spaced, &activity), Err("origins"));
        let many = ["https://shop.example"; ORIGINS_MAX + 1];
        assert_eq!(bound(Role::Ingest, &many, &activity), Err("origins"));
        assert_eq!(bound(Role::Ingest, &[], &["auditEntry"]), Err("kinds"));
        assert_eq!(bound(Role::Ingest, &[], &["none"]), Err("kinds"));
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            assert_eq!(bound(role, shop, &activity), Err("kinds"), "{role:?}");
        }
    }

    #[test]
    fn a_grant_reads_as_it_was_written() {
        let grant = Grant {
            expires_at: Some(Instant(1_000_000)),
            more: More {
                enrolled_by: Some("token".to_owned()),
                ..More::default()
            },
            ..grant(Role::Device)
        };
        // as it was written before there was more
        let bare = r#"{"name":"till","role":"DEVICE","deviceId":"till-1"}"#;
        assert_eq!(
            serde_json::from_str::<Grant>(bare).unwrap().more,
            More::default()
        );
        let text = serde_json::to_string(&grant).unwrap();
        assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant);
    }
}
