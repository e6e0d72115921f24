//! How values are distributed, to within 1 % of each: a quantile sketch that merges without loss.
//!
//! Each positive value is counted in the bin `i` with γ^(i−1) < value ≤ γ^i, γ = (1 + α) / (1 − α), so that
//! the middle of its bin is at most α of the value away from it: Masson, Rim and Lee, "`DDSketch`: a fast and
//! fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019. Bins are never collapsed: the
//! bounds of all measures together allow fewer than 3,000.
//!
//! The bins of a quarter of an hour of a device take some 15 bytes in [`Sketch::push`]'s form.

use num_traits::{AsPrimitive, ToPrimitive};

use super::bits::{Bytes, Malformed, RiceReader, push_rice, push_signed, push_varint};

/// How far a quantile may be from a value, as a part of it.
pub(crate) const RELATIVE_ERROR: f64 = 0.01;
/// What is not greater is counted as zero.
const LEAST: f64 = 1e-9;
/// Bins at most: γ^4,096 is above 10^35.
const BINS_MAX: usize = 8_192;

/// Counts of values by size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sketch {
    /// Values that are zero, or next to it.
    zeros: u64,
    /// The bin of the first count.
    first: i32,
    /// Counts of bins, one after the other; the first and the last are not zero.
    counts: Vec<u64>,
}

impl Sketch {
    /// Counts a value that is not negative.
    pub(crate) fn add(&mut self, value: f64) {
        match bin_of(value) {
            Some(bin) => self.count(bin, 1),
            None => self.zeros += 1,
        }
    }

    fn count(&mut self, bin: i32, count: u64) {
        self.reach(bin, bin);
        let place = usize::try_from(bin - self.first).unwrap_or(0);
        if let Some(held) = self.counts.get_mut(place) {
            *held += count;
        }
    }

    /// Makes room for the bins from one to another.
    fn reach(&mut self, from: i32, to: i32) {
        if self.counts.is_empty() {
            self.first = from;
        }
        if from < self.first {
            let more = usize::try_from(self.first - from).unwrap_or(0);
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = from;
        }
        let length = usize::try_from(to - self.first + 1).unwrap_or(0);
        if length > self.counts.len() {
            self.counts.resize(length, 0);
        }
    }

    /// Adds what another has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        let Some(last) = other.last() else {
            return;
        };
        self.reach(other.first, last);
        let begin = usize::try_from(other.first - self.first).unwrap_or(0);
        for (held, more) in self.counts.iter_mut().skip(begin).zip(&other.counts) {
            *held += more;
        }
    }

    fn last(&self) -> Option<i32> {
        let length = i32::try_from(self.counts.len()).ok()?;
        (length > 0).then(|| self.first + length - 1)
    }

    /// How many values were counted.
    pub(crate) fn total(&self) -> u64 {
        self.zeros + self.counts.iter().sum::<u64>()
    }

    /// Which of the values in order a percentile is, from 0 to 100: of `n` the one at the place
    /// `percentile / 100 · (n − 1)`, rounded down and counted from 0. Nothing where there are none.
    pub(crate) fn place(&self, percentile: f64) -> Option<u64> {
        let last = self.total().checked_sub(1)?;
        let places: f64 = last.as_();
        // divided last: of whole percents a place that is whole stays so
        let place = (percentile * places / 100.0).floor().to_u64()?;
        Some(place.min(last))
    }

    /// The value at a place of all in order, within 1 % of it.
    pub(crate) fn at(&self, place: u64) -> Option<f64> {
        if place < self.zeros {
            return Some(0.0);
        }
        let mut before = self.zeros;
        for (bin, count) in (self.first..).zip(&self.counts) {
            before += count;
            if before > place {
                return Some(middle_of(bin));
            }
        }
        None
    }

    /// Appends it in few bytes.
    pub(crate) fn push(&self, bytes: &mut Vec<u8>) {
        push_varint(bytes, self.zeros.into());
        let (mut gaps, mut counts, mut gap) = (Vec::new(), Vec::new(), 0_u64);
        for count in &self.counts {
            if *count == 0 {
                gap += 1;
                continue;
            }
            gaps.push(gap);
            counts.push(count - 1);
            gap = 0;
        }
        push_varint(bytes, u128::try_from(gaps.len()).unwrap_or(0));
        if !gaps.is_empty() {
            push_signed(bytes, self.first.into());
            push_rice(bytes, [&gaps, &counts]);
        }
    }

    /// Adds what was appended, and nothing if it is malformed. The bytes must end with it.
    pub(crate) fn merge_packed(
        &mut self,
        mut bytes: Bytes<'_>,
        room: &mut Room,
    ) -> Result<(), Malformed> {
        let zeros = bytes.small::<u64>()?;
        let bins = bytes.small::<usize>()?;
        if bins > BINS_MAX {
            return Err(Malformed);
        }
        if bins > 0 {
            let first = i32::try_from(bytes.signed()?).map_err(|_| Malformed)?;
            let mut lists = RiceReader::new(bytes.0);
            room.gaps.clear();
            room.counts.clear();
            lists.list(bins, &mut room.gaps)?;
            lists.list(bins, &mut room.counts)?;
            self.merge_listed(first, room)?;
        }
        self.zeros = self.zeros.saturating_add(zeros);
        Ok(())
    }

    fn merge_listed(&mut self, first: i32, room: &Room) -> Result<(), Malformed> {
        let length = room.gaps.iter().try_fold(0_u64, |length, gap| {
            length.checked_add(*gap)?.checked_add(1)
        });
        let length = length.ok_or(Malformed)?;
        let bins_max = u64::try_from(BINS_MAX).unwrap_or(u64::MAX);
        let span = i32::try_from(length).map_err(|_| Malformed)?;
        if length > bins_max || first.unsigned_abs() > BINS_MAX.try_into().unwrap_or(u32::MAX) {
            return Err(Malformed);
        }
        self.reach(first, first + span - 1);
        let mut place = usize::try_from(first - self.first).unwrap_or(0);
        for (gap, count) in room.gaps.iter().zip(&room.counts) {
            place += usize::try_from(*gap).unwrap_or(0);
            if let Some(held) = self.counts.get_mut(place) {
                *held = held.saturating_add(count.saturating_add(1));
            }
            place += 1;
        }
        Ok(())
    }
}

