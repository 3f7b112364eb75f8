//! What forward listeners make of a call, by the very functions that they go by
//! (`gateway/forward.rs`). Addresses are judged where the call names one; what a name stands
//! for is known when it is looked up, which nothing here does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{Method, Request, Uri};

use super::{ExplainedListener, ExplainedRefusal, Explainer, Explanation};
use crate::config::url::HttpOrigin;
use crate::gateway::error::CallerFault;
use crate::gateway::fields::HOP_BY_HOP;
use crate::gateway::forward;
use crate::gateway::forward::policy::ForwardPolicy;
use crate::gateway::framing::host_name;
use crate::gateway::matcher::find;
use crate::gateway::metrics::ConnectOutcome;
use crate::gateway::stack::scrub;
use crate::net::guard::AddressGuard;

/// What a forward listener makes of targets.
#[derive(Debug)]
pub struct ExplainedForward {
    /// Which it opens, passes on and refuses.
    pub policy: ForwardPolicy,
    /// Judges hosts and addresses that callers name; no name is looked up.
    pub guard: AddressGuard,
    /// Where headset listens, as far as the configuration says it.
    pub own: Vec<SocketAddr>,
}

impl Explainer {
    /// Whether a call of `method` to `uri` is one to a forward listener: it is a CONNECT, or
    /// names the host of an upstream or another one by which no reverse listener is called.
    pub(super) fn is_to_a_proxy(&self, method: &Method, uri: &Uri) -> bool {
        let Some((_, rules)) = self.forwards().next() else {
            return false;
        };
        let all = self.listeners.iter();
        let mut reverse = all.filter(|listener| listener.forward.is_none()).peekable();
        if reverse.peek().is_none() || *method == Method::CONNECT {
            return true;
        }
        let Some(authority) = uri.authority() else {
            return false;
        };
        let (name, port) = (host_name(authority.as_str()), uri.port_u16());
        if port.is_some() && self.forwards().any(|(one, _)| one.port == port) {
            return true;
        }
        let is_site = named(method, uri).is_ok_and(|to| rules.policy.routes_to(&to).is_some());
        let is_reverse = |one: &ExplainedListener| {
            let is_here = one.port.is_some() && one.port == port;
            match is_here {
                true => one.hosts.is_empty() || one.serves(name),
                // On another port it is somebody else.
                false => {
                    let may_be_here = port.is_none() || one.port.is_none();
                    may_be_here && !is_site && one.serves(name)
                }
            }
        };
        !reverse.any(is_reverse)
    }

    /// Puts into `told` what forward listeners make of a call of `method` to `uri`.
    pub(super) fn explain_forward(&self, method: &Method, uri: &Uri, told: &mut Explanation) {
        let all = self.forwards();
        told.listeners = all
            .map(|(listener, _)| (listener.name.clone(), listener.wants_proof))
            .collect();
        let to = match named(method, uri) {
            Ok(to) => to,
            Err(fault) => return told.refused = Some(ExplainedRefusal::of(fault)),
        };
        let Some((_, rules)) = self.forwards().next() else {
            return;
        };
        // Clients reach an https target through a tunnel.
        let is_connect = *method == Method::CONNECT;
        let connects = is_connect || to.tls;
        if is_connect && rules.policy.opens(&to) {
            told.connect = Some(ConnectOutcome::Opened);
            told.remark(format!(
                "headset speaks TLS as {}, and serves the calls in the tunnel: explain one by its \
                 whole URL, such as GET {to}/",
                to.host
            ));
            return;
        }
        match rules.policy.routes_to(&to).filter(|_| !is_connect) {
            Some(routes) => {
                told.connect = connects.then_some(ConnectOutcome::Opened);
                self.explain_site(routes, method, uri.path(), told);
            }
            None => self.explain_elsewhere(method, uri, &to, connects, told),
        }
    }

    /// A call to an origin that the routes at these places lead to.
    fn explain_site(&self, places: &[usize], method: &Method, path: &str, told: &mut Explanation) {
        let all = &self.forward_routes;
        let matchers = places.iter().map(|&place| &all[place].matcher);
        let (found, fault) = match find(matchers, None, path) {
            Ok(Some(found)) => (Some(found), None),
            Ok(None) => (None, Some(CallerFault::NoRoute)),
            Err((found, fault)) => (Some(found), Some(fault)),
        };
        told.refused = fault.map(ExplainedRefusal::of);
        if let Some(found) = found {
            all[places[found]].explain(method, path, told);
        }
    }

