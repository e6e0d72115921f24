//! Access keys as their holders have them.
//!
//! A key is `hp_` and 256 random bits. It is shown once, when it is made, and kept nowhere: its id is
//! the first half of its SHA-256, from which nobody finds a key, so that what is asked for by id is
//! proved by the key alone. Against guessing such a hash needs no salt and no stretching: there are
//! 2²⁵⁶ keys to try.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt;
use sha2::{Digest, Sha256};

/// How every key begins, so that scanners find one that has leaked.
const MARK: &str = "hp_";
/// Characters of a key: the mark, and 256 bits in Base64.
const CHARACTERS: usize = 3 + 43;
/// Characters by which people know a key of theirs.
const PREFIX_CHARACTERS: usize = 9;
/// Bytes of an id.
const ID_BYTES: usize = 16;

/// An access key. It is shown only where it is asked for by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({}…)", self.prefix())
    }
}

impl Secret {
    /// A new key, from the generator of the system.
    #[must_use]
    pub fn random() -> Self {
        let bytes: [u8; 32] = rand::rng().random();
        Self(format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Whether a text begins as every key does.
    #[must_use]
    pub fn is_marked(text: &str) -> bool {
        text.starts_with(MARK)
    }

    /// A text that has the form of a key.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let is_key = text.len() == CHARACTERS && text.is_ascii() && Self::is_marked(text);
        is_key.then(|| Self(text.to_owned()))
    }

    /// The key itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// By which people know it.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.get(..PREFIX_CHARACTERS).unwrap_or_default()
    }

    /// By which it is known here.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = Sha256::digest(self.0.as_bytes());
        let id = hash.iter().take(ID_BYTES);
        id.fold(String::with_capacity(2 * ID_BYTES), |mut text, byte| {
            for half in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(half), 16));
            }
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown_by_accident() {
        let key = Secret::random();
        let shown = format!("{key:?}");
        assert_eq!(shown.len(), "Secret(hp_ABCDEF…)".len());
        assert!(!shown.contains(key.reveal()));
    }

    #[test]
    fn keys_differ_and_each_has_one_id() {
        let (one, other) = (Secret::random(), Secret::random());
        assert_ne!(one, other);
        assert_ne!(one.id(), other.id());
        assert_eq!(Secret::read(one.reveal()).unwrap().id(), one.id());
        assert_eq!(one.id().len(), 32);
    }

    #[test]
    fn other_texts_are_no_keys() {
        let key = Secret::random();
        for text in [
            "",
            "hp_",
            "hp_short",
            &key.reveal()[1..],
            &format!("{}x", key.reveal()),
        ] {
            assert_eq!(Secret::read(text), None, "{text}");
        }
    }
}
