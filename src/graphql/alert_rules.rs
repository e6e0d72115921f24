//! The rules of alerts: listed, made, changed and deleted.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::alert_commands::of_alert;
use super::alert_rule_input::{AlertWatch, AlertWatchInput, ids};
use super::command::{
    UserError, UserErrorCode, What, door, keyed_id, reaches_device, reaches_site, tell_refused,
};
use super::order::InOrder;
use super::scalars::Long;
use super::words::{AlertConditions, AlertSeverities, Word};
use super::{access, api, of_failed};
use crate::alerts::rule::{FAILURE_RULE, GAP_RULE, Rule, Spec};
use crate::alerts::{self, AlertError, Asked, Reach};
use crate::history::Within;

/// A rule by which alerts are raised.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct AlertRule {
    /// Its id.
    rule_id: ID,
    /// What people call it.
    name: String,
    /// What it watches for.
    condition: Word<AlertConditions>,
    /// Within which bounds.
    watch: InOrder<AlertWatch>,
    /// How bad it is when it holds.
    severity: Word<AlertSeverities>,
    /// Whether it raises alerts.
    is_enabled: bool,
    /// Whether it is one of those that exist without being made.
    is_default: bool,
    /// The sites that it is for, as far as the caller reaches them; when it names neither sites nor devices,
    /// it is for all.
    site_ids: Vec<ID>,
    /// The devices that it is for, beside those of the sites, as far as the caller reaches them.
    device_ids: Vec<ID>,
    /// Position of its last change, for `expectedVersion`; 0 when nobody has made or changed it.
    version: Long,
}

impl AlertRule {
    fn of(rule: &Rule, reach: &Reach) -> Self {
        let ids = |ids: &[String]| ids.iter().cloned().map(ID).collect();
        Self {
            rule_id: ID(rule.rule_id.clone()),
            name: rule.name.clone(),
            condition: Word::known(rule.spec.watch.word()),
            watch: InOrder(AlertWatch::of(&rule.spec)),
            severity: Word::known(&rule.severity),
            is_enabled: rule.is_enabled,
            is_default: [GAP_RULE, FAILURE_RULE].contains(&rule.rule_id.as_str()),
            site_ids: ids(&reach.site_ids),
            device_ids: ids(&reach.device_ids),
            version: Long(rule.version),
        }
    }
}

/// What of a rule the caller reaches.
async fn reached(ctx: &Context<'_>, spec: &Spec) -> Result<Reach, Error> {
    let within = access::within(ctx).await?;
    let reach = Reach::of(api(ctx).store(), spec, &within).await;
    reach.map_err(|error| of_failed(api(ctx), &error))
}

/// The queries of rules.
#[derive(Debug)]
pub(super) struct AlertRules;

