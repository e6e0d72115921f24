//! Requests before they are executed: their documents found, looked at and parsed.

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{DocumentOperations, ExecutableDocument};
use async_graphql::{Request, Response as Answer, ServerError};

use super::Web;
use super::answer::failed;
use super::room::{Share, Taken};
use crate::graphql::bulk::{self, Body, BodyError};
use crate::graphql::{self, ErrorCode, escapes, guard};

/// The request of a body, with its document parsed once there is room for that.
pub(super) fn prepared(
    web: &Web,
    body: &Body<'_>,
    (share, taken): (&Share, &mut Taken),
) -> Result<Request, Box<Answer>> {
    let known = web.documents.of(body);
    let known = known.map_err(|error| Box::new(failed(error.code(), error.to_string())))?;
    let room = share.document(taken, known.text());
    room.map_err(|refusal| Box::new(failed(refusal.code, refusal.message)))?;
    request(web, (body, known.text()), document(web, known.text())?)
}

/// The request of a body whose document, given or known, is parsed.
pub(super) fn request(
    web: &Web,
    (body, text): (&Body<'_>, &str),
    document: ExecutableDocument,
) -> Result<Request, Box<Answer>> {
    let now = web.api.ingest.clock().now();
    bulk::request((body, text), document, now).map_err(|error| {
        let code = match &error {
            BodyError::Malformed(_) => ErrorCode::BadRequest,
            BodyError::TooLarge | BodyError::TooManyValues => ErrorCode::LimitExceeded,
            BodyError::BadEvent(_) => ErrorCode::BadInput,
        };
        Box::new(failed(code, error.to_string()))
    })
}

/// Parses a document that the parser can be given.
pub(super) fn document(web: &Web, text: &str) -> Result<ExecutableDocument, Box<Answer>> {
    web.documents.parsed(text, || parsed(text))
}

/// The same of somebody of whom nothing is known: what he sends is not remembered.
pub(super) fn parsed(text: &str) -> Result<ExecutableDocument, Box<Answer>> {
    let looked = guard::check(text);
    looked.map_err(|refused| Box::new(failed(ErrorCode::LimitExceeded, refused.to_string())))?;
    parse_query(escapes::opened(text)).map_err(|error| {
        let error = graphql::of_syntax(ServerError::from(error));
        Box::new(Answer::from_errors(vec![error]))
    })
}

/// The name of the operation that is executed.
pub(super) fn name_of(document: &ExecutableDocument, given: Option<&str>) -> Option<String> {
    given
        .map(str::to_owned)
        .or_else(|| match &document.operations {
            DocumentOperations::Single(_) => None,
            DocumentOperations::Multiple(operations) => {
                let mut names = operations.keys().map(ToString::to_string);
                names.next().filter(|_| operations.len() == 1)
            }
        })
}
