//! How slowly a client may take what is there for it.
//!
//! Whoever takes little holds an answer, and what it takes in memory, for as long as it likes. So time
//! in which bytes wait for a client adds up, and each byte that it takes is worth some of it; so is time
//! in which nothing waits, and one who has all that there is may be silent for days.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;

/// How long bytes may wait for a client beyond what it is given for those that it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that a client has to take in that time. The system tells of up to twice as many at once, so
/// whoever takes 64 KiB in that time is never let go.
const PACE_BYTES: u32 = 32 * 1024;

/// A connection that breaks off when its client is too slow.
pub(super) struct Paced<S> {
    stream: S,
    pace: Pace,
    until: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            pace: Pace::new(Instant::now()),
            until: None,
            activity,
        }
    }

    /// Looks at how long something has waited.
    fn paced(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.activity.set_waiting(polled.is_pending());
        if let Poll::Ready(taken) = polled {
            self.pace
                .took(*taken.as_ref().unwrap_or(&0), Instant::now());
            return Poll::Ready(taken);
        }
        let at = self.pace.waits(Instant::now());
        let until = self.until.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if until.deadline() != at {
            until.as_mut().reset(at);
        }
        ready!(until.as_mut().poll(context));
        let slow = "the client takes what is there for it too slowly";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, slow)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.paced(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.paced(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How long bytes have waited for a client, less what it is given for those that it took.
#[derive(Debug)]
struct Pace {
    debt: Duration,
    waits_since: Option<Instant>,
    /// When it last took something.
    last: Instant,
}

impl Pace {
    const fn new(now: Instant) -> Self {
        Self {
            debt: Duration::ZERO,
            waits_since: None,
            last: now,
        }
    }

    /// Bytes wait; until when they may.
    fn waits(&mut self, now: Instant) -> Instant {
        if self.waits_since.is_none() {
            self.forgive(now);
        }
        let since = *self.waits_since.get_or_insert(now);
        since + PATIENCE.saturating_sub(self.debt)
    }

    /// The client has taken bytes.
    fn took(&mut self, bytes: usize, now: Instant) {
        match self.waits_since.take() {
            Some(since) => self.debt += now.saturating_duration_since(since),
            None => self.forgive(now),
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(PACE_BYTES);
        self.debt = self.debt.saturating_sub(PATIENCE * bytes / PACE_BYTES);
        self.last = now;
    }

    /// Nothing has waited since it took something.
    fn forgive(&mut self, now: Instant) {
        let idle = now.saturating_duration_since(self.last);
        self.debt = self.debt.saturating_sub(idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a client is borne with that takes so many bytes each so many seconds; `None` if it is
    /// for an hour.
    fn borne(bytes: usize, seconds: u64, between: u64) -> Option<Duration> {
        let began = Instant::now();
        let (mut pace, mut now) = (Pace::new(began), began);
        while now - began < Duration::from_hours(1) {
            let until = pace.waits(now);
            now += Duration::from_secs(seconds);
            if now > until {
                return Some(until - began);
            }
            pace.took(bytes, now);
            now += Duration::from_secs(between);
        }
        None
    }

    #[test]
    fn a_client_that_takes_too_little_is_let_go_and_one_that_has_all_is_not() {
        assert_eq!(borne(0, 31, 0), Some(PATIENCE));
        let tricked = borne(1, 29, 0).expect("it is let go");
        assert!(tricked < PATIENCE + Duration::from_secs(1), "{tricked:?}");
        let half = borne(16 * 1024, 30, 0).expect("it is let go");
        assert!(half < PATIENCE * 3, "{half:?}");
        assert_eq!(borne(32 * 1024, 30, 0), None);
        // small items of a stream, each of which waits a little
        assert!(borne(200, 2, 0).is_some());
        assert_eq!(borne(200, 2, 2), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_breaks_off_when_nobody_takes_what_is_there() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (near, mut far) = tokio::io::duplex(1_024);
        let activity = Arc::<Activity>::default();
        let mut paced = Paced::new(near, Arc::clone(&activity));
        paced.write_all(&[0; 1_024]).await.unwrap();
        tokio::time::advance(PATIENCE * 10).await;
        // nothing has waited
        assert!(activity.is_idle());
        let reader = async {
            let mut taken = [0; 1];
            for _ in 0..3 {
                tokio::time::advance(PATIENCE / 4).await;
                far.read_exact(&mut taken).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let written = tokio::select! {
            written = paced.write_all(&[0; 1_024]) => written,
            () = reader => unreachable!("it reads no more"),
        };
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
