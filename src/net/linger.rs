//! A close that lets the caller read the response (RFC 9112 §9.6).
//!
//! A socket that is closed with bytes unread makes the kernel send a reset, and a
//! reset takes away from the caller what it has not read yet: the very answer that
//! made us close. So after our own FIN what still comes is read and dropped, until
//! the caller closes too, or for a bounded time and amount.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long nothing may come, as nginx's `lingering_timeout`.
const SILENCE: Duration = Duration::from_secs(5);
/// How long in all, as nginx's `lingering_time`.
const WHOLE: Duration = Duration::from_secs(30);
/// How long in all while headset stops.
const CLOSING: Duration = Duration::from_secs(1);
/// How many bytes in all.
const OCTETS: usize = 256 << 20;

/// A close under way.
#[derive(Debug)]
pub struct Linger {
    end: Instant,
    left: usize,
    silence: Pin<Box<Sleep>>,
}

impl Linger {
    /// Begins now; `is_closing` while headset stops.
    pub fn begin(is_closing: bool) -> Linger {
        let now = Instant::now();
        let end = now + if is_closing { CLOSING } else { WHOLE };
        Linger {
            end,
            left: OCTETS,
            silence: Box::pin(sleep_until(end.min(now + SILENCE))),
        }
    }

    /// Reads and drops by `read` until it is over. How it ended does not matter.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<()> {
        let mut room = [MaybeUninit::uninit(); 16 * 1024];
        let mut some_came = false;
        loop {
            let mut dropped = ReadBuf::uninit(&mut room);
            match read(cx, &mut dropped) {
                Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {
                    some_came = true;
                    self.left = self.left.saturating_sub(dropped.filled().len());
                    if self.left == 0 {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if some_came {
            let next = self.end.min(Instant::now() + SILENCE);
            self.silence.as_mut().reset(next);
        }
        self.silence.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_silence_and_with_its_whole_time() {
        let begun = Instant::now();
        let mut linger = Linger::begin(false);
        poll_fn(|cx| linger.poll(cx, |_, _| Poll::Pending)).await;
        assert_eq!(begun.elapsed(), SILENCE);

        let begun = Instant::now();
        let mut linger = Linger::begin(false);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let drip = |cx: &mut Context<'_>, buf: &mut ReadBuf<'_>| {
            tick.poll_tick(cx).map(|_| {
                buf.put_slice(b"x");
                Ok(())
            })
        };
        let mut drip = drip;
        poll_fn(|cx| linger.poll(cx, &mut drip)).await;
        assert_eq!(begun.elapsed(), WHOLE);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_once_where_the_caller_closed_or_never_stops() {
        let begun = Instant::now();
        let mut linger = Linger::begin(true);
        poll_fn(|cx| linger.poll(cx, |_, _| Poll::Ready(Ok(())))).await;
        let mut linger = Linger::begin(false);
        let mut bytes = 0;
        poll_fn(|cx| {
            linger.poll(cx, |_, buf| {
                bytes += buf.remaining();
                buf.advance(0);
                let n = buf.remaining();
                buf.put_slice(&vec![0; n]);
                Poll::Ready(Ok(()))
            })
        })
        .await;
        assert!(bytes >= OCTETS);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
