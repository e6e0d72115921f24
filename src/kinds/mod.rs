//! The kinds of events: for each, once, its fields with their types, bounds, columns and filters.
//!
//! Everything that is the same for all kinds (reading a wire form, checking, writing rows, filters,
//! GraphQL types, connections, subscriptions) is written once over [`Spec`]. A new kind is a file
//! here, a line in this one, its entity and its migration. Nothing here does I/O or reads a clock.

mod alert_rule_change;
pub(crate) mod alert_transition;
mod api_request;
mod audit_entry;
mod check;
pub(crate) mod command_transition;
mod configuration_change;
mod configuration_evidence;
mod configuration_setting;
mod device_metrics;
mod device_registration;
mod device_state_change;
mod draft;
pub mod enums;
mod error_group_change;
mod error_log;
mod filter;
mod finish;
mod form;
mod job_outcome;
mod job_transition;
mod keeping;
pub mod masked;
mod measured;
mod parameter_registration;
mod refusal;
mod site_registration;
mod site_schedule;
mod spec;
mod tree;
mod user_activity;
mod wire;

use entity::ColumnName;

use crate::event::Fact;

pub use check::check;
pub use draft::Draft;
pub use filter::{Envelope, Filter, Operand, Operator};
use finish::{default_to, nothing_more, refer_to_entity};
pub use keeping::{ERASED, Keeping, Person, may_be_person};
pub use measured::{Dimension, Form, Label, Measure, Measured};
pub use refusal::{Code, Refusal};
pub use tree::Tree;
pub use wire::{View, WireValue, is_date, is_time_of_day, parse, parse_any, to_json};
pub(crate) use wire::{cell_json, number_view, time_of_day};

/// Makes [`Kind`] from one line for each kind: its name, its code in the tables, which is never
/// used again for another, and its module. A registration comes before what refers to it.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal in $module:ident,)*) => {
        /// A kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// What the kind says of itself.
            #[must_use]
            pub fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$kind => &$module::SPEC,)*
                }
            }

            /// The number of the kind in the tables.
            #[must_use]
            pub const fn code(self) -> i64 {
                match self {
                    $(Self::$kind => $code,)*
                }
            }
        }
    };
}

kinds! {
    /// A site was registered.
    SiteRegistration = 1 in site_registration,
    /// A device was registered.
    DeviceRegistration = 2 in device_registration,
    /// A device measured itself.
    DeviceMetrics = 3 in device_metrics,
    /// A job ended.
    JobOutcome = 4 in job_outcome,
    /// A device was seen in a state.
    DeviceStateChange = 5 in device_state_change,
    /// Something went wrong.
    ErrorLog = 6 in error_log,
    /// A parameter got a new value.
    ConfigurationChange = 7 in configuration_change,
    /// The hours of a site were set.
    SiteSchedule = 8 in site_schedule,
    /// Somebody did something.
    UserActivity = 9 in user_activity,
    /// A request was answered.
    ApiRequest = 10 in api_request,
    /// A job passed from one state to the next.
    JobTransition = 11 in job_transition,
    /// Somebody was refused, gave a command, or was given an access key or lost it.
    AuditEntry = 12 in audit_entry,
    /// A command to a device passed from one state to the next.
    CommandTransition = 13 in command_transition,
    /// A rule of alerts was made, changed or deleted.
    AlertRuleChange = 14 in alert_rule_change,
    /// An alert passed from one state to the next.
    AlertTransition = 15 in alert_transition,
    /// A parameter of configuration was registered.
    ParameterRegistration = 16 in parameter_registration,
    /// A parameter was set on something.
    ConfigurationSetting = 17 in configuration_setting,
    /// What a device measured around a change.
    ConfigurationEvidence = 18 in configuration_evidence,
    /// Somebody decided about a group of errors.
    ErrorGroupChange = 19 in error_group_change,
}

impl Kind {
    /// All kinds, one after the other.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        Self::ALL.iter().copied()
    }

    /// The kind of a number in the tables.
    #[must_use]
    pub fn of_code(code: i64) -> Option<Self> {
        Self::all().find(|kind| kind.code() == code)
    }

    /// The kind of a name on the wire, such as `deviceMetrics`.
    #[must_use]
    pub fn of_wire(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.spec().wire == name)
    }
}

