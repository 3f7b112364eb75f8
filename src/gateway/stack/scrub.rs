//! What is not forwarded: hop-by-hop fields both ways (RFC 9110 §7.6.1), the
//! credentials that a caller brings to a route that has its own, and cookies that
//! would put a second, live credential into the application's hands.
//!
//! It stands before `authorize`, so nothing a caller writes, in `Connection` or
//! anywhere else, can remove or double what headset sets.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::gateway::error::Error;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::upload::is_continue;
use crate::gateway::{Call, CallResponse, HttpService, upgrade};

/// Fields that belong to one connection, besides those that `Connection` names.
/// `Trailer` is end-to-end and stays: trailers are forwarded.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The session header of the platform; removed from every route with a credential.
const SESSION_ID: HeaderName = HeaderName::from_static("sessionid");

/// The place of `name` in [`HOP_BY_HOP`].
fn hop(name: &HeaderName) -> Option<usize> {
    let place = match name.as_str() {
        "connection" => 0,
        "keep-alive" => 1,
        "proxy-connection" => 2,
        "proxy-authenticate" => 3,
        "proxy-authorization" => 4,
        "te" => 5,
        "transfer-encoding" => 6,
        "upgrade" => 7,
        _ => return None,
    };
    Some(place)
}

/// Removes hop-by-hop fields, those that `Connection` names included.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let found = headers
        .keys()
        .filter_map(hop)
        .fold(0u8, |found, place| found | 1 << place);
    remove_found(headers, found);
}

/// Removes from trailers what frames a message, says where it goes or belongs to one
/// connection (RFC 9110 §6.5.1): hyper writes none of it, the h2 crate would.
pub fn remove_from_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    trailers.remove(header::CONTENT_LENGTH);
    trailers.remove(header::HOST);
}

/// Removes the fields whose places are set in `found`: one look at each name costs
/// less than eight look-ups that mostly find nothing.
fn remove_found(headers: &mut HeaderMap, found: u8) {
    if found == 0 {
        return;
    }
    if found & 1 != 0 {
        let mut connection = headers.get_all(header::CONNECTION).iter();
        // The usual `keep-alive` and `close` name no field of their own to remove.
        let usual = connection.next().is_some_and(|first| {
            matches!(first.as_bytes(), b"keep-alive" | b"close" | b"Keep-Alive")
        });
        if !usual || connection.next().is_some() {
            remove_named(headers);
        }
    }
    for (place, name) in HOP_BY_HOP.iter().enumerate() {
        if found & 1 << place != 0 {
            headers.remove(name);
        }
    }
}

#[cold]
fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// The place of `Upgrade` in [`HOP_BY_HOP`].
const UPGRADE: u8 = 1 << 7;

