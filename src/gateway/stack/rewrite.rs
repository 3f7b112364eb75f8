//! Turns a call to the upstream: target, `Host`, framing; and a `Location` on the
//! upstream's own origin back to the listener.
//!
//! What the target becomes stands in `upstream_target.rs`. Redirects are never followed.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body::Body as _;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::config::Announce;
use crate::gateway::announce;
use crate::gateway::error::{CallerFault, Error};
use crate::gateway::fields::Seen;
use crate::gateway::observe::{CallFacts, SharedFacts};
use crate::gateway::request_body::RequestBody;
use crate::gateway::upstream_target::UpstreamTarget;
use crate::gateway::{Call, CallResponse, HttpService};
use crate::h1::body;

/// Adds [`Rewrite`].
#[derive(Clone, Debug)]
pub struct RewriteLayer {
    upstream_target: Arc<UpstreamTarget>,
    announce: Option<Announce>,
}

impl RewriteLayer {
    /// Turns calls to `upstream_target`, and tells of their way as `announce` says.
    pub fn new(upstream_target: Arc<UpstreamTarget>, announce: Announce) -> RewriteLayer {
        let announce = Some(announce).filter(|announce| *announce != Announce::default());
        RewriteLayer {
            upstream_target,
            announce,
        }
    }
}

