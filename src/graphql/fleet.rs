//! Sites and devices as objects, with their history nested through dataloaders.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::registry::{MetaTypeId, Registry};
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Error, Name, ObjectType, OutputType, Positioned,
    ServerResult, Value, parser::types::Field,
};
use dataloader::BatchFn;
use serde_json::Value as Json;

use super::configuration_values::{ConfigurationValue, take_values};
use super::insights::{self, OfDevice, OfSite};
use super::loaders::{
    ConfigurationKey, DeviceKey, Loaded, ReadingKey, Reads, ScheduleKey, SiteKey, answers,
};
use super::meta::{field, field_with, input, object_type};
use super::order::InOrder;
use super::order::{self, or_null};
use super::pages::{ConnectionOf, DevicePages};
use super::rows::{self, Stand, render};
use super::types::connection_field;
use super::{access, api, connection, hours, ids, loaders, of_failed, open_alerts};
use crate::event::{Event, Instant};
use crate::history::alerts::Parent;
use crate::history::states;
use crate::kinds::{Kind, Operand, Spec};

pub(super) use crate::history::fleet::{DeviceRow, SiteRow, devices_by_key, sites_by_key};

/// A device.
#[derive(Clone, Debug)]
pub(super) struct Device(pub(super) Arc<DeviceRow>);

/// A site.
#[derive(Clone, Debug)]
pub(super) struct Site(pub(super) Arc<SiteRow>);

/// The state of a device, by the key of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StateKey(i64);

/// Since when devices are in their states.
impl BatchFn<StateKey, Loaded<Option<Instant>>> for Reads {
    async fn load(&mut self, keys: &[StateKey]) -> HashMap<StateKey, Loaded<Option<Instant>>> {
        let wanted: Vec<i64> = keys.iter().map(|key| key.0).collect();
        let read = states::changes(&self.store, &wanted, 1).await;
        let read = read.map_err(Arc::new);
        answers(keys, &read, |changes, key| {
            let newest = changes.get(&key.0)?.first()?;
            Some(newest.place.occurred_at)
        })
    }
}

impl Device {
    /// The device of a key, together with the others that the request asks for; none if the caller may
    /// not see it.
    pub(super) async fn load<T: Send + Sync>(
        ctx: &async_graphql::ContextBase<'_, T>,
        key: i64,
    ) -> Result<Option<Self>, Error> {
        let row = loaders(ctx).devices.load(DeviceKey(key)).await;
        let row = row.map_err(|error| of_failed(api(ctx), &error))?;
        let within = access::within(ctx).await?;
        let is_within = |row: &Arc<DeviceRow>| within.has_device(key, Some(row.device.site_key));
        Ok(row.filter(is_within).map(Self))
    }
}

impl Site {
    /// The site of a key, together with the others that the request asks for; none if the caller may
    /// not see it.
    pub(super) async fn load<T: Send + Sync>(
        ctx: &async_graphql::ContextBase<'_, T>,
        key: i64,
    ) -> Result<Option<Self>, Error> {
        if !access::within(ctx).await?.has_site(key) {
            return Ok(None);
        }
        let row = loaders(ctx).sites.load(SiteKey(key)).await;
        row.map(|row| row.map(Self))
            .map_err(|error| of_failed(api(ctx), &error))
    }
}

fn opt(text: Option<&String>) -> Value {
    text.map_or(Value::Null, |text| Value::from(text.as_str()))
}

fn json(text: Option<&String>) -> Value {
    let json = text
        .and_then(|text| serde_json::from_str::<Json>(text).ok())
        .unwrap_or_default();
    Value::from_json(json).unwrap_or_default()
}

fn instant(micros: Option<i64>) -> Value {
    micros.map_or(Value::Null, |micros| {
        Value::from(Instant(micros).to_string())
    })
}

/// Kinds whose events name a device.
fn of_devices() -> impl Iterator<Item = &'static Spec> {
    Kind::all()
        .map(Kind::spec)
        .filter(|spec| spec.device_index().is_some())
}

