//! The commands on exports.

use async_graphql::{Context, Error, Object, SimpleObject};

use super::command::{UserError, UserErrorCode, keyed_id, tell_done, tell_refused};
use super::error::{bad_input, too_much};
use super::export_input::{CancelExportInput, CreateExportInput, DeleteExportInput, events_of};
use super::exports::{Export, whose};
use super::order::InOrder;
use super::{access, api, of_failed};
use crate::exports::{self, Ask, AskError, ExportsError, NewExport};

/// The answer to a command on an export.
#[derive(Debug, SimpleObject)]
struct ExportPayload {
    /// The export as it is now; null when there is none.
    export: Option<InOrder<Export>>,
    /// Why the command was refused; empty when it was not.
    user_errors: Vec<InOrder<UserError>>,
}

/// The commands on exports.
#[derive(Debug)]
pub(super) struct ExportCommands;

#[Object]
impl ExportCommands {
    /// Asks for events of the log as a file: those that are recorded until now and within reach. It is made behind
    /// the API, one after the other for each account; `export` tells how far it is, and its file is taken from
    /// `downloadPath`. An account has at most 10 that are not done, and its files have a limit together. What is to be
    /// deleted of these events is deleted when it is made, or seven days later than it was to be: then it fails.
    async fn create_export(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it has, and as what.")] input: CreateExportInput,
    ) -> Result<InOrder<ExportPayload>, Error> {
        let (api, caller) = (api(ctx), access::caller(ctx));
        let key = input.idempotency_key.clone();
        let key = key.map(|key| format!("{}/{key}", caller.account));
        let export_id = keyed_id(caller, key.as_deref(), "export");
        let ask = input.ask();
        checked(ctx, &ask).await?;
        let deed = ("createExport", Some(export_id.to_string()));
        let created = match api.exports {
            Some(bounds) => {
                let new = NewExport { export_id, ask };
                exports::create(api.store(), caller, new, bounds).await
            }
            None => Err(ExportsError::Nowhere),
        };
        ended(ctx, &deed, created.map(|row| row.export_id)).await
    }

    /// Cancels an export that waits or is being made: it is broken off within about a second, and has no file.
    async fn cancel_export(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which export.")] input: CancelExportInput,
    ) -> Result<InOrder<ExportPayload>, Error> {
        let id = input.export_id.0;
        let deed = ("cancelExport", Some(id.replace('\0', " ")));
        let whose = whose(access::caller(ctx));
        let cancelled = exports::cancel(api(ctx).store(), &whose, &id).await;
        ended(ctx, &deed, cancelled.map(|()| id)).await
    }

    /// Removes the file of an export that is done before its time is over, within about a second: its account may
    /// have others then.
    async fn delete_export(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which export.")] input: DeleteExportInput,
    ) -> Result<InOrder<ExportPayload>, Error> {
        let id = input.export_id.0;
        let deed = ("deleteExport", Some(id.replace('\0', " ")));
        let whose = whose(access::caller(ctx));
        let deleted = exports::delete(api(ctx).store(), &whose, &id).await;
        ended(ctx, &deed, deleted.map(|()| id)).await
    }
}

/// Refuses filters that mean nothing.
async fn checked(ctx: &Context<'_>, ask: &Ask) -> Result<(), Error> {
    let reach = access::caller(ctx).reach.clone();
    let read = events_of(api(ctx).store().clone(), ask.clone(), reach).await;
    match read {
        Ok(_) => Ok(()),
        Err(AskError::NotUnderstood(why)) => Err(bad_input(why)),
        Err(AskError::TooMuch(why)) => Err(too_much(why)),
        Err(AskError::Store(error)) => Err(of_failed(api(ctx), &error)),
    }
}

/// Tells in the audit how a command went.
async fn ended(
    ctx: &Context<'_>,
    deed: &(&str, Option<String>),
    done: Result<String, ExportsError>,
) -> Result<InOrder<ExportPayload>, Error> {
    let (export, user_errors) = match done {
        Ok(id) => {
            tell_done(ctx, deed).await?;
            (Export::read(ctx, &id).await?, Vec::new())
        }
        Err(error) => {
            let error = of_exports(ctx, error)?;
            tell_refused(ctx, deed, &error).await?;
            let target = deed.1.as_deref().filter(|_| deed.0 != "createExport");
            let export = match target {
                Some(id) => Export::read(ctx, id).await?,
                None => None,
            };
            (export, vec![InOrder(error)])
        }
    };
    Ok(InOrder(ExportPayload {
        export: export.map(InOrder),
        user_errors,
    }))
}

/// For what a command was refused, unless it failed.
fn of_exports(ctx: &Context<'_>, error: ExportsError) -> Result<UserError, Error> {
    let told = error.to_string();
    let (field, code) = match error {
        ExportsError::NotFound => ("exportId", UserErrorCode::NotFound),
        ExportsError::Over(_) => ("exportId", UserErrorCode::WrongState),
        ExportsError::Nowhere => ("format", UserErrorCode::NoStorage),
        ExportsError::NoSource | ExportsError::Sources | ExportsError::Twice(_) => {
            ("sources", UserErrorCode::Invalid)
        }
        ExportsError::NotAllowed(_) => ("sources", UserErrorCode::NotAllowed),
        ExportsError::Compressed => ("gzip", UserErrorCode::Invalid),
        ExportsError::Spreadsheet => ("spreadsheet", UserErrorCode::Invalid),
        ExportsError::Range => ("from", UserErrorCode::Invalid),
        ExportsError::TooMany => ("format", UserErrorCode::TooMany),
        ExportsError::NoRoom { .. } => ("format", UserErrorCode::NoRoom),
        ExportsError::OtherRepeat => ("idempotencyKey", UserErrorCode::Conflict),
        ExportsError::Store(error) => return Err(of_failed(api(ctx), &error)),
    };
    Ok(UserError::new(field, code, told))
}
