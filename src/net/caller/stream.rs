//! What an HTTP/2 stream of a caller and the call on it tell each other. On its worker only.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use h2::RecvStream;
use http::{HeaderMap, Response, StatusCode};
use tokio::time::Instant;

use crate::net::poll_clock;

/// Bytes of the fields of interim responses that a call may send: h2 keeps what has not
/// left, and does not tell how much that is.
const INTERIM: usize = 16 * 1024;

/// Who has the upload of a stream.
#[derive(Debug, Default)]
enum UploadHolder {
    /// Nobody: there is none, or nothing more of it will be taken.
    #[default]
    Nobody,
    /// The call, and who is to be woken when it lets go.
    Call(Option<Waker>),
    /// Nobody yet takes what may still come, which the call does not want.
    Left(RecvStream),
}

/// One stream, while its call is answered.
#[derive(Debug, Default)]
pub struct StreamState {
    /// Since when a frame of the response waits to be taken.
    offered: Cell<Option<Instant>>,
    /// Interim responses (RFC 9110 §15.2) that are to be sent before the response.
    interim: RefCell<Vec<Response<()>>>,
    /// Bytes of all there were.
    interim_bytes: Cell<usize>,
    upload: RefCell<UploadHolder>,
}

impl StreamState {
    /// A frame of the response is there for the caller.
    pub fn made(&self) {
        self.offered.set(Some(poll_clock::now()));
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

    /// The call reads an upload.
    pub fn begin_upload(&self) {
        self.upload.replace(UploadHolder::Call(None));
    }

    /// The call reads it no more. It hands over what may still come, or nothing where that has
    /// ended or is not to be taken.
    pub fn let_go(&self, leftover: Option<RecvStream>) {
        let next = leftover.map_or(UploadHolder::Nobody, UploadHolder::Left);
        if let UploadHolder::Call(Some(waiting)) = self.upload.replace(next) {
            waiting.wake();
        }
    }

    /// Takes what the call does not want of its upload, when it has let go of it; `None` where
    /// there is nothing.
    pub fn poll_leftover(&self, cx: &mut Context<'_>) -> Poll<Option<RecvStream>> {
        let mut upload = self.upload.borrow_mut();
        match &mut *upload {
            UploadHolder::Nobody => Poll::Ready(None),
            UploadHolder::Call(waiting) => {
                match waiting {
                    Some(waiting) => waiting.clone_from(cx.waker()),
                    None => *waiting = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            UploadHolder::Left(_) => match std::mem::take(&mut *upload) {
                UploadHolder::Left(leftover) => Poll::Ready(Some(leftover)),
                _ => Poll::Ready(None),
            },
        }
    }

    /// Whether an upload goes on, or something of it is left.
    pub fn has_upload(&self) -> bool {
        !matches!(*self.upload.borrow(), UploadHolder::Nobody)
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