/// Kinds whose events name a site or a device.
fn of_sites() -> impl Iterator<Item = &'static Spec> {
    let places = |spec: &&Spec| spec.device_index().is_some() || spec.site_index().is_some();
    Kind::all().map(Kind::spec).filter(places)
}

impl ContainerType for Device {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        Ok(or_null(ctx, self.field(ctx).await))
    }
}

impl Device {
    async fn field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let device = &self.0.device;
        let status = self.0.status.as_ref();
        let value = match ctx.item.node.name.node.as_str() {
            "id" => Value::from(ids::of_device(&device.device_id)),
            "deviceId" => Value::from(device.device_id.as_str()),
            "name" => opt(device.name.as_ref()),
            "deviceType" => Value::Enum(Name::new(&device.device_type)),
            "model" => opt(device.model.as_ref()),
            "firmware" => opt(device.firmware.as_ref()),
            "os" => opt(device.os.as_ref()),
            "tags" => json(device.tags.as_ref()),
            "lifecycle" => Value::Enum(Name::new(&device.lifecycle)),
            "registeredAt" => instant(Some(device.registered_at)),
            "version" => Value::from(device.position.to_string()),
            "currentState" => {
                let state = status.and_then(|status| status.state.as_deref());
                Value::Enum(Name::new(state.unwrap_or("UNKNOWN")))
            }
            "lastSeenAt" => instant(status.and_then(|status| status.last_seen_at)),
            "site" => {
                let site = Site::load(ctx, device.site_key).await;
                let set = ctx.with_selection_set(&ctx.item.node.selection_set);
                return OutputType::resolve(&site, &set, ctx.item).await.map(Some);
            }
            "currentStateSince" => self.state_since(ctx).await?,
            "latestMetrics" => self.latest_metrics(ctx).await?,
            "configuration" => configuration(ctx, "DEVICE", &device.device_id).await?,
            "openAlerts" => open_alerts::resolve(ctx, Parent::Device, device.device_key).await?,
            name => match of_devices().find(|spec| spec.list == name) {
                Some(spec) => {
                    let parent = Some((Operand::Device, device.device_key));
                    return connection::resolve(ctx, Some(spec.kind), parent).await;
                }
                None => return insights::resolve(&OfDevice(device.device_key), ctx).await,
            },
        };
        Ok(Some(value))
    }

    async fn state_since(&self, ctx: &Context<'_>) -> ServerResult<Value> {
        let key = StateKey(self.0.device.device_key);
        let since = loaders(ctx).states.load(key).await;
        let since = since.map_err(|error| failed(ctx, &error))?;
        Ok(instant(since.map(|since| since.0)))
    }

    async fn latest_metrics(&self, ctx: &Context<'_>) -> ServerResult<Value> {
        let status = self.0.status.as_ref();
        let Some(at) = status.and_then(|status| status.metrics_at) else {
            return Ok(Value::Null);
        };
        let set = ctx.with_selection_set(&ctx.item.node.selection_set);
        let columns = rows::columns(&set, Kind::DeviceMetrics);
        let key = ReadingKey(self.0.device.device_key, Instant(at), columns);
        let event = loaders(ctx)
            .readings
            .load(key)
            .await
            .map_err(|error| failed(ctx, &error))?;
        let events: Vec<Arc<Event>> = event.into_iter().collect();
        Ok(render(&set, Stand::Alone, &events)
            .await?
            .pop()
            .unwrap_or_default())
    }
}

fn failed(ctx: &Context<'_>, error: &crate::store::StoreError) -> async_graphql::ServerError {
    ctx.set_error_path(of_failed(api(ctx), error).into_server_error(ctx.item.pos))
}

/// The parameters of a thing, rendered field by field: there are few.
async fn configuration(ctx: &Context<'_>, entity: &'static str, id: &str) -> ServerResult<Value> {
    let list = configured(ctx, entity, id).await;
    let list = list.map_err(|error| ctx.set_error_path(error.into_server_error(ctx.item.pos)))?;
    let set = ctx.with_selection_set(&ctx.item.node.selection_set);
    OutputType::resolve(&list, &set, ctx.item).await
}

