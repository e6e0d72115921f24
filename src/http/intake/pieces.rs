//! Cuts a body into the texts of its events while it arrives: by lines, or as the items of a list of JSON.
//! No more is kept of it than the text that has begun. What is in a text is for others.

use thiserror::Error;

/// Bytes at most of the text of an event, as in an import.
pub(super) const PIECE_BYTES_MAX: usize = 1024 * 1024;
/// What some programs begin a text of UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];
/// What stands before a list that is not the whole body.
const BEFORE: &[u8] = b"{\"events\":";

/// Why a body has no more events.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "the body is no list of events: at byte {at} it has something else; send [event, …] or \
     {{\"events\": [event, …]}}"
)]
pub(super) struct FormError {
    /// Where, counted in bytes from 0.
    at: u64,
}

/// The text of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// All of it.
    Text(&'a [u8]),
    /// It is longer than any may be.
    TooLong,
}

/// Where a body is being cut.
#[derive(Debug)]
pub(super) struct Pieces {
    form: Form,
    /// What has begun in bytes that are gone.
    begun: Vec<u8>,
    is_too_long: bool,
    /// Whether what has begun was handed out.
    is_out: bool,
    bytes: u64,
}

#[derive(Debug)]
enum Form {
    Lines { is_first: bool },
    List(List),
}

/// Where in a list a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// So many bytes of what stands before it have come.
    Before(usize),
    /// An item may come, or the end if nothing has come yet.
    Item { is_first: bool, closes: bool },
    /// In an item.
    In { item: Item, closes: bool },
    /// Behind an item.
    Behind { closes: bool },
    /// Behind the list, of which an object may have to be closed.
    After { closes: bool },
}

/// Where in an item a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    depth: usize,
    is_text: bool,
    is_escaped: bool,
}

impl Pieces {
    /// Of lines.
    pub(super) const fn of_lines() -> Self {
        Self::new(Form::Lines { is_first: true })
    }

    /// Of a list.
    pub(super) const fn of_list() -> Self {
        Self::new(Form::List(List::Before(0)))
    }

    const fn new(form: Form) -> Self {
        Self {
            form,
            begun: Vec::new(),
            is_too_long: false,
            is_out: false,
            bytes: 0,
        }
    }

    /// Bytes that are kept.
    pub(super) const fn kept_bytes(&self) -> usize {
        self.begun.capacity()
    }

    /// The next text, if it ends in what has come, and how many bytes of that are done with.
    pub(super) fn next<'a>(
        &'a mut self,
        input: &'a [u8],
    ) -> Result<(usize, Option<Piece<'a>>), FormError> {
        if std::mem::take(&mut self.is_out) {
            self.begun.clear();
            self.begun.shrink_to(4 * 1024);
            self.is_too_long = false;
        }
        let cut = match &mut self.form {
            Form::Lines { .. } => line(input),
            Form::List(list) => list.cut(input, self.bytes)?,
        };
        let Cut {
            from,
            to,
            done,
            ends,
        } = cut;
        self.bytes += u64::try_from(done).unwrap_or(0);
        let text = input.get(from..to).unwrap_or_default();
        let length = self.begun.len() + text.len();
        self.is_too_long |= length > PIECE_BYTES_MAX;
        if self.is_too_long {
            self.begun = Vec::new();
        }
        if !ends {
            if !self.is_too_long {
                self.begun.extend_from_slice(text);
            }
            return Ok((done, None));
        }
        self.is_out = true;
        if self.is_too_long {
            return Ok((done, Some(Piece::TooLong)));
        }
        let whole = if self.begun.is_empty() {
            text
        } else {
            self.begun.extend_from_slice(text);
            &self.begun
        };
        Ok((done, of_form(&mut self.form, whole).map(Piece::Text)))
    }

    /// The last text, when no more comes.
    pub(super) fn end(&mut self) -> Result<Option<Piece<'_>>, FormError> {
        let at = self.bytes;
        match &mut self.form {
            Form::List(List::After { closes: false }) => Ok(None),
            Form::List(_) => Err(FormError { at }),
            Form::Lines { .. } if std::mem::take(&mut self.is_out) => Ok(None),
            Form::Lines { .. } if self.is_too_long => Ok(Some(Piece::TooLong)),
            form @ Form::Lines { .. } => Ok(of_form(form, &self.begun).map(Piece::Text)),
        }
    }
}

