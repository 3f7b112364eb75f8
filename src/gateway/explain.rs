//! What would become of a call, without sending it: pure.
//!
//! It asks the very functions that calls go by (`matcher.rs` picks the route, `target.rs`
//! refuses, `scrub.rs` names what is removed, `authorize.rs` judges where a credential may
//! go, `replay.rs` decides on a second attempt), so that it cannot say otherwise. It looks
//! at method, host and path alone: what depends on a call's fields or body (framing, pages
//! of browsers, tokens, tenants) it names and does not judge. It opens and asks nothing. How
//! the call was written is read in `explain/asked.rs`; what forward listeners do is in
//! `explain/forward.rs`.

pub mod asked;
mod forward;
mod told;

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, Method, header};

use self::asked::AskedCall;
pub use self::forward::ExplainedForward;
pub use self::told::{ExplainedRefusal, Explanation};
use crate::base::name::Name;
use crate::config::url::HttpUrl;
use crate::config::{Announce, Effect, Limits, Timeouts};
use crate::gateway::error::{CallerFault, Error};
use crate::gateway::fields::HOP_BY_HOP;
use crate::gateway::framing::host_name;
use crate::gateway::matcher::{Matcher, find};
use crate::gateway::replay::{AttemptOutcome, ReplayPolicy};
use crate::gateway::stack::target::{TargetRules, no_tunnels};
use crate::gateway::stack::{authorize, scrub};

/// The rules of every route and listener, as far as they follow from the configuration.
#[derive(Debug)]
pub struct Explainer {
    routes: Vec<ExplainedRoute>,
    /// The same as forward listeners go by them, in the order that their `sites` count.
    forward_routes: Vec<ExplainedRoute>,
    listeners: Vec<ExplainedListener>,
    limits: Limits,
}

/// The rules of one route.
#[derive(Debug)]
pub struct ExplainedRoute {
    /// Its name.
    pub name: Name,
    /// Which calls take it.
    pub matcher: Matcher,
    /// Where its upstream is dialled, where the configuration says it.
    pub dialled: Vec<SocketAddr>,
    /// Which targets it refuses, and how targets are rewritten.
    pub target: TargetRules,
    /// What it attaches.
    pub credential: Option<ExplainedCredential>,
    /// The field that names the tenant.
    pub tenant: Option<HeaderName>,
    /// What its calls do, where configured.
    pub effect: Option<Effect>,
    /// Whether a `message` or `call` may be repeated after a 401.
    pub replay_401: bool,
    /// What tells the upstream of the way that calls take.
    pub announce: Announce,
    /// Whether fields with odd names are removed.
    pub drop_odd_names: bool,
    /// Whether cookies of the upstream pass on a route with a credential.
    pub pass_cookies: bool,
    /// How long its calls may take.
    pub timeouts: Timeouts,
}

/// A credential as a route attaches it.
#[derive(Clone, Debug)]
pub struct ExplainedCredential {
    /// Its name.
    pub name: Name,
    /// Its kind.
    pub kind: &'static str,
    /// The fields that it sets.
    pub sets: Vec<HeaderName>,
    /// Where it may go.
    pub origins: Vec<HttpUrl>,
}

/// One listener.
#[derive(Debug)]
pub struct ExplainedListener {
    /// Its name.
    pub name: Name,
    /// Its port; `None` is a Unix socket, or a port that the machine chooses.
    pub port: Option<u16>,
    /// By which names it may be called; empty is any.
    pub hosts: Vec<String>,
    /// Whether its callers must show a token or a certificate.
    pub wants_proof: bool,
    /// What it makes of targets, where it is a forward listener.
    pub forward: Option<ExplainedForward>,
}

/// How a first attempt may end, in words.
const ENDS: [(&str, AttemptOutcome); 6] = [
    (
        "nothing was sent, because no connection came about",
        AttemptOutcome::NothingSent,
    ),
    (
        "the upstream proves that it did not process the call",
        AttemptOutcome::Unprocessed,
    ),
    (
        "the upstream rejected the credential (401)",
        AttemptOutcome::CredentialRejected,
    ),
    (
        "a connection that had carried other calls died before the response",
        AttemptOutcome::Died { reused: true },
    ),
    (
        "a new connection died before the response",
        AttemptOutcome::Died { reused: false },
    ),
    (
        "a timeout, a 5xx, or a response that broke off",
        AttemptOutcome::Other,
    ),
];

