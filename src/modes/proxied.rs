//! Connections that a load balancer hands on, each with a header of the PROXY protocol that
//! says for whom it is (`net/proxy_header.rs`).
//!
//! Whoever may say so can say anything, so it is taken from the networks alone that the
//! listener names, and every other connection is closed: one that goes round the load
//! balancer must not look as if it came through it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;

use crate::base::log_limiter::LogLimiter;
use crate::base::name::Name;
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::modes::phase::Phase;
use crate::modes::serving::ConnectionRules;
use crate::net::caller::CallerIo;

/// From where headers of the PROXY protocol are taken on one listener.
#[derive(Debug)]
pub struct ProxyPeers {
    networks: Vec<IpNet>,
    /// Whether they are taken on a Unix socket, whose callers have no address.
    unix: bool,
    refused: Arc<LogLimiter<RefusedPeer>>,
}

/// A connection that was closed.
#[derive(Debug)]
struct RefusedPeer {
    ip: Option<IpAddr>,
    why: String,
}

impl ProxyPeers {
    /// Those of the `listener`: peers in `networks`, and on a Unix socket all, if `unix`.
    pub fn new(listener: Name, networks: Vec<IpNet>, unix: bool) -> ProxyPeers {
        let write = move |peer: &RefusedPeer, times| {
            tracing::warn!(
                listener.name = listener.as_str(),
                client.address = peer.ip.map(tracing::field::display),
                error.detail = peer.why,
                repeats = (times > 1).then_some(times),
                "closed a connection that `proxy_protocol` of the listener does not allow"
            );
        };
        ProxyPeers {
            networks,
            unix,
            refused: LogLimiter::new(write),
        }
    }

    fn allow(&self, ip: Option<IpAddr>) -> bool {
        match ip {
            Some(ip) => self.networks.iter().any(|network| network.contains(&ip)),
            None => self.unix,
        }
    }
}

/// `io` as that of whom its header names; `None` where it is to be closed, which is counted
/// and logged. It may take as long as a head may.
pub(super) async fn introduced(
    mut io: CallerIo,
    peers: &ProxyPeers,
    rules: &ConnectionRules,
    metrics: &ListenerMetrics,
    mut phase: watch::Receiver<Phase>,
) -> Option<CallerIo> {
    let ip = io.notes().peer.ip;
    let refuse = |reason, why: &dyn fmt::Display| {
        metrics.refused(reason).inc();
        let why = why.to_string();
        peers.refused.tell("refused", RefusedPeer { ip, why });
        None
    };
    if !peers.allow(ip) {
        let why = "its address is not in `proxy_protocol.from`";
        return refuse(ListenerRefusal::ProxyPeer, &why);
    }
    let bounded = !rules.header.is_zero();
    tokio::select! {
        named = io.read_proxy_header() => match named {
            Ok(Some(ip)) => Some(io.coming_from(ip)),
            Ok(None) => Some(io),
            Err(error) => refuse(ListenerRefusal::ProxyHeader, &error),
        },
        () = tokio::time::sleep(rules.header), if bounded => {
            let why = "no header of the PROXY protocol came within `timeouts.header`";
            refuse(ListenerRefusal::ProxyHeader, &why)
        }
        _ = phase.wait_for(|phase| *phase >= Phase::Closing) => None,
    }
}
