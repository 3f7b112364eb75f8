//! Which target a call on a forward listener is for, and whether it is let through: pure.
//!
//! A caller names the target itself: by the absolute form of a call's target (RFC 9112
//! §3.2.2), by CONNECT (RFC 9110 §9.3.6), or by the CONNECT in whose tunnel the call comes.
//! Its origin (scheme, host, port) finds the routes whose upstream has that origin, and the
//! path, as it came, chooses among them. All that is for no route is *elsewhere*, and let
//! through or refused as the listener says. What carries it there is in
//! `forward/elsewhere.rs`.

pub mod elsewhere;
pub mod place;
pub mod policy;
pub mod way_out;

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderValue, Method, Request, Version, header};

use crate::config::url::HttpOrigin;
use crate::gateway::error::CallerFault;
use crate::gateway::forward::policy::{ForwardPolicy, target_of};
use crate::gateway::forward::way_out::WayOut;
use crate::gateway::framing;
use crate::gateway::metrics::ListenerRefusal;
use crate::net::tls::authority::{Authority, LeafAcceptor};

/// What one forward listener goes by.
#[derive(Debug)]
pub struct ForwardRules {
    /// Which targets it opens, passes on and refuses.
    pub policy: ForwardPolicy,
    /// Who signs for the hosts that routes lead to; `None` where no route speaks TLS.
    pub authority: Option<Arc<Authority>>,
    /// How elsewhere is reached.
    pub way_out: Arc<WayOut>,
    /// Whether it was told that calls miss a route by scheme or port alone.
    pub told_near: AtomicBool,
}

/// What a CONNECT became whose tunnel ends here: the calls in it are served.
#[derive(Clone, Debug)]
pub struct OpenedTunnel {
    /// Where it leads; whether to the `https` or the `http` origin its first byte tells.
    pub to: HttpOrigin,
    /// What its listener goes by.
    pub rules: Arc<ForwardRules>,
}

impl ForwardRules {
    /// Tells the log, once, of a call to `origin` that no route takes although one leads to its
    /// host: whoever meant that one waits for a credential in vain.
    pub fn note_near(&self, origin: &HttpOrigin) {
        if let Some(near) = self.policy.near(origin)
            && !self.told_near.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "a call is for {origin}, where no route leads to, and gets no credential; a route \
                 leads to {near}: call that, or add a route (told once)"
            );
        }
    }

    /// Who speaks TLS as `host` in a tunnel that is opened; `None` where nobody may sign for
    /// it, which is logged.
    pub fn acceptor(&self, host: &str) -> Option<Arc<LeafAcceptor>> {
        let authority = self.authority.as_ref()?;
        authority
            .acceptor(host)
            .inspect_err(|error| {
                tracing::warn!(
                    upstream.host = host,
                    error.detail = %error,
                    error.fix = error.fix(),
                    "a tunnel is not opened, for want of a certificate of its host"
                );
            })
            .ok()
    }
}

/// The origin that `request` is for; it came in a tunnel to `inside` where there is one. A
/// CONNECT is for the `https` origin of its host and port. `host` is its `Host`.
///
/// # Errors
/// Where it names none, or none in one way.
pub fn target<B>(
    request: &Request<B>,
    host: Option<&HeaderValue>,
    inside: Option<&HttpOrigin>,
) -> Result<HttpOrigin, CallerFault> {
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        if inside.is_some() {
            return Err(CallerFault::Connect("a tunnel opens no further tunnels"));
        }
        if request.version() == Version::HTTP_2 {
            return Err(CallerFault::Connect("tunnels are opened over HTTP/1.1"));
        }
        let headers = request.headers();
        let has_length = |value: &HeaderValue| value.as_bytes() != b"0";
        if headers.contains_key(header::TRANSFER_ENCODING)
            || headers.get(header::CONTENT_LENGTH).is_some_and(has_length)
        {
            // RFC 9110 §9.3.6: what comes behind the head is the tunnel's.
            return Err(CallerFault::Framing("a CONNECT has no body"));
        }
        // RFC 9112 §3.2.3: it has the authority form, and no other.
        let is_bare = uri.scheme().is_none() && uri.path_and_query().is_none();
        let authority = uri.authority().filter(|_| is_bare);
        let authority = authority.map(|authority| authority.as_str());
        let authority =
            authority.ok_or(CallerFault::Target("a CONNECT names a host and a port"))?;
        return origin(authority, true, None);
    }
    if let Some(inside) = inside {
        let scheme = uri.scheme_str();
        let named = framing::authority(uri, host).unwrap_or_default();
        let named = origin(named, inside.tls, Some(inside.own_port()))?;
        return match named == *inside && scheme.is_none_or(|scheme| scheme == inside.scheme()) {
            true => Ok(named),
            false => Err(CallerFault::Misdirected {
                target: target_of(request.method(), &named),
                tunnel: inside.to_string().into(),
            }),
        };
    }
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(CallerFault::Target("the target is a path, without a host"));
    };
    let (tls, port) = match scheme {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return Err(CallerFault::Target("its scheme is neither http nor https")),
    };
    origin(authority.as_str(), tls, Some(port))
}

