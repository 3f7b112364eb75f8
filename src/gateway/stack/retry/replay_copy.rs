//! What a call is built anew from: whoever sent it hands its head back, by the call's facts.

use std::rc::Rc;
use std::sync::Arc;

use http::Request;

use crate::credential::slot::Slot;
use crate::gateway::fields::Seen;
use crate::gateway::observe::SharedFacts;
use crate::gateway::replay::{AttemptOutcome, ReplayPolicy};
use crate::gateway::request_body::{RequestBody, UploadSource};
use crate::gateway::{Call, ConnectionReuse};
use crate::h1::spare;

/// What is needed to build a call anew.
pub struct ReplayCopy {
    facts: SharedFacts,
    slot: Option<Arc<Slot>>,
    source: Option<Rc<UploadSource>>,
    seen: Seen,
    replay_policy: ReplayPolicy,
    upgrade: bool,
}

impl ReplayCopy {
    /// Of `call`, before it is sent.
    pub fn of(call: &Call) -> ReplayCopy {
        let request = &call.request;
        ReplayCopy {
            facts: call.facts.clone(),
            slot: call.slot.clone(),
            source: request.body().source().cloned(),
            seen: call.seen,
            replay_policy: call.replay_policy,
            upgrade: call.upgrade,
        }
    }

    /// The slot of this call's credential, be it its tenant's or that `of_route`.
    pub fn slot<'a>(&'a self, of_route: Option<&'a Arc<Slot>>) -> Option<&'a Arc<Slot>> {
        self.slot.as_ref().or(of_route)
    }

    /// The words in a 403 by which a dead session is known, where it has one.
    pub fn dead_session(&self, of_route: Option<&Arc<Slot>>) -> Option<&'static str> {
        self.slot(of_route)?.mint().facts().dead_session
    }

    /// Whether it may be sent once more after an attempt that ended so.
    pub fn may_repeat(&self, outcome: AttemptOutcome) -> bool {
        let whole_body = self.has_whole_body();
        self.replay_policy.may_repeat(outcome, whole_body)
    }

    fn has_whole_body(&self) -> bool {
        // A held body was not begun: the caller still has all of it.
        self.source
            .as_ref()
            .is_none_or(|s| s.is_in_hand() || s.is_held())
    }

    /// No other attempt follows.
    pub fn forget(&self) {
        if let Some(head) = self.facts.sent.take() {
            spare::give_request(head);
        }
    }

    /// The call once more, from the start, with the head that the last attempt handed back;
    /// `None` where that or the body is gone. What it had of a credential is set anew.
    pub fn rebuild(&self, reuse: ConnectionReuse) -> Option<Call> {
        let body = match &self.source {
            Some(source) => RequestBody::again(source)?,
            None => RequestBody::empty(),
        };
        let mut request = self.facts.sent.take()?;
        *request.body_mut() = body;
        Some(self.call(request, reuse))
    }

    /// The call once more, as `request`.
    pub fn call(&self, request: Box<Request<RequestBody>>, reuse: ConnectionReuse) -> Call {
        Call {
            request,
            facts: self.facts.clone(),
            seen: self.seen,
            replay_policy: self.replay_policy,
            upgrade: self.upgrade,
            reuse,
            slot: self.slot.clone(),
            used: None,
            fault: None,
        }
    }
}
