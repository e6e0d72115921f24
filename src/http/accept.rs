//! In which form an answer is wanted (GraphQL over HTTP, "Media types"; RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

/// A form of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `application/json`: whatever becomes of a request that is one, the status is 200.
    Json,
    /// `application/graphql-response+json`: the status tells of a request that cannot be executed.
    GraphqlResponse,
    /// `text/event-stream`: as many answers as there are.
    EventStream,
}

impl Form {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::GraphqlResponse => "application/graphql-response+json",
            Self::EventStream => "text/event-stream",
        }
    }

    /// What an answer says of itself.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::EventStream => "text/event-stream; charset=utf-8",
        }
    }
}

/// Whether a body is JSON in UTF-8. Nothing else is taken: what a page elsewhere can post without
/// asking first is of another type.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    let range = content
        .and_then(|value| value.to_str().ok())
        .map(Range::read);
    range.is_some_and(|range| {
        let is_json = range.ty.eq_ignore_ascii_case(Form::Json.media_type());
        is_json && !range.is_other_encoding
    })
}

/// All forms; of those that are wanted alike, the first is taken.
const FORMS: [Form; 3] = [Form::Json, Form::GraphqlResponse, Form::EventStream];

/// The form that a caller wants most; `None` if it takes none of ours. Who does not say gets JSON.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Form> {
    let mut ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|range| !range.trim().is_empty())
        .map(Range::read)
        .peekable();
    if ranges.peek().is_none() {
        return Some(Form::Json);
    }
    let ranges: Vec<Range<'_>> = ranges.collect();
    let quality = |form: &Form| {
        let of_form = ranges
            .iter()
            .filter_map(|range| Some((range.matches(*form)?, range)));
        // the most specific one holds
        let holds = of_form.max_by_key(|(specific, _)| *specific);
        holds.map_or(0, |(_, range)| range.thousandths)
    };
    let mut best = None;
    for form in FORMS {
        let thousandths = quality(&form);
        if thousandths > best.map_or(0, |(most, _)| most) {
            best = Some((thousandths, form));
        }
    }
    best.map(|(_, form)| form)
}

/// A range of media types and how much it is wanted.
#[derive(Debug)]
struct Range<'a> {
    ty: &'a str,
    /// 1,000 is the most, 0 is "not this".
    thousandths: u32,
    /// Whether it asks for an encoding that is none of ours.
    is_other_encoding: bool,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let ty = parts.next().unwrap_or_default();
        let (mut thousandths, mut is_other_encoding) = (1_000, false);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => thousandths = quality(value),
                "charset" => {
                    is_other_encoding = !["utf-8", "utf8"].contains(&value.to_lowercase().as_str());
                }
                _ => {}
            }
        }
        Self {
            ty,
            thousandths,
            is_other_encoding,
        }
    }

    /// How specific it is of a form, if it is of it.
    fn matches(&self, form: Form) -> Option<u8> {
        if self.is_other_encoding {
            return None;
        }
        match self.ty {
            "*/*" => Some(0),
            "application/*" if form != Form::EventStream => Some(1),
            ty if ty.eq_ignore_ascii_case(form.media_type()) => Some(2),
            _ => None,
        }
    }
}

/// A quality between 0 and 1 with at most three digits; what is none is not wanted.
fn quality(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_fraction = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths: u32 = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        _ if !is_fraction => 0,
        "1" if thousandths == 0 => 1_000,
        "0" => thousandths,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{Form, wanted};

    fn of(accept: &[&'static str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        wanted(&headers)
    }

    #[test]
    fn the_form_wanted_most_is_taken() {
        use Form::{EventStream, GraphqlResponse, Json};
        for (accept, form) in [
            (&[][..], Some(Json)),
            (&[""], Some(Json)),
            (&["*/*"], Some(Json)),
            (&["application/*"], Some(Json)),
            (&["application/json"], Some(Json)),
            (
                &["application/graphql-response+json"],
                Some(GraphqlResponse),
            ),
            (
                &["application/graphql-response+json, application/json;q=0.9"],
                Some(GraphqlResponse),
            ),
            (
                &["application/graphql-response+json;q=0.5, application/json"],
                Some(Json),
            ),
            (
                &[
                    "application/json;q=0.5",
                    "application/graphql-response+json",
                ],
                Some(GraphqlResponse),
            ),
            (&["*/*, application/json;q=0"], Some(GraphqlResponse)),
            (
                &["application/graphql-response+json; charset=utf-8, */*;q=0.1"],
                Some(GraphqlResponse),
            ),
            (
                &["Application/GraphQL-Response+JSON; charset=\"UTF-8\""],
                Some(GraphqlResponse),
            ),
            (&["application/json; charset=utf-16"], None),
            (&["text/event-stream"], Some(EventStream)),
            (&["text/event-stream, */*;q=0.5"], Some(EventStream)),
            (&["text/html"], None),
            (&["text/html, */*;q=0"], None),
            (&["application/json;q=2"], None),
        ] {
            assert_eq!(of(accept), form, "{accept:?}");
        }
    }
}