/// A text without what is no part of it; a line may be empty, and is no event then.
fn of_form<'a>(form: &mut Form, text: &'a [u8]) -> Option<&'a [u8]> {
    let Form::Lines { is_first } = form else {
        return Some(text);
    };
    let mark = text.strip_prefix(BYTE_ORDER_MARK);
    let text = mark.filter(|_| *is_first).unwrap_or(text).trim_ascii();
    *is_first = false;
    Some(text).filter(|text| !text.is_empty())
}

/// What of some bytes belongs to a text, up to where they are done with, and whether the text ends there.
struct Cut {
    from: usize,
    to: usize,
    done: usize,
    ends: bool,
}

fn line(input: &[u8]) -> Cut {
    let end = input.iter().position(|byte| *byte == b'\n');
    let to = end.unwrap_or(input.len());
    Cut {
        from: 0,
        to,
        done: end.map_or(to, |end| end + 1),
        ends: end.is_some(),
    }
}

impl List {
    fn cut(&mut self, input: &[u8], before: u64) -> Result<Cut, FormError> {
        let mut from = 0;
        for (index, byte) in input.iter().copied().enumerate() {
            let was_in = matches!(self, Self::In { .. });
            let next = self.after(byte).ok_or_else(|| FormError {
                at: before + u64::try_from(index).unwrap_or(0),
            })?;
            *self = next;
            let is_in = matches!(self, Self::In { .. });
            if is_in && !was_in {
                from = index;
            }
            if was_in && !is_in {
                // a bracket or a quotation mark belongs to the item that it ends
                let closed = matches!(self, Self::Behind { .. }) && !byte.is_ascii_whitespace();
                let to = if closed { index + 1 } else { index };
                let done = index + 1;
                let ends = true;
                return Ok(Cut {
                    from,
                    to,
                    done,
                    ends,
                });
            }
        }
        let is_in = matches!(self, Self::In { .. });
        Ok(Cut {
            from: if is_in { from } else { input.len() },
            to: input.len(),
            done: input.len(),
            ends: false,
        })
    }

    /// Where it is after a byte; `None` if that cannot stand here.
    fn after(self, byte: u8) -> Option<Self> {
        match self {
            Self::In { item, closes } => Some(item.after(byte, closes)),
            _ if byte.is_ascii_whitespace() => Some(self),
            Self::Before(0) if byte == b'[' => Some(Self::Item {
                is_first: true,
                closes: false,
            }),
            Self::Before(done) if done == BEFORE.len() => (byte == b'[').then_some(Self::Item {
                is_first: true,
                closes: true,
            }),
            Self::Before(done) => {
                (BEFORE.get(done) == Some(&byte)).then_some(Self::Before(done + 1))
            }
            Self::Item { is_first, closes } => match byte {
                b']' if is_first => Some(Self::After { closes }),
                b']' | b',' | b'}' | b':' => None,
                _ => Some(Self::In {
                    item: Item::new(byte),
                    closes,
                }),
            },
            Self::Behind { closes } => match byte {
                b',' => Some(Self::Item {
                    is_first: false,
                    closes,
                }),
                b']' => Some(Self::After { closes }),
                _ => None,
            },
            Self::After { closes: true } => (byte == b'}').then_some(Self::After { closes: false }),
            Self::After { closes: false } => None,
        }
    }
}

impl Item {
    fn new(byte: u8) -> Self {
        Self {
            depth: usize::from(matches!(byte, b'{' | b'[')),
            is_text: byte == b'"',
            is_escaped: false,
        }
    }