impl Explainer {
    /// Explains by routes as reverse listeners go by them and as forward ones do, each in the
    /// order of [`matcher::in_order`], by `listeners` and `limits`.
    ///
    /// [`matcher::in_order`]: crate::gateway::matcher::in_order
    pub fn new(
        (routes, forward_routes): (Vec<ExplainedRoute>, Vec<ExplainedRoute>),
        listeners: Vec<ExplainedListener>,
        limits: Limits,
    ) -> Explainer {
        Explainer {
            routes,
            forward_routes,
            listeners,
            limits,
        }
    }

    /// What would become of a call of `method` to `url`: a path, or a whole URL.
    ///
    /// # Errors
    /// Where one of them is none; the error says what to write.
    pub fn explain(&self, method: &str, url: &str) -> Result<Explanation, &'static str> {
        let AskedCall {
            method,
            uri,
            has_user,
        } = AskedCall::read(method, url)?;
        let authority = uri.authority().map(|authority| authority.as_str());
        // A CONNECT has no path: it says to whom it is.
        let path = match method {
            Method::CONNECT => authority.unwrap_or(uri.path()),
            _ => uri.path(),
        };
        let mut told = self.nothing_of(&method, path);
        told.note = has_user.then(|| asked::USER_IN_URL.to_owned());
        if self.is_to_a_proxy(&method, &uri) {
            self.explain_forward(&method, &uri, &mut told);
            return Ok(told);
        }
        // The port of a CONNECT is not where it is sent.
        let port = uri.port_u16().filter(|_| method != Method::CONNECT);
        let listeners = self.at(port, &mut told);
        if method == Method::CONNECT {
            // Reverse listeners know where to send calls, and are not told by them.
            let all = listeners.iter().map(|l| (l.name.clone(), l.wants_proof));
            told.listeners = all.collect();
            told.refused = Some(ExplainedRefusal::of(no_tunnels()));
            return Ok(told);
        }
        let name = authority.map(host_name);
        let serves = |listener: &&&ExplainedListener| {
            listener.hosts.is_empty() || name.is_none_or(|name| listener.serves(name))
        };
        let taking: Vec<&&ExplainedListener> = listeners.iter().filter(serves).collect();
        let matchers = self.routes.iter().map(|route| &route.matcher);
        let (index, fault) = match find(matchers, name, uri.path()) {
            Ok(Some(index)) => (Some(index), None),
            Ok(None) => (None, Some(CallerFault::NoRoute)),
            Err((index, fault)) => (Some(index), Some(fault)),
        };
        let fault = match taking.is_empty() && !listeners.is_empty() {
            true => {
                let hosts = listeners.iter().flat_map(|listener| &listener.hosts);
                let hosts: Vec<&str> = hosts.map(String::as_str).collect();
                let why = format!("serves {}", hosts.join(", "));
                Some(CallerFault::HostNotServed(why.into()))
            }
            false => fault,
        };
        let listeners = taking.iter().map(|l| (l.name.clone(), l.wants_proof));
        told.listeners = listeners.collect();
        told.refused = fault.map(ExplainedRefusal::of);
        if let Some(route) = index.map(|index| &self.routes[index]) {
            route.explain(&method, uri.path(), &mut told);
        }
        Ok(told)
    }

    /// What is known of a call of `method` to `path` before its route is.
    fn nothing_of(&self, method: &Method, path: &str) -> Explanation {
        Explanation {
            method: method.to_string(),
            path: path.to_owned(),
            listeners: Vec::new(),
            connect: None,
            note: None,
            route: None,
            refused: None,
            sent_to: None,
            dialled: Vec::new(),
            credential: None,
            tenant: None,
            removed: Vec::new(),
            set: Vec::new(),
            kept_back: Vec::new(),
            effect: ReplayPolicy::of(method, None, false).effect,
            effect_is_configured: false,
            replay: Vec::new(),
            timeouts: Vec::new(),
            limits: limits_of(&self.limits),
        }
    }

    /// The reverse listeners at `port`, or those that may be where no other is: all of them
    /// where the call names none, and else those whose port is not known. Where none can be,
    /// `told` says so, and all are asked.
    fn at(&self, port: Option<u16>, told: &mut Explanation) -> Vec<&ExplainedListener> {
        let all = self.listeners.iter().filter(|l| l.forward.is_none());
        let Some(port) = port else {
            return all.collect();
        };
        let at = |at: Option<u16>| all.clone().filter(move |l| l.port == at);
        let here: Vec<_> = at(Some(port)).collect();
        if !here.is_empty() {
            return here;
        }
        let unknown: Vec<_> = at(None).collect();
        if !unknown.is_empty() {
            return unknown;
        }
        told.remark(format!(
            "no listener has port {port}, so nobody takes this call there; below is what becomes \
             of it at one that there is"
        ));
        all.collect()
    }
}

