//! Pure: what tells an upstream of the way that a call took, where a route asks for it.
//!
//! Each field is appended to what the application sent of it, never in its place: who
//! reads them trusts the last hop. By default a route announces nothing (ADR 1).

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName, VIA};
use http::{HeaderValue, Version};

use crate::config::Announce;
use crate::gateway::Call;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Adds to `call` what `announce` asks for. Its version, `Host` and fields must still be
/// those that came, less what is not the application's to forward.
pub fn write(announce: Announce, call: &mut Call) {
    let scheme = if call.peer.tls { "https" } else { "http" };
    let host = call.host.clone();
    let ip = call.peer.ip;
    let version = call.request.version();
    let headers = call.request.headers_mut();
    let mut append = |name: HeaderName, value: HeaderValue| {
        headers.append(name, value);
    };
    if announce.via {
        // RFC 9110 §7.6.3: the version that was received, and a pseudonym.
        append(
            VIA,
            HeaderValue::from_static(match version {
                Version::HTTP_2 => "2 headset",
                Version::HTTP_10 => "1.0 headset",
                _ => "1.1 headset",
            }),
        );
    }
    if announce.forwarded {
        // RFC 7239 §4, §6: an IPv6 address and a host stand in quotes; who has no
        // address is `unknown`.
        let mut pair = match ip {
            Some(IpAddr::V6(ip)) => format!("for=\"[{ip}]\""),
            Some(IpAddr::V4(ip)) => format!("for={ip}"),
            None => "for=unknown".to_owned(),
        };
        let plain = |host: &&str| !host.contains(['"', '\\']);
        if let Some(host) = host
            .as_ref()
            .and_then(|host| host.to_str().ok())
            .filter(plain)
        {
            pair.push_str(&format!(";host=\"{host}\""));
        }
        pair.push_str(";proto=");
        pair.push_str(scheme);
        if let Ok(value) = HeaderValue::try_from(pair) {
            append(FORWARDED, value);
        }
    }
    if announce.x_forwarded {
        if let Some(value) = ip.and_then(|ip| HeaderValue::try_from(ip.to_string()).ok()) {
            append(X_FORWARDED_FOR, value);
        }
        append(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
        if let Some(host) = host {
            append(X_FORWARDED_HOST, host);
        }
    }
}
