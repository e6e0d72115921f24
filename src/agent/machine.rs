//! What this machine measures of itself, and what it is.
//!
//! Reads the operating system and may block; it does not know what an event is. A measure that the
//! system does not give is absent, never zero.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Serialize;
use sysinfo::{Disk, DiskRefreshKind, Disks, Product, System};

/// Characters of a name at most, as the server takes them.
const NAME_CHARACTERS_MAX: usize = 255;

/// State of an established connection in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// Measures of one instant, named as on the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measures {
    /// Load of all processors since the last look, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_percent: Option<f64>,
    /// Memory that is not available for new work, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_percent: Option<f64>,
    /// Space in use on the root file system, or on the fullest one if there is no root, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disk_percent: Option<f64>,
    /// Established TCP connections (Linux only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) active_connections: Option<u32>,
    /// Time since the machine started, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uptime_seconds: Option<i32>,
}

/// What a machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// Name in its network.
    pub(super) host_name: Option<String>,
    /// Operating system and version.
    pub(super) os: Option<String>,
    /// Maker and model.
    pub(super) model: Option<String>,
}

/// This machine.
#[derive(Debug)]
pub(super) struct Machine {
    system: System,
    disks: Disks,
}

impl Machine {
    /// Looks at the machine for the first time. The load of its processors is known from the second
    /// look on, [`sysinfo::MINIMUM_CPU_UPDATE_INTERVAL`] later.
    ///
    /// # Errors
    /// When the system tells nothing of itself.
    pub(super) fn new() -> Result<Self, sysinfo::Error> {
        let mut system = System::new()?;
        system.refresh_cpu_usage();
        Ok(Self {
            system,
            disks: Disks::new()?,
        })
    }

    /// Measures.
    pub(super) fn measure(&mut self) -> Measures {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let storage = DiskRefreshKind::nothing().with_storage();
        self.disks.refresh_specifics(true, storage);
        let memory = self.system.total_memory();
        let used = memory.saturating_sub(self.system.available_memory());
        let cpu = f64::from(self.system.global_cpu_usage());
        Measures {
            cpu_percent: (!self.system.cpus().is_empty()).then(|| rounded(cpu)),
            memory_percent: percent(used, memory),
            disk_percent: disk_percent(&self.disks),
            active_connections: active_connections(),
            uptime_seconds: System::uptime()
                .ok()
                .map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX)),
        }
    }

    /// Describes the machine.
    #[must_use]
    pub(super) fn describe() -> Description {
        let maker = Product::vendor_name().unwrap_or_default();
        let model = Product::name().unwrap_or_default();
        Description {
            host_name: System::host_name().ok().and_then(|name| shown(&name)),
            os: System::long_os_version().ok().and_then(|os| shown(&os)),
            model: shown(&format!("{maker} {model}")),
        }
    }
}

/// Share of a whole in percent, with two decimals; `None` of nothing.
fn percent(part: u64, whole: u64) -> Option<f64> {
    let hundredths = u128::from(part) * 10_000;
    let share = hundredths.checked_div(u128::from(whole))?.min(10_000);
    u32::try_from(share)
        .ok()
        .map(|share| f64::from(share) / 100.0)
}

fn rounded(percent: f64) -> f64 {
    (percent.clamp(0.0, 100.0) * 100.0).round() / 100.0
}

/// Blocks in use among those that may be used, as `df` has it: what is kept back for the system is
/// neither in use nor to be had.
fn share_in_use(blocks: u64, free: u64, available: u64) -> Option<f64> {
    let used = blocks.saturating_sub(free);
    percent(used, used.saturating_add(available))
}

fn disk_percent(disks: &Disks) -> Option<f64> {
    let used = |disk: &Disk| {
        let disk = rustix::fs::statvfs(disk.mount_point()).ok()?;
        share_in_use(disk.f_blocks, disk.f_bfree, disk.f_bavail)
    };
    let root = disks
        .iter()
        .find(|disk| disk.mount_point() == Path::new("/"));
    root.and_then(used).or_else(|| {
        let fixed = disks.iter().filter(|disk| !disk.is_removable());
        fixed.filter_map(used).max_by(f64::total_cmp)
    })
}

fn active_connections() -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let counts: Vec<u32> = tables
        .iter()
        .filter_map(|table| File::open(table).ok())
        .map(established)
        .collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

fn established(table: impl std::io::Read) -> u32 {
    let lines = BufReader::new(table).lines().map_while(Result::ok);
    let found = lines.filter(|line| line.split_whitespace().nth(3) == Some(ESTABLISHED));
    u32::try_from(found.count()).unwrap_or(u32::MAX)
}

/// A text of the system as it may be sent: no control characters, not too long; `None` when nothing
/// is left.
fn shown(text: &str) -> Option<String> {
    let plain: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let short: String = words.join(" ").chars().take(NAME_CHARACTERS_MAX).collect();
    Some(short).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_of_a_whole_is_in_percent_with_two_decimals() {
        assert_eq!(percent(1, 3), Some(33.33));
        assert_eq!(percent(u64::MAX, u64::MAX), Some(100.0));
        assert_eq!(percent(5, 4), Some(100.0));
        assert_eq!(percent(0, 0), None);
    }

    #[test]
    fn blocks_kept_back_for_the_system_are_not_in_use() {
        // of 1,000 blocks 300 are used, 400 kept back, and 300 to be had
        assert_eq!(share_in_use(1_000, 700, 300), Some(50.0));
        assert_eq!(share_in_use(0, 0, 0), None);
    }

    #[test]
    fn established_connections_are_counted_and_others_are_not() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
             0: 0100007F:1F90 00000000:0000 0A 0\n\
             1: 0100007F:1F90 0100007F:A0C2 01 0\n\
             2: 0100007F:A0C2 0100007F:1F90 01 0\n\
             3: 0100007F:A0C4 0100007F:1F90 06 0\n";
        assert_eq!(established(table.as_bytes()), 2);
    }

    #[test]
    fn texts_of_the_system_are_cleaned() {
        assert_eq!(shown("  Acme\0  Till\n9 ").as_deref(), Some("Acme Till 9"));
        assert_eq!(shown(" \0"), None);
        assert_eq!(
            shown(&"é".repeat(300)).map(|text| text.chars().count()),
            Some(255)
        );
    }

    #[test]
    fn this_machine_measures_within_bounds() {
        let measures = Machine::new().unwrap().measure();
        let percents = [
            measures.cpu_percent,
            measures.memory_percent,
            measures.disk_percent,
        ];
        assert!(
            percents
                .iter()
                .flatten()
                .all(|percent| (0.0..=100.0).contains(percent))
        );
        assert!(measures.memory_percent.is_some());
        assert!(measures.uptime_seconds.is_some());
    }
}