impl ExplainedListener {
    /// Whether `name` is one by which it is called.
    fn serves(&self, name: &str) -> bool {
        let mut hosts = self.hosts.iter();
        hosts.any(|host| host.eq_ignore_ascii_case(name))
    }
}

impl ExplainedRoute {
    fn explain(&self, method: &Method, path: &str, told: &mut Explanation) {
        told.route = Some(self.name.clone());
        let policy = ReplayPolicy::of(method, self.effect, self.replay_401);
        told.effect = policy.effect;
        told.effect_is_configured = self.effect.is_some();
        let sent = self.target.upstream_target.path(path);
        let origin = self.target.upstream_target.origin();
        if told.refused.is_none() {
            let verdict = self.target.judge(method, path).map_err(Error::from);
            let verdict = verdict.and_then(|()| match &self.credential {
                Some(credential) => {
                    let prefixes = authorize::prefixes(&credential.origins, origin);
                    authorize::check(&prefixes, origin, &sent)
                }
                None => Ok(()),
            });
            told.refused = verdict.err().map(ExplainedRefusal::of);
        }
        if told.refused.is_some() {
            return;
        }
        told.sent_to = Some(match &*sent {
            // The server as a whole.
            "*" => origin.to_string(),
            path => origin.url(path),
        });
        told.dialled = self.dialled.clone();
        told.tenant = self.tenant.as_ref().map(HeaderName::to_string);
        let credential = self.credential.as_ref();
        told.credential = credential.map(|c| (c.name.clone(), c.kind));
        let sets = credential.map(|credential| &*credential.sets);
        let secret = scrub::credential_fields(sets);
        told.removed = secret.iter().map(HeaderName::to_string).collect();
        let others = HOP_BY_HOP.into_iter().filter(|name| !secret.contains(name));
        told.removed.extend(others.map(|name| name.to_string()));
        told.removed.push("headset-*".into());
        if self.drop_odd_names {
            let odd = "fields with other names than letters, digits and -";
            told.removed.push(odd.into());
        }
        told.set.push(format!("host: {}", self.host()));
        told.set
            .extend(sets.unwrap_or_default().iter().map(HeaderName::to_string));
        for (announced, names) in [
            (self.announce.via, &["via"][..]),
            (self.announce.forwarded, &["forwarded"]),
            (self.announce.x_forwarded, &X_FORWARDED),
            (self.announce.request_id, &["x-request-id"]),
        ] {
            let names = names.iter().filter(|_| announced);
            told.set.extend(names.map(|name| (*name).to_owned()));
        }
        if credential.is_some() && !self.pass_cookies {
            told.kept_back.push(header::SET_COOKIE.to_string());
            let second = secret.iter().filter(|n| **n != header::PROXY_AUTHORIZATION);
            told.kept_back.extend(second.map(HeaderName::to_string));
        }
        let ends = ENDS
            .iter()
            .filter(|(_, end)| credential.is_some() || *end != AttemptOutcome::CredentialRejected);
        let may = |(words, end): &(&'static str, _)| (*words, policy.may_repeat(*end, true));
        told.replay = ends.map(may).collect();
        told.timeouts = timeouts_of(&self.timeouts, credential.is_some());
    }

    fn host(&self) -> &str {
        let host = self.target.upstream_target.host();
        host.to_str().unwrap_or_default()
    }
}

/// Those that a call meets; that for a credential only where it has one.
fn timeouts_of(timeouts: &Timeouts, has_credential: bool) -> Vec<(&'static str, Duration)> {
    let mut all = vec![
        ("connect", timeouts.connect),
        ("connect_retry", timeouts.connect_retry),
        ("first_byte", timeouts.first_byte),
        ("idle", timeouts.idle),
    ];
    if has_credential {
        all.insert(0, ("credential_wait", timeouts.credential_wait));
    }
    all
}

fn limits_of(limits: &Limits) -> Vec<(&'static str, usize)> {
    vec![
        ("header_bytes", limits.header_bytes),
        ("header_count", limits.header_count),
        ("in_flight", limits.in_flight),
        ("streams", limits.streams),
        ("body_rate", limits.body_rate),
        ("replay_body", limits.replay_body),
    ]
}

const X_FORWARDED: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
