//! What each caller may ask, and what of it is answered.
//!
//! Everything at the root of the schema has a [`rule`]; what has none is refused to everybody. A caller
//! that is bound to sites or to a device is answered as if there were nothing else.

use std::sync::Arc;

use async_graphql::parser::types::{
    ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Context, ContextBase, Error, ServerError};

use super::error::{ErrorCode, error};
use super::{api, loaders, of_failed};
use crate::event::{Cell, Event};
use crate::history::Within;
use crate::identity::{Caller, Permission, Reach};
use crate::kinds::{Audience, Filter, Kind, Operand, Operator, Spec};
use crate::store::{EntityType, Names, Store, StoreError};

/// Queries of what is recorded.
const READ: &[&str] = &[
    "node",
    "site",
    "device",
    "sites",
    "devices",
    "job",
    "jobs",
    "jobTypes",
    "events",
    "siteStatus",
    "operatingHours",
    "effectiveConfiguration",
    "configuration",
    "configurationParameters",
    "changeEvidence",
    "userSessions",
    "topPages",
    "topSearches",
    "activityByUser",
    "series",
    "breakdown",
    "heatmap",
    "stateTimeline",
    "availability",
    "apiRequestStats",
    "errorStats",
    "jobStats",
    "activityStats",
    "alert",
    "alerts",
    "alertRules",
    "errorGroup",
    "errorGroups",
    "deviceHealth",
    "healthForecast",
    "failureRisk",
    "devicesAtRisk",
    "anomalies",
    "configurationImpact",
    "reliability",
    "dataQuality",
    "trend",
];

/// Commands on what is within reach.
const COMMAND: &[&str] = &[
    "createJob",
    "cancelJob",
    "pauseJob",
    "resumeJob",
    "retryJob",
    "setConfiguration",
    "rollbackConfiguration",
    "setSiteSchedule",
    "setSiteSchedules",
    "registerSite",
    "updateSite",
    "registerDevice",
    "updateDevice",
    "moveDevice",
    "retireDevice",
    "setDeviceState",
    "acknowledgeAlert",
    "resolveAlert",
    "silenceAlert",
    "createAlertRule",
    "updateAlertRule",
    "deleteAlertRule",
    "resolveErrorGroup",
    "ignoreErrorGroup",
    "mergeErrorGroups",
    "reopenErrorGroup",
];

/// What may ask for a field at the root; `None` for one that nobody may.
#[must_use]
pub(super) fn rule(root: OperationType, field: &str) -> Option<Permission> {
    let of_kind = |name: fn(&Spec) -> &str| {
        let kind = Kind::all().find(|kind| name(kind.spec()) == field);
        kind.map(reading)
    };
    match root {
        OperationType::Query => match field {
            "viewer" | "__typename" | "__schema" | "__type" => Some(Permission::BeKnown),
            _ if READ.contains(&field) => Some(Permission::Read),
            "previewJob" => Some(Permission::Command),
            "pendingCommands" => Some(Permission::Obey),
            "systemConfiguration" | "collectionStatus" | "storeHealth" | "modelReport" => {
                Some(Permission::ReadWhole)
            }
            "export" | "exports" => Some(Permission::Read),
            "enrolmentTokens" => Some(Permission::Command),
            "accessKeys" | "retentionPolicies" | "erasure" | "erasures" | "webhooks"
            | "webhookDeliveries" | "emailRecipients" => Some(Permission::Administer),
            _ => of_kind(|spec| spec.list),
        },
        OperationType::Mutation => match field {
            "__typename" => Some(Permission::BeKnown),
            "recordEvents" => Some(Permission::Record),
            _ if COMMAND.contains(&field) => Some(Permission::Command),
            // they change nothing but what their caller takes out
            "createExport" | "cancelExport" | "deleteExport" => Some(Permission::Read),
            "acknowledgeCommand" | "completeCommand" => Some(Permission::Obey),
            "createEnrolmentToken" | "revokeEnrolmentToken" => Some(Permission::Command),
            "enrolDevice" => Some(Permission::Enrol),
            "rotateOwnKey" => Some(Permission::RotateOwn),
            "createAccessKey"
            | "revokeAccessKey"
            | "rotateAccessKey"
            | "createWebhook"
            | "updateWebhook"
            | "deleteWebhook"
            | "redeliverWebhook"
            | "createEmailRecipient"
            | "updateEmailRecipient"
            | "deleteEmailRecipient"
            | "registerParameter"
            | "setRetentionPolicy"
            | "runRetention"
            | "erasePerson" => Some(Permission::Administer),
            _ => None,
        },
        OperationType::Subscription => match field {
            "__typename" => Some(Permission::BeKnown),
            "events" | "jobProgress" | "alerts" | "errorGroups" | "seriesUpdates" | "anomalies"
            | "healthChanges" => Some(Permission::Read),
            "deviceCommands" => Some(Permission::Obey),
            _ => of_kind(|spec| spec.stream),
        },
    }
}

/// What reads events of a kind.
fn reading(kind: Kind) -> Permission {
    match kind.spec().audience {
        Audience::Readers => Permission::Read,
        Audience::Administrators => Permission::Administer,
    }
}

/// Refuses an operation if its caller may not ask for one of the fields at its root.
pub(super) fn check(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    caller: &Caller,
) -> Result<(), ServerError> {
    let mut reader = Reader {
        document,
        root: operation.ty,
        caller,
        fragments: Vec::new(),
    };
    reader.set(&operation.selection_set.node)
}

