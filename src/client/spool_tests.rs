//! The spool under crashes (dropped without a close, files cut at every byte), bounds and order.

use serde_json::value::to_raw_value;
use tempfile::TempDir;

use super::*;

const ALL: PageLimits = PageLimits {
    events: 10_000,
    bytes: 1 << 20,
};

fn event(number: u64) -> Line {
    to_raw_value(&serde_json::json!({ "n": number, "text": "a\nb" })).unwrap()
}

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<Line> {
    numbers.into_iter().map(event).collect()
}

fn open(folder: &Path) -> Spool {
    Spool::open(folder, SpoolLimits::default()).unwrap()
}

fn small(folder: &Path) -> Spool {
    let limits = SpoolLimits {
        bytes_max: 400,
        segment_bytes: 100,
    };
    Spool::open(folder, limits).unwrap()
}

/// Numbers of the events of one page.
fn page(spool: &mut Spool, limits: PageLimits) -> (Vec<u64>, Place) {
    let (events, place) = spool.peek(limits).unwrap();
    let number = |event: &Line| {
        let json: serde_json::Value = serde_json::from_str(event.get()).unwrap();
        json["n"].as_u64().unwrap()
    };
    (events.iter().map(number).collect(), place)
}

/// Reads and settles everything, a few events at a time.
fn drain(spool: &mut Spool) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let (numbers, place) = page(spool, PageLimits { events: 3, ..ALL });
        if numbers.is_empty() {
            return all;
        }
        spool.settle(&place, numbers.len());
        all.extend(numbers);
    }
}

fn files(folder: &Path) -> Vec<u64> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut numbers: Vec<u64> = names
        .filter_map(|name| segment::number(name.to_str()?))
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn events_leave_in_the_order_in_which_they_came() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    for number in 0..50 {
        spool.append(&events([2 * number, 2 * number + 1])).unwrap();
    }
    assert_eq!(spool.waiting(), 100);
    assert_eq!(drain(&mut spool), (0..100).collect::<Vec<_>>());
    assert_eq!(spool.waiting(), 0);
}

#[test]
fn event_stays_until_it_is_settled() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    spool.append(&events(0..4)).unwrap();
    let (first, place) = page(&mut spool, ALL);
    assert_eq!(page(&mut spool, ALL).0, first);
    spool.settle(&place, 1);
    assert_eq!(page(&mut spool, ALL).0, [1, 2, 3]);
}

#[test]
fn spool_dropped_without_a_close_has_all_that_it_kept() {
    let folder = TempDir::new().unwrap();
    for round in 0..10 {
        let mut spool = open(folder.path());
        assert_eq!(spool.waiting(), 3 * round);
        spool.append(&events(3 * round..3 * round + 3)).unwrap();
    }
    assert_eq!(drain(&mut open(folder.path())), (0..30).collect::<Vec<_>>());
}

#[test]
fn settled_events_do_not_come_back_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut spool = small(folder.path());
    spool.append(&events(0..3)).unwrap();
    spool.append(&events(3..7)).unwrap();
    let (_, place) = page(&mut spool, PageLimits { events: 2, ..ALL });
    spool.settle(&place, 2);
    drop(spool);
    let mut spool = small(folder.path());
    assert_eq!(spool.waiting(), 5);
    assert_eq!(drain(&mut spool), (2..7).collect::<Vec<_>>());
    drop(spool);
    assert_eq!(small(folder.path()).waiting(), 0);
}

#[test]
fn segment_cut_at_any_byte_keeps_its_whole_lines_and_goes_on() {
    let folder = TempDir::new().unwrap();
    open(folder.path()).append(&events(0..5)).unwrap();
    let whole = fs::read(segment::path(folder.path(), 1)).unwrap();
    for length in 0..=whole.len() {
        let folder = TempDir::new().unwrap();
        fs::write(segment::path(folder.path(), 1), &whole[..length]).unwrap();
        let lines = whole[..length].split(|byte| *byte == b'\n').count() - 1;
        let lines = u64::try_from(lines).unwrap();
        let mut spool = open(folder.path());
        assert_eq!(spool.waiting(), lines, "cut at {length}");
        spool.append(&events([99])).unwrap();
        let expected: Vec<u64> = (0..lines).chain([99]).collect();
        assert_eq!(drain(&mut spool), expected, "cut at {length}");
        assert_eq!(spool.damaged(), 0, "cut at {length}");
    }
}