#[Object]
impl AlertRules {
    /// The rules by which alerts are raised within reach of the caller, those first that exist without
    /// being made.
    async fn alert_rules(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<InOrder<AlertRule>>>, Error> {
        let rules = alerts::all_rules(api(ctx).store()).await;
        let rules = rules.map_err(|error| of_failed(api(ctx), &error))?;
        let mut seen = Vec::with_capacity(rules.len());
        for rule in &rules {
            let reach = reached(ctx, &rule.spec).await?;
            if !reach.is_none() {
                seen.push(InOrder(AlertRule::of(rule, &reach)));
            }
        }
        super::loaders(ctx).count(seen.len())?;
        Ok(Some(seen))
    }
}

/// A rule to be made.
#[derive(Debug, InputObject)]
struct CreateAlertRuleInput {
    /// What people call it; 1 to 255 characters.
    name: String,
    /// What it watches for.
    watch: AlertWatchInput,
    /// How bad it is when it holds.
    severity: Word<AlertSeverities>,
    /// Whether it raises alerts.
    #[graphql(default = true)]
    is_enabled: bool,
    /// The sites that it is for, at most 1000; all when neither sites nor devices are named.
    #[graphql(default)]
    site_ids: Vec<ID>,
    /// The devices that it is for, beside those of the sites; at most 1000.
    #[graphql(default)]
    device_ids: Vec<ID>,
    /// A repeat with the same key makes no second rule; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

/// A rule to be changed: what is left out or null stays as it is.
#[derive(Debug, InputObject)]
struct UpdateAlertRuleInput {
    /// The rule.
    rule_id: ID,
    /// What people call it; 1 to 255 characters.
    name: Option<String>,
    /// Within which bounds; of the condition that it has.
    watch: Option<AlertWatchInput>,
    /// How bad it is when it holds.
    severity: Option<Word<AlertSeverities>>,
    /// Whether it raises alerts; when it does no more, its open alerts are resolved.
    is_enabled: Option<bool>,
    /// The sites that it is for, at most 1000.
    site_ids: Option<Vec<ID>>,
    /// The devices that it is for, beside those of the sites; at most 1000.
    device_ids: Option<Vec<ID>>,
    /// Refused as CONFLICT when the rule has another `version`.
    expected_version: Option<Long>,
    /// A repeat with the same key does nothing; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

/// A rule to be deleted.
#[derive(Debug, InputObject)]
struct DeleteAlertRuleInput {
    /// The rule.
    rule_id: ID,
    /// Refused as CONFLICT when the rule has another `version`.
    expected_version: Option<Long>,
    /// A repeat with the same key does nothing; 1 to 255 characters.
    #[graphql(validator(min_length = 1, max_length = 255))]
    idempotency_key: Option<String>,
}

/// The answer to a command on a rule.
#[derive(Debug, SimpleObject)]
struct AlertRulePayload {
    /// The rule as it stands now; null when it was deleted or is not there.
    rule: Option<InOrder<AlertRule>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands on rules.
#[derive(Debug)]
pub(super) struct RuleCommands;

#[Object]
impl RuleCommands {
    /// Makes a rule by which alerts are raised. Whoever is bound to sites names sites or devices, and makes
    /// at most 20 for them.
    async fn create_alert_rule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The rule.")] input: CreateAlertRuleInput,
    ) -> Result<InOrder<AlertRulePayload>, Error> {
        let key = input.idempotency_key.as_deref();
        let asked = asked(ctx, (key, "alert-rule"), None);
        let rule = Rule {
            rule_id: String::new(),
            name: input.name,
            severity: input.severity.word(),
            is_enabled: input.is_enabled,
            spec: Spec {
                watch: input.watch.into(),
                site_ids: ids(input.site_ids),
                device_ids: ids(input.device_ids),
            },
            version: 0,
        };
        let deed = ("createAlertRule", Some(rule.name.clone()));
        if let Some(error) = unreached(ctx, &rule.spec).await? {
            return refused(ctx, &deed, error).await;
        }
        let within = access::within(ctx).await?;
        match alerts::create(&door(ctx, &deed), rule, (&within, asked)).await {
            Ok(rule_id) => payload(ctx, &rule_id).await,
            Err(error) => {
                let error = of_alert(api(ctx), error, "name")?;
                refused(ctx, &deed, error).await
            }
        }
    }

    /// Changes a rule. One that exists without having been made is changed like any other.
    async fn update_alert_rule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which rule, and what of it.")] input: UpdateAlertRuleInput,
    ) -> Result<InOrder<AlertRulePayload>, Error> {
        let deed = ("updateAlertRule", Some(input.rule_id.to_string()));
        let rule = match commanded(ctx, &input.rule_id).await? {
            Ok(rule) => rule,
            Err(error) => return refused(ctx, &deed, error).await,
        };
        let key = input.idempotency_key.as_deref();
        let asked = asked(ctx, (key, "alert-rule-change"), input.expected_version);
        let (watch, severity) = (input.watch, input.severity.map(|word| word.word()));
        let (name, sites) = (input.name, input.site_ids.map(ids));
        let (devices, is_enabled) = (input.device_ids.map(ids), input.is_enabled);
        let change = |rule: &mut Rule| {
            set(&mut rule.name, name.as_ref());
            set(&mut rule.severity, severity.as_ref());
            set(&mut rule.is_enabled, is_enabled.as_ref());
            set(&mut rule.spec.site_ids, sites.as_ref());
            set(&mut rule.spec.device_ids, devices.as_ref());
            set(&mut rule.spec.watch, watch.clone().map(Into::into).as_ref());
        };
        let mut changed = rule;
        change(&mut changed);
        if let Some(error) = unreached(ctx, &changed.spec).await? {
            return refused(ctx, &deed, error).await;
        }
        let done = alerts::update(&door(ctx, &deed), &input.rule_id, change, asked).await;
        ended(ctx, (&deed, &input.rule_id), done).await
    }

