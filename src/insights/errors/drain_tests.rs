//! Properties of the grouping: any order, only ever joining, bounded.

use super::*;

const SCOPE: Scope<'static> = Scope {
    category: "DEVICE",
    code: "",
};

fn placed(texts: &[String]) -> Drain {
    let mut drain = Drain::default();
    for text in texts {
        assert!(drain.place(&SCOPE, text, |_| false).group.is_some());
    }
    drain
}

fn shuffle(texts: &mut [String], seed: u64) {
    let mut random = seed;
    for place in (1..texts.len()).rev() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        texts.swap(place, usize::try_from(random >> 33).unwrap() % (place + 1));
    }
}

fn texts(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).into()).collect()
}

fn group(drain: &Drain, text: &str) -> Option<u64> {
    drain.find(&SCOPE, text)
}

#[test]
fn any_order_gives_the_same_state() {
    for seed in 0..40_u64 {
        let (mut random, mut lines) = (seed + 1, Vec::new());
        for _ in 0..120 {
            let words: Vec<String> = (0..2 + random % 4)
                .map(|_| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    [
                        "no", "paper", "tray", "<*>", "card", "read", "a", "b", "c", "d",
                    ][usize::try_from(random >> 40).unwrap() % 10]
                        .into()
                })
                .collect();
            lines.push(words.join(" "));
        }
        let first = placed(&lines);
        shuffle(&mut lines, seed);
        assert_eq!(first, placed(&lines), "{seed}");
    }
}

#[test]
fn more_messages_never_part_what_was_together() {
    let mut lines: Vec<String> = (0..100_u32)
        .map(|n| format!("user {} did {} on {}", n % 7, n % 5, n % 3))
        .collect();
    shuffle(&mut lines, 3);
    let mut drain = Drain::default();
    let mut together: Vec<(String, String)> = Vec::new();
    for line in &lines {
        drain.place(&SCOPE, line, |_| false);
        assert!(
            together
                .iter()
                .all(|(one, other)| group(&drain, one) == group(&drain, other))
        );
        let partner = lines.iter().find(|other| {
            *other != line
                && group(&drain, other).is_some()
                && group(&drain, other) == group(&drain, line)
        });
        together.extend(partner.map(|other| (line.clone(), other.clone())));
    }
    assert!(!together.is_empty());
}

#[test]
fn few_plain_values_tell_apart_and_many_do_not() {
    let three = texts(&[
        "printer is now ready",
        "printer is now busy",
        "printer is now off",
    ]);
    let drain = placed(&three);
    assert_ne!(group(&drain, &three[0]), group(&drain, &three[1]));
    let mut many = three.clone();
    many.push("printer is now lost".into());
    let drain = placed(&many);
    assert_eq!(group(&drain, &three[0]), group(&drain, &three[1]));
    let template = group(&drain, &three[0]).and_then(|group| drain.template(group));
    assert_eq!(template.as_deref(), Some("printer is now <*>"));
}

#[test]
fn single_letters_do_not_tell_apart() {
    let two = texts(&["tray A is empty", "tray B is empty"]);
    let drain = placed(&two);
    assert_eq!(group(&drain, &two[0]), group(&drain, &two[1]));
}

#[test]
fn what_has_no_word_in_common_stays_apart() {
    let drain = placed(&texts(&[
        "<*> started",
        "<*> stopped",
        "<*> failed",
        "<*> paused",
        "<*> lost",
    ]));
    assert_ne!(group(&drain, "<*> started"), group(&drain, "<*> stopped"));
}

#[test]
fn scopes_do_not_mix() {
    let mut drain = Drain::default();
    let other = Scope {
        category: "DEVICE",
        code: "E7",
    };
    let one = drain.place(&SCOPE, "no paper", |_| false).group;
    assert_ne!(one, drain.place(&other, "no paper", |_| false).group);
}

#[test]
fn a_full_cell_keeps_its_groups_and_finds_new_members() {
    let mut drain = Drain::default();
    for number in 0..5_000 {
        let text = format!(
            "user {} was not found in list",
            "x".repeat(1 + number % 40) + &"y".repeat(number / 40)
        );
        assert!(
            drain.place(&SCOPE, &text, |_| false).group.is_some(),
            "{number}"
        );
    }
    assert!(drain.count <= CELL_MAX);
    assert_eq!(
        group(&drain, "user zoe was not found in list"),
        group(&drain, "user x was not found in list")
    );
}

#[test]
fn hostile_messages_are_bounded() {
    let mut drain = Drain::default();
    for number in 0..20_000_u32 {
        let words: Vec<String> = (0..3 + number % 40)
            .map(|place| format!("{:x}", hash(&[&number.to_string(), &place.to_string()])))
            .collect();
        drain.place(&SCOPE, &words.join(" "), |_| false);
    }
    assert!(drain.count <= VARIANTS_MAX);
    assert_eq!(
        drain.count,
        drain
            .cells
            .values()
            .map(|cell| cell.variants.len())
            .sum::<usize>()
    );
}
