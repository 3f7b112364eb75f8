//! What an HTTP/2 stream of a caller and the call on it tell each other. On its worker only.

use std::cell::{Cell, RefCell};

use h2::RecvStream;
use http::{HeaderMap, Response, StatusCode};
use tokio::time::Instant;

use crate::net::turn;

/// Bytes of the fields of interim responses that a call may send: h2 keeps what has not
/// left, and does not tell how much that is.
const INTERIM: usize = 16 * 1024;

/// One stream, while its call is answered.
#[derive(Debug, Default)]
pub struct StreamState {
    /// Since when a frame of the response waits to be taken.
    offered: Cell<Option<Instant>>,
    /// Interim responses (RFC 9110 §15.2) that are to be sent before the response.
    interim: RefCell<Vec<Response<()>>>,
    /// Bytes of all there were.
    interim_bytes: Cell<usize>,
    /// What may still come of a body that nobody wants.
    leftover: RefCell<Option<RecvStream>>,
}

impl StreamState {
    /// A frame of the response is there for the caller.
    pub fn made(&self) {
        self.offered.set(Some(turn::now()));
    }

    /// It was taken: another is asked for.
    pub fn taken(&self) {
        self.offered.set(None);
    }

    /// Since when a frame waits to be taken.
    pub fn since(&self) -> Option<Instant> {
        self.offered.get()
    }

    /// Lets an interim response with this `status` and these `headers` go before the
    /// response, unless there were too many before.
    pub fn tell(&self, status: StatusCode, headers: HeaderMap) {
        let fields = headers.iter();
        let bytes: usize = fields
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        // Each costs a frame, too.
        let all = self.interim_bytes.get() + bytes + 16;
        if all > INTERIM {
            return;
        }
        self.interim_bytes.set(all);
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.interim.borrow_mut().push(response);
    }

    /// Takes the interim responses that wait.
    pub fn take_interim(&self) -> Vec<Response<()>> {
        self.interim.take()
    }

    /// Leaves `upload`, of which nobody wants the rest.
    pub fn leave(&self, upload: RecvStream) {
        self.leftover.replace(Some(upload));
    }

    /// Takes what was left.
    pub fn take_leftover(&self) -> Option<RecvStream> {
        self.leftover.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, header};

    #[test]
    fn interim_responses_wait_in_their_order_and_are_bounded() {
        let stream = StreamState::default();
        let link = HeaderValue::from_str(&"a".repeat(1000)).unwrap();
        let headers = HeaderMap::from_iter([(header::LINK, link)]);
        stream.tell(StatusCode::PROCESSING, HeaderMap::new());
        stream.tell(StatusCode::EARLY_HINTS, headers.clone());
        let taken = stream.take_interim();
        let told: Vec<u16> = taken.iter().map(|one| one.status().as_u16()).collect();
        assert_eq!(told, [102, 103]);
        let mut more = 0;
        for _ in 0..100 {
            stream.tell(StatusCode::EARLY_HINTS, headers.clone());
            more += stream.take_interim().len();
        }
        assert!((10..20).contains(&more), "{more}");
    }
}
