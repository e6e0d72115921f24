//! The file of a backup: written under another name until it is whole, and checked before it is used. It holds what
//! everybody has done, and is its owner's alone.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::BackupError;
use crate::places::WholeFile;

const FORMAT: &str = "homepot-analytics backup";
const VERSION: i64 = 1;
/// The version of those that hold segments, which the first one did not know.
const VERSION_WITH_SEGMENTS: i64 = 2;

/// What a backup says of itself.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) log_id: Uuid,
    pub(super) epoch: i64,
    pub(super) head: i64,
    pub(super) migrations: Vec<String>,
    /// Whether it holds the files of segments.
    pub(super) has_segments: bool,
}

impl Manifest {
    pub(super) fn to_json(&self) -> Json {
        json!({
            "format": FORMAT,
            "version": if self.has_segments { VERSION_WITH_SEGMENTS } else { VERSION },
            "log_id": self.log_id,
            "epoch": self.epoch,
            "head": self.head,
            "migrations": self.migrations,
        })
    }

    /// Reads the first line; the error says what is wrong with it.
    fn of_json(json: &Json) -> Result<Self, &'static str> {
        if json.get("format").and_then(Json::as_str) != Some(FORMAT) {
            return Err("it is no backup of this program");
        }
        let version = json.get("version").and_then(Json::as_i64);
        if ![Some(VERSION), Some(VERSION_WITH_SEGMENTS)].contains(&version) {
            return Err("it is of a form that this version does not know");
        }
        let number = |name| json.get(name).and_then(Json::as_i64);
        let log_id = json.get("log_id").and_then(Json::as_str);
        let migrations = json.get("migrations").and_then(Json::as_array);
        let name = |name: &Json| name.as_str().map(str::to_owned);
        let read = || {
            Some(Self {
                log_id: log_id?.parse().ok()?,
                epoch: number("epoch")?,
                head: number("head")?,
                migrations: migrations?.iter().filter_map(name).collect(),
                has_segments: version == Some(VERSION_WITH_SEGMENTS),
            })
        };
        read().ok_or("its first line lacks something")
    }
}

/// A backup being written.
pub(super) struct Writing {
    out: GzEncoder<BufWriter<File>>,
    hash: Sha256,
    rows: i64,
    file: WholeFile,
    to: PathBuf,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File {
        doing,
        path,
        source,
    }
}

/// Runs what would block on a thread for that.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(failed("go on with", path)(std::io::Error::other(error))),
    }
}

impl Writing {
    pub(super) async fn begin(to: &Path) -> Result<Self, BackupError> {
        let to = to.to_owned();
        blocking(&to.clone(), move || {
            if to.exists() {
                return Err(BackupError::Exists(to));
            }
            let file = WholeFile::begin(&to).map_err(failed("make", &to))?;
            let handle = file.handle().map_err(failed("write", file.partial()))?;
            Ok(Self {
                out: GzEncoder::new(BufWriter::new(handle), Compression::fast()),
                hash: Sha256::new(),
                rows: 0,
                file,
                to,
            })
        })
        .await
    }

    pub(super) const fn rows_written(&self) -> i64 {
        self.rows
    }

    pub(super) async fn line(self, line: &Json) -> Result<Self, BackupError> {
        self.text(format!("{line}\n")).await
    }

    pub(super) async fn rows(mut self, lines: Vec<String>) -> Result<Self, BackupError> {
        self.rows += i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let mut text = lines.join("\n");
        text.push('\n');
        self.text(text).await
    }

    async fn text(mut self, text: String) -> Result<Self, BackupError> {
        blocking(&self.to.clone(), move || {
            self.hash.update(&text);
            let written = self.out.write_all(text.as_bytes());
            written.map_err(failed("write", self.file.partial()))?;
            Ok(self)
        })
        .await
    }

    /// Makes the file whole and lasting, and gives it its name.
    pub(super) async fn finish(self) -> Result<(), BackupError> {
        blocking(&self.to.clone(), move || {
            let end = json!({"rows": self.rows, "sha256": hex(&self.hash.finalize())});
            let mut out = self.out;
            let synced = writeln!(out, "{end}")
                .and_then(|()| out.finish())
                .and_then(|file| Ok(file.into_inner()?))
                .and_then(|file: File| file.sync_all());
            synced.map_err(failed("write", self.file.partial()))?;
            if self.to.exists() {
                return Err(BackupError::Exists(self.to));
            }
            self.file.end().map_err(failed("name", &self.to))
        })
        .await
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a text does not fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The lines of a backup between its manifest and its end.
pub(super) struct Lines {
    lines: BufReader<MultiGzDecoder<File>>,
    path: PathBuf,
}

impl Lines {
    /// Opens a backup and reads its manifest.
    pub(super) fn open(path: &Path) -> Result<(Manifest, Self), BackupError> {
        let mut lines = Self::raw(path)?;
        let first = lines.next_line(&mut Sha256::new())?;
        let manifest = Manifest::of_json(&first.0).map_err(|why| lines.damaged(why))?;
        Ok((manifest, lines))
    }

    fn raw(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(failed("open", path))?;
        let lines = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file));
        let path = path.to_owned();
        Ok(Self { lines, path })
    }

    pub(super) fn damaged(&self, why: &'static str) -> BackupError {
        let path = self.path.clone();
        BackupError::Damaged { path, why }
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Result<Json, BackupError> {
        Ok(self.next_line(&mut Sha256::new())?.0)
    }

    /// The next line, and what the lines before it hash to.
    fn next_line(&mut self, hash: &mut Sha256) -> Result<(Json, String), BackupError> {
        /// More than any row can be.
        const LINE_BYTES_MAX: u64 = 1 << 26;
        let mut line = Vec::new();
        let read = (&mut self.lines)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line);
        read.map_err(|_| self.damaged("it is not whole"))?;
        if line.last() != Some(&b'\n') {
            return Err(self.damaged("it is not whole"));
        }
        let before = hex(&hash.clone().finalize());
        hash.update(&line);
        let json = serde_json::from_slice(&line);
        let json = json.map_err(|_| self.damaged("a line is no JSON"))?;
        Ok((json, before))
    }
}

/// Reads a backup from end to end and checks that it is whole.
pub(super) async fn check(path: &Path) -> Result<Manifest, BackupError> {
    let path = path.to_owned();
    blocking(&path.clone(), move || {
        let mut lines = Lines::raw(&path)?;
        let (mut hash, mut rows) = (Sha256::new(), 0_i64);
        let (first, _) = lines.next_line(&mut hash)?;
        let manifest = Manifest::of_json(&first).map_err(|why| lines.damaged(why))?;
        loop {
            let (line, before) = lines.next_line(&mut hash)?;
            if line.is_array() {
                rows += 1;
            } else if let Some(sum) = line.get("sha256").and_then(Json::as_str) {
                if sum != before || line.get("rows").and_then(Json::as_i64) != Some(rows) {
                    return Err(lines.damaged("its checksum does not hold"));
                }
                // the end of the compressed stream has a checksum of its own
                let end = lines.lines.read(&mut [0]);
                return match end {
                    Ok(0) => Ok(manifest),
                    _ => Err(lines.damaged("something follows its end")),
                };
            }
        }
    })
    .await
}
