//! Numbers in few bytes: those that are mostly small take little, and a list of them a few bits each.

/// A text of bytes that does not say what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packed numbers end too early or are none")]
pub(crate) struct Malformed;

/// Appends a number, seven bits a byte, the lowest first.
pub(crate) fn push_varint(bytes: &mut Vec<u8>, mut number: u128) {
    loop {
        let low = low_byte(number) & 0x7f;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Appends a number that may be negative.
pub(crate) fn push_signed(bytes: &mut Vec<u8>, number: i128) {
    push_varint(bytes, ((number << 1) ^ (number >> 127)).cast_unsigned());
}

fn low_byte(number: u128) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

/// Reads numbers from bytes, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn varint(&mut self) -> Result<u128, Malformed> {
        let mut number = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    pub(crate) fn signed(&mut self) -> Result<i128, Malformed> {
        let number = self.varint()?;
        let sign = (number & 1).cast_signed();
        Ok((number >> 1).cast_signed() ^ -sign)
    }

    /// A number that fits into a smaller type.
    pub(crate) fn small<T: TryFrom<u128>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.varint()?).map_err(|_| Malformed)
    }

    pub(crate) fn float(&mut self) -> Result<f64, Malformed> {
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed)?;
        Ok(f64::from_le_bytes(bytes))
    }
}

/// Bits at most of the part of a number that is written as it is.
const RICE_MAX: u32 = 40;

/// The number of low bits with which numbers take the fewest bits, if what is above them is written as so
/// many ones and a zero (Rice's code).
fn best_rice(numbers: &[u64]) -> u32 {
    let cost = |k: u32| {
        let bits = numbers.iter().map(|number| number >> k);
        let ones = bits.fold(0_u64, u64::saturating_add);
        let fixed = u64::from(k + 1) * u64::try_from(numbers.len()).unwrap_or(u64::MAX);
        ones.saturating_add(fixed)
    };
    let mut best = (0, cost(0));
    for k in 1..=RICE_MAX {
        let next = cost(k);
        if next >= best.1 {
            // it falls to its least and rises from there
            break;
        }
        best = (k, next);
    }
    best.0
}

/// Appends lists of equal length, a few bits a number. How many there are is not written.
pub(crate) fn push_rice<const N: usize>(bytes: &mut Vec<u8>, lists: [&[u64]; N]) {
    let mut bits = BitWriter {
        bytes,
        held: 0,
        filled: 0,
    };
    for list in lists {
        let k = best_rice(list);
        bits.push(u64::from(k), 6);
        for number in list {
            let mut ones = number >> k;
            while ones >= 32 {
                bits.push(u64::from(u32::MAX), 32);
                ones -= 32;
            }
            // so many ones, and a zero above them
            bits.push((1 << ones) - 1, u32::try_from(ones).unwrap_or(0) + 1);
            bits.push(number & ((1 << k) - 1), k);
        }
    }
    bits.finish();
}

/// Reads the lists that [`push_rice`] appended.
pub(crate) struct RiceReader<'a> {
    bytes: &'a [u8],
    held: u64,
    filled: u32,
}

impl<'a> RiceReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            held: 0,
            filled: 0,
        }
    }

    /// A list, added to one that is empty.
    pub(crate) fn list(&mut self, length: usize, into: &mut Vec<u64>) -> Result<(), Malformed> {
        let k = u32::try_from(self.take(6)?).map_err(|_| Malformed)?;
        if k > RICE_MAX {
            return Err(Malformed);
        }
        for _ in 0..length {
            self.fill();
            let run = self.held.trailing_ones();
            if run + 1 + k < self.filled {
                // nearly always
                let low = self.held >> (run + 1) & ((1 << k) - 1);
                self.skip(run + 1 + k);
                into.push(u64::from(run) << k | low);
                continue;
            }
            let ones = self.ones()?;
            let low = self.take(k)?;
            let high = ones.checked_shl(k).filter(|high| high >> k == ones);
            into.push(high.ok_or(Malformed)? | low);
        }
        Ok(())
    }

    /// Holds 57 bits at least, or all that are left.
    fn fill(&mut self) {
        if let Some((next, _)) = self.bytes.split_first_chunk() {
            // as many whole bytes as there is room for, at once
            let bytes = (63 - self.filled) / 8;
            self.held |= u64::from_le_bytes(*next) << self.filled;
            self.filled += bytes * 8;
            self.held &= u64::MAX >> (64 - self.filled);
            let taken = usize::try_from(bytes).unwrap_or_default();
            self.bytes = self.bytes.get(taken..).unwrap_or_default();
            return;
        }
        while self.filled <= 56 {
            let Some((byte, rest)) = self.bytes.split_first() else {
                return;
            };
            self.held |= u64::from(*byte) << self.filled;
            self.filled += 8;
            self.bytes = rest;
        }
    }

    /// Fewer than 64 of those that are held.
    const fn skip(&mut self, bits: u32) {
        self.held >>= bits;
        self.filled -= bits;
    }

    fn take(&mut self, bits: u32) -> Result<u64, Malformed> {
        self.fill();
        if self.filled < bits {
            return Err(Malformed);
        }
        let taken = self.held & ((1 << bits) - 1);
        self.skip(bits);
        Ok(taken)
    }

    fn ones(&mut self) -> Result<u64, Malformed> {
        let mut ones = 0;
        loop {
            self.fill();
            if self.filled == 0 {
                return Err(Malformed);
            }
            let run = self.held.trailing_ones().min(self.filled);
            let ended = run < self.filled;
            let used = run + u32::from(ended);
            self.held = self.held.checked_shr(used).unwrap_or(0);
            self.filled -= used;
            ones += u64::from(run);
            if ended {
                return Ok(ones);
            }
        }
    }
}

struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    held: u64,
    filled: u32,
}

impl BitWriter<'_> {
    /// At most 56 bits, the lowest first.
    fn push(&mut self, bits: u64, length: u32) {
        self.held |= bits << self.filled;
        self.filled += length;
        while self.filled >= 8 {
            self.bytes.push(low_byte(self.held.into()));
            self.held >>= 8;
            self.filled -= 8;
        }
    }

    fn finish(self) {
        if self.filled > 0 {
            self.bytes.push(low_byte(self.held.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers: Vec<i128>) {
            let mut bytes = Vec::new();
            for number in &numbers {
                push_signed(&mut bytes, *number);
            }
            let mut read = Bytes(&bytes);
            for number in &numbers {
                prop_assert_eq!(read.signed(), Ok(*number));
            }
            prop_assert!(read.0.is_empty());
        }

        #[test]
        fn lists_come_back(
            pairs in proptest::collection::vec((0..1_u64 << 50, 0..200_u64), 0..300),
        ) {
            let (wide, narrow): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
            let mut bytes = Vec::new();
            // what is far above all others would take as many bits as it is large
            let wide: Vec<u64> = wide.iter().map(|number| number >> 20).collect();
            push_rice(&mut bytes, [&wide, &narrow]);
            let mut read = RiceReader::new(&bytes);
            let (mut first, mut second) = (Vec::new(), Vec::new());
            prop_assert_eq!(read.list(wide.len(), &mut first), Ok(()));
            prop_assert_eq!(read.list(narrow.len(), &mut second), Ok(()));
            prop_assert_eq!((first, second), (wide, narrow));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, length in 0..100_usize) {
            let mut list = Vec::new();
            let _ = RiceReader::new(&bytes).list(length, &mut list);
            let _ = Bytes(&bytes).varint();
        }
    }
}
