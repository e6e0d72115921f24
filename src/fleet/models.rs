//! The models of tills that stand in the shops of a simulated fleet.

/// A model of till.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) os: &'static str,
    /// Version of the firmware, without the number of the update.
    pub(super) firmware: &'static str,
    pub(super) tag: &'static str,
}

/// All models.
pub(super) const MODELS: [Model; 3] = [
    Model {
        name: "T200",
        os: "Debian 13",
        firmware: "4.12",
        tag: "counter",
    },
    Model {
        name: "T250 Touch",
        os: "Debian 13",
        firmware: "4.12",
        tag: "touch",
    },
    Model {
        name: "M80 Mobile",
        os: "Android 15",
        firmware: "2.7",
        tag: "mobile",
    },
];
