//! `export`: events out of the log, into a file or a data lake, with progress.

use std::path::Path;

use anyhow::{Context, bail};
use indicatif::HumanCount;
use tokio_util::sync::CancellationToken;

use super::{bar, location, print, say, shutdown_on_signal};
use crate::app;
use crate::clock::Clock;
use crate::config::LimitArgs;
use crate::event::{Instant, Position, Provenance};
use crate::export::{self, Asked, Events, ExportArgs, ExportError, Format, Readers, Target, lake};
use crate::graphql::filter_of;
use crate::kinds::{Envelope, Filter, Kind, Operand, Operator};
use crate::places::Place;
use crate::store::Store;

const ROWS: &str = "{human_pos}/{human_len} events, {per_sec}, {eta} left";

/// Where it goes.
enum To<'a> {
    Lake(&'a Place),
    Out(Out<'a>),
}

/// A file, or who reads, and as what it is written.
struct Out<'a> {
    path: &'a Path,
    form: (Format, Readers),
    target: Target,
}

pub(super) async fn export(arguments: ExportArgs) -> anyhow::Result<()> {
    let stop = shutdown_on_signal();
    // before anything is read
    let to = match &arguments.lake {
        Some(place) => To::Lake(place),
        None => To::Out(out(&arguments, &stop).await?),
    };
    let limits = LimitArgs::default();
    let location = location(&arguments.database, false)?;
    let (store, tasks) = app::open(location, &limits, Clock::system()).await?;
    let done = match to {
        To::Lake(place) => fill(&store, place, &stop).await,
        To::Out(out) => write(&store, &arguments, out, &stop).await,
    };
    tasks.stop().await;
    done
}

async fn out<'a>(arguments: &'a ExportArgs, stop: &CancellationToken) -> anyhow::Result<Out<'a>> {
    let path = arguments.out.as_deref().unwrap_or(Path::new("-"));
    let failed = || format!("cannot export into {}", path.display());
    let format = match arguments.format {
        Some(format) => format,
        None => Format::of_file(path).with_context(failed)?,
    };
    let readers = if arguments.spreadsheet {
        Readers::Spreadsheets
    } else {
        Readers::Programs
    };
    format.is_for(readers).with_context(failed)?;
    let target = if path.as_os_str() == "-" {
        Target::Stream(Box::new(std::io::stdout()))
    } else {
        let found = tokio::select! {
            () = stop.cancelled() => Err(ExportError::Cancelled),
            found = Target::at(path) => found,
        };
        found.with_context(failed)?
    };
    Ok(Out {
        path,
        form: (format, readers),
        target,
    })
}

async fn write(
    store: &Store,
    arguments: &ExportArgs,
    out: Out<'_>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let kinds = kinds(arguments, store)?;
    let path = out.path.display();
    let failed = || format!("cannot export into {path}");
    let is_stream = matches!(out.target, Target::Stream(_));
    let upto = store.head();
    let left_out = left_out(store, arguments, upto)
        .await
        .with_context(failed)?;
    let asked = Asked {
        kinds: kinds.clone(),
        upto,
    };
    let events = Events::new(store.clone(), asked);
    let count = events.count().await.with_context(failed)?;
    let bar = bar(u64::try_from(count).ok(), ROWS);
    let shown = bar.clone();
    let told = move |events| shown.set_position(events);
    let of = kinds.iter().map(|(kind, _)| *kind).collect();
    let (format, readers) = out.form;
    let form = (format, readers, of);
    let written = tokio::select! {
        // whoever reads may take nothing more, and is not waited for
        () = stop.cancelled(), if is_stream => Err(ExportError::Cancelled),
        written = export::write(events, form, out.target, (&told, stop)) => written,
    };
    bar.finish_and_clear();
    let written = written.with_context(failed)?;
    if !is_stream {
        let (events, bytes) = (HumanCount(written.events), HumanCount(written.bytes));
        print(&format!("{path}: {events} events, {bytes} bytes"));
    }
    if !left_out.is_empty() {
        let told = format!(
            "left out, since this program alone records them and nothing imports them: {}; `backup` and a data \
             lake (--lake) have them",
            left_out.join(", ")
        );
        say(&mut std::io::stderr(), &told);
    }
    Ok(())
}

