//! How large a simulated fleet is and how often it reports.

/// Devices a fleet has at most.
pub const DEVICES_MAX: usize = 10_000;

/// Seconds between two reports of a device at most.
pub const INTERVAL_SECONDS_MAX: u32 = 3_600;

/// What a fleet is made from; equal options and an equal start make equal events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetOptions {
    /// From this all randomness follows.
    pub seed: u64,
    /// Number of sites: 1 to [`DEVICES_MAX`].
    pub sites: usize,
    /// Number of tills at each site: 1 to [`DEVICES_MAX`] over all sites.
    pub devices_per_site: usize,
    /// Seconds between two reports of a device: 1 to [`INTERVAL_SECONDS_MAX`].
    pub interval_seconds: u32,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            sites: 3,
            devices_per_site: 4,
            interval_seconds: 30,
        }
    }
}

impl FleetOptions {
    /// The same options, each brought within its bounds.
    #[must_use]
    pub fn bounded(self) -> Self {
        let sites = self.sites.clamp(1, DEVICES_MAX);
        Self {
            seed: self.seed,
            sites,
            devices_per_site: self.devices_per_site.clamp(1, DEVICES_MAX / sites),
            interval_seconds: bounded_interval(self.interval_seconds),
        }
    }
}

/// Seconds between two reports, brought within 1 to [`INTERVAL_SECONDS_MAX`].
pub(super) fn bounded_interval(seconds: u32) -> u32 {
    seconds.clamp(1, INTERVAL_SECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_a_fleet_is_cut_to_the_maximum() {
        let options = FleetOptions {
            sites: 100,
            devices_per_site: 5_000,
            interval_seconds: 0,
            ..FleetOptions::default()
        };
        let bounded = options.bounded();
        assert_eq!(bounded.sites * bounded.devices_per_site, DEVICES_MAX);
        assert_eq!(bounded.interval_seconds, 1);
    }
}
