//! `verify`, `backup`, `restore`, `rebuild`, `migrate`: what whoever runs the server needs.

use anyhow::{Context, bail};
use indicatif::ProgressBar;

use super::{bar, location, print};
use crate::app;
use crate::clock::Clock;
use crate::config::{BackupArgs, DatabaseArgs, LimitArgs, MigrateAction, RebuildArgs, RestoreArgs};
use crate::projections;
use crate::store::{self, Check, Progress};

/// Shows how far the work has come.
fn show(bar: &ProgressBar, progress: Progress) {
    let number = |rows: i64| u64::try_from(rows).unwrap_or(0);
    bar.set_length(number(progress.total));
    bar.set_position(number(progress.done));
    bar.set_message(progress.stage);
}

const ROWS: &str = "{human_pos}/{human_len} {msg}";

/// Checks the log.
pub(super) async fn verify(arguments: DatabaseArgs) -> anyhow::Result<()> {
    let location = location(&arguments, false)?;
    let bar = bar(Some(0), ROWS);
    let verified = store::verify(&location, &projections::all(), &|progress| {
        show(&bar, progress);
    })
    .await;
    bar.finish_and_clear();
    let verified = verified?;
    let (events, head) = (verified.events, verified.head);
    if verified.is_sound() {
        print(&format!("sound: {events} events, positions 1 to {head}"));
        return Ok(());
    }
    for finding in &verified.findings {
        print(&format!("{:?}: {}", finding.check, finding.detail));
    }
    let total = verified.findings_total;
    let elsewhere = |finding: &store::Finding| finding.check == Check::Place;
    if verified.findings.iter().all(elsewhere) {
        bail!(
            "the log cannot be checked without what was archived of it; nothing says that it is damaged"
        )
    }
    let derived = |finding: &store::Finding| finding.check == Check::Projections;
    if verified.findings.iter().all(derived) {
        bail!("the log is sound, {total} tables folded from it are not; rebuild them")
    }
    let told = if total == 1 {
        "1 finding".to_owned()
    } else {
        format!("{total} findings")
    };
    bail!("the log is damaged: {told} in {events} events; restore a backup")
}

/// Backs the log up.
pub(super) async fn backup(arguments: BackupArgs) -> anyhow::Result<()> {
    let location = location(&arguments.database, false)?;
    let bar = bar(Some(0), ROWS);
    let done = store::backup(&location, &arguments.file, &|progress| show(&bar, progress)).await;
    bar.finish_and_clear();
    let done = done.with_context(|| format!("cannot back up into {}", arguments.file.display()))?;
    print(&format!(
        "{}: {} rows, head {}",
        arguments.file.display(),
        done.rows,
        done.head
    ));
    Ok(())
}

/// Restores a backup.
pub(super) async fn restore(arguments: RestoreArgs) -> anyhow::Result<()> {
    let location = location(&arguments.database, true)?;
    let bar = bar(Some(0), ROWS);
    let done = store::restore(&arguments.file, &location, &|progress| show(&bar, progress)).await;
    bar.finish_and_clear();
    let done = done.with_context(|| format!("cannot restore {}", arguments.file.display()))?;
    let (rows, head, epoch) = (done.rows, done.head, done.identity.epoch);
    print(&format!(
        "restored {rows} rows, head {head}; cursors from before it are refused from now on (epoch {epoch})"
    ));
    print(
        "access keys hold as they did when the backup was made: see `key list`, and revoke what was since",
    );
    Ok(())
}

/// Rebuilds a projection.
pub(super) async fn rebuild(arguments: RebuildArgs) -> anyhow::Result<()> {
    let limits = LimitArgs::default();
    let location = location(&arguments.database, false)?;
    let (store, tasks) = app::open(location, &limits, Clock::system()).await?;
    let bar = bar(
        u64::try_from(store.head().0).ok(),
        "{human_pos}/{human_len} events",
    );
    let shown = bar.clone();
    let done = projections::rebuild(&store, &arguments.projection, move |position, head| {
        shown.set_length(u64::try_from(head.0).unwrap_or(0));
        shown.set_position(u64::try_from(position.0).unwrap_or(0));
    })
    .await;
    bar.finish_and_clear();
    let head = store.head();
    tasks.stop().await;
    done?;
    print(&format!(
        "{} is rebuilt from the events up to position {}",
        arguments.projection, head.0
    ));
    Ok(())
}

/// Looks at or runs the migrations.
pub(super) async fn migrate(action: MigrateAction) -> anyhow::Result<()> {
    match action {
        MigrateAction::Status(arguments) => {
            let missing = store::missing_migrations(&location(&arguments, false)?).await?;
            if missing.is_empty() {
                print("the database is up to date");
                return Ok(());
            }
            for migration in &missing {
                print(&format!("missing: {migration}"));
            }
            bail!(
                "the database lacks {} migrations; run `migrate up`",
                missing.len()
            )
        }
        MigrateAction::Up(arguments) => {
            store::migrate(&location(&arguments, true)?).await?;
            print("the database is up to date");
            Ok(())
        }
        MigrateAction::Timescale(arguments) => {
            let made = store::make_hypertables(&location(&arguments, false)?).await?;
            if made.is_empty() {
                print("the large tables are hypertables already");
            } else {
                print(&format!("hypertables: {}", made.join(", ")));
            }
            Ok(())
        }
    }
}
