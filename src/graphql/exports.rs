//! Exports: events of the log as files, made behind the API and taken from the server when they are whole.

use std::sync::Arc;

use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};

use super::listed::{Ends, Listed, cut};
use super::order::InOrder;
use super::pages::PageInfo;
use super::scalars::{DateTime, JsonScalar, Long};
use super::words::{EventKinds, Shown};
use super::{access, api, of_failed};
use crate::event::Instant;
use crate::export::Format;
use crate::exports::{Ask, Code, State, reach_text};
use crate::history::Place;
use crate::history::exports::{self as rows, ExportRow, ExportsPage, Whose};
use crate::identity::{Caller, Permission, Reach};

const LIST: Listed = Listed {
    name: "export",
    rows: 50,
    rows_max: 1_000,
};

/// As what events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum ExportFormat {
    /// JSON lines, as `import` takes them: one event a line, of whatever source, as it was recorded.
    JsonLines,
    /// Comma-separated values with a header, as of RFC 4180: the events of one source.
    Csv,
    /// Apache Parquet, compressed with zstd: the events of one source.
    Parquet,
}

impl ExportFormat {
    const fn of(format: Format) -> Self {
        match format {
            Format::Jsonl => Self::JsonLines,
            Format::Csv => Self::Csv,
            Format::Parquet => Self::Parquet,
        }
    }

    /// The ending of names of such files.
    pub(super) const fn ending(self) -> &'static str {
        let format = match self {
            Self::JsonLines => Format::Jsonl,
            Self::Csv => Format::Csv,
            Self::Parquet => Format::Parquet,
        };
        format.ending()
    }
}

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum ExportState {
    /// It waits for its turn.
    Queued,
    /// It is being written.
    Running,
    /// Its file is whole, and can be taken from `downloadPath`.
    Done,
    /// It cannot be made; `error` says why.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Its file was removed, since its time is over or it was deleted.
    Expired,
}

/// Why an export has failed, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum ExportErrorCode {
    /// There is no room for its file: on the disk, or in what its account may have.
    NoRoom,
    /// It has more bytes than an export may have, or takes longer to be made than one may.
    TooLarge,
    /// The place of files cannot be reached or written.
    Unwritable,
    /// The log cannot be read.
    Unreadable,
    /// What was asked for is not understood any more.
    NotUnderstood,
    /// The server that made it ended, and it was begun again too often already.
    BrokenOff,
    /// It names a person whose events were erased before it was made.
    PersonErased,
    /// Events that it asks for were deleted before it was made, since that was overdue: it is to be asked for again.
    EventsDeleted,
    /// A fault of the server.
    Internal,
}

/// Why an export has failed.
#[derive(Clone, Debug, SimpleObject)]
struct ExportError {
    /// Why, for programs.
    code: ExportErrorCode,
    /// Why, for people.
    message: String,
}

/// A source of an export.
#[derive(Debug, SimpleObject)]
struct ExportSource {
    /// The kind of its events.
    kind: Shown<EventKinds>,
    /// Which of them, as the filter of their list; null for all.
    filter: Option<JsonScalar>,
}

/// Events of the log as a file.
#[derive(Clone, Debug)]
pub(super) struct Export {
    row: Arc<ExportRow>,
    ask: Option<Arc<Ask>>,
    state: State,
}

impl Export {
    fn of(row: ExportRow, now: Instant) -> Self {
        Self {
            state: State::of_row(&row, now),
            ask: serde_json::from_str(&row.asked).ok().map(Arc::new),
            row: Arc::new(row),
        }
    }

    /// An export that the caller may see, if there is such a one.
    pub(super) async fn read(ctx: &Context<'_>, export_id: &str) -> Result<Option<Self>, Error> {
        let whose = whose(access::caller(ctx));
        let row = rows::export(api(ctx).store(), &whose, export_id).await;
        let row = row.map_err(|error| of_failed(api(ctx), &error))?;
        let now = api(ctx).ingest.clock().now();
        Ok(row.map(|row| Self::of(row, now)))
    }

    fn place(&self) -> Place {
        (self.row.created_at, self.row.export_id.clone())
    }
}

/// Events of the log as a file: what was recorded when it was asked for, in the order in which it happened; in JSON
/// lines sites and devices are registered before all else.
#[Object]
impl Export {
    /// Its id.
    async fn export_id(&self) -> ID {
        ID(self.row.export_id.clone())
    }