/// The parameters of a thing and their values now.
pub(super) async fn configured(
    ctx: &Context<'_>,
    entity: &'static str,
    id: &str,
) -> Result<Vec<InOrder<ConfigurationValue>>, Error> {
    let key = ConfigurationKey(entity, id.to_owned());
    let rows = loaders(ctx).configurations.load(key).await;
    let rows = rows.map_err(|error| of_failed(api(ctx), &error))?;
    loaders(ctx).count(rows.len())?;
    take_values(ctx, &rows)?;
    let values = rows.into_iter();
    let values = values.map(|row| InOrder(ConfigurationValue::of(row, entity == "DEVICE")));
    Ok(values.collect())
}

impl OutputType for Device {
    fn type_name() -> std::borrow::Cow<'static, str> {
        "Device".into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_output_type::<Self, _>(MetaTypeId::Object, |registry| {
            Site::create_type_info(registry);
            let values =
                <Option<Vec<ConfigurationValue>> as OutputType>::create_type_info(registry);
            let mut fields = vec![
                field("id", "ID!", "Opaque id, for `node`."),
                field("deviceId", "ID!", "Id that its operator gave it."),
                field("name", "String", "Name for people."),
                field("deviceType", "DeviceType!", "What it is."),
                field("model", "String", "Model, as its maker calls it."),
                field("firmware", "String", "Version of its firmware."),
                field("os", "String", "Operating system and version."),
                field("tags", "[String!]", "Labels for grouping."),
                field("lifecycle", "DeviceLifecycle!", "Whether it is in use."),
                field("registeredAt", "DateTime!", "When this was said of it."),
                field(
                    "version",
                    "Long!",
                    "Position of the registration that says this, for `expectedVersion`.",
                ),
                field("site", "Site", "The site at which it stands."),
                field(
                    "currentState",
                    "DeviceState!",
                    "The newest state that was reported, by it or of it; UNKNOWN if none was. Of a \
                     device that reports live the server sees to it: ONLINE when it is heard of, \
                     OFFLINE when it is silent. Of one whose history was imported it is the last \
                     that the history tells, and says nothing of now: see `lastSeenAt`.",
                ),
                field(
                    "currentStateSince",
                    "DateTime",
                    "When it came into that state.",
                ),
                field("lastSeenAt", "DateTime", "When it last measured itself."),
                field(
                    "latestMetrics",
                    "DeviceMetrics",
                    "The newest reading; of one that came in parts the measures of all of them.",
                ),
                field(
                    "configuration",
                    &values,
                    "What holds of its parameters: what is set on it or inherited, and what was last told of it.",
                ),
                open_alerts::field(registry, Parent::Device),
            ];
            fields.extend(of_devices().map(|spec| {
                connection_field(
                    spec,
                    &format!("Of this device: {}", lower(spec.description)),
                )
            }));
            fields.extend(insights::fields::<OfDevice>(registry));
            object_type("Device", "A device of the fleet.", fields, false)
        })
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        order::resolve(ctx, self).await
    }
}

impl ObjectType for Device {}

impl ContainerType for Site {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        Ok(or_null(ctx, self.field(ctx).await))
    }
}

