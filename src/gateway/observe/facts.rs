//! Which call it is, from its head: plain data that rides along to its end.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request};
use tokio::time::Instant;

use super::Observed;
use crate::config::url::HttpOrigin;
use crate::gateway::request_body::RequestBody;
use crate::h1::spelling::Spelling;
use crate::net::caller::stream::StreamState;
use crate::net::caller::{ConnState, Peer};

/// Which call it is, as it came from the application.
#[derive(Debug)]
pub struct CallFacts {
    /// When its head was read.
    pub started: Instant,
    /// Who calls.
    pub peer: Peer,
    /// Its method.
    pub method: Method,
    /// Its path and query, where the target has them.
    pub target: Option<PathAndQuery>,
    /// The `Host` (or `:authority`) that the application used.
    pub host: Option<HeaderValue>,
    /// The `X-Request-Id` by which the caller names it, where nothing else is told of it.
    pub request_id: Option<Box<str>>,
    /// On a forward listener, the origin that it is for.
    pub forwarded: Option<Rc<HttpOrigin>>,
    /// Whether it came in a tunnel that headset opened.
    pub came_by_tunnel: bool,
    /// What else is told of it, where something is.
    pub observed: Option<Box<Observed>>,
    /// How the names of its fields were written, where they are kept so.
    pub spelling: Spelling,
    /// Where interim responses to it wait, if its caller can take some.
    pub interim: InterimRoom,
    /// What the last attempt sent of it, where another may need it.
    pub sent: SentHead,
}

impl CallFacts {
    /// Lets go of all that is kept for the call.
    fn let_go(&mut self) {
        self.method = Method::GET;
        self.target = None;
        self.host = None;
        self.request_id = None;
        self.forwarded = None;
        self.observed = None;
        self.spelling = Spelling::lower();
        self.interim = InterimRoom::None;
        self.sent = SentHead::default();
    }
}

/// The facts of one call, for all who ask for them. With the last of these they are let go, and
/// their memory is kept for a call that this thread begins later.
#[derive(Clone, Debug)]
pub struct SharedFacts(Rc<CallFacts>);

/// Facts whose memory may wait for a call: as many as calls of a busy application end before others
/// begin.
const MOST: usize = 1024;

thread_local! {
    static SPARE: RefCell<Vec<Rc<CallFacts>>> = const { RefCell::new(Vec::new()) };
}

impl SharedFacts {
    /// Shares `facts`.
    pub fn new(facts: CallFacts) -> SharedFacts {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
        if let Some(mut spare) = spare.ok().flatten()
            && let Some(place) = Rc::get_mut(&mut spare)
        {
            *place = facts;
            return SharedFacts(spare);
        }
        SharedFacts(Rc::new(facts))
    }
}

impl Deref for SharedFacts {
    type Target = CallFacts;

    fn deref(&self) -> &CallFacts {
        &self.0
    }
}

impl Drop for SharedFacts {
    fn drop(&mut self) {
        let Some(facts) = Rc::get_mut(&mut self.0) else {
            return;
        };
        facts.let_go();
        // A call may outlive what its thread kept.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST {
                spare.push(self.0.clone());
            }
        });
    }
}

/// Where interim responses (RFC 9110 §15.2) wait for a caller.
#[derive(Clone, Debug, Default)]
pub enum InterimRoom {
    /// It can take none: HTTP/1.0 knows none.
    #[default]
    None,
    /// On its connection, over HTTP/1.1.
    Connection(Rc<ConnState>),
    /// On its stream, over HTTP/2.
    Stream(Rc<StreamState>),
}

/// The head of a request that was sent, or may have been, without its body: whoever sent it
/// hands it back here, so that no attempt costs a copy for the next.
#[derive(Default)]
pub struct SentHead(Cell<Option<Box<Request<RequestBody>>>>);

impl SentHead {
    /// Keeps `head` for another attempt, in place of what an earlier one left.
    pub fn keep(&self, head: Box<Request<RequestBody>>) {
        self.0.set(Some(head));
    }

    /// What was kept.
    pub fn take(&self) -> Option<Box<Request<RequestBody>>> {
        self.0.take()
    }
}

impl std::fmt::Debug for SentHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SentHead")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing;

    #[tokio::test]
    async fn what_was_shared_is_let_go_with_the_last_and_its_memory_used_again() {
        let (facts, caller) = testing::interim_facts();
        let place = std::ptr::from_ref(&*facts);
        let other = facts.clone();
        drop(facts);
        assert_eq!(Rc::strong_count(&caller), 2, "somebody may still ask");
        drop(other);
        assert_eq!(Rc::strong_count(&caller), 1);
        let (again, _) = testing::interim_facts();
        assert_eq!(std::ptr::from_ref(&*again), place);
    }

    #[test]
    fn no_more_is_kept_than_a_busy_application_needs() {
        let many: Vec<_> = (0..MOST + 10)
            .map(|_| testing::call(Method::GET, RequestBody::empty()).facts)
            .collect();
        drop(many);
        SPARE.with_borrow(|spare| assert_eq!(spare.len(), MOST));
    }
}