    /// How far it is.
    async fn state(&self) -> ExportState {
        match self.state {
            State::Queued => ExportState::Queued,
            State::Running => ExportState::Running,
            State::Done => ExportState::Done,
            State::Failed => ExportState::Failed,
            State::Cancelled => ExportState::Cancelled,
            State::Expired => ExportState::Expired,
        }
    }

    /// As what it is written.
    async fn format(&self) -> Option<ExportFormat> {
        let format = self.ask.as_ref().and_then(|ask| ask.format());
        format.map(ExportFormat::of)
    }

    /// Whether it is compressed with gzip.
    async fn gzip(&self) -> bool {
        self.ask.as_ref().is_some_and(|ask| ask.gzip)
    }

    /// Whether its CSV is for spreadsheets: no text in it begins as a formula does.
    async fn spreadsheet(&self) -> bool {
        self.ask.as_ref().is_some_and(|ask| ask.spreadsheet)
    }

    /// Its sources.
    async fn sources(&self) -> Vec<InOrder<ExportSource>> {
        let sources = self.ask.iter().flat_map(|ask| &ask.sources);
        let shown = sources.filter_map(|source| {
            let filter = Some(&source.filter).filter(|filter| !filter.is_null());
            Some(ExportSource {
                kind: Shown::new(source.kind()?.spec().wire),
                filter: filter.cloned().map(JsonScalar),
            })
        });
        shown.map(InOrder).collect()
    }

    /// The first instant of its events, by when they happened.
    async fn from(&self) -> Option<DateTime> {
        let from = self.ask.as_ref()?.from.as_deref()?;
        Instant::parse(from).map(DateTime)
    }

    /// The first instant after the last.
    async fn to(&self) -> Option<DateTime> {
        let to = self.ask.as_ref()?.to.as_deref()?;
        Instant::parse(to).map(DateTime)
    }

    /// Events that are written so far.
    async fn events(&self) -> Long {
        Long(self.row.events)
    }

    /// Events that there are in all; null until they are counted.
    async fn events_total(&self) -> Option<Long> {
        self.row.events_total.map(Long)
    }

    /// Bytes that are written so far.
    async fn bytes(&self) -> Long {
        Long(self.row.bytes)
    }

    /// It has nothing that was recorded after this position.
    async fn position(&self) -> Long {
        Long(self.row.position)
    }

    /// How often it was begun again, since the server that made it had ended or the log could not be read.
    async fn restarts(&self) -> i32 {
        i32::try_from(self.row.restarts).unwrap_or(i32::MAX)
    }

    /// Where its file is taken by GET, with the credential of this API; parts of it by `Range`. Null unless it
    /// is done.
    async fn download_path(&self) -> Option<String> {
        let path = || format!("/exports/{}", self.row.export_id);
        (self.state == State::Done).then(path)
    }

    /// Who asked for it.
    async fn created_by(&self) -> &str {
        &self.row.created_by
    }

    /// When it was asked for.
    async fn created_at(&self) -> DateTime {
        DateTime(Instant(self.row.created_at))
    }

    /// When it changed last.
    async fn changed_at(&self) -> DateTime {
        DateTime(Instant(self.row.changed_at))
    }

    /// When its file is removed, or was; null of one that has had none.
    async fn expires_at(&self) -> Option<DateTime> {
        self.row.expires_at.map(|at| DateTime(Instant(at)))
    }

    /// Why it has failed; null when it has not.
    async fn error(&self) -> Option<InOrder<ExportError>> {
        let word = self.row.error_code.as_deref()?;
        let code = Code::ALL.into_iter().find(|code| code.word() == word)?;
        let code = match code {
            Code::NoRoom => ExportErrorCode::NoRoom,
            Code::TooLarge => ExportErrorCode::TooLarge,
            Code::Unwritable => ExportErrorCode::Unwritable,
            Code::Unreadable => ExportErrorCode::Unreadable,
            Code::NotUnderstood => ExportErrorCode::NotUnderstood,
            Code::BrokenOff => ExportErrorCode::BrokenOff,
            Code::PersonErased => ExportErrorCode::PersonErased,
            Code::EventsDeleted => ExportErrorCode::EventsDeleted,
            Code::Internal => ExportErrorCode::Internal,
        };
        let message = self.row.error_message.clone().unwrap_or_default();
        Some(InOrder(ExportError { code, message }))
    }
}