/// Room for what is read of one sketch after the other.
#[derive(Debug, Default)]
pub(crate) struct Room {
    gaps: Vec<u64>,
    counts: Vec<u64>,
}

/// γ = (1 + α) / (1 − α).
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);

fn bin_of(value: f64) -> Option<i32> {
    let is_counted = value > LEAST;
    let bin = (value.ln() / GAMMA.ln()).ceil();
    is_counted.then_some(bin)?.to_i32()
}

/// The number that is nowhere in a bin more than α of the value away.
fn middle_of(bin: i32) -> f64 {
    2.0 * GAMMA.powi(bin) / (GAMMA + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for value in values {
            sketch.add(*value);
        }
        sketch
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![Just(0.0), 0.0..100.0, 0.001..1.0, 1.0..1e9];
        proptest::collection::vec(value, 0..200)
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_one_percent(mut values in values(), percentile in 0.0..=100.0) {
            let sketch = of(&values);
            let place = sketch.place(percentile);
            let told = place.and_then(|place| sketch.at(place));
            values.sort_by(f64::total_cmp);
            match place.and_then(|place| values.get(place.to_usize()?)) {
                None => prop_assert_eq!((told, values.len()), (None, 0)),
                Some(value) => {
                    let off = (told.unwrap() - value).abs();
                    prop_assert!(off <= value * RELATIVE_ERROR * (1.0 + 1e-9), "{off} {value}");
                }
            }
        }

        #[test]
        fn merged_is_counted_at_once_in_any_order(left in values(), right in values()) {
            let both = of(&[left.clone(), right.clone()].concat());
            let (left, right) = (of(&left), of(&right));
            let (mut one, mut other) = (left.clone(), right.clone());
            one.merge(&right);
            other.merge(&left);
            prop_assert_eq!(&one, &both);
            prop_assert_eq!(&other, &both);
        }

        #[test]
        fn packed_comes_back(values in values(), more in values()) {
            let mut bytes = Vec::new();
            of(&values).push(&mut bytes);
            let mut read = of(&more);
            let mut merged = read.clone();
            read.merge_packed(Bytes(&bytes), &mut Room::default()).unwrap();
            merged.merge(&of(&values));
            prop_assert_eq!(read, merged);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Sketch::default().merge_packed(Bytes(&bytes), &mut Room::default());
        }
    }

    #[test]
    fn a_place_that_is_whole_is_the_one_that_is_told() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        let sketch = of(&values);
        for percent in 0..=100_u32 {
            assert_eq!(sketch.place(percent.into()), Some(percent.into()));
        }
        assert_eq!(of(&[]).place(50.0), None);
    }

    #[test]
    fn a_quarter_of_an_hour_takes_few_bytes() {
        let values: Vec<f64> = (0..30).map(|n| 20.0 + f64::from(n * 7 % 30)).collect();
        let mut bytes = Vec::new();
        of(&values).push(&mut bytes);
        assert!(bytes.len() <= 20, "{}", bytes.len());
    }
}
