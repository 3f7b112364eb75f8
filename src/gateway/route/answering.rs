//! A call on its way through the stack of its route, up to its response, and what is then left of its
//! request's body.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Response, StatusCode};
use pin_project_lite::pin_project;
use tokio_util::either::Either;
use tower::Service;

use crate::gateway::client::Client;
use crate::gateway::error::Error;
use crate::gateway::forward::elsewhere::Unrouted;
use crate::gateway::request_body::{self, RequestBody, UploadSource};
use crate::gateway::response_body::{self, ResponseBody};
use crate::gateway::stack::RouteStack;
use crate::gateway::{Call, CallResponse};
use crate::net::caller::ConnState;

type CallOutcome = Result<CallResponse, Error>;
type Routed = <RouteStack<Client> as Service<Call>>::Future;
/// Boxed: rare, and every call would carry the room for it.
type Unplaced = Pin<Box<<RouteStack<Unrouted> as Service<Call>>::Future>>;

/// The body of a request whose response may overtake it.
pub(super) struct Uploading {
    source: Rc<UploadSource>,
    /// Whether its rest is worth reading, so that the connection can be used again.
    drains: bool,
}

impl Uploading {
    /// Of `body`, where that comes from a caller.
    pub(super) fn of(body: &RequestBody, drains: bool) -> Option<Uploading> {
        let source = body.source()?.clone();
        Some(Uploading { source, drains })
    }
}

pin_project! {
    /// The response to a call. It always has one: what fails is answered as a problem. Dropping it
    /// abandons the call and closes its upstream connection.
    ///
    /// Written by hand, since an `async` block would hold the future of the stack twice.
    #[must_use = "futures do nothing unless polled"]
    pub struct Answering<'a> {
        caller: &'a ConnState,
        uploading: Option<Uploading>,
        keeps_names: bool,
        #[pin]
        stack: Option<Either<Routed, Unplaced>>,
        // The rest of the body is read, of a call that has its outcome.
        rest: Option<Pin<Box<dyn Future<Output = (CallOutcome, Rc<UploadSource>)>>>>,
    }
}

impl<'a> Answering<'a> {
    /// Of a call in `stack`, whose `caller` learns whether the response overtook the body. The names
    /// of the response's fields are written as they came where it `keeps_names`.
    pub(super) fn new(
        stack: Either<Routed, Unplaced>,
        uploading: Option<Uploading>,
        caller: &'a ConnState,
        keeps_names: bool,
    ) -> Answering<'a> {
        Answering {
            caller,
            uploading,
            keeps_names,
            stack: Some(stack),
            rest: None,
        }
    }
}

impl Future for Answering<'_> {
    type Output = Box<Response<ResponseBody>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(stack) = this.stack.as_mut().as_pin_mut() {
            let outcome = ready!(stack.poll(cx));
            // With it goes whatever else would read the body.
            this.stack.set(None);
            let uploading = this.uploading.take();
            match uploading.filter(|uploading| !uploading.source.has_ended()) {
                None => return Poll::Ready(response(outcome, *this.keeps_names)),
                Some(Uploading { source, drains }) => {
                    *this.rest = Some(Box::pin(async move {
                        if drains {
                            request_body::drop_rest(&source).await;
                        }
                        (outcome, source)
                    }));
                }
            }
        }
        let Some(rest) = this.rest else {
            // It was polled once more after its end.
            return Poll::Pending;
        };
        let (outcome, source) = ready!(rest.as_mut().poll(cx));
        note_rest(this.caller, &source);
        Poll::Ready(response(outcome, *this.keeps_names))
    }
}

/// Notes for the connection of `caller` what is left of the body that `source` reads.
fn note_rest(caller: &ConnState, source: &Rc<UploadSource>) {
    caller.unread.set(!source.has_ended());
    // Nobody will ask for the rest, or it may or may not come at all
    // (RFC 9110 §10.1.1): either way the connection carries no other call.
    let alone = Rc::strong_count(source) == 1;
    caller
        .abandoned
        .set((alone || source.is_held()) && !source.has_ended());
}

fn response(outcome: CallOutcome, keeps_names: bool) -> Box<Response<ResponseBody>> {
    match outcome {
        Ok(mut answer) => {
            if !keeps_names {
                response_body::restore_fields(&mut answer.response);
                answer.response.body_mut().take_spelling();
            }
            answer.response
        }
        Err(_) => {
            // `respond` has turned every error into an answer already.
            let mut response = Box::new(Response::new(ResponseBody::empty()));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}
