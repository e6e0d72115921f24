//! Puts a placeholder where a message varies: numbers, times, addresses, paths, identifiers, quoted values.
//!
//! Hand-written scanners over words, each linear in the length of its word, so that a message costs time
//! in proportion to its length whatever it holds. The rules are about forms (what a number, a path, a host
//! looks like), never about a product's messages.

use crate::insights::errors::form;

/// Stands for what varies.
pub const PLACEHOLDER: &str = "<*>";
/// Bytes of a message that are looked at: a template is told by its beginning, what follows are lists and dumps.
const MESSAGE_MAX_BYTES: usize = 2_048;
/// Words of a message that are looked at.
const LOOKED_AT_MAX: usize = 72;
/// Bytes of a word that are looked at.
const CORE_MAX_BYTES: usize = 256;
/// Words of a masked message that are kept; what follows is told by an ellipsis.
pub const WORDS_MAX: usize = 64;
/// Bytes of a masked message that are kept, or a little more.
pub const TEXT_MAX_BYTES: usize = 1_000;
/// Bytes of a word that are kept.
const WORD_MAX_BYTES: usize = 64;
/// Nested `key:value` parts within one word that are looked into.
const NESTING_MAX: usize = 4;

/// A message with placeholders: words separated by single spaces, `<*>` for what varies.
///
/// Only the first line that is not blank takes part, since further lines are traces or dumps.
#[must_use]
pub fn mask(message: &str) -> String {
    let line = first_line(message);
    let mut masked = Masked::default();
    for word in line.split_whitespace().take(LOOKED_AT_MAX) {
        masked.push(cut(word, CORE_MAX_BYTES));
        if masked.words.len() > WORDS_MAX || masked.bytes > TEXT_MAX_BYTES {
            masked.words.truncate(WORDS_MAX);
            masked.words.push("…".into());
            break;
        }
    }
    masked.text()
}