/// How many events of which kinds are in no export, where no source is named: those that this program alone
/// records, about what is done with it.
async fn left_out(
    store: &Store,
    arguments: &ExportArgs,
    upto: Position,
) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    if !arguments.kinds.is_empty() {
        return Ok(left);
    }
    for kind in Kind::all().filter(|kind| !kind.spec().recordable) {
        let kinds = vec![(kind, within(arguments)?)];
        let events = Events::new(store.clone(), Asked { kinds, upto });
        let count = events.count().await?;
        if count > 0 {
            left.push(format!("{count} {}", kind.spec().list));
        }
    }
    Ok(left)
}

/// The kinds that are asked for, each with which of its events.
fn kinds(arguments: &ExportArgs, store: &Store) -> anyhow::Result<Vec<(Kind, Filter)>> {
    let recordable = || Kind::all().filter(|kind| kind.spec().recordable);
    let mut kinds = Vec::new();
    for name in &arguments.kinds {
        let Some(kind) = recordable().find(|kind| kind.spec().list == name) else {
            let known: Vec<_> = recordable().map(|kind| kind.spec().list).collect();
            bail!(
                "there is no source {name}: it is one of {}",
                known.join(", ")
            )
        };
        kinds.push(kind);
    }
    if kinds.is_empty() {
        kinds.extend(recordable());
    }
    let given = arguments.filter.as_deref();
    let filter = match (given, kinds.as_slice()) {
        (None, _) => Filter::default(),
        (Some(filter), [kind]) => filter_of(store.names(), *kind, filter)
            .map_err(|refused| anyhow::anyhow!(refused.message))?,
        (Some(_), _) => bail!("--filter is that of one source: name it with --source"),
    };
    let within = within(arguments)?;
    let kinds = kinds.into_iter();
    Ok(kinds
        .map(|kind| (kind, within.clone().and(filter.clone())))
        .collect())
}

/// What is asked of events of whatever kind.
fn within(arguments: &ExportArgs) -> anyhow::Result<Filter> {
    let mut filters = Vec::new();
    let time = |text: &String| {
        let wrong = || format!("{text} is no time such as 2026-11-23T20:01:56Z");
        Instant::parse(text).with_context(wrong)
    };
    let from = arguments.from.as_ref().map(time).transpose()?;
    let to = arguments.to.as_ref().map(time).transpose()?;
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        bail!("--from {from} is not before --to {to}, so that there is nothing between them");
    }
    if let Some(from) = from {
        let operator = Operator::AtLeast(from.0.into());
        filters.push(Filter::Is(
            Operand::Envelope(Envelope::OccurredAt),
            operator,
        ));
    }
    if let Some(to) = to {
        let operator = Operator::Less(to.0.into());
        filters.push(Filter::Is(
            Operand::Envelope(Envelope::OccurredAt),
            operator,
        ));
    }
    if let Some(word) = &arguments.provenance {
        let wrong = || format!("{word} is none of REAL, CONTROLLED, SIMULATED");
        let provenance = Provenance::of_word(word).with_context(wrong)?;
        let operator = Operator::In(vec![provenance.code().into()]);
        filters.push(Filter::Is(
            Operand::Envelope(Envelope::Provenance),
            operator,
        ));
    }
    Ok(Filter::And(filters))
}

/// Brings a data lake up to date.
async fn fill(store: &Store, place: &Place, stop: &CancellationToken) -> anyhow::Result<()> {
    let bar = bar(u64::try_from(store.head().0).ok(), ROWS);
    let shown = bar.clone();
    let told = move |position: Position| {
        shown.set_position(u64::try_from(position.0).unwrap_or_default());
    };
    let filled = lake::fill(store, place, (&told, stop)).await;
    bar.finish_and_clear();
    let filled = filled.with_context(|| format!("cannot fill the data lake {place}"))?;
    let (events, upto) = (HumanCount(filled.events), filled.position.0);
    print(&format!(
        "{place}: {events} events more, whole up to position {upto}"
    ));
    Ok(())
}
