//! Turns an [`Error`] into a response: the only place where a failure gets a status.
//!
//! The response is `application/problem+json` (RFC 9457) with `Proxy-Status`
//! (RFC 9209), and says whether the upstream was reached. It is JSON always, since
//! the SDKs of this platform parse every body. It is never a 401: nobody must
//! mistake headset's failure for the upstream's. It never shows a secret. Which error gets
//! which status stands in `respond/error_response.rs`.

pub mod error_response;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode, header};
use pin_project_lite::pin_project;
use serde_json::json;
use tower::{Layer, Service};

use crate::base::causes::with_causes;
use crate::gateway::error::{CallerFault, Error, Reached};
use crate::gateway::failures::CallFailure;
use crate::gateway::fields::Seen;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::observe::SharedFacts;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::{Call, CallResponse, HttpService};
use error_response::error_response;

/// Adds [`Respond`].
#[derive(Clone, Debug)]
pub struct RespondLayer {
    metrics: Arc<RouteMetrics>,
}

impl RespondLayer {
    /// Responses that are counted in `metrics`.
    pub fn new(metrics: Arc<RouteMetrics>) -> RespondLayer {
        RespondLayer { metrics }
    }

    /// The response to a call that ended by `error`, counted; without the id of the call it
    /// gets one.
    pub fn answer(&self, error: &Error, id: Option<&str>) -> CallResponse {
        let seen = error_response(error);
        let detail = with_causes(error);
        let made = || format!("{:016x}", fastrand::u64(..));
        let request_id = id.map_or_else(made, str::to_owned);
        if let Some(counter) = self.metrics.own_answer(seen.code) {
            counter.inc();
        }
        let reached = seen.reached.map_or("yes", Reached::as_str);
        let problem = json!({
            "type": format!("urn:headset:error:{}", seen.code),
            "title": seen.title,
            "status": seen.status.as_u16(),
            "detail": detail,
            "code": seen.code,
            "request_id": request_id,
            "reached_upstream": reached,
            "hint": seen.hint,
        });
        let mut response = Response::new(ResponseBody::whole(problem.to_string()));
        *response.status_mut() = seen.status;
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let proxy_status = match seen.proxy_error {
            Some(kind) => format!("headset; error={kind}"),
            None => "headset".to_owned(),
        };
        if let Ok(value) = HeaderValue::from_str(&proxy_status) {
            headers.insert("proxy-status", value);
        }
        if seen.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            // RFC 9110 §11.7.1. Basic first: it is what a URL with a password becomes.
            for scheme in ["Basic realm=\"headset\"", "Bearer realm=\"headset\""] {
                headers.append(header::PROXY_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        if let Some(wait) = seen.retry_after {
            // delta-seconds (RFC 9110 §10.2.3), never 0: that would invite a storm.
            headers.insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
        }
        let unreadable = |fault: &CallerFault| {
            use CallerFault::{BadHead, Framing, HeadTooLarge};
            matches!(fault, Framing(_) | BadHead(_) | HeadTooLarge(_))
        };
        if matches!(error, Error::Caller(fault) if unreadable(fault)) {
            // What follows on this connection cannot be told apart any more.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        CallResponse {
            response: Box::new(response),
            seen: Seen::default(),
            used: None,
            waited: Duration::ZERO,
            failure: Some(Box::new(CallFailure {
                code: seen.code,
                status: seen.status,
                detail,
                request_id: Some(request_id),
            })),
        }
    }
}

impl<S> Layer<S> for RespondLayer {
    type Service = Respond<S>;
    fn layer(&self, inner: S) -> Respond<S> {
        Respond {
            inner,
            layer: Rc::new(self.clone()),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Respond<S> {
    inner: S,
    layer: Rc<RespondLayer>,
}

impl<S: HttpService> Service<Call> for Respond<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = RespondFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        RespondFuture {
            facts: call.facts.clone(),
            inner: self.inner.call(call),
            layer: self.layer.clone(),
        }
    }
}

pin_project! {
    /// The future of [`Respond`]; it never fails.
    pub struct RespondFuture<F> {
        #[pin]
        inner: F,
        layer: Rc<RespondLayer>,
        facts: SharedFacts,
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for RespondFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        Poll::Ready(match outcome {
            Ok(_) => outcome,
            Err(error) => {
                let observed = this.facts.observed.as_ref();
                let id = observed.map(|observed| observed.request_id());
                let id = id.or(this.facts.request_id.as_deref());
                let mut answer = this.layer.answer(&error, id);
                if this.facts.method == Method::HEAD {
                    leave_out_body(&mut answer);
                }
                Ok(answer)
            }
        })
    }
}

/// A response to a HEAD has the fields of its body and not the body (RFC 9110 §9.3.2).
/// Over HTTP/1.1 it is left out in any case; over HTTP/2 it is not, and a caller
/// takes what follows for a broken stream.
fn leave_out_body(answer: &mut CallResponse) {
    let body = std::mem::take(answer.response.body_mut());
    if let Some(length) = http_body::Body::size_hint(&body).exact() {
        let headers = answer.response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
}

#[cfg(test)]
mod tests;
