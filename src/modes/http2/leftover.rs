//! What its caller still sends of a body that nobody wants, since it was answered before.
//!
//! A stream that ends in its midst is reset (NO_ERROR, RFC 9113 §8.1), and some callers, curl
//! before 8 among them, take that for a failure and lose the response. So what still comes is
//! taken and dropped, for a bounded time and amount, as on a connection of HTTP/1
//! (`net/linger.rs`). An upstream may take the upload on after its response; what is left is
//! taken from when the call lets go of it.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::RecvStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::modes::phase::Phase;
use crate::net::caller::stream::StreamState;
use crate::net::poll_clock;

/// How long nothing may come after the response: another call could have the stream's place.
const SILENCE: Duration = Duration::from_secs(1);
/// How long in all after the response, or from when the call lets go of the upload.
const WHOLE: Duration = Duration::from_secs(30);
/// How long in all while headset stops, as on a connection of HTTP/1.
const CLOSING: Duration = Duration::from_secs(1);
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

    /// Whether an upload goes on, or something of it is left.
    pub(super) fn may_come(&self) -> bool {
        self.upload.is_some() || self.stream.has_upload()
    }

    /// Takes and drops what has come, once the call has let go of it. Ready when there is none,
    /// it has ended, or it is too much.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.upload.is_none() {
            self.upload = ready!(self.stream.poll_leftover(cx));
        }
        while let Some(upload) = &mut self.upload {
            match ready!(upload.poll_data(cx)) {
                Some(Ok(octets)) if octets.len() <= self.left => {
                    // Refused only where more is released than came.
                    let _ = upload.flow_control().release_capacity(octets.len());
                    self.left -= octets.len();
                    self.heard = Some(poll_clock::now());
                }
                _ => self.upload = None,
            }
        }
        Poll::Ready(())
    }

    /// The same after the response until its time is over, which is short once headset stops, as `phase` tells.
    pub(super) async fn finish(mut self, mut phase: watch::Receiver<Phase>) {
        let mut begun = None;
        let mut lazy_timer = LazyTimer::default();
        let read = poll_fn(|cx| {
            if self.poll_read(cx).is_ready() {
                return Poll::Ready(());
            }
            if self.upload.is_none() {
                // The call still has it, and bounds how long nothing moves.
                return Poll::Pending;
            }
            let begun = *begun.get_or_insert_with(poll_clock::now);
            let heard = self.heard.map_or(begun, |heard| heard.max(begun));
            let end = (begun + WHOLE).min(heard + SILENCE);
            lazy_timer.poll(cx, end)
        });
        let closing = async {
            let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
            tokio::time::sleep(CLOSING).await;
        };
        tokio::select! {
            () = closing => {}
            () = read => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Request;

    /// How long the rest of an upload is waited for of which nothing comes, which the call lets
    /// go of after `held`, where headset stops `stopped` after the response.
    async fn waited(held: Duration, stopped: Duration) -> Duration {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (client, server) =
            tokio::join!(h2::client::handshake(theirs), h2::server::handshake(ours));
        let (mut client, connection) = client.unwrap();
        tokio::spawn(connection);
        let mut server: h2::server::Connection<_, Bytes> = server.unwrap();
        let _upload = client.send_request(Request::new(()), false).unwrap();
        let (request, _reply) = server.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });

        let stream = StreamState::default();
        stream.begin_upload();
        let (headset, phase) = watch::channel(Phase::Serving);
        let begun = Instant::now();
        let ended = async {
            Leftover::of(&stream).finish(phase).await;
            begun.elapsed()
        };
        let let_go = async {
            tokio::time::sleep(held).await;
            stream.let_go(Some(request.into_body()));
        };
        let stop = async {
            tokio::time::sleep(stopped).await;
            headset.send_replace(Phase::Draining);
        };
        tokio::join!(ended, let_go, stop).0
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_when_the_call_lets_go_and_a_stop_leaves_little_time() {
        let hour = Duration::from_secs(3600);
        assert_eq!(waited(Duration::ZERO, hour).await, SILENCE);
        assert_eq!(waited(10 * SILENCE, hour).await, 11 * SILENCE);
        let half = SILENCE / 2;
        assert_eq!(waited(Duration::ZERO, half).await, SILENCE);
        assert_eq!(waited(hour, half).await, half + CLOSING);
    }
}
