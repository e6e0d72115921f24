//! What is led along is what is folded, whatever is folded when; and what is of other events is not used.

use entity::{error_group_changes as change, error_logs as errors};
use proptest::prelude::*;

use super::*;
use crate::event::Instant;
use crate::kinds::{Draft, Kind};
use crate::projections::groups::told::GroupId;

fn recorded(position: i64, draft: Draft) -> Arc<Event> {
    let fact = draft.finish().unwrap().fact;
    Arc::new(Event {
        position: Position(position),
        recorded_at: fact.occurred_at,
        fact,
    })
}

fn draft(position: i64, kind: Kind, provenance: Provenance) -> Draft {
    let noon = Instant::parse("2026-11-22T12:00:00Z").unwrap();
    Draft::new(kind, noon.plus_ms(position * 400_000), provenance)
}

fn error(position: i64, message: &str) -> Arc<Event> {
    let provenance = if position % 7 == 0 {
        Provenance::Simulated
    } else {
        Provenance::Real
    };
    let draft = draft(position, Kind::ErrorLog, provenance)
        .set(errors::Column::Category, "DEVICE")
        .set(errors::Column::Severity, "ERROR")
        .set(errors::Column::ErrorMessage, message);
    recorded(position, draft)
}

fn decision(position: i64, change: &str, (group, into): (GroupId, Option<GroupId>)) -> Arc<Event> {
    let into = into.map(|into| into.to_string());
    let draft = draft(position, Kind::ErrorGroupChange, group.provenance)
        .set(change::Column::Change, change)
        .set(change::Column::GroupId, group.to_string().as_str())
        .set(change::Column::IntoGroupId, into.as_deref())
        .set(change::Column::Category, "DEVICE")
        .set(change::Column::Template, "some")
        .set(change::Column::ChangedBy, "me");
    recorded(position, draft)
}

fn message(number: i64) -> String {
    let inks = ["red", "blue", "green", "black", "yellow"];
    match number % 3 {
        0 => format!(
            "cartridge is {} and empty",
            inks[usize::try_from(number % 5).unwrap()]
        ),
        1 => format!("job {number} failed on host 10.0.0.{}", number % 9),
        _ => "paper is out".to_owned(),
    }
}

/// Errors of some forms, and what was decided about them meanwhile.
fn story() -> Vec<Arc<Event>> {
    let mut events: Vec<Arc<Event>> = (1..=60).map(|at| error(at, &message(at))).collect();
    let known = folded(&events, Provenance::Real, 60).state.list();
    let provenance = Provenance::Real;
    let id = |place: usize| GroupId {
        provenance,
        id: known[place].0,
    };
    events.push(decision(61, "RESOLVED", (id(0), None)));
    events.push(decision(62, "MERGED", (id(1), Some(id(2)))));
    events.extend((63..=90).map(|at| error(at, &message(at))));
    events.push(decision(91, "IGNORED", (id(1), None)));
    events.extend((92..=120).map(|at| error(at, &message(at))));
    events
}

fn of(
    events: &[Arc<Event>],
    provenance: Provenance,
    (after, upto): (i64, i64),
) -> impl Iterator<Item = &Event> {
    let events = events.iter().map(|event| &**event);
    events
        .filter(move |event| event.fact.provenance == provenance)
        .filter(move |event| event.position.0 > after && event.position.0 <= upto)
}

/// What the tables have of events that are folded up to a position.
fn folded(events: &[Arc<Event>], provenance: Provenance, upto: i64) -> Kept {
    let mut kept = Kept::default();
    for event in of(events, provenance, (0, upto)) {
        kept.take(event);
    }
    kept
}

fn recent(held: &Held, events: &[Arc<Event>], (folded, upto): (i64, i64)) -> Recent {
    let from = held.upto().map_or(folded, |held| held.0.min(folded));
    let mut recent = Recent::after(Position(from), Position(folded));
    recent.upto = Position(upto);
    let events = events.iter();
    let events = events.filter(|event| event.position.0 > from && event.position.0 <= upto);
    recent.events = events.map(Arc::clone).collect();
    recent
}

/// How the groups stand when events are recorded and folded up to positions, and whether they were read for that.
fn stand(
    held: &mut Held,
    (events, provenance): (&[Arc<Event>], Provenance),
    upto: (i64, i64),
) -> (Stand, bool) {
    let recent = recent(held, events, upto);
    let kept = folded(events, provenance, upto.0);
    let head = (kept.position, kept.chain);
    match held.stand(&recent, (provenance, head)) {
        Some(stand) => (stand, false),
        None => (held.begin(&recent, (provenance, kept)), true),
    }
}

/// How they must stand.
fn expected(
    (events, provenance): (&[Arc<Event>], Provenance),
    (upto, recorded): (i64, i64),
) -> (State, Changed) {
    let (mut kept, mut fresh) = (folded(events, provenance, upto), Changed::default());
    for event in of(events, provenance, (upto, recorded)) {
        fresh.take(&kept.take(event));
    }
    (kept.state, fresh)
}

