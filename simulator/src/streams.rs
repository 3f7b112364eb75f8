//! Answers that take their time: recordings and the push stream.
//!
//! A recording is made up as it is read, so it may be of any length. A push stream
//! sends one JSON object a line, each flushed by itself, and is not cut when the
//! credential that opened it dies.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use http_body::Frame;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::center::Center;
use super::envelope::e1;

const PIECE: u64 = 16 * 1024;
const DEFAULT_RECORDING: u64 = 256 * 1024;
const PUSH_TYPES: [&str; 4] = [
    "UserCallModelUpdatedPush",
    "CustomerCallMemberCreatedPush",
    "CustomerCallMemberUpdatedPush",
    "PhoneCallMemberUpdatedPush",
];
/// The line that the vendor sends between pushes.
const FILLER: &str = "--DON'T_PANIC!_more_will_follow";

/// The byte of any recording at `offset`, for whoever wants to check one.
pub fn recorded(offset: u64) -> u8 {
    // 251 is prime, so that no piece or buffer size hides a shift.
    (offset % 251) as u8
}

/// `GET /ameyorestapi/cc/downloadVoiceLog`: `bytes=N` in the query sets the length.
/// The rest of the query may be anything: the vendor's own sample has bare braces
/// and a broken `%` escape.
pub(super) async fn voice_log(RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let length = match wanted::<u64>(&query, "bytes") {
        Ok(length) => length.unwrap_or(DEFAULT_RECORDING),
        Err(why) => return e1(StatusCode::BAD_REQUEST, &why),
    };
    let recording = Recording { sent: 0, length };
    ([(header::CONTENT_TYPE, "audio/mpeg")], Body::new(recording)).into_response()
}

struct Recording {
    sent: u64,
    length: u64,
}

impl http_body::Body for Recording {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (from, to) = (self.sent, self.length.min(self.sent + PIECE));
        self.sent = to;
        let piece: Vec<u8> = (from..to).map(recorded).collect();
        Poll::Ready((to > from).then(|| Ok(Frame::data(piece.into()))))
    }
}

/// `POST /ameyorestapi/pushes`: `interval_ms` and `count` in the query override the
/// options; `lastProcessedPush=N` goes on after N. The stream's first push is sent at
/// once.
pub(super) async fn pushes(
    State(center): State<Arc<Center>>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let pause = wanted::<u64>(&query, "interval_ms");
    let count = wanted::<u64>(&query, "count");
    let last = wanted::<i64>(&query, "lastProcessedPush");
    let (pause, count, last) = match (pause, count, last) {
        (Ok(pause), Ok(count), Ok(last)) => (pause, count, last),
        (Err(why), _, _) | (_, Err(why), _) | (_, _, Err(why)) => {
            return e1(StatusCode::BAD_REQUEST, &why);
        }
    };
    let pause = pause.map_or(center.push_interval, Duration::from_millis);
    let mut ticks = interval(pause.clamp(Duration::from_millis(1), Duration::from_secs(24 * 3600)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = Pushes {
        left: count.or(center.push_count),
        sequence: last.unwrap_or(-1).max(0),
        ticks,
        _open: Open::new(center.clone()),
        center,
    };
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::new(stream),
    )
        .into_response()
}

struct Pushes {
    left: Option<u64>,
    sequence: i64,
    ticks: Interval,
    center: Arc<Center>,
    _open: Open,
}

impl http_body::Body for Pushes {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        std::task::ready!(self.ticks.poll_tick(cx));
        self.left = self.left.map(|left| left - 1);
        self.sequence += 1;
        let number = self.sequence;
        let kind = PUSH_TYPES[number.unsigned_abs() as usize % PUSH_TYPES.len()];
        let push = json!({
            "seqNo": number, "pushType": kind,
            "data": {
                "status": "CONNECTED", "crtObjectId": format!("d707-sim-vcall-{number}"),
                // Not skewed: it is there to measure how long a push was on its way.
                "sentAt": self.center.machine_ms(),
            },
        });
        let lines = format!("{push}\n{FILLER}\n");
        Poll::Ready(Some(Ok(Frame::data(lines.into()))))
    }
}

/// Counts a stream for as long as it lives, however it ends.
struct Open(Arc<Center>);

impl Open {
    fn new(center: Arc<Center>) -> Open {
        center.lock().counted.pushes_open += 1;
        Open(center)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().counted.pushes_open -= 1;
    }
}

/// The number that `name` has in a query that need not be well-formed.
fn wanted<N: std::str::FromStr>(query: &str, name: &str) -> Result<Option<N>, String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| {
            value
                .parse()
                .map_err(|_| format!("{name}: must be a whole number"))
        })
        .transpose()
}
