//! What can go wrong with a till, how often, for how long, and what it does to the till.

use chrono::{DateTime, Utc};
use rand::RngExt;

use super::faults::{self, Fault};
use super::health::State;
use super::random::Rng;

/// Minutes between two throws of the dice.
pub(super) const DICE_MINUTES: u32 = 10;

/// Troubles of an ordinary till in a day of ordinary wear.
const PER_DAY: f64 = 1.25;

/// Something that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    PowerLoss,
    LinkLoss,
    PaymentDown,
    PrinterDown,
    ScannerDown,
    SlowNetwork,
    BusyProcessor,
    Crash,
}

/// A trouble that is going on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ongoing {
    pub(super) trouble: Trouble,
    pub(super) since: DateTime<Utc>,
    pub(super) ends_at: DateTime<Utc>,
    /// Whether the health check has seen it.
    pub(super) noticed: bool,
}

/// What a trouble does to the measures of a till.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effects {
    /// Share of sales that fail.
    pub(super) lost_sales: f64,
    /// Share of transactions that fail as the till reports it, in percent, at least and at most.
    pub(super) error_percent: (f64, f64),
    /// Round trips take so many times as long, at least and at most.
    pub(super) latency_factor: (f64, f64),
    /// Processor load is at least so many percent.
    pub(super) cpu_percent: f64,
    /// Sales wait to be sent.
    pub(super) queues: bool,
    /// The service that is down.
    pub(super) service_down: Option<&'static str>,
}

/// How a till works when nothing is wrong.
pub(super) const SOUND: Effects = Effects {
    lost_sales: 0.0,
    error_percent: (0.0, 1.2),
    latency_factor: (1.0, 1.25),
    cpu_percent: 0.0,
    queues: false,
    service_down: None,
};

impl Trouble {
    /// Throws the dice for one interval of [`DICE_MINUTES`]. `wear` is 1 for an ordinary till.
    pub(super) fn draw(wear: f64, rng: &mut Rng) -> Option<Self> {
        let chance = PER_DAY * wear * f64::from(DICE_MINUTES) / (24.0 * 60.0);
        if !rng.random_bool(chance.clamp(0.0, 0.5)) {
            return None;
        }
        Some(match rng.random_range(0..100) {
            0..10 => Self::PowerLoss,
            10..28 => Self::LinkLoss,
            28..44 => Self::PaymentDown,
            44..60 => Self::PrinterDown,
            60..67 => Self::ScannerDown,
            67..82 => Self::SlowNetwork,
            82..93 => Self::BusyProcessor,
            _ => Self::Crash,
        })
    }

    /// The state into which the health check puts the till, if it does.
    pub(super) fn state(self) -> Option<State> {
        match self {
            Self::PowerLoss | Self::LinkLoss => Some(State::Offline),
            Self::PaymentDown | Self::PrinterDown | Self::ScannerDown => Some(State::Error),
            Self::SlowNetwork | Self::BusyProcessor | Self::Crash => None,
        }
    }

    /// Whether the till cannot report.
    pub(super) fn is_silent(self) -> bool {
        self.state() == Some(State::Offline)
    }

    /// How long it lasts in minutes, at least and at most.
    pub(super) fn minutes(self) -> (u32, u32) {
        match self {
            Self::PowerLoss => (3, 25),
            Self::LinkLoss => (3, 40),
            Self::PaymentDown => (4, 25),
            Self::PrinterDown => (3, 35),
            Self::ScannerDown => (2, 20),
            Self::SlowNetwork => (8, 50),
            Self::BusyProcessor => (2, 7),
            Self::Crash => (2, 3),
        }
    }

    /// What the till logs when it begins and while it lasts; a silent till logs nothing.
    pub(super) fn while_it_lasts(self) -> Option<&'static Fault> {
        match self {
            Self::PowerLoss | Self::LinkLoss => None,
            Self::PaymentDown => Some(&faults::PAYMENT),
            Self::PrinterDown => Some(&faults::PRINTER),
            Self::ScannerDown => Some(&faults::SCANNER),
            Self::SlowNetwork => Some(&faults::SLOW_NETWORK),
            Self::BusyProcessor => Some(&faults::BUSY),
            Self::Crash => Some(&faults::CRASH),
        }
    }

    /// What the till logs when it is over: only a silent one has something to tell.
    pub(super) fn afterwards(self) -> Option<&'static Fault> {
        match self {
            Self::PowerLoss => Some(&faults::POWER_LOST),
            Self::LinkLoss => Some(&faults::LINK_LOST),
            Self::PaymentDown
            | Self::PrinterDown
            | Self::ScannerDown
            | Self::SlowNetwork
            | Self::BusyProcessor
            | Self::Crash => None,
        }
    }

    /// What the health check says of it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::PowerLoss | Self::LinkLoss => "No answer to the health check",
            Self::PaymentDown => "Payment service is down",
            Self::PrinterDown => "Receipt printer is down",
            Self::ScannerDown => "Barcode scanner is down",
            Self::SlowNetwork => "Network is slow",
            Self::BusyProcessor => "Processor is busy",
            Self::Crash => "Till application crashed",
        }
    }

    /// Calls to the back office take so many times as long.
    pub(super) fn slowness(self) -> f64 {
        match self {
            Self::SlowNetwork => 12.0,
            Self::BusyProcessor => 2.0,
            Self::PowerLoss
            | Self::LinkLoss
            | Self::PaymentDown
            | Self::PrinterDown
            | Self::ScannerDown
            | Self::Crash => 1.0,
        }
    }

    /// What it does to the measures of the till.
    pub(super) fn effects(self) -> Effects {
        match self {
            Self::PowerLoss => Effects {
                lost_sales: 1.0,
                ..SOUND
            },
            Self::LinkLoss => Effects {
                queues: true,
                ..SOUND
            },
            Self::PaymentDown => Effects {
                lost_sales: 0.8,
                error_percent: (60.0, 95.0),
                service_down: Some("payment"),
                ..SOUND
            },
            Self::PrinterDown => Effects {
                error_percent: (2.0, 6.0),
                service_down: Some("printer"),
                ..SOUND
            },
            Self::ScannerDown => Effects {
                error_percent: (1.0, 4.0),
                service_down: Some("scanner"),
                ..SOUND
            },
            Self::SlowNetwork => Effects {
                lost_sales: 0.04,
                error_percent: (2.0, 9.0),
                latency_factor: (8.0, 25.0),
                queues: true,
                ..SOUND
            },
            Self::BusyProcessor => Effects {
                error_percent: (0.5, 3.0),
                cpu_percent: 88.0,
                ..SOUND
            },
            Self::Crash => Effects {
                error_percent: (3.0, 8.0),
                ..SOUND
            },
        }
    }
}
