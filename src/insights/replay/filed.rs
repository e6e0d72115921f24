//! The hours that sites filed, as of the last fact that was taken.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use entity::site_operating_schedules::Column;

use super::seen::Known;
use super::windows::{day_of, plan};
use crate::event::Fact;
use crate::insights::jobs::schedule::Schedule;

/// The hours of sites by their ids.
#[derive(Debug, Default)]
pub(super) struct Filed(BTreeMap<String, Schedule>);

impl Filed {
    /// Takes what a site files.
    pub(super) fn take(&mut self, known: &Known, fact: &Fact) {
        let (Some(site), Some(day)) = (fact.cell(Column::SiteKey).text(), day_of(fact)) else {
            return;
        };
        let zone = known.sites.get(site).map_or(Tz::UTC, |site| site.zone);
        let of_site = self.0.entry(site.to_owned());
        let schedule = of_site.or_insert_with(|| Schedule::new(zone));
        schedule.file(day, plan(fact));
    }

    /// Those of the site at which a device stands, if it filed any.
    pub(super) fn of(&self, known: &Known, device: &str) -> Option<&Schedule> {
        self.0.get(&known.devices.get(device)?.site)
    }
}
