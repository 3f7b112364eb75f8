//! Where a call on a forward listener goes: to a route whose upstream it names, elsewhere, or
//! nowhere.

use std::rc::Rc;

use http::{HeaderValue, Method, Request};

use super::{ForwardRules, target};
use crate::config::url::HttpOrigin;
use crate::gateway::fields::Seen;
use crate::gateway::framing;
use crate::gateway::matcher::{Matcher, Placed, find};
use crate::gateway::request_body::RequestBody;

/// Where `request`, whose names were `seen`, goes by `rules`; it came in a tunnel to `inside`
/// where there is one. `matcher` yields those of the listener's routes, by their place.
pub(in crate::gateway) fn place<'m>(
    rules: &ForwardRules,
    matcher: impl Fn(usize) -> &'m Matcher,
    (request, seen): (&Request<RequestBody>, Seen),
    host: Option<&HeaderValue>,
    inside: Option<&HttpOrigin>,
) -> Placed {
    let named = host.filter(|_| seen.has(Seen::HOST));
    let named_target =
        framing::check_to_proxy(request, seen, named).and_then(|()| target(request, host, inside));
    let to = match named_target {
        Ok(to) => to,
        Err(fault) => return Placed::refused(fault, None),
    };
    let (method, path) = (request.method(), request.uri().path());
    let is_connect = method == Method::CONNECT;
    let routes = rules.policy.routes_to(&to).filter(|_| !is_connect);
    let opens = is_connect && rules.policy.opens(&to);
    let forwarded = Some(Rc::new(to));
    if let Some(routes) = routes {
        let matchers = routes.iter().map(|&index| matcher(index));
        let found = match find(matchers, None, path) {
            Ok(place) => Ok(place.map(|place| routes[place])),
            Err((place, fault)) => Err((routes[place], fault)),
        };
        return Placed::found(found, forwarded);
    }
    let verdict = match &forwarded {
        Some(to) if !opens => {
            rules.note_near(to);
            rules.policy.elsewhere(method, to, path)
        }
        _ => Ok(()),
    };
    match verdict {
        Ok(()) => Placed {
            index: None,
            fault: None,
            forwarded,
        },
        Err(fault) => Placed::refused(fault, forwarded),
    }
}
