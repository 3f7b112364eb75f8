//! Caller's bytes → what leaves for the upstream.
//!
//! Promise: whatever a caller writes, what leaves has exactly one reading under a strict
//! RFC 9112; no more requests leave than the bytes can mean; each carries exactly the
//! credential of its route, and nothing that belongs to one hop (docs/http.md).

use crate::strict::{self, Request, all, show};
use crate::world::{self, AUTHORIZATION, OPEN, World};

/// Fields that may not pass, whoever wrote them (RFC 9110 §7.6.1).
const NEVER: &[&str] = &[
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
];

/// Fields that headset sets anew.
const ANEW: &[&str] = &[
    "transfer-encoding",
    "content-length",
    "connection",
    "te",
    "upgrade",
];

pub fn check(input: &[u8]) {
    world::run(async |world: &World| {
        let gateway = world.gateway();
        let mut caller = world.call(&gateway);
        let (mut heard, _) = caller.exchange(world, input).await;
        heard.extend(caller.hang_up().await);
        let (requests, faults) = world.end(gateway).await;

        assert_eq!(faults, [""; 0], "what left has no single reading");
        for request in &requests {
            judge(request, &world.address);
        }
        let whole = whole(input);
        let most = whole.as_ref().map_or_else(|| blank_lines(input), Vec::len);
        if !input.starts_with(b"PRI ") {
            assert!(
                requests.len() <= most,
                "{} left, not {most}",
                requests.len()
            );
        }
        if let Some(whole) = whole {
            in_order(&whole, &requests);
        }
        let secret = AUTHORIZATION.as_bytes();
        let told = heard.windows(secret.len()).any(|part| part == secret);
        assert!(!told, "the caller was told the credential");
    });
}

/// What must hold of every request that leaves.
pub fn judge(request: &Request, address: &str) {
    let Request { fields, target, .. } = request;
    assert_eq!(all(fields, "host"), [address.as_bytes()]);
    let path = target.split(|&b| b == b'?').next().unwrap_or_default();
    let open = path.strip_prefix(OPEN.as_bytes());
    let open = open.is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
    let proofs = all(fields, "authorization");
    if open {
        assert!(
            !proofs.contains(&AUTHORIZATION.as_bytes()),
            "ours left below {OPEN}"
        );
    } else {
        assert_eq!(proofs, [AUTHORIZATION.as_bytes()], "for {}", show(target));
        for name in ["authorization", "sessionid"] {
            assert!(
                all(&request.trailers, name).is_empty(),
                "{name} in a trailer"
            );
        }
        assert!(all(fields, "sessionid").is_empty(), "a sessionId left");
    }
    judge_hop(request);
}

/// What must hold of every request that leaves, whatever its target: nothing in it belongs to
/// the connection on which it came.
pub fn judge_hop(request: &Request) {
    let fields = &request.fields;
    for name in NEVER {
        assert!(all(fields, name).is_empty(), "{name} left");
        assert!(
            all(&request.trailers, name).is_empty(),
            "{name} left in a trailer"
        );
    }
    for name in ANEW.iter().chain(&["host"]) {
        assert!(
            all(&request.trailers, name).is_empty(),
            "{name} left in a trailer"
        );
    }
    // The handshake of a WebSocket is the one that passes (RFC 6455 §4.1).
    let switches = all(fields, "upgrade");
    let option = match switches.as_slice() {
        [] => "te",
        [to] => {
            assert_eq!(show(to), "websocket");
            assert_eq!(
                (request.method.as_str(), show(&request.body)),
                ("GET", "".into())
            );
            assert_eq!(all(fields, "connection").len(), 1);
            "Upgrade"
        }
        _ => panic!("several switches left"),
    };
    for value in all(fields, "connection") {
        assert_eq!(show(value), option);
    }
    for value in all(fields, "te") {
        assert_eq!(show(value), "trailers");
    }
    let spoofed = fields.iter().find(|(name, _)| name.starts_with("headset-"));
    assert_eq!(spoofed, None);
    // What servers that descend from CGI would take for one of these.
    for (name, _) in fields.iter().chain(&request.trailers) {
        let read = name.replace('_', "-");
        let means_another = read != *name
            && (NEVER.contains(&read.as_str())
                || ANEW.contains(&read.as_str())
                || read.starts_with("headset-"));
        assert!(!means_another, "{name} left");
    }
}

/// Whether headset may let `request` leave (docs/http.md, "Refused").
fn may_leave(request: &Request) -> bool {
    let host = all(&request.fields, "host").concat();
    !host.is_empty() && (request.target != b"*" || request.method == "OPTIONS")
}

/// The requests of which `input` consists by the strictest reading; `None` where it
/// holds anything else.
fn whole(input: &[u8]) -> Option<Vec<Request>> {
    let (mut requests, mut at) = (Vec::new(), 0);
    while at < input.len() {
        let (request, used) = strict::request(&input[at..]).ok()??;
        requests.push(request);
        at += used;
    }
    Some(requests)
}

/// As many heads as there can be, by the most generous reading.
fn blank_lines(input: &[u8]) -> usize {
    let lines = input.split(|&b| b == b'\n');
    lines.filter(|line| matches!(line, [] | [b'\r'])).count()
}

/// Whether `left` is what was `sent`, in order, some of it refused.
fn in_order(sent: &[Request], left: &[Request]) {
    let mut sent = sent.iter().filter(|request| may_leave(request));
    for request in left {
        let same = |other: &Request| {
            (&other.method, &other.target, &other.body)
                == (&request.method, &request.target, &request.body)
        };
        assert!(
            sent.any(same),
            "nobody sent {} {}",
            request.method,
            show(&request.target)
        );
    }
}