/// The first line that is not blank, cut to what is looked at, without a word cut in two.
fn first_line(message: &str) -> &str {
    let line = message.trim_start().lines().next().unwrap_or_default();
    let kept = cut(line, MESSAGE_MAX_BYTES);
    if kept.len() == line.len() {
        return kept;
    }
    kept.rsplit_once(' ').map_or(kept, |(whole, _)| whole)
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// The words so far.
#[derive(Debug, Default)]
struct Masked {
    words: Vec<String>,
    bytes: usize,
}

impl Masked {
    /// Takes the next word, which may go into the placeholder before it.
    fn push(&mut self, word: &str) {
        if form::is_plain(word)
            && !self
                .words
                .last()
                .is_some_and(|last| last.ends_with(PLACEHOLDER))
        {
            self.keep(word.into());
            return;
        }
        let (lead, core, trail) = trimmed(word);
        let core = if is_stars(core) { "0" } else { core };
        if self.is_unit(lead, core) {
            self.close(trail);
            return;
        }
        if form::is_calendar(core) && lead.is_empty() {
            // A weekday or a month counts as a part of the date that follows; `text` undoes it if none does.
            self.keep(word.into());
            return;
        }
        let mut masked = String::with_capacity(word.len().min(WORD_MAX_BYTES) + 8);
        mask_core(core, is_quoted(lead, trail), &mut masked);
        if masked == PLACEHOLDER {
            self.absorb_calendar();
            if !has_bracket(lead) && self.ends_open() {
                self.close(trail);
                return;
            }
        }
        let lead = if masked == PLACEHOLDER {
            lead.trim_end_matches(['<', '>', '~', '-', '+', '±'])
        } else {
            lead
        };
        self.keep(bounded(format!("{lead}{masked}{trail}")));
    }

    fn keep(&mut self, word: String) {
        self.bytes += word.len();
        self.words.push(word);
    }

    /// Whether a word is the unit of the number before it.
    fn is_unit(&self, lead: &str, core: &str) -> bool {
        lead.is_empty()
            && form::is_unit(core)
            && self
                .words
                .last()
                .is_some_and(|last| last.ends_with(PLACEHOLDER))
    }

    /// Whether the last word ends with a placeholder that nothing but a comma or the like closes.
    fn ends_open(&self) -> bool {
        self.words.last().is_some_and(|last| {
            last.trim_end_matches([',', ';', '.', '-'])
                .ends_with(PLACEHOLDER)
        })
    }

    /// Gives the last word, which is a placeholder, another end.
    fn close(&mut self, trail: &str) {
        if let Some(last) = self.words.last_mut() {
            last.truncate(last.trim_end_matches([',', ';', '.', '-']).len());
            last.push_str(trail);
        }
    }

    /// Drops weekdays and months before a placeholder: they are a part of the date.
    fn absorb_calendar(&mut self) {
        while self
            .words
            .last()
            .is_some_and(|last| form::is_calendar(last.trim_end_matches([',', '.'])))
        {
            self.words.pop();
        }
    }

    fn text(self) -> String {
        self.words.join(" ")
    }
}

/// A word as the brackets and quotes that open it, its core, and what closes it.
fn trimmed(word: &str) -> (&str, &str, &str) {
    let core = word.trim_start_matches(['(', '[', '{', '<', '"', '\'', '`']);
    let (lead, _) = word.split_at(word.len() - core.len());
    let kept = core.trim_end_matches([
        ')', ']', '}', '>', '"', '\'', '`', ',', ';', ':', '.', '!', '?',
    ]);
    let (core, trail) = core.split_at(kept.len());
    (lead, core, trail)
}

fn is_quoted(lead: &str, trail: &str) -> bool {
    lead.chars()
        .next_back()
        .is_some_and(|mark| matches!(mark, '"' | '\'' | '`') && trail.starts_with(mark))
}

/// A number that did not fit its field, as printed by many formatters.
fn is_stars(core: &str) -> bool {
    core.len() >= 2 && core.bytes().all(|mark| mark == b'*')
}

fn has_bracket(lead: &str) -> bool {
    lead.contains(['(', '[', '{'])
}

fn bounded(mut word: String) -> String {
    let end = cut(&word, WORD_MAX_BYTES).len();
    word.truncate(end);
    word
}

/// Masks a word without its brackets.
fn mask_core(core: &str, is_quoted: bool, out: &mut String) {
    if core.is_empty() {
        return;
    }
    if is_quoted || (form::is_whole(core) && !core.contains('=')) || core.contains("://") {
        out.push_str(PLACEHOLDER);
        return;
    }
    let mut rest = core;
    while let Some(at) = rest.find([',', ';', '&', '|']) {
        let (part, after) = rest.split_at(at);
        mask_part(part, 0, out);
        let mark = after.chars().next().unwrap_or(',');
        out.push(mark);
        rest = after.get(mark.len_utf8()..).unwrap_or_default();
    }
    mask_part(rest, 0, out);
    merge_runs(out);
}

/// Masks `key=value`, `key:value` or a plain part.
fn mask_part(part: &str, nesting: usize, out: &mut String) {
    if let Some((key, _)) = part.split_once('=').filter(|(key, _)| form::is_key(key)) {
        out.push_str(key);
        out.push('=');
        out.push_str(PLACEHOLDER);
        return;
    }
    if form::is_whole(part) {
        out.push_str(PLACEHOLDER);
        return;
    }
    if nesting < NESTING_MAX
        && let Some((key, value)) = part
            .split_once(':')
            .filter(|(key, value)| form::is_key(key) && !value.is_empty())
    {
        out.push_str(key);
        out.push(':');
        mask_part(value, nesting + 1, out);
        return;
    }
    mask_runs(part, out);
}

/// Masks the runs of letters and digits that hold a digit; the whole, where those are the most.
fn mask_runs(part: &str, out: &mut String) {
    let (start, mut masked, mut plain) = (out.len(), 0_usize, 0_usize);
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let is_run = first.is_alphanumeric();
        let end = rest
            .find(|letter: char| letter.is_alphanumeric() != is_run)
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        if !is_run {
            out.push_str(run);
        } else if let Some(prefix) = form::prefix_of_identifier(run) {
            masked += 1;
            plain += usize::from(!prefix.is_empty());
            trim_sign(out, start);
            out.push_str(prefix);
            out.push_str(PLACEHOLDER);
        } else {
            plain += 1;
            out.push_str(run);
        }
    }
    if masked > plain || (masked > 0 && is_identifier(part)) {
        out.truncate(start);
        out.push_str(PLACEHOLDER);
    }
}

/// Several runs in one name, such as `blk_-123`, `mesos-slave-05` or `core.2275`.
fn is_identifier(part: &str) -> bool {
    part.contains(['_', '-', '.'])
        && part
            .chars()
            .all(|letter| letter.is_alphanumeric() || "_-.:#$".contains(letter))
}

