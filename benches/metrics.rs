//! What is recorded while it is measured: a fleet whose devices report ten measures each, every 30
//! seconds with jitter, always the same. No event comes twice.

use entity::device_metrics::Column as Metrics;
use entity::{device_registrations as device, site_registrations as site};
use homepot_analytics::event::{Cell, Instant, NewEvent, Provenance};
use homepot_analytics::kinds::{Draft, Kind};

/// Between two reports of a device, unless it is said otherwise.
const INTERVAL_MS: i64 = 30_000;

/// Makes metrics without end.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    devices: i64,
    sites: i64,
    start: Instant,
    interval_ms: i64,
    made: i64,
    state: u64,
}

impl Fleet {
    /// A fleet whose first reports are of an instant.
    pub(crate) fn new(devices: i64, start: Instant) -> Self {
        Self {
            devices,
            sites: 1,
            start,
            interval_ms: INTERVAL_MS,
            made: 0,
            state: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// The same fleet at more sites, its devices dealt out among them.
    pub(crate) fn at_sites(mut self, sites: i64) -> Self {
        self.sites = sites;
        self
    }

    /// The same fleet, whose devices report every so often.
    pub(crate) fn every_ms(mut self, interval_ms: i64) -> Self {
        self.interval_ms = interval_ms;
        self
    }

    /// The id of a device.
    pub(crate) fn device_id(device: i64) -> String {
        format!("pos-{device:05}")
    }

    /// The registrations that must come before the metrics.
    pub(crate) fn registrations(&self) -> anyhow::Result<Vec<NewEvent>> {
        let at = self.start;
        let mut events = Vec::new();
        for ordinal in 1..=self.sites {
            let site = Draft::new(Kind::SiteRegistration, at, Provenance::Simulated)
                .set(site::Column::SiteKey, format!("site-{ordinal}").as_str())
                .set(site::Column::Name, format!("Site {ordinal}").as_str());
            events.push(finished(site)?);
        }
        for device in 0..self.devices {
            let id = Self::device_id(device);
            let site = format!("site-{}", device % self.sites + 1);
            let draft = Draft::new(Kind::DeviceRegistration, at, Provenance::Simulated)
                .set(device::Column::SiteKey, site.as_str())
                .set(device::Column::DeviceKey, id.as_str())
                .set(device::Column::DeviceType, "POS_TERMINAL");
            events.push(finished(draft)?);
        }
        Ok(events)
    }

    /// The next events, oldest first.
    pub(crate) fn batch(&mut self, events: usize) -> anyhow::Result<Vec<NewEvent>> {
        (0..events).map(|_| self.report()).collect()
    }

    /// Begins at a report that has not been made, without making those before it.
    pub(crate) fn skip_to(&mut self, made: i64) {
        self.made = made;
    }

    /// The next event.
    pub(crate) fn report(&mut self) -> anyhow::Result<NewEvent> {
        let (device, round) = (self.made % self.devices, self.made / self.devices);
        self.made += 1;
        let jitter = i64::from(self.random(2_000));
        let at = self.start.plus_ms(round * self.interval_ms + jitter);
        let tenths = |fleet: &mut Self, max: u32| Cell::Float(f64::from(fleet.random(max)) / 10.0);
        let sales = i64::from(self.random(300));
        let draft = Draft::new(Kind::DeviceMetrics, at, Provenance::Simulated)
            .set(Metrics::DeviceKey, Self::device_id(device).as_str())
            .set(Metrics::CpuPercent, tenths(self, 1_000))
            .set(Metrics::MemoryPercent, tenths(self, 1_000))
            .set(Metrics::DiskPercent, tenths(self, 1_000))
            .set(Metrics::NetworkLatencyMs, tenths(self, 2_000))
            .set(Metrics::TransactionCount, sales)
            .set(Metrics::TransactionVolume, sales * 123_400)
            .set(Metrics::ErrorRatePercent, tenths(self, 50))
            .set(Metrics::ActiveConnections, i64::from(self.random(40)))
            .set(Metrics::QueueDepth, i64::from(self.random(10)))
            .set(
                Metrics::UptimeSeconds,
                100_000 + round * self.interval_ms / 1_000,
            );
        finished(draft)
    }

    /// A number below a bound (splitmix64): the same in every run.
    fn random(&mut self, below: u32) -> u32 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(below)).unwrap_or_default()
    }
}

fn finished(draft: Draft) -> anyhow::Result<NewEvent> {
    let finished = draft.finish();
    finished.map_err(|refusal| anyhow::anyhow!("the fleet made a bad event: {refusal:?}"))
}