    fn explain_elsewhere(
        &self,
        method: &Method,
        uri: &Uri,
        to: &HttpOrigin,
        connects: bool,
        told: &mut Explanation,
    ) {
        if let Some(near) = self.near_miss(to) {
            told.remark(near);
        }
        let asked = if connects { &Method::CONNECT } else { method };
        let verdicts = self.forwards().map(|(listener, rules)| {
            let verdict = rules.policy.elsewhere(asked, to, uri.path());
            let verdict = verdict.and_then(|()| rules.judge(to));
            verdict.map(|()| (listener.name.clone(), listener.wants_proof))
        });
        let (passing, faults): (Vec<_>, Vec<_>) = verdicts.partition(Result::is_ok);
        if passing.is_empty() {
            let fault = faults.into_iter().find_map(Result::err);
            told.refused = fault.map(ExplainedRefusal::of);
            return;
        }
        told.listeners = passing.into_iter().flatten().collect();
        if let Some(later) = looked_up(to) {
            told.remark(later);
        }
        if connects {
            told.connect = Some(ConnectOutcome::Tunnelled);
            told.sent_to = Some(format!("{}:{}", to.host, to.port));
            return;
        }
        told.sent_to = Some(to.url(uri.path()));
        let secret = scrub::credential_fields(None);
        told.removed = secret.iter().map(ToString::to_string).collect();
        let others = HOP_BY_HOP.into_iter().filter(|name| !secret.contains(name));
        told.removed.extend(others.map(|name| name.to_string()));
        told.removed.push("headset-*".into());
        told.set = vec!["host".into()];
    }

    /// That routes lead to the host of `to` by another scheme or port: whoever meant them gets
    /// no credential.
    fn near_miss(&self, to: &HttpOrigin) -> Option<String> {
        let (_, rules) = self.forwards().next()?;
        let near = rules.policy.near(to)?;
        Some(format!(
            "a route leads to {near}, and this call is for {to}: it takes no route and gets no \
             credential"
        ))
    }

    fn forwards(&self) -> impl Iterator<Item = (&ExplainedListener, &ExplainedForward)> {
        let all = self.listeners.iter();
        all.filter_map(|listener| Some((listener, listener.forward.as_ref()?)))
    }
}

impl ExplainedForward {
    /// Whether `to` may be connected to, as far as it says so itself.
    fn judge(&self, to: &HttpOrigin) -> Result<(), CallerFault> {
        let host = &to.host;
        let verdict = self.guard.judge_host(host).and_then(|()| {
            let is_own = |at: SocketAddr| {
                let mut own = self.own.iter().filter(|own| own.port() == at.port());
                own.any(|own| own.ip().is_unspecified() || own.ip() == at.ip().to_canonical())
            };
            // Any that may be dialled will do.
            let judge = |ip: &IpAddr| self.guard.judge(SocketAddr::new(*ip, to.port), is_own);
            let known = known_addresses(host);
            match known.iter().any(|ip| judge(ip).is_ok()) {
                true => Ok(()),
                false => known.iter().try_for_each(judge),
            }
        });
        verdict.map_err(|why| CallerFault::Forbidden {
            target: host.clone(),
            why,
        })
    }
}

/// What `host` stands for, as far as that is known without a look-up: an address, or a name
/// of this machine (RFC 6761 §6.3).
fn known_addresses(host: &str) -> Vec<IpAddr> {
    if host == "localhost" || host.ends_with(".localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    ip.into_iter().collect()
}

/// That more is judged once the name of `to` is looked up.
fn looked_up(to: &HttpOrigin) -> Option<String> {
    known_addresses(&to.host).is_empty().then(|| {
        format!(
            "what {} stands for is judged when it is looked up: an address of this machine, of a \
             private network or of a cloud's metadata service is refused, unless private_networks \
             allows it",
            to.host
        )
    })
}

/// The origin that a call names; one that is an `https` URL as the CONNECT does with which
/// clients begin it.
fn named(method: &Method, uri: &Uri) -> Result<HttpOrigin, CallerFault> {
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    forward::target(&request, None, None)
}