struct Reader<'a> {
    document: &'a ExecutableDocument,
    root: OperationType,
    caller: &'a Caller,
    /// Those that were looked at.
    fragments: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn set(&mut self, set: &'a SelectionSet) -> Result<(), ServerError> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let name = field.node.name.node.as_str();
                    if let Some(error) = self.refused(name) {
                        return Err(error.into_server_error(field.pos));
                    }
                }
                Selection::InlineFragment(fragment) => {
                    self.set(&fragment.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = self.document.fragments.get(name);
                    if let Some(fragment) = fragment
                        && !self.fragments.contains(&name.as_str())
                    {
                        self.fragments.push(name.as_str());
                        self.set(&fragment.node.selection_set.node)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn refused(&self, field: &str) -> Option<Error> {
        let role = self.caller.role.word();
        let forbidden = |message: String| Some(error(ErrorCode::Forbidden, message));
        match rule(self.root, field) {
            Some(permission) if self.caller.may(permission) => None,
            Some(Permission::ReadWhole) if self.caller.may(Permission::Read) => forbidden(format!(
                "{field} is of the whole fleet: whoever is bound to sites or to a device may not ask \
                 for it"
            )),
            Some(_) => forbidden(format!("the role {role} may not ask for {field}")),
            // closed unless stated: to everybody it is as if there were no such field
            None => {
                let root = self.root;
                let message = format!("Unknown field \"{field}\" on the root of a {root}.");
                Some(error(ErrorCode::ValidationFailed, message))
            }
        }
    }
}

/// Who asks.
pub(super) fn caller<'a, T>(ctx: &ContextBase<'a, T>) -> &'a Caller {
    ctx.data_unchecked::<Caller>()
}

/// What of the fleet the caller reads.
pub(super) async fn within<T: Sync>(ctx: &ContextBase<'_, T>) -> Result<Within, Error> {
    let look_up = of_reach(api(ctx).store(), &caller(ctx).reach);
    let found = loaders(ctx).within(look_up).await;
    found.map_err(|error| of_failed(api(ctx), &error))
}

/// What is within reach, by keys.
pub(super) async fn of_reach(store: &Store, reach: &Reach) -> Result<Within, StoreError> {
    match reach {
        Reach::Whole => Ok(Within::Whole),
        Reach::Sites(sites) => {
            let mut keys = Vec::with_capacity(sites.len());
            for site in sites.iter() {
                keys.extend(store.key(EntityType::Site, site).await?);
            }
            Ok(Within::Sites(keys))
        }
        Reach::Device(device) => {
            let device_key = store.key(EntityType::Device, device).await?;
            let site_key = device_key.and_then(|key| store.names().site_of_device(key));
            Ok(Within::Device {
                device_key: device_key.unwrap_or(NONE),
                site_key: site_key.unwrap_or(NONE),
            })
        }
    }
}

/// A key that nothing has.
pub(super) const NONE: i64 = -1;

/// The key of what somebody names by its id; [`NONE`] when there is none. No id has U+0000, and
/// PostgreSQL takes no such text.
pub(super) async fn key_or_none(ctx: &Context<'_>, ty: EntityType, id: &str) -> Result<i64, Error> {
    if id.contains('\0') {
        return Ok(NONE);
    }
    let key = api(ctx).store().key(ty, id).await;
    let key = key.map_err(|error| of_failed(api(ctx), &error))?;
    Ok(key.unwrap_or(NONE))
}

/// The condition on events of a kind that leaves those that the caller may read.
pub(super) fn filter(caller: &Caller, within: &Within, kind: Kind) -> Filter {
    if caller.may(reading(kind)) {
        placed(within, kind)
    } else {
        Filter::Or(Vec::new())
    }
}

/// The condition on events of a kind that leaves those of a part of the fleet.
pub(super) fn placed(within: &Within, kind: Kind) -> Filter {
    let spec = kind.spec();
    let has_place = spec.device_index().is_some() || spec.site_index().is_some();
    match within {
        Within::Whole => Filter::default(),
        Within::Sites(keys) if has_place => {
            let keys = keys.iter().copied().map(Cell::Int).collect();
            Filter::Is(Operand::Site, Operator::In(keys))
        }
        Within::Device { device_key, .. } if spec.device_index().is_some() => {
            let key = vec![Cell::Int(*device_key)];
            Filter::Is(Operand::Device, Operator::In(key))
        }
        Within::Sites(_) | Within::Device { .. } => Filter::Or(Vec::new()),
    }
}

/// Whether the caller may read an event: the same as [`filter`], of an event in memory.
pub(super) fn sees(caller: &Caller, names: &Names, event: &Event) -> bool {
    if !caller.may(reading(event.fact.kind)) {
        return false;
    }
    let spec = event.fact.spec();
    let cell = |index: Option<usize>| index.and_then(|index| event.fact.cells.get(index));
    match &caller.reach {
        Reach::Whole => true,
        Reach::Sites(sites) => {
            let named = cell(spec.site_index()).and_then(Cell::int);
            let device = cell(spec.device_index()).and_then(Cell::int);
            let at = event.fact.occurred_at;
            let of_device = || device.and_then(|device| names.site_of_device_at(device, at));
            let site = named.or_else(of_device);
            let id: Option<Arc<str>> = site.and_then(|site| names.id(site));
            id.is_some_and(|id| sites.contains(&id))
        }
        Reach::Device(id) => {
            let device = cell(spec.device_index()).and_then(Cell::text);
            device == Some(&**id)
        }
    }
}
