//! What is written on a thread goes to where files lie, which is written by tasks: piece by piece, and no
//! faster than these are taken.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::write::GzEncoder;
use tokio::sync::{mpsc, oneshot};

use super::files::{Files, FilesError};
use crate::export::Out;

/// Bytes of a piece.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait at most.
const PIECES_WAITING_MAX: usize = 4;

/// After how many pieces it is looked whether there is room for more: 16 MiB.
const PIECES_PER_LOOK: u32 = 64;

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

impl Arriving {
    /// Writes what arrives into a file; whether it got its end. Without one there is no file.
    pub(super) async fn into_file(mut self, files: &Files, name: &str) -> Result<bool, FilesError> {
        let mut file = files.create(name).await?;
        let mut pieces: u32 = 0;
        loop {
            match self.0.recv().await {
                Some(Piece::Bytes(bytes)) => {
                    pieces += 1;
                    let has_room = if pieces.is_multiple_of(PIECES_PER_LOOK) {
                        files.has_room().await
                    } else {
                        Ok(())
                    };
                    let added = match has_room {
                        Ok(()) => file.add(bytes).await,
                        full => full,
                    };
                    if let Err(error) = added {
                        // why it is given up is told, and not that this failed too
                        let _ = file.abort().await;
                        return Err(error);
                    }
                }
                Some(Piece::End(ended)) => {
                    file.end().await?;
                    // whoever waits has been told to end
                    let _ = ended.send(());
                    return Ok(true);
                }
                None => {
                    file.abort().await?;
                    return Ok(false);
                }
            }
        }
    }
}