    /// Deletes a rule: its open alerts are resolved, and it raises no more. What is recorded of it stays.
    async fn delete_alert_rule(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which rule.")] input: DeleteAlertRuleInput,
    ) -> Result<InOrder<AlertRulePayload>, Error> {
        let deed = ("deleteAlertRule", Some(input.rule_id.to_string()));
        let key = input.idempotency_key.as_deref();
        let asked = asked(ctx, (key, "alert-rule-deletion"), input.expected_version);
        // a repeat finds no rule any more
        if let Err(error) = commanded(ctx, &input.rule_id).await?
            && (key.is_none() || access::within(ctx).await? != Within::Whole)
        {
            return refused(ctx, &deed, error).await;
        }
        let done = alerts::delete(&door(ctx, &deed), &input.rule_id, asked).await;
        ended(ctx, (&deed, &input.rule_id), done).await
    }
}

fn set<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

fn asked<'a>(
    ctx: &Context<'a>,
    (key, what): (Option<&str>, &str),
    expected: Option<Long>,
) -> Asked<'a> {
    let caller = access::caller(ctx);
    Asked {
        event_id: keyed_id(caller, key, what),
        expected: expected.map(|version| version.0),
        by: &caller.name,
    }
}

/// A rule that the caller may change: all that it is for is within reach.
async fn commanded(ctx: &Context<'_>, id: &ID) -> Result<Result<Rule, UserError>, Error> {
    let api = api(ctx);
    let rule = alerts::rule_by_id(api.store(), id).await;
    let rule = rule.map_err(|error| of_failed(api, &error))?;
    let unknown = || of_alert(api, AlertError::Unknown("rule"), "ruleId");
    let Some(rule) = rule else {
        return unknown().map(Err);
    };
    let reach = reached(ctx, &rule.spec).await?;
    if reach.is_whole() {
        return Ok(Ok(rule));
    }
    if reach.is_none() {
        return unknown().map(Err);
    }
    let message = "the rule is for others too, and is changed by whoever reaches all of them";
    let error = UserError::new("ruleId", UserErrorCode::WrongState, message);
    Ok(Err(error))
}

/// What a rule is to be for must be there, and within reach.
async fn unreached(ctx: &Context<'_>, spec: &Spec) -> Result<Option<UserError>, Error> {
    let not_found = |field: &str, id: &str| {
        let message = format!("{id} is not registered");
        Some(UserError::new(field, UserErrorCode::NotFound, message))
    };
    let store = api(ctx).store();
    for id in &spec.site_ids {
        let key = store.key(crate::store::EntityType::Site, id).await;
        let is_there = key.map_err(|error| of_failed(api(ctx), &error))?.is_some();
        if !is_there || !reaches_site(ctx, id).await? {
            return Ok(not_found("siteIds", id));
        }
    }
    for id in &spec.device_ids {
        let key = store.key(crate::store::EntityType::Device, id).await;
        let is_there = key.map_err(|error| of_failed(api(ctx), &error))?.is_some();
        if !is_there || !reaches_device(ctx, id).await? {
            return Ok(not_found("deviceIds", id));
        }
    }
    if reached(ctx, spec).await?.is_whole() {
        return Ok(None);
    }
    let message = "whoever is bound to sites names the sites or devices that a rule is for";
    Ok(Some(UserError::new(
        "siteIds",
        UserErrorCode::Invalid,
        message,
    )))
}

async fn ended(
    ctx: &Context<'_>,
    (deed, rule_id): (&What<'_>, &ID),
    done: Result<(), AlertError>,
) -> Result<InOrder<AlertRulePayload>, Error> {
    match done {
        Ok(()) => payload(ctx, rule_id).await,
        Err(error) => {
            let error = of_alert(api(ctx), error, "ruleId")?;
            refused(ctx, deed, error).await
        }
    }
}

async fn payload(ctx: &Context<'_>, rule_id: &str) -> Result<InOrder<AlertRulePayload>, Error> {
    let rule = alerts::rule_by_id(api(ctx).store(), rule_id).await;
    let rule = rule.map_err(|error| of_failed(api(ctx), &error))?;
    let rule = match rule {
        Some(rule) => {
            let reach = reached(ctx, &rule.spec).await?;
            Some(InOrder(AlertRule::of(&rule, &reach)))
        }
        None => None,
    };
    Ok(InOrder(AlertRulePayload {
        rule,
        user_errors: Vec::new(),
    }))
}

async fn refused(
    ctx: &Context<'_>,
    deed: &What<'_>,
    error: UserError,
) -> Result<InOrder<AlertRulePayload>, Error> {
    tell_refused(ctx, deed, &error).await?;
    Ok(InOrder(AlertRulePayload {
        rule: None,
        user_errors: vec![InOrder(error)],
    }))
}