/// Whether the caller can take trailers (RFC 9110 §10.1.4).
fn takes_trailers(headers: &HeaderMap, found: u8) -> bool {
    const TE: u8 = 1 << 5;
    if found & TE == 0 {
        return false;
    }
    headers
        .get_all(header::TE)
        .iter()
        .filter_map(|te| te.to_str().ok())
        .flat_map(|te| te.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Removes names that an upstream which reads `_` as `-` (CGI, RFC 3875 §4.1.18, and
/// what descends from it) would take for one of `secret`, for the tenant's, for a field of
/// ours, or for one of the connection or its framing.
#[cold]
pub fn remove_aliases(headers: &mut HeaderMap, secret: &[HeaderName], tenant: Option<&HeaderName>) {
    let means_another = |name: &&HeaderName| {
        if tenant.is_some_and(|tenant| *name != tenant && reads_as(name, tenant)) {
            return true;
        }
        if !has_underscore(name) {
            return false;
        }
        let Ok(read) = HeaderName::try_from(name.as_str().replace('_', "-")) else {
            return false;
        };
        secret.contains(&read)
            || is_ours(&read)
            || hop(&read).is_some()
            || read == header::CONTENT_LENGTH
    };
    let aliases: Vec<HeaderName> = headers.keys().filter(means_another).cloned().collect();
    for name in aliases {
        headers.remove(name);
    }
}

/// Whether both names are one where `_` is read as `-`.
fn reads_as(one: &HeaderName, other: &HeaderName) -> bool {
    let read = |name: &HeaderName| name.as_str().replace('_', "-");
    read(one) == read(other)
}

fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().as_bytes().contains(&b'_')
}

/// Removes names that hold more than letters, digits and `-`.
fn remove_odd(headers: &mut HeaderMap) {
    let is_odd = |name: &&HeaderName| {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
        !name.as_str().as_bytes().iter().all(plain)
    };
    let odd: Vec<HeaderName> = headers.keys().filter(is_odd).cloned().collect();
    for name in odd {
        headers.remove(name);
    }
}

/// What a route removes.
#[derive(Debug)]
pub struct ScrubRules {
    /// The fields that the route's credential sets; `None` for a pass-through route.
    pub credential: Option<Box<[HeaderName]>>,
    /// The field by which calls name their tenant: it passes once, in the head, and in no
    /// other spelling.
    pub tenant: Option<HeaderName>,
    /// Whether fields are removed whose names hold more than letters, digits and `-`.
    pub drop_odd_names: bool,
    /// Whether the upstream's cookies, and what else would be a second credential,
    /// reach the application all the same.
    pub pass_cookies: bool,
    /// Counts calls that brought credentials of their own.
    pub metrics: Arc<RouteMetrics>,
}

/// Adds [`Scrub`].
#[derive(Clone, Debug)]
pub struct ScrubLayer {
    rules: Arc<ScrubRules>,
}

impl ScrubLayer {
    /// Removes by `rules`.
    pub fn new(rules: Arc<ScrubRules>) -> ScrubLayer {
        ScrubLayer { rules }
    }
}

impl<S> Layer<S> for ScrubLayer {
    type Service = Scrub<S>;
    fn layer(&self, inner: S) -> Scrub<S> {
        let mut secret: Vec<HeaderName> = vec![header::PROXY_AUTHORIZATION];
        if let Some(names) = &self.rules.credential {
            secret.extend([header::AUTHORIZATION, SESSION_ID]);
            secret.extend(names.iter().cloned());
        }
        let dashed = |name: &HeaderName| {
            let name = has_underscore(name).then(|| name.as_str().replace('_', "-"))?;
            HeaderName::try_from(name).ok()
        };
        let others: Vec<HeaderName> = secret.iter().filter_map(dashed).collect();
        secret.extend(others);
        secret.dedup();
        let secret: Rc<[HeaderName]> = secret.into();
        let tenant = self.rules.tenant.as_ref();
        Scrub {
            inner,
            rules: self.rules.clone(),
            in_trailers: match tenant {
                Some(tenant) => {
                    let names = secret.iter().chain([tenant]).cloned();
                    names.chain(dashed(tenant)).collect()
                }
                None => secret.clone(),
            },
            secret,
            odd_tenant: tenant.is_some_and(has_underscore),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Scrub<S> {
    inner: S,
    rules: Arc<ScrubRules>,
    /// Every field by which a caller could pass for somebody.
    secret: Rc<[HeaderName]>,
    /// The same, and the tenant's, which is for the head alone.
    in_trailers: Rc<[HeaderName]>,
    /// Whether the tenant's own name has a `_`, so that names without one are its aliases.
    odd_tenant: bool,
}

impl<S> Scrub<S> {
    fn scrub(&self, call: &mut Call) {
        let headers = call.request.headers_mut();
        let (mut found, mut stripped, mut spoofed) = (0u8, false, false);
        let mut odd = self.odd_tenant;
        let mut expects = false;
        for name in headers.keys() {
            if let Some(place) = hop(name) {
                found |= 1 << place;
            }
            stripped |= self.secret.contains(name);
            spoofed |= is_ours(name);
            odd |= has_underscore(name);
            expects |= name == header::EXPECT;
        }
        if found & UPGRADE != 0 {
            call.upgrade = upgrade::is_asked(&call.request);
        }
        let headers = call.request.headers_mut();
        let trailers = takes_trailers(headers, found);
        if stripped {
            for name in self.secret.iter() {
                headers.remove(name);
            }
        }
        remove_found(headers, found);
        if spoofed {
            remove_spoofed(headers);
        }
        if odd {
            remove_aliases(headers, &self.secret, self.rules.tenant.as_ref());
        }
        if self.rules.drop_odd_names {
            remove_odd(headers);
        }
        if call.upgrade {
            upgrade::set(headers);
        } else if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        if stripped && self.rules.credential.is_some() {
            self.rules.metrics.stripped.inc();
        }
        if let Some(upload) = call.request.body().as_upload() {
            upload.source().forbid_trailers(self.in_trailers.clone());
        }
        if expects {
            settle_expectation(call);
        }
    }
}

/// An expectation of a 100 for which nothing waits is not passed on: HTTP/1.0 must be
/// read as if it had none, and without a body there is nothing to continue with (RFC 9110
/// §10.1.1).
#[cold]
fn settle_expectation(call: &mut Call) {
    let upload = call.request.body().as_upload();
    if upload.is_some_and(|upload| upload.source().is_held()) {
        return;
    }
    let headers = call.request.headers_mut();
    if headers.get_all(header::EXPECT).iter().any(is_continue) {
        headers.remove(header::EXPECT);
    }
}

/// `headset-*` is ours to say.
fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("headset-")
}

#[cold]
fn remove_spoofed(headers: &mut HeaderMap) {
    let spoofed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_ours(name))
        .cloned()
        .collect();
    for name in spoofed {
        headers.remove(name);
    }
}

impl<S: HttpService> Service<Call> for Scrub<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = ScrubFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        self.scrub(&mut call);
        ScrubFuture {
            inner: self.inner.call(call),
            kept_back: (self.rules.credential.is_some() && !self.rules.pass_cookies)
                .then(|| self.secret.clone()),
        }
    }
}

pin_project! {
    /// The future of [`Scrub`].
    pub struct ScrubFuture<F> {
        #[pin]
        inner: F,
        // Fields that would be a second credential, besides cookies.
        kept_back: Option<Rc<[HeaderName]>>,
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for ScrubFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = ready!(this.inner.poll(cx));
        let Ok(answer) = &mut outcome else {
            return Poll::Ready(outcome);
        };
        // The leaf lets no other 101 pass than the one that was asked for.
        let is_switch = answer.response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.response.headers_mut();
        remove_hop_by_hop(headers);
        if is_switch {
            upgrade::set(headers);
        }
        if let Some(secret) = this.kept_back.take() {
            // One look at each name costs less than look-ups that mostly find nothing.
            let is_kept_back =
                |name: &HeaderName| *name == header::SET_COOKIE || secret.contains(name);
            if headers.keys().any(is_kept_back) {
                headers.remove(header::SET_COOKIE);
                for name in secret.iter() {
                    headers.remove(name);
                }
            }
            answer.response.body_mut().forbid_trailers(secret);
        }
        Poll::Ready(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn every_hop_by_hop_field_knows_its_place() {
        for (place, name) in HOP_BY_HOP.iter().enumerate() {
            assert_eq!(hop(name), Some(place), "{name}");
        }
        assert_eq!(hop(&header::TRAILER), None);
    }

    #[test]
    fn what_connection_names_is_removed_with_it() {
        let mut headers = fields(&[
            ("connection", "keep-alive, X-One"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
        ]);
        remove_hop_by_hop(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-three", "trailer"]);
    }

    #[test]
    fn a_second_connection_field_is_read_too() {
        let mut headers = fields(&[
            ("connection", "close"),
            ("connection", "x-two"),
            ("x-two", "2"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_name_that_means_another_goes_and_other_underscores_stay() {
        let mut headers = fields(&[
            ("x_token", "1"),
            ("content_length", "2"),
            ("transfer-encoding", "chunked"),
            ("transfer_encoding", "chunked"),
            ("headset_generation", "9"),
            ("tenant_id", "7"),
        ]);
        remove_aliases(&mut headers, &[HeaderName::from_static("x-token")], None);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["tenant_id", "transfer-encoding"]);
    }

    #[test]
    fn a_tenant_is_named_once_and_in_one_spelling() {
        for (tenant, alias) in [
            ("x-context-id", "x_context_id"),
            ("x-context-id", "x-context_id"),
            ("x_context_id", "x-context-id"),
        ] {
            let mut headers = fields(&[(tenant, "1"), (alias, "9"), ("x_other", "2")]);
            let tenant = HeaderName::try_from(tenant).unwrap();
            remove_aliases(&mut headers, &[], Some(&tenant));
            assert!(headers.len() == 2 && headers[&tenant] == "1", "{headers:?}");
        }
    }

    #[test]
    fn the_names_of_ours_cannot_be_spoofed() {
        let mut headers = fields(&[("headset-generation", "9"), ("x", "1")]);
        remove_spoofed(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
