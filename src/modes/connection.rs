//! One connection of a caller, from its first byte to its last.
//!
//! Learns who calls where a load balancer says so (`proxied.rs`), shakes hands where the
//! listener speaks TLS, and tells HTTP/1 (`http1.rs`) from HTTP/2
//! (`http2.rs`) by ALPN or by the first bytes.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::modes::ending::{expiry, refuse};
use crate::modes::phase::Phase;
use crate::modes::proxied::introduced;
use crate::modes::serving::{ConnectionRules, CurrentService};
use crate::modes::upgrade::Inside;
use crate::modes::{http1, http2};
use crate::net::caller::{CallerIo, Protocol};
use crate::net::tls::server::{self, TlsAcceptor};

/// Serves `io` until it closes, over TLS where there is a `acceptor`. Its errors are its
/// own; they are counted.
pub async fn serve(
    io: CallerIo,
    acceptor: Option<Arc<TlsAcceptor>>,
    current: Rc<CurrentService>,
    rules: Arc<ConnectionRules>,
    metrics: Arc<ListenerMetrics>,
    phase: watch::Receiver<Phase>,
) {
    let io = match &rules.proxy_peers {
        None => io,
        // Boxed as well.
        Some(peers) => {
            let introduced = introduced(io, peers, &rules, &metrics, phase.clone());
            match Box::pin(introduced).await {
                Some(io) => io,
                None => return,
            }
        }
    };
    let io = match acceptor {
        None => io,
        // Boxed, so that plain connections do not carry the room for it.
        Some(acceptor) => {
            let secured = io.secure(&acceptor);
            let handshake = shake_hands(secured, &rules, &metrics, phase.clone());
            match Box::pin(handshake).await {
                Some(io) => io,
                None => return,
            }
        }
    };
    let served = speak(io, &current, &rules, &metrics, &phase).await;
    if let Some(inside) = served {
        // Boxed for the same reason.
        Box::pin(serve_inside(*inside, current, rules, metrics, phase)).await;
    }
}

/// Serves `io` in the protocol that its caller speaks, until it closes, or until it goes on
/// in a tunnel that ends here.
async fn speak(
    mut io: CallerIo,
    current: &Rc<CurrentService>,
    rules: &Arc<ConnectionRules>,
    metrics: &Arc<ListenerMetrics>,
    phase: &watch::Receiver<Phase>,
) -> Option<Box<Inside>> {
    let (current, rules, metrics) = (current.clone(), rules.clone(), metrics.clone());
    let mut phase = phase.clone();
    let notes = io.notes().clone();
    let protocol = {
        let mut sniffing = pin!(io.sniff());
        tokio::select! {
            sniffed = &mut sniffing => sniffed,
            why = expiry(&notes, &rules) => {
                refuse(&metrics, why);
                return None;
            }
            _ = phase.wait_for(|phase| *phase >= Phase::Closing) => return None,
        }
    };
    match protocol {
        Ok(Some((Protocol::Http1, first))) => {
            http1::serve(io, first, current, rules, metrics, phase).await
        }
        Ok(Some((Protocol::Http2, _))) => {
            // Boxed, so that plain connections do not carry the room for it.
            Box::pin(http2::serve(io, notes, current, rules, metrics, phase)).await;
            None
        }
        Ok(None) | Err(_) => None,
    }
}

/// Serves the calls in a tunnel that ends here. Where its caller speaks TLS in it, headset
/// answers as the host that it leads to.
async fn serve_inside(
    inside: Inside,
    current: Rc<CurrentService>,
    rules: Arc<ConnectionRules>,
    metrics: Arc<ListenerMetrics>,
    mut phase: watch::Receiver<Phase>,
) {
    let Inside { io, first, opened } = inside;
    let bounded = !rules.header.is_zero();
    let began = tokio::select! {
        began = io.inside(first, opened.to.clone()) => began,
        () = tokio::time::sleep(rules.header), if bounded => {
            return metrics.refused(ListenerRefusal::SlowHandshake).inc();
        }
        _ = phase.wait_for(|phase| *phase >= Phase::Closing) => return,
    };
    let Ok(Some((mut io, is_tls))) = began else {
        return;
    };
    if is_tls {
        let Some(acceptor) = opened.rules.acceptor(&opened.to.host) else {
            return metrics.refused(ListenerRefusal::TlsHandshake).inc();
        };
        let secured = io.secure_inside(&acceptor);
        io = match shake_hands(secured, &rules, &metrics, phase.clone()).await {
            Some(io) => io,
            None => return,
        };
    }
    // A tunnel opens no further ones, so nothing goes on behind this.
    speak(io, &current, &rules, &metrics, &phase).await;
}

/// `None` where no TLS came about, which is counted by why.
async fn shake_hands(
    secured: impl Future<Output = io::Result<Option<CallerIo>>>,
    rules: &ConnectionRules,
    metrics: &ListenerMetrics,
    mut phase: watch::Receiver<Phase>,
) -> Option<CallerIo> {
    let bounded = !rules.header.is_zero();
    let (why, error) = tokio::select! {
        secured = secured => match secured {
            Ok(io) => return io,
            Err(error) if server::is_client_certificate(&error) => {
                (ListenerRefusal::ClientCertificate, Some(error))
            }
            Err(error) => (ListenerRefusal::TlsHandshake, Some(error)),
        },
        () = tokio::time::sleep(rules.header), if bounded => (ListenerRefusal::SlowHandshake, None),
        _ = phase.wait_for(|phase| *phase >= Phase::Closing) => return None,
    };
    metrics.refused(why).inc();
    tracing::debug!(reason = ?why, error.detail = ?error, "a caller's TLS handshake failed");
    None
}
