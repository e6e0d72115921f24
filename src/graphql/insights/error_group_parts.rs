//! The errors and the devices of a group, page by page.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::{Context, Error, Object, SimpleObject};
use dataloader::BatchFn;
use futures_util::future::BoxFuture;

use super::error_groups_of::GroupReads;
use crate::error_groups::{
    Cut, DeviceCount, DevicesAsk, DevicesFound, Errors, ErrorsAsk, Times, TimesAsk, Told,
};
use crate::event::Event;
use crate::graphql::commands::{ERROR_LOG, EventOf};
use crate::graphql::fleet::Device;
use crate::graphql::listed::{Ends, Listed, cut};
use crate::graphql::loaders::Loaded;
use crate::graphql::order::InOrder;
use crate::graphql::pages::PageInfo;
use crate::graphql::scalars::{DateTime, Long};
use crate::graphql::{access, api, cursor, loaders, of_failed};
use crate::kinds::Kind;
use crate::store::{Place, StoreError};

/// The list of errors of a group, for its sizes: its places are those of events.
const EVENTS: Listed = Listed {
    name: "error-group-event",
    rows: 50,
    rows_max: 1_000,
};
/// The list of devices of a group.
const DEVICES: Listed = Listed {
    name: "error-group-device",
    rows: 50,
    rows_max: 1_000,
};

/// As how many rows of an answer the errors or the devices of a group count before they are read.
const PART_ROWS: usize = 20;

impl BatchFn<TimesAsk, Loaded<Arc<Times>>> for GroupReads {
    async fn load(&mut self, asks: &[TimesAsk]) -> HashMap<TimesAsk, Loaded<Arc<Times>>> {
        each(asks, self.groups.times(&self.store, asks).await)
    }
}

impl BatchFn<DevicesAsk, Loaded<Arc<DevicesFound>>> for GroupReads {
    async fn load(
        &mut self,
        asks: &[DevicesAsk],
    ) -> HashMap<DevicesAsk, Loaded<Arc<DevicesFound>>> {
        each(asks, self.groups.devices(&self.store, asks).await)
    }
}

/// What was read for each that asked, or for all of them why it could not be.
fn each<K: Clone + Eq + Hash, T>(
    asks: &[K],
    read: Result<HashMap<K, Arc<T>>, StoreError>,
) -> HashMap<K, Loaded<Arc<T>>> {
    match read {
        Ok(read) => {
            let read = read.into_iter();
            read.map(|(ask, found)| (ask, Ok(found))).collect()
        }
        Err(error) => {
            let error = Arc::new(error);
            let failed = asks.iter();
            failed
                .map(|ask| (ask.clone(), Err(Arc::clone(&error))))
                .collect()
        }
    }
}

/// Which page is asked for: how many rows, after which place.
type Page = (Option<i32>, Option<String>);

/// An error of a group with its place.
#[derive(Debug, SimpleObject)]
struct ErrorGroupEventEdge {
    /// Place of the error.
    cursor: String,
    /// The error.
    node: EventOf<ERROR_LOG>,
}

/// A page of the errors of a group.
#[derive(Debug)]
pub(super) struct ErrorGroupEvents {
    events: Vec<Arc<Event>>,
    page_info: PageInfo,
    total: i64,
}

impl ErrorGroupEvents {
    /// Reads a page.
    pub(super) fn read<'a>(
        ctx: &'a Context<'_>,
        (told, cut): (&'a Told, &'a Arc<Cut>),
        (first, after): Page,
    ) -> BoxFuture<'a, Result<Self, Error>> {
        Box::pin(async move {
            let (api, loaders) = (api(ctx), loaders(ctx));
            let identity = api.store().identity();
            let (rows, _) = EVENTS.size(first, None)?;
            let after = after
                .map(|text| cursor::read(identity, &text))
                .transpose()?;
            loaders.count(PART_ROWS)?;
            let within = access::within(ctx).await?;
            let of = TimesAsk {
                id: told.id,
                cut: Arc::clone(cut),
                after,
                rows,
            };
            let times = loaders.insights.group_times.load(of.clone()).await;
            let times = times.map_err(|error| of_failed(api, &error))?;
            let ask = ErrorsAsk {
                of: &of,
                times: &times,
                seen: access::filter(access::caller(ctx), &within, Kind::ErrorLog),
            };
            let found = Errors::find(api.store(), (&ask, loaders.allowance())).await;
            let Errors { events, upto } = found.map_err(|error| of_failed(api, &error))?;
            let events: Vec<Arc<Event>> = events.into_iter().map(Arc::new).collect();
            let place = |event: Option<&Arc<Event>>| event.map(|event| cursor::of(identity, event));
            let page_info = PageInfo {
                has_next_page: upto.is_some(),
                has_previous_page: after.is_some(),
                start_cursor: place(events.first()),
                // where none was found it goes on from where it was looked for them
                end_cursor: upto
                    .map(|upto| cursor::write(identity, upto))
                    .or(place(events.last())),
            };
            Ok(Self {
                events,
                page_info,
                total: i64::try_from(told.group.count).unwrap_or(i64::MAX),
            })
        })
    }
}