    fn after(mut self, byte: u8, closes: bool) -> List {
        let behind = List::Behind { closes };
        if self.is_text {
            let ends = byte == b'"' && !self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            self.is_text = !ends;
            if ends && self.depth == 0 {
                return behind;
            }
            return List::In { item: self, closes };
        }
        match byte {
            b'"' => self.is_text = true,
            b'{' | b'[' => self.depth += 1,
            // a number or a word ends where something else begins
            b']' if self.depth == 0 => return List::After { closes },
            b',' if self.depth == 0 => {
                return List::Item {
                    is_first: false,
                    closes,
                };
            }
            b'}' | b']' if self.depth <= 1 => return behind,
            b'}' | b']' => self.depth -= 1,
            _ if self.depth == 0 && byte.is_ascii_whitespace() => return behind,
            _ => {}
        }
        List::In { item: self, closes }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The texts of a body that comes in chunks of a size, and whether it ended well.
    fn cut(mut pieces: Pieces, body: &[u8], size: usize) -> (Vec<Option<String>>, bool) {
        let mut found = Vec::new();
        let owned = |piece: Piece<'_>| match piece {
            Piece::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Piece::TooLong => None,
        };
        for mut chunk in body.chunks(size) {
            while !chunk.is_empty() {
                let Ok((done, piece)) = pieces.next(chunk) else {
                    return (found, false);
                };
                found.extend(piece.map(owned));
                chunk = &chunk[done..];
            }
        }
        match pieces.end() {
            Ok(piece) => found.extend(piece.map(owned)),
            Err(_) => return (found, false),
        }
        (found, true)
    }

    fn texts(pieces: &[&str]) -> Vec<Option<String>> {
        let text = |piece: &&str| Some((*piece).to_owned());
        pieces.iter().map(text).collect()
    }

    #[test]
    fn lines_are_cut_wherever_chunks_end() {
        let body = "\u{feff}{\"a\":1}\r\n\n  \n{\"b\":2}\nlast";
        for size in 1..=body.len() {
            let (found, ended) = cut(Pieces::of_lines(), body.as_bytes(), size);
            assert!(ended);
            assert_eq!(found, texts(&["{\"a\":1}", "{\"b\":2}", "last"]), "{size}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let long = "x".repeat(PIECE_BYTES_MAX + 1);
        for body in [format!("{long}\na\n"), format!("{long}\na")] {
            for size in [1_000, PIECE_BYTES_MAX, usize::MAX] {
                let (found, _) = cut(Pieces::of_lines(), body.as_bytes(), size);
                assert_eq!(found, [None, Some("a".to_owned())]);
            }
        }
        let (found, _) = cut(Pieces::of_lines(), long.as_bytes(), 4_096);
        assert_eq!(found, [None]);
        let most = "x".repeat(PIECE_BYTES_MAX);
        let (found, _) = cut(Pieces::of_lines(), most.as_bytes(), 4_096);
        assert_eq!(found, [Some(most)]);
    }

    #[test]
    fn what_is_no_list_ends_where_it_is_none() {
        for (body, found) in [
            ("", &[][..]),
            ("{}", &[]),
            ("{\"event\": []}", &[]),
            ("[", &[]),
            ("[1,]", &["1"]),
            ("[1 2]", &["1"]),
            ("[1] 2", &["1"]),
            ("{\"events\": [1]", &["1"]),
            ("{\"events\": [{}], \"more\": 1}", &["{}"]),
            ("[[1]}", &["[1]"]),
        ] {
            for size in 1..=body.len().max(1) {
                let cut = cut(Pieces::of_list(), body.as_bytes(), size);
                assert_eq!(cut, (texts(found), false), "{body} {size}");
            }
        }
        for (body, found) in [
            (" [ ] ", &[][..]),
            ("{ \"events\" : [\n] }\n", &[]),
            ("[1 ,true]", &["1", "true"]),
        ] {
            for size in 1..=body.len() {
                let cut = cut(Pieces::of_list(), body.as_bytes(), size);
                assert_eq!(cut, (texts(found), true), "{body} {size}");
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\\\\\"\\[\\]{},: é]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"\\\\}]{0,3}", inner, 0..4)
                    .prop_map(|entries| json!(entries)),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_items_of_any_list_are_found(
            items in proptest::collection::vec(value(), 0..5),
            size in 1_usize..40,
            spaced in any::<bool>(),
            named in any::<bool>(),
        ) {
            let list = if named { json!({ "events": items }) } else { json!(items) };
            let body = if spaced {
                serde_json::to_string_pretty(&list).unwrap()
            } else {
                list.to_string()
            };
            let (found, ended) = cut(Pieces::of_list(), body.as_bytes(), size);
            prop_assert!(ended);
            let read = |text: &Option<String>| {
                serde_json::from_str::<Value>(text.as_deref().unwrap()).unwrap()
            };
            prop_assert_eq!(found.iter().map(read).collect::<Vec<_>>(), items);
        }
    }
}