fn assert_stands((state, fresh): &Stand, expected: &(State, Changed)) {
    assert_eq!(**state, expected.0);
    assert_eq!(*fresh, expected.1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn groups_are_read_once_and_stand_as_they_are_folded_whatever_is_folded_when(
        steps in proptest::collection::vec((0_i64..25, 0_i64..25), 1..20),
    ) {
        let (events, mut held, mut upto) = (story(), Held::default(), (0, 0));
        let mut readings = 0;
        for (more_folded, more_recorded) in steps {
            upto.1 = (upto.1 + more_recorded).min(120);
            upto.0 = (upto.0 + more_folded).min(upto.1);
            for provenance in [Provenance::Real, Provenance::Simulated] {
                let of = (events.as_slice(), provenance);
                let (stands, is_read) = stand(&mut held, of, upto);
                readings += usize::from(is_read);
                assert_stands(&stands, &expected(of, upto));
            }
        }
        prop_assert_eq!(readings, 2);
    }
}

#[test]
fn who_reads_an_older_moment_is_answered_of_what_is_in_memory() {
    let (events, mut held) = (story(), Held::default());
    let of = (events.as_slice(), Provenance::Real);
    stand(&mut held, of, (30, 40));
    let older = recent(&held, &events, (30, 50));
    stand(&mut held, of, (70, 80));
    let kept = folded(&events, Provenance::Real, 30);
    let head = (kept.position, kept.chain);
    let stands = held.stand(&older, (Provenance::Real, head)).unwrap();
    assert_stands(&stands, &expected(of, (30, 80)));
}

#[test]
fn what_was_erased_meanwhile_is_read_anew_whether_it_was_folded_or_not() {
    for erased in [20, 55] {
        let (mut events, mut held) = (story(), Held::default());
        let (_, is_read) = stand(&mut held, (&events, Provenance::Real), (50, 60));
        assert!(is_read);
        let place = usize::try_from(erased - 1).unwrap();
        events[place] = error(erased, "something else was there");
        let of = (events.as_slice(), Provenance::Real);
        let (stands, is_read) = stand(&mut held, of, (50, 60));
        assert!(is_read, "{erased}");
        assert_stands(&stands, &expected(of, (50, 60)));
        let (stands, is_read) = stand(&mut held, of, (60, 62));
        assert!(!is_read, "{erased}");
        assert_stands(&stands, &expected(of, (60, 62)));
    }
}

#[test]
fn groups_that_are_folded_anew_are_not_taken_from_memory() {
    let (events, mut held) = (story(), Held::default());
    let of = (events.as_slice(), Provenance::Real);
    stand(&mut held, of, (0, 60));
    // the tables have rows of another version, up to the same event
    let at_once = recent(&held, &events, (50, 60));
    let none = (Provenance::Real, (Position::START, 0));
    assert!(held.stand(&at_once, none).is_none());
    // they are folded from the beginning again
    let (stands, is_read) = stand(&mut held, of, (10, 60));
    assert!(!is_read, "all of it is in memory");
    assert_stands(&stands, &expected(of, (10, 60)));
    let mut held = Held::default();
    stand(&mut held, of, (40, 60));
    let (stands, is_read) = stand(&mut held, of, (10, 60));
    assert!(is_read);
    assert_stands(&stands, &expected(of, (10, 60)));
}

#[test]
fn what_cannot_be_led_along_is_let_go() {
    let (events, mut held) = (story(), Held::default());
    let of = (events.as_slice(), Provenance::Real);
    stand(&mut held, of, (40, 60));
    let mut later = Recent::after(Position(100), Position(100));
    later.upto = Position(100);
    let kept = folded(&events, Provenance::Real, 100);
    let head = (kept.position, kept.chain);
    assert!(held.stand(&later, (Provenance::Real, head)).is_none());
    assert_eq!(held.upto(), None);
    let stands = held.begin(&later, (Provenance::Real, kept));
    assert_stands(&stands, &expected(of, (100, 100)));
}

#[test]
fn of_what_is_folded_no_more_is_known_than_there_is_room_for() {
    let events: Vec<Arc<Event>> = (1..=2_999).map(|at| error(at, "paper is out")).collect();
    let (of, mut held) = ((events.as_slice(), Provenance::Real), Held::default());
    stand(&mut held, of, (0, 2_999));
    assert!(held.kept[&Provenance::Real].taken.len() > BEHIND_MAX);
    let (stands, is_read) = stand(&mut held, of, (2_900, 2_999));
    assert!(!is_read);
    assert_stands(&stands, &expected(of, (2_900, 2_999)));
    assert_eq!(held.kept[&Provenance::Real].taken.len(), BEHIND_MAX);
    let (stands, is_read) = stand(&mut held, of, (100, 2_999));
    assert!(is_read);
    assert_stands(&stands, &expected(of, (100, 2_999)));
}
