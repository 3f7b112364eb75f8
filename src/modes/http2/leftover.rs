//! What its caller still sends of a body that nobody wants, since it was answered before.
//!
//! A stream that ends in its midst is reset (NO_ERROR, RFC 9113 §8.1), and some callers, curl
//! before 8 among them, take that for a failure and lose the response. So what still comes is
//! taken and dropped, for a bounded time and amount, as on a connection of HTTP/1
//! (`net/linger.rs`).

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::RecvStream;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::net::caller::ConnState;
use crate::net::caller::stream::StreamState;

/// How long nothing may come after the response: another call could have the stream's place.
const SILENCE: Duration = Duration::from_secs(1);
/// How long in all after the response.
const WHOLE: Duration = Duration::from_secs(30);
/// How many bytes in all.
const OCTETS: usize = 16 << 20;

/// The rest of the upload of one stream.
pub(super) struct Leftover<'a> {
    stream: &'a StreamState,
    upload: Option<RecvStream>,
    left: usize,
    /// When some came last.
    heard: Option<Instant>,
}

impl<'a> Leftover<'a> {
    /// That of `stream`.
    pub(super) fn of(stream: &'a StreamState) -> Leftover<'a> {
        Leftover {
            stream,
            upload: None,
            left: OCTETS,
            heard: None,
        }
    }

    /// Takes and drops what has come. Ready when there is none, it has ended, or it is too
    /// much.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.upload.is_none() {
            self.upload = self.stream.take_leftover();
        }
        while let Some(upload) = &mut self.upload {
            match ready!(upload.poll_data(cx)) {
                Some(Ok(octets)) if octets.len() <= self.left => {
                    // Refused only where more is released than came.
                    let _ = upload.flow_control().release_capacity(octets.len());
                    self.left -= octets.len();
                    self.heard = Some(Instant::now());
                }
                _ => self.upload = None,
            }
        }
        Poll::Ready(())
    }

    /// The same after the response until its time is over, or headset stops.
    pub(super) async fn finish(mut self, notes: &Rc<ConnState>) {
        // Of most calls nothing is left, and they need no clock.
        let mut begun = None;
        let mut lazy_timer = LazyTimer::default();
        poll_fn(|cx| {
            if notes.is_closing.get() || self.poll_read(cx).is_ready() {
                return Poll::Ready(());
            }
            let begun = *begun.get_or_insert_with(Instant::now);
            let heard = self.heard.map_or(begun, |heard| heard.max(begun));
            let end = (begun + WHOLE).min(heard + SILENCE);
            lazy_timer.poll(cx, end)
        })
        .await;
    }
}
