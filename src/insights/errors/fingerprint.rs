//! Hashes that are the same on every machine and in every release: ids are made of them and are kept.

use std::fmt;

/// What tells an error group from others, for good: made from the masked message that came first, its category and its code
/// (or its stack), and not from the template, which widens.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// Hashes texts, told apart by their lengths: FNV-1a (Fowler, Noll, Vo 1991) over 64 bits, then the finisher of
/// splitmix64 (Steele, Lea, Flood 2014), so that all bits depend on all bytes.
#[must_use]
pub fn hash(texts: &[&str]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    let mut hash = OFFSET;
    for text in texts {
        hash = text.bytes().fold(hash, step);
        hash = text.len().to_le_bytes().into_iter().fold(hash, step);
    }
    finish(hash)
}

/// Spreads a hash over all bits.
fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_change_between_releases() {
        assert_eq!(
            Fingerprint(hash(&["SYSTEM", "", "disk <*> full"])).to_string(),
            "bddfc7afc8d176c0"
        );
    }

    #[test]
    fn where_a_text_ends_matters() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a"]), hash(&["a", ""]));
    }

    #[test]
    fn a_fingerprint_reads_back() {
        let id = Fingerprint(hash(&["x"]));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