/// The days of the week, as they are written on the wire.
pub const DAYS: [&str; 7] = [
    "MONDAY",
    "TUESDAY",
    "WEDNESDAY",
    "THURSDAY",
    "FRIDAY",
    "SATURDAY",
    "SUNDAY",
];

/// How a repeat of an event is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By its `eventId`.
    EventId,
    /// By its device and instant, so that `occurredAt` must be given, and which part of a reading it is.
    DeviceAndTime,
}

/// Who may read events of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever may read what is recorded.
    Readers,
    /// Administrators alone.
    Administrators,
}

/// A set of words.
#[derive(Debug)]
pub struct EnumSpec {
    /// Name of the GraphQL type.
    pub name: &'static str,
    /// What the set is for.
    pub description: &'static str,
    /// The words, each with what it means.
    pub values: &'static [(&'static str, &'static str)],
}

/// Type of a field, with its bounds.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// Id of a device that is registered.
    Device,
    /// Id of a site that is registered.
    Site,
    /// Id of a device that this event may register.
    NewDevice,
    /// Id of a site that this event may register.
    NewSite,
    /// A text of at most so many characters, and four times as many bytes.
    Text {
        /// Characters at most.
        max: usize,
    },
    /// One of a set of words.
    Enum(&'static EnumSpec),
    /// A finite number.
    Float {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// A whole number of 32 bits.
    Int {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A whole number of 64 bits, a string on the wire.
    Long {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// An amount of money: a decimal with four places.
    Money,
    /// True or false.
    Bool,
    /// Any JSON of at most so many bytes.
    Json {
        /// Bytes at most, written without spaces.
        max_bytes: usize,
    },
    /// A calendar date.
    Date,
    /// A time of day; 24:00 is the end of the day.
    LocalTime,
    /// Name of an IANA time zone.
    TimeZone,
    /// An ISO 4217 code.
    Currency,
    /// Times of day from `start` to `end`, at most 24.
    Windows,
    /// Names of services, each UP or DOWN, at most 64.
    Services,
    /// At most 64 labels of at most 64 characters.
    Tags,
}

/// Characters from which a text counts as large.
const LARGE_CHARACTERS: usize = 4_096;

/// How a value lies in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A text.
    Text,
}

impl Type {
    /// How values of the type lie in their columns.
    #[must_use]
    pub const fn storage(&self) -> Storage {
        match self {
            Self::Device | Self::Site | Self::NewDevice | Self::NewSite => Storage::Int,
            Self::Int { .. } | Self::Long { .. } | Self::Money | Self::Bool => Storage::Int,
            Self::Float { .. } => Storage::Float,
            Self::Text { .. } | Self::Enum(_) | Self::Json { .. } | Self::Date => Storage::Text,
            Self::LocalTime | Self::TimeZone | Self::Currency => Storage::Text,
            Self::Windows | Self::Services | Self::Tags => Storage::Text,
        }
    }

    /// Whether values are JSON, kept as text.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        matches!(
            self,
            Self::Json { .. } | Self::Windows | Self::Services | Self::Tags
        )
    }

    /// Whether a value may take kilobytes: such a field is read only where it is asked for.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        let long = matches!(self, Self::Text { max } if *max > LARGE_CHARACTERS);
        long || self.is_json()
    }

    /// Whether values are keys of devices.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        matches!(self, Self::Device | Self::NewDevice)
    }

    /// Whether values are keys of sites.
    #[must_use]
    pub const fn is_site(&self) -> bool {
        matches!(self, Self::Site | Self::NewSite)
    }

    /// Whether values are keys of sites or devices.
    #[must_use]
    pub const fn is_reference(&self) -> bool {
        self.is_device() || self.is_site()
    }
}

/// Who gives a field its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The source must.
    Required,
    /// The source may.
    Optional,
    /// The kind's own rules, from other fields; it is no input, and goes out to no import.
    FilledIn,
}