impl Site {
    async fn field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let site = &self.0;
        let value = match ctx.item.node.name.node.as_str() {
            "id" => Value::from(ids::of_site(&site.site_id)),
            "siteId" => Value::from(site.site_id.as_str()),
            "name" => Value::from(site.name.as_str()),
            "timeZone" => Value::from(site.time_zone.as_str()),
            "currency" => opt(site.currency.as_ref()),
            "address" => opt(site.address.as_ref()),
            "tags" => json(site.tags.as_ref()),
            "registeredAt" => instant(Some(site.registered_at)),
            "version" => Value::from(site.position.to_string()),
            "configuration" => configuration(ctx, "SITE", &site.site_id).await?,
            "openAlerts" => open_alerts::resolve(ctx, Parent::Site, site.site_key).await?,
            "schedule" => self.schedule(ctx).await?,
            "status" => return hours::resolve_status(ctx, self).await.map(Some),
            "operatingHours" => return hours::resolve_hours(ctx, self).await.map(Some),
            "devices" => return DevicePages::at(site.site_key).resolve(ctx).await,
            name => match of_sites().find(|spec| spec.list == name) {
                Some(spec) => {
                    let parent = Some((Operand::Site, site.site_key));
                    return connection::resolve(ctx, Some(spec.kind), parent).await;
                }
                None => return insights::resolve(&OfSite(site.site_key), ctx).await,
            },
        };
        Ok(Some(value))
    }

    async fn schedule(&self, ctx: &Context<'_>) -> ServerResult<Value> {
        let key = ScheduleKey(self.0.site_key);
        let events = loaders(ctx).schedules.load(key).await;
        let mut events = events.map_err(|error| failed(ctx, &error))?;
        // the days of the week in their order, then the dates in theirs
        let day = |event: &Event| {
            let column = entity::site_operating_schedules::Column::DayOfWeek;
            let word = event
                .fact
                .cell(column)
                .text()
                .unwrap_or_default()
                .to_owned();
            let days = crate::kinds::DAYS.iter().position(|day| *day == word);
            let date = event
                .fact
                .cell(entity::site_operating_schedules::Column::Date);
            (
                days.unwrap_or(usize::MAX),
                date.text().unwrap_or_default().to_owned(),
            )
        };
        events.sort_by_key(|event| day(event));
        let set = ctx.with_selection_set(&ctx.item.node.selection_set);
        let rows = render(&set, Stand::Listed, &events).await?;
        Ok(Value::List(rows))
    }
}

impl OutputType for Site {
    fn type_name() -> std::borrow::Cow<'static, str> {
        "Site".into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_output_type::<Self, _>(MetaTypeId::Object, |registry| {
            Device::create_type_info(registry);
            let values =
                <Option<Vec<ConfigurationValue>> as OutputType>::create_type_info(registry);
            let devices = <Option<ConnectionOf<Device>> as OutputType>::create_type_info(registry);
            let mut fields = vec![
                field("id", "ID!", "Opaque id, for `node`."),
                field("siteId", "ID!", "Id that its operator gave it."),
                field("name", "String!", "Name for people."),
                field(
                    "timeZone",
                    "TimeZone!",
                    "IANA time zone in which it keeps its hours.",
                ),
                field(
                    "currency",
                    "String",
                    "ISO 4217 code of the money taken at it.",
                ),
                field("address", "String", "Postal address."),
                field("tags", "[String!]", "Labels for grouping."),
                field("registeredAt", "DateTime!", "When this was said of it."),
                field(
                    "version",
                    "Long!",
                    "Position of the registration that says this, for `expectedVersion`.",
                ),
                field(
                    "configuration",
                    &values,
                    "What holds of its parameters: what is set on it or inherited, and what was last told of it.",
                ),
                field(
                    "schedule",
                    "[SiteSchedule!]",
                    "The hours that hold now: days of the week, then dates.",
                ),
                hours::status_field(registry),
                hours::hours_field(registry),
                open_alerts::field(registry, Parent::Site),
                field_with(
                    "devices",
                    &devices,
                    "Its devices, by their ids.",
                    super::pages::arguments(vec![input(
                        "filter",
                        "DeviceFilter",
                        "Which devices.",
                    )]),
                ),
            ];
            fields.extend(of_sites().map(|spec| {
                connection_field(spec, &format!("At this site: {}", lower(spec.description)))
            }));
            fields.extend(insights::fields::<OfSite>(registry));
            object_type("Site", "A site of the fleet: a shop.", fields, false)
        })
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        order::resolve(ctx, self).await
    }
}

impl ObjectType for Site {}

fn lower(description: &str) -> String {
    let mut characters = description.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_lowercase().collect::<String>() + characters.as_str()
    })
}
