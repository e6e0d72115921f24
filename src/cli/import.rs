//! `import`: files of JSON lines into the log, with progress and a file of what was refused.

use std::fs::{File, Metadata};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant as Stopwatch;

use anyhow::{Context, bail};
use indicatif::HumanCount;

use super::{bar, location, print};
use crate::app;
use crate::clock::Clock;
use crate::config::{ImportArgs, LimitArgs};
use crate::ingest::{Import, ImportError, Ingest, Progress, Tally};
use crate::projections::{self, Runner};

/// What is said of a file that cannot be written.
const NOT_WRITTEN: &str = "cannot write the file of refused lines";

pub(super) async fn import(arguments: ImportArgs) -> anyhow::Result<()> {
    // before anything is made or written
    check(&arguments)?;
    let limits = LimitArgs::default();
    let location = location(&arguments.database, true)?;
    let (store, tasks) = app::open(location, &limits, Clock::system()).await?;
    let ingest = Ingest::new(store.clone());
    let mut done = Ok(());
    let (mut lines, mut taken) = (0, 0);
    // one for all files: a second one would overwrite what the first has refused
    let mut common = arguments.refused.map(LazyFile::new);
    for file in &arguments.files {
        let name = name_of(file);
        let mut own = LazyFile::new(beside(file));
        let refused = common.as_mut().unwrap_or(&mut own);
        match import_one(&ingest, file, refused).await {
            Ok(tally) => {
                print(&format!("{name}: {}", told(&tally)));
                lines += tally.lines;
                taken += tally.recorded + tally.duplicates;
            }
            Err(error) => {
                done = Err(error.context(format!("cannot import {name}")));
                break;
            }
        }
    }
    if done.is_ok() {
        // what follows the log is brought up to date here, should no server run
        let runner = Runner::new(store.clone(), projections::following());
        if let Err(error) = runner.follow(Some(store.head())).await {
            let error = crate::telemetry::chain(&error).to_string();
            tracing::debug!(error, "a running server folds the log");
        }
    }
    ingest.refusals().write(&store).await?;
    tasks.stop().await;
    done?;
    if lines > 0 && taken == 0 {
        bail!("every line was refused; nothing is stored")
    }
    Ok(())
}

fn told(tally: &Tally) -> String {
    format!(
        "{} lines: {} recorded, {} duplicates, {} conflicts, {} refused",
        tally.lines, tally.recorded, tally.duplicates, tally.conflicts, tally.rejected
    )
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn name_of(file: &Path) -> String {
    if is_stdin(file) {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// Where the refused lines of a file go when nothing else is said.
fn beside(file: &Path) -> PathBuf {
    if is_stdin(file) {
        PathBuf::from("stdin.refused.jsonl")
    } else {
        PathBuf::from(format!("{}.refused.jsonl", file.display()))
    }
}

/// Makes sure that all sources can be read, and refused lines be written without harm to any of them.
fn check(arguments: &ImportArgs) -> anyhow::Result<()> {
    let mut sources = Vec::with_capacity(arguments.files.len());
    for file in &arguments.files {
        let found = look_at(file).with_context(|| format!("cannot open {}", name_of(file)))?;
        sources.push((file.as_path(), found));
    }
    let Some(common) = &arguments.refused else {
        let mut files = arguments.files.iter();
        return files.try_for_each(|file| spares(&beside(file), &sources));
    };
    spares(common, &sources)?;
    can_be_written(common).with_context(|| format!("{NOT_WRITTEN}, {}", common.display()))
}

/// What a source is, if it can be read.
fn look_at(file: &Path) -> std::io::Result<Metadata> {
    if is_stdin(file) {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
        return File::from(stdin).metadata();
    }
    let found = std::fs::metadata(file)?;
    // whoever writes into a pipe takes it for its end when it is closed
    if found.is_file() || found.is_dir() {
        File::open(file)?;
    }
    Ok(found)
}

/// Makes sure that refused lines are not written over what is imported, by whatever name that is called.
fn spares(place: &Path, sources: &[(&Path, Metadata)]) -> anyhow::Result<()> {
    // what is not there, or cannot be reached, is none of them
    let Ok(found) = std::fs::metadata(place) else {
        return Ok(());
    };
    let id = |of: &Metadata| (of.dev(), of.ino());
    let mut same = sources.iter().filter(|(_, of)| id(of) == id(&found));
    let Some((source, _)) = same.next().filter(|_| found.is_file()) else {
        return Ok(());
    };
    let (place, source) = (place.display(), name_of(source));
    bail!(
        "refused lines are to go into {place}, which would overwrite {source}, which is to be imported: leave that \
         out, or give another file with --refused"
    )
}

async fn import_one(ingest: &Ingest, file: &Path, refused: &mut LazyFile) -> anyhow::Result<Tally> {
    let refused_path = refused.path.clone();
    let (source, bytes): (Box<dyn std::io::Read + Send>, Option<u64>) = if is_stdin(file) {
        (Box::new(std::io::stdin()), None)
    } else {
        let opened = File::open(file).context("it cannot be opened")?;
        let bytes = opened.metadata().ok().map(|metadata| metadata.len());
        (Box::new(opened), bytes)
    };
    let bar = bar(bytes, "{bytes}/{total_bytes} {msg}");
    let began = Stopwatch::now();
    let progress = |progress: Progress| {
        bar.set_position(progress.bytes_read);
        let lines = progress.tally.lines;
        let millis = u64::try_from(began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = lines.saturating_mul(1_000) / millis;
        let refused = progress.tally.refused();
        bar.set_message(format!(
            "{} lines, {rate}/s, {refused} refused",
            HumanCount(lines)
        ));
    };
    let import = Import {
        ingest,
        name: &name_of(file),
        refused,
        progress: &progress,
    };
    let imported = import.run(source).await;
    let path = refused_path.display();
    let tally = imported.map_err(|error| {
        let (error, advice) = match error {
            ImportError::Refused(source) => {
                let what = format!("{NOT_WRITTEN}, {path}");
                let advice = "give another file with --refused, and import it again";
                (anyhow::Error::new(source).context(what), advice)
            }
            error @ ImportError::Read { .. } => {
                let advice = "mend the source, and import it again to go on";
                (error.into(), advice)
            }
            error @ ImportError::Append { .. } => (error.into(), "import it again to go on"),
        };
        error.context(format!("what came before is kept; {advice}"))
    })?;
    bar.finish_and_clear();
    if tally.refused() > 0 {
        let (count, path) = (tally.refused(), refused_path.display());
        print(&format!(
            "{count} lines were refused; they stand with their reasons in {path}"
        ));
    }
    Ok(tally)
}

/// Whether a file that is named for refused lines can be written once there are some. What is there stays as it
/// is until then.
fn can_be_written(path: &Path) -> std::io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() || found.is_dir() => {
            File::options().write(true).open(path).map(drop)
        }
        // whoever reads from a pipe takes it for its end when it is closed
        Ok(_) => Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Err(_) => {
            if let Ok(target) = std::fs::read_link(path) {
                // what a link leads to is made when it is written to
                let folder = path.parent().unwrap_or_else(|| Path::new(""));
                return can_be_written(&folder.join(target));
            }
            File::options().write(true).create_new(true).open(path)?;
            std::fs::remove_file(path)
        }
    }
}

/// A file that is made when the first byte is written.
struct LazyFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl LazyFile {
    const fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }
}

impl Write for LazyFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(File::create(&self.path)?)),
        };
        file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}
