//! What is written on a thread goes to where files lie, which is written by tasks: piece by piece, and no
//! faster than these are taken.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::files::{Files, FilesError, Writing};
use crate::export::Out;

/// Bytes of a piece.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait at most.
const PIECES_WAITING_MAX: usize = 4;

/// After how many pieces it is looked whether there is room for more: 16 MiB.
const PIECES_PER_LOOK: u32 = 64;
/// How long it may take to have a place forget what it was given of a file; then it is left to it.
const FORGET_WITHIN: Duration = Duration::from_secs(1);

enum Piece {
    Bytes(Bytes),
    /// It is whole; told when it has its name, and not if it never gets it.
    End(oneshot::Sender<()>),
}

/// Where a file is written on a thread.
pub(super) struct Pieces {
    held: Vec<u8>,
    taken: mpsc::Sender<Piece>,
    bytes: Arc<AtomicU64>,
    bytes_max: u64,
}

/// The other side of it: where its pieces arrive.
pub(super) struct Arriving(mpsc::Receiver<Piece>);

/// An output whose pieces arrive there, and that counts its bytes. It takes so many at most, and fails when it has
/// counted more.
pub(super) fn pieces(bytes: Arc<AtomicU64>, bytes_max: u64) -> (Pieces, Arriving) {
    let (taken, arriving) = mpsc::channel(PIECES_WAITING_MAX);
    let held = Vec::with_capacity(PIECE_BYTES);
    let pieces = Pieces {
        held,
        taken,
        bytes,
        bytes_max,
    };
    (pieces, Arriving(arriving))
}

impl Pieces {
    fn send(&self, piece: Piece) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.taken.blocking_send(piece).map_err(gone)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::replace(&mut self.held, Vec::with_capacity(PIECE_BYTES));
        let length = u64::try_from(held.len()).unwrap_or_default();
        let before = self.bytes.fetch_add(length, Ordering::Relaxed);
        if before.saturating_add(length) > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.send(Piece::Bytes(held.into()))
    }
}

impl Out for Pieces {
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.flush()?;
        let (ended, has_ended) = oneshot::channel();
        self.send(Piece::End(ended))?;
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        has_ended.blocking_recv().map_err(gone)
    }
}

impl Out for GzEncoder<Pieces> {
    fn end(self: Box<Self>) -> io::Result<()> {
        Box::new(self.finish()?).end()
    }
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// It is whole and has its name.
    Whole,
    /// It did not get its end, and there is none.
    Broken,
    /// It was told to stop; there is none, unless it has just become whole.
    Stopped,
}

impl Arriving {
    /// Writes what arrives into a file until it gets its end, or it is told to stop: then nothing is waited for,
    /// however slow the place is.
    pub(super) async fn into_file(
        mut self,
        (files, name): (&Files, &str),
        stop: &CancellationToken,
    ) -> Result<Arrived, FilesError> {
        let mut file = files.create(name).await?;
        let taken = tokio::select! {
            biased;
            taken = self.taken(files, &mut file) => taken,
            () = stop.cancelled() => {
                give_up(file).await;
                return Ok(Arrived::Stopped);
            }
        };
        let ended = match taken {
            Ok(Some(ended)) => ended,
            Ok(None) => {
                give_up(file).await;
                return Ok(Arrived::Broken);
            }
            Err(error) => {
                give_up(file).await;
                return Err(error);
            }
        };
        tokio::select! {
            biased;
            whole = file.end() => whole?,
            () = stop.cancelled() => return Ok(Arrived::Stopped),
        }
        // whoever waits has been told to end
        let _ = ended.send(());
        Ok(Arrived::Whole)
    }

    /// Writes what arrives; answers who waits for its end, if that comes.
    async fn taken(
        &mut self,
        files: &Files,
        file: &mut Writing,
    ) -> Result<Option<oneshot::Sender<()>>, FilesError> {
        let mut pieces: u32 = 0;
        loop {
            match self.0.recv().await {
                Some(Piece::Bytes(bytes)) => {
                    pieces += 1;
                    if pieces.is_multiple_of(PIECES_PER_LOOK) {
                        files.has_room().await?;
                    }
                    file.add(bytes).await?;
                }
                Some(Piece::End(ended)) => return Ok(Some(ended)),
                None => return Ok(None),
            }
        }
    }
}

/// Why a file is given up is told, and not that its place could not forget it: what is left there is removed when
/// the server begins anew, or by the bucket.
async fn give_up(file: Writing) {
    if timeout(FORGET_WITHIN, file.abort()).await.is_err() {
        tracing::debug!("the place of exports takes long to forget a file");
    }
}
