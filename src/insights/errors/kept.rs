//! A state in parts, as it is kept: its groups one by one, and which messages belong together. Of a fact only those
//! parts are written anew that it has changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Instant;
use crate::insights::errors::drain::Drain;
use crate::insights::errors::group::Group;
use crate::insights::errors::state::State;

/// Which version of the method makes the groups: with another, what is kept is made anew from all facts.
pub const VERSION: i64 = 1;

/// What is kept of a state beside its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// When the first and the last error was.
    pub watched: Option<(Instant, Instant)>,
    /// When room was last sought.
    pub tidied: Instant,
}

impl State {
    /// A state of what is kept of it: the head, which messages belong together, and the groups by their labels.
    ///
    /// # Errors
    /// When a part is not one of this version.
    pub fn of_parts<'a>(
        head: Head,
        form: &[u8],
        groups: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> Result<Self, postcard::Error> {
        let (drain, joins): (Drain, BTreeSet<(u64, u64)>) = postcard::from_bytes(form)?;
        let mut state = Self {
            watched: head.watched,
            drain,
            joins,
            tidied: head.tidied,
            ..Self::default()
        };
        for (label, packed) in groups {
            let (group, names): (Group, BTreeMap<u64, String>) = postcard::from_bytes(packed)?;
            state.groups.insert(label, group);
            state.names.extend(names);
        }
        Ok(state)
    }

    /// What is kept beside its parts.
    #[must_use]
    pub const fn head(&self) -> Head {
        Head {
            watched: self.watched,
            tidied: self.tidied,
        }
    }

    /// Which messages belong together, packed.
    ///
    /// # Errors
    /// When it cannot be packed.
    pub fn form(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(&(&self.drain, &self.joins))
    }

    /// A group with the names of its devices, packed; `None` if there is none of this label.
    ///
    /// # Errors
    /// When it cannot be packed.
    pub fn packed(&self, label: u64) -> Result<Option<Vec<u8>>, postcard::Error> {
        let Some(group) = self.groups.get(&label) else {
            return Ok(None);
        };
        let named = group.devices.keys();
        let names: BTreeMap<u64, &str> = named
            .filter_map(|device| Some((*device, self.names.get(device)?.as_str())))
            .collect();
        postcard::to_stdvec(&(group, names)).map(Some)
    }

    /// The name of a device of a group by its hash.
    #[must_use]
    pub fn device(&self, hash: u64) -> Option<&str> {
        self.names.get(&hash).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::errors::state::{Fact, Seen};
    use crate::insights::input::{ErrorSeen, HOUR, Severity};

    #[test]
    fn a_state_is_itself_again_of_its_parts() {
        let mut state = State::default();
        for number in 0..300_i64 {
            let error = ErrorSeen {
                at: Instant(number * HOUR / 7),
                severity: Severity::Error,
                category: "DEVICE".into(),
                code: (number % 3 == 0).then(|| "E7".into()),
                message: format!("part {} of job {number} failed", number % 5),
            };
            let device = format!("till-{}", number % 90);
            state.fold(&[Fact::Error(Seen {
                error: &error,
                stack: None,
                device: Some(&device),
                site: None,
            })]);
        }
        let form = state.form().unwrap();
        let labels: Vec<u64> = state.groups.keys().copied().collect();
        let packed: Vec<(u64, Vec<u8>)> = labels
            .into_iter()
            .map(|label| (label, state.packed(label).unwrap().unwrap()))
            .collect();
        let groups = packed
            .iter()
            .map(|(label, packed)| (*label, packed.as_slice()));
        let again = State::of_parts(state.head(), &form, groups).unwrap();
        // names of devices that no group has kept are not kept either
        state
            .names
            .retain(|device, _| again.names.contains_key(device));
        assert_eq!(again, state);
        assert_eq!(state.packed(u64::MAX), Ok(None));
    }
}