/// Drops a sign before a number: nothing, or something that is no letter, comes before it.
fn trim_sign(out: &mut String, start: usize) {
    let written = out.get(start..).unwrap_or_default();
    let without = written.trim_end_matches(['-', '+']);
    let is_sign = without.len() < written.len()
        && !without.ends_with(|letter: char| letter.is_alphanumeric() || letter == '>');
    if is_sign {
        out.truncate(start + without.len());
    }
}

/// Joins placeholders that only marks separate.
fn merge_runs(out: &mut String) {
    if out.matches(PLACEHOLDER).count() < 2 {
        if out.ends_with('%') && out.trim_end_matches('%').ends_with(PLACEHOLDER) {
            out.pop();
        }
        return;
    }
    let mut merged = String::with_capacity(out.len());
    for (index, piece) in out.split(PLACEHOLDER).enumerate() {
        let is_mark = !piece.is_empty()
            && piece
                .chars()
                .all(|mark| !mark.is_alphanumeric() && !"=()[]{}".contains(mark));
        let is_between = index > 0 && (piece.is_empty() || is_mark);
        if index > 0
            && !(is_between && merged.ends_with(PLACEHOLDER))
            && !merged.ends_with(PLACEHOLDER)
        {
            merged.push_str(PLACEHOLDER);
        }
        if !is_between {
            merged.push_str(piece);
        }
    }
    *out = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_masked() {
        let cases = [
            (
                "printer-07 at 00:1b:44:11:3a:b7: job 3f2504e0-4f89-41d3-9a0c-0305e82c3301 failed",
                "<*> at <*>: job <*> failed",
            ),
            (
                "Receiving block blk_-1608 src: /10.1.2.3:54106",
                "Receiving block <*> src: <*>",
            ),
            (
                "C:\\till\\spool.exe returned 0x80004005 (E_FAIL)",
                "<*> returned <*> (E_FAIL)",
            ),
            (
                "GET https://pay.example.com/v1/cards?id=7 took 2.5 s",
                "GET <*> took <*>",
            ),
            (
                "no answer from till-3.shop.example.com:5070",
                "no answer from <*>",
            ),
            (
                "mode=auto fan=3500rpm tray 'A' user=",
                "mode=<*> fan=<*> tray '<*>' user=<*>",
            ),
            ("speeds ( 3552 3534 **** 3515 )", "speeds ( <*> )"),
            ("steps = 15140##6993##548 ok: true", "steps = <*> ok: <*>"),
            ("eth0: 100 Mbps, lpa 0x45E1", "eth<*>: <*>, lpa <*>"),
            (
                "logged in at Sun Jun 19 05:02:11 2005 from 10.0.0.3",
                "logged in at <*> from <*>",
            ),
        ];
        for (message, masked) in cases {
            assert_eq!(mask(message), masked, "{message}");
        }
    }

    #[test]
    fn what_tells_errors_apart_stays() {
        for message in [
            "state changed from NEW to RUNNING",
            "java.lang.IllegalStateException: Queue is full",
            "Input/output error in std::io::read",
            "mapred.task.id is deprecated",
            "may fail in second stage",
            "\"no paper\" was told",
        ] {
            assert_eq!(mask(message), message);
        }
    }

    #[test]
    fn lists_of_any_length_look_the_same() {
        assert_eq!(mask("ids 1, 2, 3, 4."), mask("ids 1, 2."));
        let long = format!("delete {}", "blk_-77 ".repeat(900));
        assert_eq!(mask(&long), mask("delete blk_1"));
    }

    #[test]
    fn the_first_line_counts() {
        assert_eq!(mask("\n  disk full\n at x"), "disk full");
        assert_eq!(mask(""), "");
        assert_eq!(mask(" \n\t"), "");
    }

    #[test]
    fn the_result_is_bounded_whatever_comes() {
        for unit in [
            "x", "7", "a:", "a=", "'", "[(", "/", "1 ", "w ", "1,", "a.", "ä1", "a1-", "May ",
            "<*>", "€", "a1=(", "\u{0}",
        ] {
            let masked = mask(&unit.repeat(10_000 / unit.len()));
            assert!(
                masked.len() <= TEXT_MAX_BYTES + 2 * WORD_MAX_BYTES,
                "{unit}: {}",
                masked.len()
            );
            assert!(masked.split(' ').count() <= WORDS_MAX + 1);
        }
    }
}