#[test]
fn progress_cut_at_any_byte_repeats_events_but_skips_none() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    spool.append(&events(0..5)).unwrap();
    let (_, place) = page(&mut spool, ALL);
    spool.settle(&place, 3);
    drop(spool);
    let whole = fs::read(folder.path().join("progress")).unwrap();
    for length in 0..=whole.len() {
        fs::write(folder.path().join("progress"), &whole[..length]).unwrap();
        let (numbers, _) = page(&mut open(folder.path()), ALL);
        assert!(numbers.ends_with(&[3, 4]), "cut at {length}: {numbers:?}");
    }
}

#[test]
fn progress_that_points_into_a_line_is_not_believed() {
    let folder = TempDir::new().unwrap();
    open(folder.path()).append(&events(0..3)).unwrap();
    for progress in ["1 5\n", "1 99999\n"] {
        fs::write(folder.path().join("progress"), progress).unwrap();
        assert_eq!(page(&mut open(folder.path()), ALL).0, [0, 1, 2]);
    }
}

#[test]
fn line_that_is_no_json_is_passed_over_and_counted() {
    let folder = TempDir::new().unwrap();
    let text = "{\"n\":1}\n\0\0\0\0\n{\"n\":2}\nnonsense\n";
    fs::write(segment::path(folder.path(), 1), text).unwrap();
    let mut spool = open(folder.path());
    assert_eq!(drain(&mut spool), [1, 2]);
    assert_eq!((spool.waiting(), spool.damaged()), (0, 2));
}

#[test]
fn full_spool_drops_its_oldest_segment_and_counts_what_had_not_left() {
    let folder = TempDir::new().unwrap();
    let mut spool = small(folder.path());
    spool.append(&events(0..4)).unwrap();
    let (_, place) = page(&mut spool, ALL);
    spool.settle(&place, 1);
    for number in 4..40 {
        spool.append(&events([number])).unwrap();
        assert!(spool.bytes() <= 400);
    }
    let left = drain(&mut spool);
    assert_eq!(*left.last().unwrap(), 39);
    assert!(left.is_sorted());
    assert_eq!(spool.dropped() + u64::try_from(left.len()).unwrap() + 1, 40);
}

#[test]
fn page_of_a_dropped_segment_settles_nothing() {
    let folder = TempDir::new().unwrap();
    let mut spool = small(folder.path());
    spool.append(&events(0..5)).unwrap();
    let (_, place) = page(&mut spool, ALL);
    for number in 5..25 {
        spool.append(&events([number])).unwrap();
    }
    let before = spool.waiting();
    spool.settle(&place, 5);
    assert_eq!(spool.waiting(), before);
}

#[test]
fn more_at_once_than_fits_is_refused_and_drops_nothing() {
    let folder = TempDir::new().unwrap();
    let mut spool = small(folder.path());
    spool.append(&events([1])).unwrap();
    let refused = spool.append(&events(0..100));
    assert!(matches!(refused, Err(SpoolError::TooLarge { .. })));
    assert_eq!(spool.waiting(), 1);
}

#[test]
fn drained_segments_are_deleted() {
    let folder = TempDir::new().unwrap();
    let mut spool = small(folder.path());
    for number in 0..9 {
        spool.append(&events([number])).unwrap();
    }
    assert!(files(folder.path()).len() > 1);
    drain(&mut spool);
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn event_larger_than_a_page_is_read_alone() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    let large = serde_json::json!({ "n": 1, "text": "x".repeat(5_000) });
    spool
        .append(&[to_raw_value(&large).unwrap(), event(2)])
        .unwrap();
    let limits = PageLimits {
        events: 10,
        bytes: 100,
    };
    assert_eq!(page(&mut spool, limits).0, [1]);
}

#[test]
fn second_process_is_held_off() {
    let folder = TempDir::new().unwrap();
    let first = open(folder.path());
    let second = Spool::open(folder.path(), SpoolLimits::default());
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
    drop(first);
    open(folder.path());
}

#[test]
fn failed_write_keeps_nothing_and_the_next_one_begins_a_new_segment() {
    let folder = TempDir::new().unwrap();
    let mut spool = open(folder.path());
    spool.append(&events([1])).unwrap();
    // A handle that may not be written to stands for a disk that is full.
    spool.active = Some(File::open(segment::path(folder.path(), 1)).unwrap());
    assert!(matches!(
        spool.append(&events([2])),
        Err(SpoolError::Write { .. })
    ));
    spool.append(&events([3])).unwrap();
    assert_eq!(drain(&mut spool), [1, 3]);
}
