//! Pure: what tells an upstream of the way that a call took, where a route asks for it.
//!
//! Each field is appended to what the application sent of it, never in its place: who
//! reads them trusts the last hop. By default a route announces nothing (ADR 1).

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName, VIA};
use http::{HeaderValue, Request, Version};

use crate::config::Announce;
use crate::net::caller::Peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Adds to `request` of `peer`, who called us `host`, what `announce` asks for. Its
/// version and fields must still be those that came, less what is not the application's
/// to forward.
pub fn write<B>(
    announce: Announce,
    request: &mut Request<B>,
    peer: Peer,
    host: Option<&HeaderValue>,
) {
    let scheme = if peer.tls { "https" } else { "http" };
    let ip = peer.ip;
    let version = request.version();
    let headers = request.headers_mut();
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
        if let Some(host) = host.and_then(|host| host.to_str().ok()).filter(plain) {
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
            append(X_FORWARDED_HOST, host.clone());
        }
    }
}
