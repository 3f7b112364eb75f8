//! What a label of a call's metrics may say: closed sets, none of them made of traffic.

/// Statuses with a series of their own; others fall into their class.
pub const CODES: &[u16] = &[
    101, 200, 201, 202, 204, 301, 302, 304, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 504,
    512,
];
/// The classes that the others fall into.
pub const CLASSES: &[&str] = &["2xx", "3xx", "4xx", "5xx", "other"];
/// Methods with a series of their own, and the word for all others.
pub const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];

/// Why a listener refused a call or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerRefusal {
    /// The Host is none of the listener's.
    Host,
    /// A browser says that another site made the call.
    CrossSite,
    /// A browser's Origin is not allowed.
    Origin,
    /// More than one reading of the framing.
    Framing,
    /// hyper could not read the head.
    BadHead,
    /// The head was too large.
    HeadTooLarge,
    /// The head did not end in time.
    SlowHead,
    /// As many connections are open as may be.
    Connections,
    /// As many calls are under way as may be.
    InFlight,
    /// The body of a request came too slowly.
    SlowBody,
    /// The caller took nothing of a response.
    SlowReader,
    /// HTTP/2: too many streams were reset.
    ResetFlood,
    /// HTTP/2: too many frames that carry no data.
    FrameFlood,
    /// The caller did not show the listener's token.
    CallerToken,
    /// The caller is a process of a user who may not call.
    CallerUser,
    /// A connection came from where no PROXY protocol header is taken.
    ProxyPeer,
    /// A connection brought no PROXY protocol header that can be used, or none in time.
    ProxyHeader,
    /// TLS did not come about, or what came was none.
    TlsHandshake,
    /// TLS did not come about in time.
    SlowHandshake,
    /// The caller showed no certificate that the listener takes.
    ClientCertificate,
    /// A look for connections found no descriptor for them; they wait.
    Descriptors,
    /// Forward: the call names no target, or not in one way.
    NoTarget,
    /// Forward: the call is for another host than its tunnel.
    Misdirected,
    /// Forward: no route leads to the target, and it is not let through.
    Elsewhere,
    /// Forward: callers may not reach the target.
    ForbiddenTarget,
    /// Forward: as many tunnels are open as may be.
    Tunnels,
}

/// Every refusal with its word, in the order of the enum.
pub const REFUSALS: [(ListenerRefusal, &str); 26] = [
    (ListenerRefusal::Host, "host"),
    (ListenerRefusal::CrossSite, "cross_site"),
    (ListenerRefusal::Origin, "origin"),
    (ListenerRefusal::Framing, "framing"),
    (ListenerRefusal::BadHead, "bad_head"),
    (ListenerRefusal::HeadTooLarge, "head_too_large"),
    (ListenerRefusal::SlowHead, "slow_head"),
    (ListenerRefusal::Connections, "connections"),
    (ListenerRefusal::InFlight, "in_flight"),
    (ListenerRefusal::SlowBody, "slow_body"),
    (ListenerRefusal::SlowReader, "slow_reader"),
    (ListenerRefusal::ResetFlood, "reset_flood"),
    (ListenerRefusal::FrameFlood, "frame_flood"),
    (ListenerRefusal::CallerToken, "caller_token"),
    (ListenerRefusal::CallerUser, "caller_user"),
    (ListenerRefusal::ProxyPeer, "proxy_peer"),
    (ListenerRefusal::ProxyHeader, "proxy_header"),
    (ListenerRefusal::TlsHandshake, "tls_handshake"),
    (ListenerRefusal::SlowHandshake, "slow_handshake"),
    (ListenerRefusal::ClientCertificate, "client_certificate"),
    (ListenerRefusal::Descriptors, "descriptors"),
    (ListenerRefusal::NoTarget, "no_target"),
    (ListenerRefusal::Misdirected, "misdirected"),
    (ListenerRefusal::Elsewhere, "elsewhere"),
    (ListenerRefusal::ForbiddenTarget, "forbidden_target"),
    (ListenerRefusal::Tunnels, "tunnels"),
];

/// Those that have a series on forward listeners alone.
pub const OF_FORWARD: [ListenerRefusal; 5] = [
    ListenerRefusal::NoTarget,
    ListenerRefusal::Misdirected,
    ListenerRefusal::Elsewhere,
    ListenerRefusal::ForbiddenTarget,
    ListenerRefusal::Tunnels,
];

/// What became of a CONNECT that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// The tunnel ends here, and the calls in it are served.
    Opened,
    /// Its bytes are passed on unread.
    Tunnelled,
}

impl ConnectOutcome {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        CONNECTS[self as usize]
    }
}

/// Their words, in the order of the enum.
pub const CONNECTS: [&str; 2] = ["opened", "tunnelled"];

/// Those of the admin listener that have a series: what keeps probes and Prometheus out.
pub const OF_ADMIN: [ListenerRefusal; 3] = [
    ListenerRefusal::SlowHead,
    ListenerRefusal::Connections,
    ListenerRefusal::Descriptors,
];

/// What a response is, past its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Anything that is none of the others.
    Download,
    /// Server-sent events.
    Sse,
    /// gRPC.
    Grpc,
    /// Bytes after a 101.
    Upgrade,
    /// Bytes after the 200 to a CONNECT.
    Tunnel,
}

/// Their words, in the order of the enum.
pub const STREAMS: [&str; 5] = ["download", "sse", "grpc", "upgrade", TUNNEL];

/// The one that only the built-in route of forward listeners has.
pub const TUNNEL: &str = "tunnel";

/// How a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayResult {
    /// The second attempt was answered, with anything but a 401.
    Answered,
    /// The second attempt was rejected too.
    Rejected,
    /// The second attempt failed.
    Failed,
}

/// Their words, in the order of the enum.
pub const REPLAYS: [&str; 3] = ["answered", "rejected", "failed"];

/// How a call ended of which nothing could be sent at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRetry {
    /// A later try got a connection that took the call.
    Connected,
    /// None did within `timeouts.connect_retry`.
    Failed,
}

/// Their words, in the order of the enum.
pub const CONNECT_RETRIES: [&str; 2] = ["connected", "failed"];

/// What was done about an upstream's 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// The call was sent once more.
    Replayed,
    /// The upstream's response was passed on, be it the first or that to the second attempt.
    PassedOn,
}

/// Their words, in the order of the enum.
pub const AUTH_FAILURES: [&str; 2] = ["replayed", "passed_on"];

/// What became of a call on a route with a pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceOutcome {
    /// It left at once.
    Passed,
    /// It waited for its place, and then left.
    Waited,
    /// There was no place in time.
    Refused,
}

/// Their words, in the order of the enum.
pub const PACES: [&str; 3] = ["passed", "waited", "refused"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_counts_under_its_own_reason() {
        for (index, (refusal, _)) in REFUSALS.iter().enumerate() {
            assert_eq!(*refusal as usize, index);
        }
    }
}