/// The origin with this `authority`, and with the port `default` where that names none.
///
/// # Errors
/// Where it is no host, with a port.
pub fn origin(authority: &str, tls: bool, default: Option<u16>) -> Result<HttpOrigin, CallerFault> {
    let refuse = |why| Err(CallerFault::Target(why));
    if authority.contains('@') {
        return refuse("it names a user before its host");
    }
    let end = match authority.rfind(']') {
        // The colons of an IPv6 address stand before its bracket.
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default,
        // RFC 3986 §3.2.3: an empty port is the scheme's own.
        Some("") => default,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    };
    let Some(port) = port.filter(|port| *port > 0) else {
        return refuse("it names no port from 1 to 65535");
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    Ok(HttpOrigin {
        tls,
        host: plain_host(host)?,
        port,
    })
}

/// `host` as hosts are compared: lower case, an IPv6 address in its one spelling.
///
/// # Errors
/// Where it holds what no host does.
pub fn plain_host(host: &str) -> Result<Box<str>, CallerFault> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(ip) = bare.and_then(|bare| bare.parse::<Ipv6Addr>().ok()) {
        return Ok(format!("[{ip}]").into());
    }
    // What is no address in brackets (a zone: RFC 6874) is refused by its spelling later.
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:%".contains(&b);
    // RFC 1035 §3.1: no label but the root's is empty.
    let is_whole = bare.is_some() || host.split('.').all(|label| !label.is_empty());
    match is_whole && host.len() <= 255 && host.bytes().all(fits) {
        true => Ok(host.to_ascii_lowercase().into()),
        false => Err(CallerFault::Target("its host is no name and no address")),
    }
}

/// By which reason a listener counts that it refused a call for `fault`.
pub fn refusal(fault: &CallerFault) -> Option<ListenerRefusal> {
    match fault {
        CallerFault::Framing(_) => Some(ListenerRefusal::Framing),
        CallerFault::Target(_) => Some(ListenerRefusal::NoTarget),
        CallerFault::Misdirected { .. } => Some(ListenerRefusal::Misdirected),
        CallerFault::Elsewhere { .. }
        | CallerFault::PlainHttps { .. }
        | CallerFault::TunnelPort(_) => Some(ListenerRefusal::Elsewhere),
        CallerFault::Forbidden { .. } => Some(ListenerRefusal::ForbiddenTarget),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        line: (&str, &str),
        host: Option<&str>,
        inside: Option<&str>,
    ) -> Result<String, String> {
        let mut request = Request::builder().method(line.0).uri(line.1);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.body(()).unwrap();
        let host = request.headers().get("host").cloned();
        let inside = inside.map(|url| crate::config::url::HttpUrl::parse(url).unwrap().origin);
        target(&request, host.as_ref(), inside.as_ref())
            .map(|origin| origin.to_string())
            .map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_call_names_its_target_by_its_absolute_form_and_a_connect_by_host_and_port() {
        let get = |target: &str| read(("GET", target), None, None);
        assert_eq!(
            get("http://CMS.example.com./v1").unwrap(),
            "http://cms.example.com"
        );
        assert_eq!(
            get("http://cms.example.com:80/").unwrap(),
            "http://cms.example.com"
        );
        assert_eq!(
            get("https://cms.example.com:8443/").unwrap(),
            "https://cms.example.com:8443"
        );
        assert_eq!(get("http://[0:0::1]:8080/").unwrap(), "http://[::1]:8080");
        for bad in [
            "/v1",
            "*",
            "ftp://a/",
            "http://u@a/",
            "http://a:0/",
            "http://a:99999/",
            "http://../",
            "http://a..b/",
            "http://.a/",
        ] {
            assert!(get(bad).is_err(), "{bad}");
        }
        let connect = |target: &str| read(("CONNECT", target), None, None);
        assert_eq!(
            connect("cms.example.com:443").unwrap(),
            "https://cms.example.com"
        );
        assert_eq!(connect("[::1]:8443").unwrap(), "https://[::1]:8443");
        for bad in [
            "cms.example.com",
            "cms.example.com:",
            "cms.example.com:0",
            "u@a:443",
            "https://cms.example.com:443",
            "http://cms.example.com:443/x?y",
        ] {
            assert!(connect(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_call_in_a_tunnel_is_for_whom_the_tunnel_leads_to_and_for_nobody_else() {
        let tunnel = Some("https://cms.example.com:8443");
        let inside = |target: &str, host: &str| read(("GET", target), Some(host), tunnel);
        assert!(inside("/v1", "cms.example.com:8443").is_ok());
        assert!(inside("/v1", "CMS.example.com.:8443").is_ok());
        for host in [
            "cms.example.com",
            "other.example.com:8443",
            "cms.example.com:443",
            "",
        ] {
            assert!(inside("/v1", host).is_err(), "{host}");
        }
        let other = "http://cms.example.com:8443/v1";
        assert!(inside(other, "cms.example.com:8443").is_err());
        let again = read(("CONNECT", "cms.example.com:8443"), None, tunnel);
        assert!(again.unwrap_err().contains("no further tunnels"));
    }
}
