//! What facts say, as insights read them.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use entity::{
    configuration_history as configuration, device_metrics as metrics,
    device_registrations as devices, device_state_history as states, error_logs as errors,
    job_outcomes as jobs, site_registrations as sites,
};

use crate::event::{Cell, Fact, Instant};
use crate::insights::input::{
    ConfigSeen, Device, ErrorSeen, JobSeen, Measure, Severity, State, StateSeen,
};
use crate::kinds::Kind;

/// A site, as it was registered last.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its time zone.
    pub zone: Tz,
}

/// What is registered.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The sites by their ids.
    pub sites: BTreeMap<String, Site>,
    /// The devices by their ids.
    pub devices: BTreeMap<String, Device>,
}

impl Known {
    /// Nothing is registered.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sites: BTreeMap::new(),
            devices: BTreeMap::new(),
        }
    }

    /// Whether a fact registers something.
    #[must_use]
    pub fn is_registration(fact: &Fact) -> bool {
        matches!(fact.kind, Kind::SiteRegistration | Kind::DeviceRegistration)
    }

    /// Takes a registration; whether it was one.
    pub fn take(&mut self, fact: &Fact) -> bool {
        if fact.kind == Kind::SiteRegistration {
            let zone = text(fact.cell(sites::Column::TimeZone));
            let zone = zone.and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC);
            if let Some(id) = text(fact.cell(sites::Column::SiteKey)) {
                self.sites.insert(id, Site { zone });
            }
            return true;
        }
        let is_device = fact.kind == Kind::DeviceRegistration;
        if let Some(device) = device(fact).filter(|_| is_device) {
            self.devices.insert(device.id.clone(), device);
        }
        is_device
    }

    /// The zone of the site at which a device stands; UTC where none is known.
    #[must_use]
    pub fn zone_of(&self, device: &str) -> Tz {
        let device = self.devices.get(device);
        let site = device.and_then(|device| self.sites.get(&device.site));
        site.map_or(Tz::UTC, |site| site.zone)
    }
}

/// Who a device is, by its registration.
pub(crate) fn device(fact: &Fact) -> Option<Device> {
    let age = if let Cell::Json(extra) = &fact.extra {
        extra.get("ageYears").and_then(serde_json::Value::as_f64)
    } else {
        None
    };
    Some(Device {
        id: text(fact.cell(devices::Column::DeviceKey))?,
        site: text(fact.cell(devices::Column::SiteKey)).unwrap_or_default(),
        model: text(fact.cell(devices::Column::Model)),
        age_years: age,
    })
}

fn text(cell: &Cell) -> Option<String> {
    cell.text().map(str::to_owned)
}

/// The id of the device that a fact speaks of.
#[must_use]
pub fn device_of(fact: &Fact) -> Option<&str> {
    if fact.kind == Kind::ConfigurationChange {
        let is_of_device = fact.cell(configuration::Column::EntityType).text() == Some("DEVICE");
        let id = fact.cell(configuration::Column::EntityId).text();
        return id.filter(|_| is_of_device);
    }
    let index = fact.spec().device_index()?;
    fact.cells.get(index)?.text()
}

/// What a reading says of a measure.
pub(super) fn measured(fact: &Fact, measure: Measure) -> Option<f64> {
    let column = match measure {
        Measure::CpuPercent => metrics::Column::CpuPercent,
        Measure::MemoryPercent => metrics::Column::MemoryPercent,
        Measure::DiskPercent => metrics::Column::DiskPercent,
        Measure::NetworkLatencyMs => metrics::Column::NetworkLatencyMs,
        Measure::TransactionCount => metrics::Column::TransactionCount,
        Measure::TransactionVolume => metrics::Column::TransactionVolume,
        Measure::ErrorRatePercent => metrics::Column::ErrorRatePercent,
        Measure::ActiveConnections => metrics::Column::ActiveConnections,
        Measure::QueueDepth => metrics::Column::QueueDepth,
        Measure::UptimeSeconds => metrics::Column::UptimeSeconds,
    };
    let value = fact.cell(column).number();
    // money is kept in units of 10⁻⁴
    let units = if measure == Measure::TransactionVolume {
        10_000.0
    } else {
        1.0
    };
    value.map(|value| value / units)
}

/// How often a reading says that its device means to report, in seconds.
pub(super) fn interval_seconds(fact: &Fact) -> Option<f64> {
    fact.cell(metrics::Column::CollectionIntervalSeconds)
        .number()
}

/// What went wrong.
pub(crate) fn error(fact: &Fact) -> ErrorSeen {
    let severity = match fact.cell(errors::Column::Severity).text() {
        Some("INFO") => Severity::Info,
        Some("WARNING") => Severity::Warning,
        Some("CRITICAL") => Severity::Critical,
        _ => Severity::Error,
    };
    ErrorSeen {
        at: fact.occurred_at,
        severity,
        category: text(fact.cell(errors::Column::Category)).unwrap_or_default(),
        code: text(fact.cell(errors::Column::ErrorCode)),
        message: text(fact.cell(errors::Column::ErrorMessage)).unwrap_or_default(),
    }
}

/// Which state a device took.
pub(crate) fn state(fact: &Fact) -> StateSeen {
    let to = match fact.cell(states::Column::NewState).text() {
        Some("ONLINE") => State::Online,
        Some("OFFLINE") => State::Offline,
        Some("ERROR") => State::Error,
        Some("MAINTENANCE") => State::Maintenance,
        _ => State::Unknown,
    };
    StateSeen {
        at: fact.occurred_at,
        to,
    }
}

/// What was configured.
pub(crate) fn configuration(fact: &Fact) -> ConfigSeen {
    let parameter = text(fact.cell(configuration::Column::ParameterName));
    ConfigSeen {
        at: fact.occurred_at,
        parameter: parameter.unwrap_or_default(),
    }
}

pub(super) fn job(fact: &Fact) -> Option<JobSeen> {
    let status = fact.cell(jobs::Column::Status).text()?;
    let is_success = match status {
        "COMPLETED" => true,
        // nobody knows how it would have ended
        "CANCELLED" => return None,
        _ => false,
    };
    Some(JobSeen {
        at: fact.occurred_at,
        job_type: text(fact.cell(jobs::Column::JobType)).unwrap_or_default(),
        is_success,
        duration_ms: fact.cell(jobs::Column::DurationMs).int(),
    })
}

/// When the hour begins in which an instant lies.
pub(crate) const fn hour_of(at: Instant) -> Instant {
    let hour = crate::insights::input::HOUR;
    Instant(at.0.div_euclid(hour) * hour)
}
