//! Whether a caller is still there (RFC 9112 §9.6).
//!
//! One that closes its sending side may have left, or may only have no more to say; TCP does
//! not tell the two apart. Before its response it is asked, by an interim response that every
//! client of HTTP/1.1 skips (102, RFC 9110 §15.2): where nobody holds the other socket any
//! more, its kernel answers with a reset. During a response the response itself asks, as
//! long as it goes on.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Version;
use tokio::time::{Instant, Sleep, sleep};

use crate::net::caller::h1::{Gone, H1Caller};

/// When it is looked for the reset: on this machine it is there at once. With the last look a
/// caller is asked anew.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(20),
];

/// How long a response may pause before a caller that closed its sending side in its midst is
/// taken to have left.
const PAUSE: Duration = Duration::from_millis(500);

/// What is known of one caller during one call.
pub(super) struct Presence {
    /// Whether it understands an interim response.
    may_ask: bool,
    /// Looks that were taken since it was asked last, and when the next is due.
    asked: Option<(usize, Pin<Box<Sleep>>)>,
    /// It closed its sending side in the midst of a response, which has paused so long.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Presence {
    /// Of a caller that speaks `version`.
    pub(super) fn new(version: Version) -> Presence {
        Presence {
            may_ask: version == Version::HTTP_11,
            asked: None,
            pause: None,
        }
    }

    /// Ready when the caller has left before its response.
    pub(super) fn poll_left(&mut self, caller: &mut H1Caller, cx: &mut Context<'_>) -> Poll<()> {
        if self.asked.is_none() {
            match ready!(caller.poll_gone(cx)) {
                Gone::Half if self.may_ask && caller.is_read() => {
                    caller.ask();
                    self.asked = Some((0, Box::pin(sleep(LOOKS[0]))));
                }
                Gone::Half | Gone::Whole => return Poll::Ready(()),
            }
        }
        let Some((looks, timer)) = &mut self.asked else {
            return Poll::Pending;
        };
        let failed = matches!(caller.poll_interim(cx), Poll::Ready(Err(_)));
        if failed || caller.has_failed() {
            return Poll::Ready(());
        }
        while timer.as_mut().poll(cx).is_ready() {
            if caller.has_failed() {
                return Poll::Ready(());
            }
            *looks = (*looks + 1) % LOOKS.len();
            if *looks == 0 {
                caller.ask();
                let _ = caller.poll_interim(cx);
            }
            timer.as_mut().reset(Instant::now() + LOOKS[*looks]);
        }
        Poll::Pending
    }

    /// The same during its response, which cannot go on for now.
    pub(super) fn poll_left_amid(
        &mut self,
        caller: &mut H1Caller,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // One that was asked is there; from now on what is written tells.
        if self.asked.is_some() || !caller.is_read() {
            return Poll::Pending;
        }
        match ready!(caller.poll_gone(cx)) {
            Gone::Whole => return Poll::Ready(()),
            Gone::Half => {}
        }
        let is_over = |pause: &mut Pin<Box<Sleep>>| pause.as_mut().poll(cx).is_ready();
        if self.pause.as_mut().is_some_and(is_over) {
            return Poll::Ready(());
        }
        // Something moved, or this is the first time.
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(PAUSE)));
        pause.as_mut().reset(Instant::now() + PAUSE);
        pause.as_mut().poll(cx)
    }
}