/// One field of a kind.
#[derive(Clone, Copy)]
pub struct Field {
    /// Name on the wire and in GraphQL.
    pub name: &'static str,
    /// Its column.
    pub column: &'static dyn ColumnName,
    /// Type and bounds.
    pub ty: Type,
    /// Who gives it.
    pub origin: Origin,
    /// Whether events can be asked for by it.
    pub filtered: bool,
    /// What it says, with its unit.
    pub description: &'static str,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Field")
            .field("name", &self.name)
            .field("ty", &self.ty)
            .finish_non_exhaustive()
    }
}

impl Field {
    const fn required(
        name: &'static str,
        column: &'static dyn ColumnName,
        ty: Type,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            column,
            ty,
            origin: Origin::Required,
            filtered: true,
            description,
        }
    }

    const fn optional(
        name: &'static str,
        column: &'static dyn ColumnName,
        ty: Type,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            column,
            ty,
            origin: Origin::Optional,
            filtered: true,
            description,
        }
    }

    const fn not_filtered(mut self) -> Self {
        self.filtered = false;
        self
    }

    const fn filled_in(mut self) -> Self {
        self.origin = Origin::FilledIn;
        self
    }
}

/// A field whose value is that of another field in the event before, in order of time.
#[derive(Debug)]
pub struct Derived {
    /// Name of the field that is derived.
    pub field: &'static str,
    /// Name of the field of the event before that it takes its value from.
    pub from: &'static str,
    /// The table into which that field of each event is folded inside the appends, as `state`, with `device_key`,
    /// `occurred_at` and `position`: the event before may have been archived, or deleted for good.
    pub table: &'static str,
}

/// How events of a kind are collected.
#[derive(Debug)]
pub struct Source {
    /// How often something is expected, in seconds; absent when it comes as it happens.
    pub expected_interval_seconds: Option<i32>,
    /// Who reports it, and when.
    pub method: &'static str,
    /// What it is collected for.
    pub purpose: &'static str,
}

/// What a kind says of itself.
#[derive(Debug)]
pub struct Spec {
    /// The kind.
    pub kind: Kind,
    /// Name on the wire: the key of the one-of object.
    pub wire: &'static str,
    /// Name of the GraphQL type.
    pub type_name: &'static str,
    /// Name of the connection.
    pub list: &'static str,
    /// Name of the subscription.
    pub stream: &'static str,
    /// Name of the table.
    pub table: &'static str,
    /// What such an event says.
    pub description: &'static str,
    /// How a repeat is known.
    pub identity: Identity,
    /// Whether sources may record it; if not, only this server does.
    pub recordable: bool,
    /// Who may read it.
    pub audience: Audience,
    /// Whether recording it is a command: it says what is to hold, not what was seen.
    pub commanded: bool,
    /// How it is collected, if it is a source of its own.
    pub source: Option<Source>,
    /// A state that a device passes through: history shows its changes, not each report.
    pub derived: Option<Derived>,
    /// What of it is summed up over time.
    pub measured: Option<Measured>,
    /// Where it is kept as it grows old.
    pub keeping: Keeping,
    /// What of it is personal.
    pub person: Option<Person>,
    /// The fields, in the order in which they are shown and stored.
    pub fields: &'static [Field],
    /// Rules over several fields, and values that follow from others.
    pub finish: fn(&mut Fact) -> Result<(), Refusal>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_each_of_one_kind() {
        for kind in Kind::all() {
            assert_eq!(Kind::of_code(kind.code()), Some(kind));
            assert_eq!(Kind::of_wire(kind.spec().wire), Some(kind));
            assert_eq!(kind.spec().kind, kind);
        }
    }

    #[test]
    fn whatever_names_a_person_says_what_of_it_is_personal() {
        for spec in Kind::all().map(Kind::spec) {
            let person = spec.person.as_ref();
            let mut named = ["userId", "changedBy", "initiatedBy", "actor"]
                .into_iter()
                .filter(|name| spec.index_of(name).is_some());
            assert_eq!(person.map(|p| p.id), named.next(), "{}", spec.wire);
            assert_eq!(named.next(), None, "{}", spec.wire);
            for name in person.map_or(&[][..], |person| person.blanks) {
                let field = spec.fields.iter().find(|field| field.name == *name);
                assert!(field.is_some(), "{name} of {}", spec.wire);
            }
            assert!(person.is_none_or(|person| person.blanks.contains(&person.id)));
        }
    }
}
