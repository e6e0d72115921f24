//! Labels as rows bear them, and which are told apart where there may be any number of them.
//!
//! What a client says, such as the code of an error, may be another with each event: then rows would be as
//! many as events. So of what was said of one owner within one bucket [`TOLD_MAX`] rows, which are combinations of
//! such a label with the others of its kind, are of their own, those of the least [rank](Ranks::rank), and all
//! else is summed up together, as [`OTHERS`], by the other labels, of which there are few.
//!
//! Ranks are by a secret of the log, since else whoever sends events could make up labels that hide all others.
//! They are chance, and not by how often a label comes: that is not known of what was summed up together, and so
//! would depend on the order in which it came.
//!
//! That follows from the set of labels alone, whatever the order in which they came: since a set only grows, a
//! label that was once too many stays so. It holds for parts as well: what is among the least of an hour is
//! among the least of each of its quarters that has it, so that an hour that is made of quarters is as one that
//! is made of events.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Combinations at most that are told apart of what was said of one owner within one bucket: more than honest
/// clients have or people look at, and few enough that a bucket takes some 100 KiB whatever is sent.
pub(crate) const TOLD_MAX: usize = 1_000;

/// How the others are written. In no label that a client says can it stand so: in a text quotes are escaped.
pub(crate) const OTHERS: &str = r#"{"other":true}"#;

/// A label as a row bears it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Said {
    /// What was said; none where nothing was.
    Text(Option<String>),
    /// Any of those that are not told apart. What clients say is a text, and never this.
    Others {
        /// Always.
        other: bool,
    },
}

/// Labels one of which may be any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// By which it is told apart or not.
    pub(crate) rank: u128,
    /// The same labels with the others in its place, as they are written.
    pub(crate) others: String,
}

/// Ranks labels by a secret of the log: to whoever does not have it, which come before others is chance.
#[derive(Clone)]
pub(crate) struct Ranks(Arc<Hmac<Sha256>>);

impl std::fmt::Debug for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ranks(…)")
    }
}

impl Ranks {
    /// Those by a secret of any length.
    pub(crate) fn of(secret: &str) -> Option<Self> {
        let keyed = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        Some(Self(Arc::new(keyed)))
    }

    /// The place of a label among all that there may be: the same for ever, and everywhere in the log.
    pub(crate) fn rank(&self, label: &str) -> u128 {
        let mut mac = Hmac::<Sha256>::clone(&self.0);
        mac.update(label.as_bytes());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let first = digest.split_first_chunk::<16>();
        first.map_or(0, |(first, _)| u128::from_be_bytes(*first))
    }
}

/// Labels of which that at a place may be any text, if it is one.
pub(crate) fn open(labels: &str, place: usize, ranks: &Ranks) -> Option<Open> {
    let mut said = labels_of(labels);
    let held = said.get_mut(place)?;
    let Said::Text(Some(label)) = held else {
        return None;
    };
    let rank = ranks.rank(label);
    *held = Said::Others { other: true };
    let others = written(&said);
    Some(Open { rank, others })
}

/// Labels as they are kept: a JSON array, which people can read in the tables.
pub(crate) fn written<T: Serialize>(labels: &[T]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    serde_json::to_string(labels).unwrap_or_default()
}

/// Labels as they were before they were kept.
pub(crate) fn labels_of(written: &str) -> Vec<Said> {
    serde_json::from_str(written).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks() -> Ranks {
        Ranks::of("key").unwrap()
    }

    fn text(text: &str) -> Said {
        Said::Text(Some(text.to_owned()))
    }

    #[test]
    fn labels_come_back() {
        let labels = [Some("a\"b".to_owned()), None];
        let said = [text("a\"b"), Said::Text(None)];
        assert_eq!(labels_of(&written(&labels)), said);
        assert!(labels_of("").is_empty());
    }

    #[test]
    fn the_others_are_no_label_that_a_client_says() {
        let open = open(r#"["API","E1"]"#, 1, &ranks()).unwrap();
        assert_eq!(open.others, format!(r#"["API",{OTHERS}]"#));
        assert_eq!(
            labels_of(&open.others),
            [text("API"), Said::Others { other: true }]
        );
        for said in ["(other)", OTHERS, "true", "null"] {
            let labels = written(&[text(said)]);
            assert_eq!(labels_of(&labels), [text(said)]);
            assert!(!labels.contains(OTHERS), "{labels}");
        }
    }

    #[test]
    fn what_says_nothing_or_has_few_values_is_always_told_apart() {
        assert_eq!(open(r#"["API",null]"#, 1, &ranks()), None);
        assert_eq!(open(r#"["API",{"other":true}]"#, 1, &ranks()), None);
        assert_eq!(open("", 0, &ranks()), None);
    }

    #[test]
    fn ranks_are_the_same_for_ever() {
        // the first bytes of an HMAC with SHA-256 that is known of old
        let label = "The quick brown fox jumps over the lazy dog";
        assert_eq!(
            ranks().rank(label),
            0xf7bc_83f4_3053_8424_b132_98e6_aa6f_b143
        );
    }

    #[test]
    fn without_the_secret_no_rank_is_known() {
        let other = Ranks::of("another").unwrap();
        assert_ne!(ranks().rank("E1"), other.rank("E1"));
        assert_eq!(format!("{other:?}"), "Ranks(…)");
    }
}
