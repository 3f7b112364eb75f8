//! Interim responses (1xx) of an upstream on their way to the caller (RFC 9110 §15.2).
//!
//! They pass at once, before the response, in any of HTTP/1.1 and HTTP/2 on either side; one
//! that a caller has no room for is left out. An upstream can echo in them what it was sent, as in any
//! response, so they are cleaned likewise, and of what names a user nothing passes.

use std::sync::Arc;

use bytes::Bytes;
use http::response::Parts;
use http::{Response, StatusCode, Version, header};

use crate::credential::Minted;
use crate::gateway::observe::{InterimRoom, SharedFacts};
use crate::gateway::{echoes, fields};
use crate::h1::response::ResponseHead;
use crate::h1::response_head;
use crate::h1::spelling::Spelling;

/// How many may come without a pause, whatever the protocol: where one is made, the time limits
/// are looked at, and between two pauses no other call of the worker has its turn.
pub const MOST: u32 = 1000;

/// What is told of an upstream that sends more.
pub const ENDLESS: &str = "it sends interim responses (1xx) without end";

/// Bytes of them that may wait for a caller.
const ROOM: usize = 16 * 1024;

/// Where the interim responses of one call go.
#[derive(Debug)]
pub struct Interim {
    facts: SharedFacts,
    /// The credential that the call carries.
    used: Option<Arc<Minted>>,
    /// Whether the caller was promised a 100, which headset sends itself.
    expects: bool,
}

impl Interim {
    /// For a call of these `facts` that carries `used`; it `expects` a 100 where its body
    /// was announced by `Expect: 100-continue`.
    pub fn new(facts: SharedFacts, used: Option<Arc<Minted>>, expects: bool) -> Interim {
        Interim {
            facts,
            used,
            expects,
        }
    }

    /// Passes the `head` on that came over HTTP/1, where its caller can be told.
    #[cold]
    pub fn pass<B>(&self, head: ResponseHead<B>) {
        let ResponseHead {
            response,
            reason,
            spelling,
            ..
        } = head;
        // HTTP/1.0 knows none (RFC 9110 §15.2).
        if response.version() != Version::HTTP_10 {
            self.pass_on(response.into_parts().0, reason, &spelling);
        }
    }

    /// The same of a `response` that came over HTTP/2.
    #[cold]
    pub fn pass_h2(&self, response: Response<()>) {
        self.pass_on(response.into_parts().0, None, &Spelling::lower());
    }

    fn pass_on(&self, head: Parts, mut reason: Option<Bytes>, spelling: &Spelling) {
        let (status, mut headers) = (head.status, head.headers);
        if self.expects && status == StatusCode::CONTINUE {
            return;
        }
        let headers = &mut headers;
        spelling.restore(headers);
        fields::remove_from_trailers(headers);
        headers.remove(header::SET_COOKIE);
        if let Some(used) = &self.used {
            headers.remove(header::AUTHORIZATION);
            headers.remove("sessionid");
            for (name, _) in &used.headers {
                headers.remove(name);
            }
            echoes::from_fields(&used.echoes, headers);
            reason = reason.filter(|reason| !used.echoes.finds(reason));
        }
        match &self.facts.interim {
            InterimRoom::None => {}
            InterimRoom::Stream(stream) => stream.tell(status, std::mem::take(headers)),
            InterimRoom::Connection(caller) => {
                let mut waiting = caller.interim.borrow_mut();
                if waiting.len() < ROOM {
                    response_head::write_head(
                        &mut waiting,
                        Version::HTTP_11,
                        status,
                        reason.as_deref(),
                        headers,
                        spelling,
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::gateway::testing;
    use crate::h1::response::HeadParser;

    fn head(text: &str) -> ResponseHead {
        let mut buf = BytesMut::from(text);
        HeadParser::default().take(&mut buf, 100).unwrap().unwrap()
    }

    #[tokio::test]
    async fn it_passes_without_what_belongs_to_one_connection_or_one_user() {
        let (facts, caller) = testing::interim_facts();
        let interim = Interim::new(facts, None, false);
        interim.pass(head(
            "HTTP/1.1 103 Early\r\nLink: </a>\r\nSet-Cookie: a\r\nConnection: x\r\nX: 1\r\n\
             Content-Length: 5\r\n\r\n",
        ));
        let passed = caller.interim.borrow_mut().split();
        assert_eq!(&passed[..], b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n");
    }

    #[tokio::test]
    async fn a_promised_100_is_not_passed_and_others_only_while_there_is_room() {
        let (facts, caller) = testing::interim_facts();
        Interim::new(facts.clone(), None, true).pass(head("HTTP/1.1 100 Continue\r\n\r\n"));
        assert!(caller.interim.borrow().is_empty());
        let large = format!(
            "HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n",
            "a".repeat(5000)
        );
        let interim = Interim::new(facts, None, true);
        for _ in 0..100 {
            interim.pass(head(&large));
        }
        assert!(caller.interim.borrow().len() < 2 * ROOM);
    }
}