/// A page of the errors of a group. Where much else was recorded while the group was seen, a page may have fewer rows
/// than were asked for, and others follow: `hasNextPage` says so, and `endCursor` is where they begin.
#[Object]
impl ErrorGroupEvents {
    /// The errors with their places.
    async fn edges(&self, ctx: &Context<'_>) -> Vec<InOrder<ErrorGroupEventEdge>> {
        let identity = api(ctx).store().identity();
        let edge = |event: &Arc<Event>| ErrorGroupEventEdge {
            cursor: cursor::write(identity, Place::of(event)),
            node: EventOf(Arc::clone(event)),
        };
        self.events.iter().map(edge).map(InOrder).collect()
    }

    /// The errors.
    async fn nodes(&self) -> Vec<EventOf<ERROR_LOG>> {
        self.events
            .iter()
            .map(|event| EventOf(Arc::clone(event)))
            .collect()
    }

    /// Where the page stands among the others.
    async fn page_info(&self) -> InOrder<PageInfo> {
        InOrder(self.page_info.clone())
    }

    /// How many errors the group has.
    async fn total_count(&self) -> Long {
        Long(self.total)
    }
}

/// A device of a group.
#[derive(Clone, Debug)]
struct ErrorGroupDevice(DeviceCount);

/// How often an error was seen on a device.
#[Object]
impl ErrorGroupDevice {
    /// The device; null if it is not registered any more, or the caller may not see it.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        Device::load(ctx, self.0.key).await
    }

    /// How many errors.
    async fn count(&self) -> Long {
        Long(self.0.events)
    }

    /// When the first of them was.
    async fn first_seen_at(&self) -> DateTime {
        DateTime(self.0.first)
    }

    /// When the last of them was.
    async fn last_seen_at(&self) -> DateTime {
        DateTime(self.0.last)
    }
}

/// A device of a group with its place.
#[derive(Debug, SimpleObject)]
struct ErrorGroupDeviceEdge {
    /// Place of the device.
    cursor: String,
    /// The device.
    node: InOrder<ErrorGroupDevice>,
}

/// A page of the devices of a group.
#[derive(Debug)]
pub(super) struct ErrorGroupDevices {
    devices: Vec<DeviceCount>,
    ends: Ends,
    total: usize,
}

impl ErrorGroupDevices {
    /// Reads a page.
    pub(super) fn read<'a>(
        ctx: &'a Context<'_>,
        (told, of): (&'a Told, &'a Arc<Cut>),
        (first, after): Page,
    ) -> BoxFuture<'a, Result<Self, Error>> {
        Box::pin(async move {
            let loaders = loaders(ctx);
            let (rows, part) = DEVICES.part((first, after), (None, None))?;
            let is_later = part.after.is_some();
            loaders.count(PART_ROWS)?;
            let ask = DevicesAsk {
                id: told.id,
                cut: Arc::clone(of),
                after: part.after,
                // one more tells whether there are more
                rows: rows + 1,
            };
            let found = loaders.insights.group_devices.load(ask).await;
            let found = found.map_err(|error| of_failed(api(ctx), &error))?;
            let (mut devices, total) = (found.0.clone(), found.1);
            let ends = Ends {
                from_end: false,
                more: cut(&mut devices, rows, false),
                other: is_later,
            };
            loaders.count(devices.len())?;
            Ok(Self {
                devices,
                ends,
                total,
            })
        })
    }
}

/// A page of the devices of a group.
#[Object]
impl ErrorGroupDevices {
    /// The devices with their places.
    async fn edges(&self) -> Vec<InOrder<ErrorGroupDeviceEdge>> {
        let edge = |count: &DeviceCount| ErrorGroupDeviceEdge {
            cursor: DEVICES.write(&count.place()),
            node: InOrder(ErrorGroupDevice(*count)),
        };
        self.devices.iter().map(edge).map(InOrder).collect()
    }

    /// The devices.
    async fn nodes(&self) -> Vec<InOrder<ErrorGroupDevice>> {
        let devices = self.devices.iter();
        devices
            .map(|count| InOrder(ErrorGroupDevice(*count)))
            .collect()
    }

    /// Where the page stands among the others.
    async fn page_info(&self) -> InOrder<PageInfo> {
        let places: Vec<_> = self.devices.iter().map(DeviceCount::place).collect();
        InOrder(DEVICES.info(self.ends, places.first(), places.last()))
    }

    /// How many devices there are.
    async fn total_count(&self) -> Long {
        Long(i64::try_from(self.total).unwrap_or(i64::MAX))
    }
}
