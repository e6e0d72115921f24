//! What is written of a row comes back, whole and in part.

use proptest::prelude::*;

use super::*;

const START: i64 = 1_700_000_100_000_000;
const FORMS: [Form; 3] = [Form::Gauge, Form::Counter, Form::Gauge];

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..10_000_i64).prop_map(|hundredths| Value::Decimal(hundredths * 100)),
        (0..1_000_i64).prop_map(Value::of_int),
        (0.0..100.0).prop_map(Value::of_float),
        Just(Value::of_float(0.0)),
    ]
}

fn reading() -> impl Strategy<Value = (i64, [Option<Value>; 3])> {
    let values = prop::array::uniform3(proptest::option::weighted(0.8, number()));
    let at = prop_oneof![0..900_000_000_i64, (0..900_i64).prop_map(|s| s * 1_000_000)];
    (at, values)
}

/// Whether a reading is taken for a part: those are that are not of a whole second.
fn is_part(since: i64) -> bool {
    since % 1_000_000 != 0
}

fn row(readings: &[(i64, [Option<Value>; 3])]) -> Row {
    let mut row = Row::new(3);
    for (since, values) in readings {
        let at = START + since;
        row.count(1, (at, at));
        row.parts += u64::from(is_part(*since));
        for (index, value) in values.iter().enumerate() {
            let value = value.map(|value| At { at, value });
            let cell = value.map(|value| Cell::of(FORMS[index], value));
            merge_into(&mut row.cells[index], cell.as_ref());
        }
    }
    row
}

fn unpacked(bytes: &[u8], wanted: Wanted) -> Row {
    let mut row = Row::new(3);
    row.merge_packed(bytes, (&FORMS, START), wanted, &mut Room::default())
        .unwrap();
    row
}

proptest! {
    #[test]
    fn a_row_comes_back(
        readings in proptest::collection::vec(reading(), 1..60),
        least: Option<u128>,
    ) {
        let row = Row { rank: least, ..row(&readings) };
        let bytes = row.pack(&FORMS, START);
        prop_assert_eq!(rank(&bytes), Ok(least));
        prop_assert_eq!(&unpacked(&bytes, Wanted::ALL), &row);
    }

    #[test]
    fn rows_merge_alike_in_any_order_and_packed(
        readings in proptest::collection::vec(reading(), 2..60),
        at in 0_usize..60,
    ) {
        let (left, right) = readings.split_at(at.min(readings.len()));
        let whole = row(&readings);
        let (left, right) = (row(left), row(right));
        let mut merged = right.clone();
        merged.merge(&left);
        prop_assert_eq!(&merged, &whole);
        let mut merged = left;
        let bytes = right.pack(&FORMS, START);
        let mut room = Room::default();
        merged.merge_packed(&bytes, (&FORMS, START), Wanted::ALL, &mut room).unwrap();
        prop_assert_eq!(merged.pack(&FORMS, START), whole.pack(&FORMS, START));
    }

    #[test]
    fn what_is_not_wanted_is_skipped(readings in proptest::collection::vec(reading(), 1..20)) {
        let row = row(&readings);
        let wanted = Wanted { measures: 0b100, sketches: true, counts: false };
        let mut read = Row::new(1);
        let bytes = row.pack(&FORMS, START);
        read.merge_packed(&bytes, (&FORMS, START), wanted, &mut Room::default()).unwrap();
        prop_assert_eq!(&read.cells[0], &row.cells[2]);
    }

    #[test]
    fn how_many_events_told_of_each_measure_is_in_what_is_written(
        readings in proptest::collection::vec(reading(), 1..40),
        at in 0_usize..40,
    ) {
        let wanted = Wanted { measures: 0, sketches: false, counts: true };
        let mut counted = Row::new(0);
        for (since, values) in &readings {
            let said = Reading {
                at: START + since,
                provenance: 0,
                device: 1,
                site: None,
                is_part: is_part(*since),
                labels: String::new(),
                values: values.to_vec(),
            };
            counted.add(&FORMS, &said, wanted);
        }
        let (mut read, mut room) = (Row::new(0), Room::default());
        let (left, right) = readings.split_at(at.min(readings.len()));
        for readings in [left, right].into_iter().filter(|readings| !readings.is_empty()) {
            let bytes = row(readings).pack(&FORMS, START);
            read.merge_packed(&bytes, (&FORMS, START), wanted, &mut room).unwrap();
        }
        prop_assert_eq!(&read, &counted);
        let told = |measure: usize| {
            let told = readings.iter().filter(|(_, values)| values[measure].is_some());
            u64::try_from(told.count()).unwrap()
        };
        let whole = read.events - read.parts;
        let most = (0..3).map(told).max().unwrap().max(whole);
        let readings = if read.parts == 0 { read.events } else { most };
        prop_assert_eq!(read.readings(), readings);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        readings in proptest::collection::vec(reading(), 1..9),
        noise: Vec<u8>,
        at in 0_usize..200,
    ) {
        let mut bytes = row(&readings).pack(&FORMS, START);
        let at = at.min(bytes.len());
        bytes.splice(at.., noise);
        let mut row = Row::new(3);
        let _ = row.merge_packed(&bytes, (&FORMS, START), Wanted::ALL, &mut Room::default());
    }
}
