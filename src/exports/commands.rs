//! Exports are asked for and cancelled.

use uuid::Uuid;

use super::{Ask, Bounds, ExportsError, MIB, State, UNFINISHED_MAX, reach_text, rows};
use crate::event::Instant;
use crate::export::Format;
use crate::history::exports::{ExportRow, Whose, export};
use crate::identity::{Caller, Permission};
use crate::store::Store;

/// An export that is asked for.
#[derive(Clone, Debug)]
pub struct NewExport {
    /// Its id.
    pub export_id: Uuid,
    /// What is asked for.
    pub ask: Ask,
}

impl NewExport {
    fn check(&self, caller: &Caller) -> Result<(), ExportsError> {
        let ask = &self.ask;
        if ask.sources.is_empty() {
            return Err(ExportsError::NoSource);
        }
        let sources = ask.sources.iter();
        for (ordinal, source) in sources.clone().enumerate() {
            if sources
                .clone()
                .take(ordinal)
                .any(|other| other.name == source.name)
            {
                return Err(ExportsError::Twice(source.name.clone()));
            }
        }
        if ask.is_for_administrators() && !caller.may(Permission::Administer) {
            let mut sources = sources.filter(|source| {
                let one = Ask {
                    sources: vec![(*source).clone()],
                    ..ask.clone()
                };
                one.is_for_administrators()
            });
            let name = sources.next().map(|source| source.name.clone());
            return Err(ExportsError::NotAllowed(name.unwrap_or_default()));
        }
        let format = ask.format();
        if format != Some(Format::Jsonl) && ask.sources.len() != 1 {
            return Err(ExportsError::Sources);
        }
        if format == Some(Format::Parquet) && ask.gzip {
            return Err(ExportsError::Compressed);
        }
        if format.is_some_and(|format| format.is_for(ask.readers()).is_err()) {
            return Err(ExportsError::Spreadsheet);
        }
        let time = |text: &Option<String>| text.as_deref().and_then(Instant::parse);
        if time(&ask.from)
            .zip(time(&ask.to))
            .is_some_and(|(from, to)| from >= to)
        {
            return Err(ExportsError::Range);
        }
        Ok(())
    }
}

/// Asks for an export. Asking for the same again with the same id does nothing.
///
/// # Errors
/// When it cannot be made as it is asked for, there are too many or too large ones, another was asked for with
/// that id, or it cannot be kept.
pub async fn create(
    store: &Store,
    caller: &Caller,
    new: NewExport,
    bounds: Bounds,
) -> Result<ExportRow, ExportsError> {
    new.check(caller)?;
    let now = store.clock().now().0;
    // what of the log it has is not to depend on when its turn comes
    let position = store.committed_head().await?;
    let row = ExportRow {
        export_id: new.export_id.to_string(),
        asked: serde_json::to_string(&new.ask).unwrap_or_default(),
        format: new.ask.format.clone(),
        state: State::Queued.word().to_owned(),
        events: 0,
        events_total: None,
        bytes: 0,
        position: position.0,
        restarts: 0,
        file: None,
        account: caller.account.to_string(),
        reach: reach_text(&caller.reach),
        administrators: i64::from(new.ask.is_for_administrators()),
        created_by: caller.name.to_string(),
        created_at: now,
        changed_at: now,
        expires_at: None,
        error_code: None,
        error_message: None,
    };
    if let Some(made) = export(store, &Whose::All, &row.export_id).await? {
        return repeated(made, &row);
    }
    let (bytes, bytes_max) = (
        rows::kept_bytes(store, &row.account).await?,
        bounds.account_bytes_max,
    );
    if bytes >= bytes_max {
        let (mib, mib_max) = (bytes / MIB, bytes_max / MIB);
        return Err(ExportsError::NoRoom { mib, mib_max });
    }
    if rows::insert(store, row.clone(), UNFINISHED_MAX).await? {
        return Ok(row);
    }
    // somebody else has asked meanwhile, or it is one too many
    match export(store, &Whose::All, &row.export_id).await? {
        Some(made) => repeated(made, &row),
        None => Err(ExportsError::TooMany),
    }
}

fn repeated(made: ExportRow, row: &ExportRow) -> Result<ExportRow, ExportsError> {
    let asked = |row: &ExportRow| (row.asked.clone(), row.account.clone(), row.reach.clone());
    if asked(&made) == asked(row) {
        Ok(made)
    } else {
        Err(ExportsError::OtherRepeat)
    }
}

/// Cancels an export that waits or is being made; it is broken off within about a second. One that was
/// cancelled stays so.
///
/// # Errors
/// When there is none, it is over, or it cannot be kept.
pub async fn cancel(store: &Store, whose: &Whose, export_id: &str) -> Result<(), ExportsError> {
    if export(store, whose, export_id).await?.is_none() {
        return Err(ExportsError::NotFound);
    }
    if rows::cancel(store, export_id).await? {
        return Ok(());
    }
    is_now(store, whose, (export_id, State::Cancelled)).await
}

/// Removes the file of an export that is done, within about a second: its time is over at once. One that has no
/// file any more stays so.
///
/// # Errors
/// When there is none, it has no file yet or never had one, or it cannot be kept.
pub async fn delete(store: &Store, whose: &Whose, export_id: &str) -> Result<(), ExportsError> {
    if export(store, whose, export_id).await?.is_none() {
        return Err(ExportsError::NotFound);
    }
    rows::end(store, export_id).await?;
    is_now(store, whose, (export_id, State::Expired)).await
}

/// Makes sure that an export has come to a state.
async fn is_now(
    store: &Store,
    whose: &Whose,
    (export_id, wanted): (&str, State),
) -> Result<(), ExportsError> {
    let found = export(store, whose, export_id).await?;
    match found.map(|row| State::of_row(&row, store.clock().now())) {
        Some(state) if state == wanted => Ok(()),
        Some(state) => Err(ExportsError::Over(state.word())),
        None => Err(ExportsError::NotFound),
    }
}
