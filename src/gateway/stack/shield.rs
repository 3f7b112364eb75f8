//! Who may call.
//!
//! A listener on loopback is within reach of every page that a browser on this
//! machine shows. So a call must name the listener by one of its hosts (which ends
//! DNS rebinding), must not say that another site made it (`Sec-Fetch-Site`,
//! W3C Fetch Metadata §2.3), and an `Origin` must be one that was allowed
//! (RFC 6454 §7). Programs send neither field and notice nothing.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, Method, header};
use tower::{Layer, Service};

use crate::gateway::error::{CallerFault, Error};
use crate::gateway::fields::Seen;
use crate::gateway::framing::{authority, host_name};
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::stack::check::CheckFuture;
use crate::gateway::{Call, CallResponse, HttpService};

/// By which names a listener may be called, and from which pages.
#[derive(Debug)]
pub struct OriginPolicy {
    /// Lower-case names without ports; empty is any.
    pub hosts: Vec<String>,
    /// Whole origins such as `https://app.example.com`, lower case.
    pub origins: Vec<String>,
    /// Counts what is refused.
    pub metrics: Arc<ListenerMetrics>,
}

impl OriginPolicy {
    fn check(&self, call: &Call) -> Result<(), (CallerFault, ListenerRefusal)> {
        let name = authority(call.request.uri(), call.facts.host.as_ref()).map(host_name);
        match call.seen.has(Seen::PAGE) {
            true => judge(&self.hosts, &self.origins, name, call.request.headers()),
            false => judge_host(&self.hosts, name),
        }
    }
}

/// Whether a request that names us as `name` may call where we go by `hosts` (empty
/// is any) and pages of `origins` are welcome.
///
/// # Errors
/// With why not, for people and for the metric.
pub fn judge(
    hosts: &[String],
    origins: &[String],
    name: Option<&str>,
    headers: &HeaderMap,
) -> Result<(), (CallerFault, ListenerRefusal)> {
    judge_host(hosts, name)?;
    let goes_by = |name: &str| goes_by(hosts, name);
    // An origin is allowed where it is listed, or where its host is one of ours.
    let allows = |origin: &str| {
        let authority = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        origins.iter().any(|o| o.eq_ignore_ascii_case(origin))
            || authority.is_some_and(|authority| goes_by(host_name(authority)))
    };
    // A browser sends each of the two once. Of two, whoever reads the other one would
    // judge otherwise, so two are refused whatever they say.
    let origin = headers.get(header::ORIGIN);
    let site = headers.get(&SEC_FETCH_SITE);
    if origin.is_some() && is_repeated(headers, &header::ORIGIN) {
        return Err((CallerFault::OriginNotAllowed, ListenerRefusal::Origin));
    }
    if site.is_some() && is_repeated(headers, &SEC_FETCH_SITE) {
        return Err((CallerFault::CrossSite, ListenerRefusal::CrossSite));
    }
    let is_cross_site = site.is_some_and(|s| s.as_bytes().eq_ignore_ascii_case(b"cross-site"));
    // Checked before Sec-Fetch-Site: an allowed origin may well be another site.
    match origin.map(|origin| origin.to_str().is_ok_and(allows)) {
        Some(true) => Ok(()),
        Some(false) => Err((CallerFault::OriginNotAllowed, ListenerRefusal::Origin)),
        None if is_cross_site => Err((CallerFault::CrossSite, ListenerRefusal::CrossSite)),
        None => Ok(()),
    }
}

fn goes_by(hosts: &[String], name: &str) -> bool {
    // Most callers write it as it is listed.
    hosts.iter().any(|host| host == name)
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

fn judge_host(hosts: &[String], name: Option<&str>) -> Result<(), (CallerFault, ListenerRefusal)> {
    if hosts.is_empty() || name.is_some_and(|name| goes_by(hosts, name)) {
        return Ok(());
    }
    let fault = CallerFault::HostNotServed(not_served(name, hosts));
    Err((fault, ListenerRefusal::Host))
}

/// That a listener which goes by `hosts` was called as `name`.
fn not_served(name: Option<&str>, hosts: &[String]) -> Box<str> {
    let hosts = hosts.join(", ");
    match name {
        Some(name) => {
            let short: String = name.chars().take(100).collect();
            format!("was called as {short:?}, but serves {hosts}").into()
        }
        None => format!("was called without a Host, but serves {hosts}").into(),
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cold]
fn is_repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

/// Adds [`Shield`].
#[derive(Clone, Debug)]
pub struct ShieldLayer {
    origin_policy: Option<Arc<OriginPolicy>>,
}

impl ShieldLayer {
    /// Guards `origin_policy`.
    pub fn new(origin_policy: Arc<OriginPolicy>) -> ShieldLayer {
        ShieldLayer {
            origin_policy: Some(origin_policy),
        }
    }

    /// Lets every page call: for the built-in route of forward listeners, by which a page
    /// reaches nothing, with no credential, that it could not reach without.
    pub fn open() -> ShieldLayer {
        ShieldLayer {
            origin_policy: None,
        }
    }
}

impl<S> Layer<S> for ShieldLayer {
    type Service = Shield<S>;
    fn layer(&self, inner: S) -> Shield<S> {
        Shield {
            inner,
            origin_policy: self.origin_policy.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Shield<S> {
    inner: S,
    origin_policy: Option<Arc<OriginPolicy>>,
}

impl<S: HttpService> Service<Call> for Shield<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = CheckFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Some(origin_policy) = &self.origin_policy else {
            return CheckFuture::passed(self.inner.call(call));
        };
        // A request with two readings has no certain Host to judge; `target` ends it.
        // Nor has CONNECT one of ours: it names whom the caller wants to be tunnelled to,
        // unless it is malformed (over HTTP/2 it may name nobody).
        let verdict = match &call.fault {
            Some(CallerFault::Framing(_)) => Ok(()),
            _ if call.request.method() == Method::CONNECT
                && call.request.uri().authority().is_some() =>
            {
                Ok(())
            }
            _ => origin_policy.check(&call),
        };
        match verdict {
            Ok(()) => CheckFuture::passed(self.inner.call(call)),
            Err((fault, refusal)) => {
                origin_policy.metrics.refused(refusal).inc();
                CheckFuture::refused(fault.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(fields: &[(&'static str, &'static str)]) -> Option<ListenerRefusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        let (hosts, origins) = (["localhost".into()], ["https://app.example".into()]);
        let judged = judge(&hosts, &origins, Some("localhost"), &headers);
        judged.err().map(|(_, refusal)| refusal)
    }

    #[test]
    fn what_a_browser_sends_once_is_refused_twice_whatever_it_says() {
        let (own, foreign) = ("https://app.example", "https://evil.example");
        assert_eq!(verdict(&[("origin", own)]), None);
        for other in [own, foreign, ""] {
            for pair in [[own, other], [other, own]] {
                let both = pair.map(|value| ("origin", value));
                assert_eq!(verdict(&both), Some(ListenerRefusal::Origin), "{pair:?}");
            }
        }
        assert_eq!(verdict(&[("sec-fetch-site", "same-origin")]), None);
        for other in ["same-origin", "cross-site", "none"] {
            let both = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", other)];
            assert_eq!(verdict(&both), Some(ListenerRefusal::CrossSite), "{other}");
            let excused = [both[0], both[1], ("origin", own)];
            assert_eq!(
                verdict(&excused),
                Some(ListenerRefusal::CrossSite),
                "{other}"
            );
        }
    }
}
