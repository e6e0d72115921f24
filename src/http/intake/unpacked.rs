//! A body as it was before it was packed, read piece by piece: how it is packed, and how much may come
//! out of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::{TryStreamExt, stream};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use super::super::Web;
use super::super::bodies::{Arriving, TakeError};
use crate::graphql::ErrorCode;

/// How large a window of zstd may be, as a power of two: 8 MiB, which is what its format asks of all
/// who read it.
const WINDOW_LOG_MAX: u32 = 23;
/// Bytes that are read at once.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Bytes that a small body may become, however small it is.
const FREE_BYTES: u64 = 16 * 1024 * 1024;
/// How many times larger than that it may become what is packed: records of tills become five to fifty
/// times as large.
const RATIO_MAX: u64 = 250;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// What is taken in `Content-Encoding`.
pub(super) const CODINGS: &str = "gzip, zstd, identity";

impl Coding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(one) = given.next() else {
            return Some(Self::Identity);
        };
        let one = one.to_str().ok().filter(|_| given.next().is_none())?;
        match one.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Why a body is not read to its end.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    /// It does not arrive.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// It is packed in a way that is not known here.
    #[error("the Content-Encoding is not known here; send {CODINGS}")]
    Coding,
    /// It is not what it says it is.
    #[error("the body cannot be unpacked: {0}")]
    Packed(String),
    /// It is larger than any may be.
    #[error(
        "the body has more than {0} bytes once it is unpacked; send the rest in another request"
    )]
    TooLarge(u64),
    /// It is packed smaller than anything that is sent in earnest.
    #[error(
        "the body becomes more than {RATIO_MAX} times as large when it is unpacked; send it packed less \
         densely, or in parts"
    )]
    Bomb,
    /// The server stops.
    #[error("the server stops; send the rest again")]
    Stopping,
}

impl ReadError {
    /// How it is told.
    pub(super) const fn status(&self) -> (StatusCode, ErrorCode) {
        use StatusCode as S;
        match self {
            Self::Take(TakeError::TooLarge) | Self::TooLarge(_) | Self::Bomb => {
                (S::PAYLOAD_TOO_LARGE, ErrorCode::LimitExceeded)
            }
            Self::Take(TakeError::Full) => (S::SERVICE_UNAVAILABLE, ErrorCode::Overloaded),
            Self::Take(TakeError::Slow) => (S::REQUEST_TIMEOUT, ErrorCode::BadRequest),
            Self::Take(TakeError::Broken) | Self::Packed(_) => {
                (S::BAD_REQUEST, ErrorCode::BadRequest)
            }
            Self::Coding => (S::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadRequest),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
        }
    }
}

/// A body that is read.
pub(super) struct Unpacked {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    /// Bytes that have come.
    packed: Arc<AtomicU64>,
    /// Bytes that were read.
    bytes: u64,
    bytes_max: u64,
    drain: CancellationToken,
    _place: Option<OwnedSemaphorePermit>,
}

impl Unpacked {
    /// Begins with a body, of which at most so many bytes are read.
    pub(super) async fn new(
        web: &Web,
        headers: &HeaderMap,
        (body, bytes_max): (Body, u64),
    ) -> Result<Self, ReadError> {
        let coding = Coding::of(headers).ok_or(ReadError::Coding)?;
        let packed = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&packed);
        let chunks = stream::try_unfold(Arriving::new(body), async |mut arriving| {
            let chunk = arriving.next().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(chunk.map(|chunk| (chunk, arriving)))
        });
        let chunks = chunks.inspect_ok(move |chunk| {
            let bytes = u64::try_from(chunk.len()).unwrap_or(0);
            counted.fetch_add(bytes, Ordering::Relaxed);
        });
        let source = StreamReader::new(Box::pin(chunks));
        let mut place = None;
        let reader: Pin<Box<dyn AsyncRead + Send>> = match coding {
            Coding::Identity => Box::pin(source),
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(source);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            Coding::Zstd => {
                place = Some(web.bodies.unpacking().await?);
                let window = DParameter::window_log_max(WINDOW_LOG_MAX);
                let mut decoder = ZstdDecoder::with_params(source, &[window]);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
        };
        Ok(Self {
            reader,
            packed,
            bytes: 0,
            bytes_max,
            drain: web.drain.clone(),
            _place: place,
        })
    }

    /// Reads what comes next; 0 bytes are the end. Nothing is lost when it is given up.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let read = tokio::select! {
            biased;
            read = self.reader.read(buffer) => read.map_err(failed)?,
            () = self.drain.cancelled() => return Err(ReadError::Stopping),
        };
        self.bytes += u64::try_from(read).unwrap_or(u64::MAX);
        if self.bytes > self.bytes_max {
            return Err(ReadError::TooLarge(self.bytes_max));
        }
        let packed = self.packed.load(Ordering::Relaxed);
        if self.bytes > packed.saturating_mul(RATIO_MAX).saturating_add(FREE_BYTES) {
            return Err(ReadError::Bomb);
        }
        Ok(read)
    }
}

/// Reads a body whole, of at most so many bytes, with its room.
pub(super) async fn read_whole(
    web: &Web,
    headers: &HeaderMap,
    (body, bytes_max): (Body, u64),
) -> Result<(Vec<u8>, OwnedSemaphorePermit), ReadError> {
    let mut unpacked = Unpacked::new(web, headers, (body, bytes_max)).await?;
    let reserve = |bytes| web.bodies.reserve(bytes).ok_or(TakeError::Full);
    let mut room = reserve(READ_BYTES)?;
    let mut chunk = vec![0; READ_BYTES];
    let mut bytes = Vec::new();
    loop {
        let read = unpacked.read(&mut chunk).await?;
        if read == 0 {
            return Ok((bytes, room));
        }
        room.merge(reserve(read)?);
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
}

/// What has failed: the way here, or what was to be unpacked.
fn failed(error: io::Error) -> ReadError {
    let text = error.to_string();
    let taken = error.into_inner().and_then(|inner| inner.downcast().ok());
    match taken {
        Some(taken) => ReadError::Take(*taken),
        None => ReadError::Packed(text),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn one_coding_is_taken_and_no_other() {
        for (given, coding) in [
            (vec![], Some(Coding::Identity)),
            (vec!["identity"], Some(Coding::Identity)),
            (vec!["GZip"], Some(Coding::Gzip)),
            (vec!["zstd"], Some(Coding::Zstd)),
            (vec!["br"], None),
            (vec!["gzip, gzip"], None),
            (vec!["gzip", "gzip"], None),
        ] {
            let mut headers = HeaderMap::new();
            for one in &given {
                let one = HeaderValue::from_static(one);
                headers.append(header::CONTENT_ENCODING, one);
            }
            assert_eq!(Coding::of(&headers), coding, "{given:?}");
        }
    }
}