/// Whose exports a caller sees: everybody's as an administrator, and else its own, as long as it still reaches
/// what it reached then.
pub(crate) fn whose(caller: &Caller) -> Whose {
    if caller.may(Permission::Administer) {
        return Whose::All;
    }
    let is_whole = caller.reach == Reach::Whole;
    Whose::Of {
        account: caller.account.to_string(),
        reach: (!is_whole).then(|| reach_text(&caller.reach)),
    }
}

/// The queries of exports.
#[derive(Debug)]
pub(super) struct Exports;

#[Object]
impl Exports {
    /// An export by its id: one's own, or as an administrator anybody's; null when there is none.
    async fn export(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id.")] export_id: ID,
    ) -> Result<Option<InOrder<Export>>, Error> {
        Ok(Export::read(ctx, &export_id).await?.map(InOrder))
    }

    /// Exports, the newest first: one's own, or as an administrator everybody's. One that has no file any more is
    /// shown for 30 days.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are those of every connection"
    )]
    async fn exports(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Rows at most, from the beginning; 50 when neither is given, 1000 at most."
        )]
        first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end; 1000 at most.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<Option<InOrder<ExportConnection>>, Error> {
        let (size, part) = LIST.part((first, after), (last, before))?;
        let page = ExportsPage {
            whose: whose(access::caller(ctx)),
            part,
        };
        let mut connection = ExportConnection::read(ctx, page, size).await?;
        if ctx.look_ahead().field("pageInfo").exists() {
            connection.ends.other = connection.is_more_on_the_other_side(ctx).await?;
        }
        Ok(Some(InOrder(connection)))
    }
}

/// An export with its place.
#[derive(Debug, SimpleObject)]
struct ExportEdge {
    /// Place of the export.
    cursor: String,
    /// The export.
    node: InOrder<Export>,
}

/// A page of exports.
#[derive(Debug)]
struct ExportConnection {
    exports: Vec<Export>,
    page: ExportsPage,
    ends: Ends,
}

/// A page of exports.
#[Object]
impl ExportConnection {
    /// The exports with their places.
    async fn edges(&self) -> Vec<InOrder<ExportEdge>> {
        let edge = |export: &Export| ExportEdge {
            cursor: LIST.write(&export.place()),
            node: InOrder(export.clone()),
        };
        self.exports.iter().map(edge).map(InOrder).collect()
    }

    /// The exports.
    async fn nodes(&self) -> Vec<InOrder<Export>> {
        self.exports.iter().cloned().map(InOrder).collect()
    }

    /// Where the page stands among the others.
    async fn page_info(&self) -> InOrder<PageInfo> {
        let places: Vec<_> = self.exports.iter().map(Export::place).collect();
        InOrder(LIST.info(self.ends, places.first(), places.last()))
    }

    /// How many exports there are on all pages; counted only when asked for.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<Long>, Error> {
        let count = rows::exports_count(api(ctx).store(), &self.page).await;
        let count = count.map_err(|error| of_failed(api(ctx), &error))?;
        Ok(Some(Long(i64::try_from(count).unwrap_or(i64::MAX))))
    }
}

impl ExportConnection {
    async fn read(ctx: &Context<'_>, page: ExportsPage, size: usize) -> Result<Self, Error> {
        let (api, loaders) = (api(ctx), super::loaders(ctx));
        let limit = u64::try_from(size + 1).unwrap_or(u64::MAX);
        let found = rows::exports_page(api.store(), &page, (limit, loaders.allowance())).await;
        let mut found = found.map_err(|error| of_failed(api, &error))?;
        let ends = Ends {
            from_end: page.part.from_end,
            more: cut(&mut found, size, page.part.from_end),
            other: false,
        };
        loaders.count(found.len())?;
        let now = api.ingest.clock().now();
        let exports = found.into_iter().map(|row| Export::of(row, now));
        Ok(Self {
            exports: exports.collect(),
            page,
            ends,
        })
    }

    /// Whether there are exports on the side from which the page was read.
    async fn is_more_on_the_other_side(&self, ctx: &Context<'_>) -> Result<bool, Error> {
        let place = |row: Option<&Export>| row.map(Export::place);
        let (first, last) = (self.exports.first(), self.exports.last());
        let Some(part) = self.page.part.beyond(place(first), place(last)) else {
            return Ok(false);
        };
        let beyond = ExportsPage {
            part,
            ..self.page.clone()
        };
        let (api, allowance) = (api(ctx), super::loaders(ctx).allowance());
        let found = rows::exports_page(api.store(), &beyond, (1, allowance)).await;
        let found = found.map_err(|error| of_failed(api, &error))?;
        Ok(!found.is_empty())
    }
}