impl<S> Layer<S> for RewriteLayer {
    type Service = Rewrite<S>;
    fn layer(&self, inner: S) -> Rewrite<S> {
        Rewrite {
            inner,
            layer: Rc::new(self.clone()),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Rewrite<S> {
    inner: S,
    layer: Rc<RewriteLayer>,
}

impl<S: HttpService> Service<Call> for Rewrite<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = RewriteFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        if let Some(announce) = self.layer.announce {
            let CallFacts { peer, host, .. } = &*call.facts;
            announce::write(announce, &mut call.request, *peer, host.as_ref());
        }
        if let Err(fault) = turn(&self.layer.upstream_target, &mut call.request, call.seen) {
            return RewriteFuture::Refused {
                error: Some(fault.into()),
            };
        }
        RewriteFuture::Passed {
            facts: call.facts.clone(),
            inner: self.inner.call(call),
            layer: self.layer.clone(),
        }
    }
}

pin_project! {
    /// The future of [`Rewrite`].
    #[allow(missing_docs, reason = "the macro takes no docs on fields of variants")]
    #[project = Projected]
    pub enum RewriteFuture<F> {
        /// The target cannot be sent on.
        Refused { error: Option<Error> },
        /// Under way.
        Passed { #[pin] inner: F, facts: SharedFacts, layer: Rc<RewriteLayer> },
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for RewriteFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
            Projected::Passed {
                inner,
                facts,
                layer,
            } => {
                let upstream_target = &layer.upstream_target;
                let mut answer = ready!(inner.poll(cx))?;
                let status = answer.response.status();
                if upstream_target.rewrites_location()
                    && (status.is_redirection() || status == StatusCode::CREATED)
                {
                    rewrite_location(
                        upstream_target,
                        facts.peer.tls,
                        facts.host.as_ref(),
                        answer.response.headers_mut(),
                    );
                }
                Poll::Ready(Ok(answer))
            }
        }
    }
}

fn rewrite_location(
    upstream_target: &UpstreamTarget,
    tls: bool,
    host: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) {
    let Some(host) = host.and_then(|host| host.to_str().ok()) else {
        return;
    };
    let Some(location) = headers.get(header::LOCATION).and_then(|l| l.to_str().ok()) else {
        return;
    };
    let scheme = if tls { "https" } else { "http" };
    if let Some(turned) = upstream_target.location(location, (scheme, host))
        && let Ok(value) = HeaderValue::from_str(&turned)
    {
        headers.insert(header::LOCATION, value);
    }
}

/// Turns `request`, in whose head these names were `seen`, to `to`.
fn turn(
    to: &UpstreamTarget,
    request: &mut Request<RequestBody>,
    seen: Seen,
) -> Result<(), CallerFault> {
    if to.is_anywhere() {
        if request.method() == Method::CONNECT {
            return Ok(());
        }
        // RFC 9112 §3.2.2: the target says it, whatever the field says.
        if let Some(authority) = request.uri().authority() {
            let host = HeaderValue::from_str(authority.as_str());
            let host = host.map_err(|_| CallerFault::Target("its host is no name"))?;
            request.headers_mut().insert(header::HOST, host);
        }
    }
    if request.uri().authority().is_some() || !to.keeps_targets() {
        *request.uri_mut() = to.target(request.uri())?;
    }
    if request.version() == Version::HTTP_2 {
        join_cookies(request.headers_mut());
    }
    *request.version_mut() = Version::HTTP_11;
    frame(request, seen);
    if !to.is_anywhere() {
        let host = to.host().clone();
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}

/// Says how long the body is in the one way in which it will be sent: the length where it
/// is known, else `chunked`, whatever the method.
fn frame(request: &mut Request<RequestBody>, seen: Seen) {
    let ended = request.body().is_end_stream();
    let exact = request.body().size_hint().exact();
    let headers = request.headers_mut();
    match exact {
        Some(_) if ended => {
            // h2 lets an empty value pass for 0.
            if seen.has(Seen::LENGTH)
                && headers
                    .get(header::CONTENT_LENGTH)
                    .is_some_and(|length| length.as_bytes() != b"0")
            {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        Some(length) => {
            if !says(headers, length) {
                headers.insert(header::CONTENT_LENGTH, length.into());
            }
        }
        None => {
            headers.remove(header::CONTENT_LENGTH);
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
        }
    }
}

/// Whether `headers` say `length` already, once and in its plain form.
fn says(headers: &HeaderMap, length: u64) -> bool {
    let mut told = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(first), None) = (told.next(), told.next()) else {
        return false;
    };
    !first.as_bytes().starts_with(b"0") && body::number(first.as_bytes()) == Some(length)
}

/// HTTP/2 may split `Cookie` into crumbs, which HTTP/1.1 does not know (RFC 9113
/// §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(mut whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        whole.set_sensitive(true);
        headers.insert(header::COOKIE, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::url::HttpUrl;

    #[test]
    fn a_call_without_a_body_says_so_in_one_way() {
        for (length, sent) in [("", "0"), ("0", "0"), ("000", "0")] {
            let mut request = Request::new(RequestBody::empty());
            let value = HeaderValue::from_static(length);
            request.headers_mut().insert(header::CONTENT_LENGTH, value);
            let seen = Seen::of(request.headers());
            frame(&mut request, seen);
            assert_eq!(
                request.headers()[header::CONTENT_LENGTH],
                sent,
                "{length:?}"
            );
        }
        let mut request = Request::new(RequestBody::empty());
        frame(&mut request, Seen::default());
        assert!(request.headers().is_empty());
    }

    #[test]
    fn a_length_stays_as_it_came_where_it_is_plain_and_the_only_one() {
        for (told, stays) in [
            (vec!["7"], true),
            (vec!["8"], false),
            (vec!["07"], false),
            (vec![""], false),
            (vec!["7", "7"], false),
            (vec![], false),
        ] {
            let mut headers = HeaderMap::new();
            for told in &told {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(told));
            }
            assert_eq!(says(&headers, 7), stays, "{told:?}");
        }
    }

    #[test]
    fn the_crumbs_of_a_cookie_are_joined_for_http_1() {
        let url = HttpUrl::parse("http://h").unwrap();
        let upstream_target = UpstreamTarget::new(&url, None, None, true).unwrap();
        for (version, expected) in [
            (Version::HTTP_2, vec!["a=1; b=2; c=3"]),
            (Version::HTTP_11, vec!["a=1", "b=2", "c=3"]),
        ] {
            let mut request = Request::new(RequestBody::empty());
            *request.version_mut() = version;
            for crumb in ["a=1", "b=2", "c=3"] {
                let crumb = HeaderValue::from_static(crumb);
                request.headers_mut().append(header::COOKIE, crumb);
            }
            turn(&upstream_target, &mut request, Seen::default()).unwrap();
            let left: Vec<_> = request.headers().get_all(header::COOKIE).iter().collect();
            assert_eq!(left, expected);
        }
    }
}
