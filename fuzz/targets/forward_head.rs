//! Caller's bytes on a forward listener → where what leaves goes, and with what.
//!
//! Promise (docs/forward.md): a head is refused, or names exactly one target, and nothing
//! that comes of it goes anywhere else; a tunnel carries the caller's bytes and none of ours;
//! the credential leaves for the origin of its route alone; and no address that is not for
//! callers is connected to. The target is read here apart from headset, with the strict
//! reader.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crate::outbound::{Outbound, OutboundProxy};
use crate::strict::{self, Request, all, show};
use crate::targets::request_head::{judge, judge_hop};
use crate::world::{AUTHORIZATION, OPEN, Stage, World};

/// Where the routes lead to in the clear, with the credential and below [`OPEN`] without.
const CLEAR: &str = "cms.test:8080";
/// Where a route with the credential leads to over TLS.
const SECURE: &str = "tls.test:8443";
/// Ports that tunnels to elsewhere may lead to.
const TUNNEL_PORTS: [&str; 2] = [":443", ":8443"];

pub fn check(input: &[u8]) {
    thread_local! {
        static STAGE: Stage<Forward> = Stage::new(Forward::new);
    }
    STAGE.with(|stage| stage.run(async |forward: &Forward| forward.check(input).await));
}

/// headset with a forward listener, behind a proxy that sees all that leaves.
struct Forward {
    world: World,
    outbound: Rc<OutboundProxy>,
}

impl Forward {
    async fn new() -> Forward {
        let (upstream, outbound) = (Rc::default(), Rc::new(OutboundProxy::default()));
        let proxy = outbound.start(Rc::clone(&upstream)).await;
        let toml = format!(
            "[listener.proxy]\nbind = \"127.0.0.1:0\"\nmode = \"forward\"\n\
             [egress]\nproxy = \"http://{proxy}\"\n\
             [route.closed]\nupstream = \"http://{CLEAR}\"\ncredential = \"robot\"\n\
             [route.open]\nmatch = {{ path = \"{OPEN}\" }}\nupstream = \"http://{CLEAR}\"\n\
             [route.secure]\nupstream = \"https://{SECURE}\"\ncredential = \"robot\"\n"
        );
        let world = World::configured(upstream, proxy, &toml).await;
        Forward { world, outbound }
    }

    async fn check(&self, input: &[u8]) {
        let gateway = self.world.gateway();
        let mut caller = self.world.call(&gateway);
        let (mut heard, _) = caller.exchange(&self.world, input).await;
        heard.extend(caller.hang_up().await);
        self.world.end(gateway).await;
        let left = Left {
            connections: self.outbound.connections.take(),
            requests: self.outbound.requests.take(),
            heard,
        };
        assert_eq!(self.outbound.faults.take(), [""; 0], "around the proxy");
        left.judge(input);
    }
}

/// What came of an input.
struct Left {
    connections: Vec<Outbound>,
    requests: Vec<(usize, Request)>,
    heard: Vec<u8>,
}

impl Left {
    fn judge(mut self, input: &[u8]) {
        let secret = AUTHORIZATION.as_bytes();
        let knows = contains(input, secret);
        assert!(
            knows || !contains(&self.heard, secret),
            "the caller was told"
        );
        for Outbound { to, said } in &self.connections {
            assert!(is_for_callers(to), "{to} is not for callers");
            let has = contains(said, secret) && !knows;
            assert!(!has || to == CLEAR, "the credential left for {to}");
        }
        let reading = Reading::of(input);
        if let End::Tunnel { to, behind } = &reading.end {
            self.judge_tunnel(to, behind, &reading);
        }
        let is_known = reading.end != End::Unknown;
        for (place, Outbound { to, said }) in self.connections.iter().enumerate() {
            let calls = self.requests.iter().filter(|(at, _)| *at == place);
            let is_tls = to == SECURE && said.first().is_none_or(|byte| *byte == 0x16);
            // A connection that says nothing strict is a tunnel, or one of a call that broke off.
            let is_tunnel = !is_known && contains(input, said);
            assert!(
                is_tls || is_tunnel || calls.count() > 0 || strict::request(said) == Ok(None),
                "to {to} went {}",
                show(said)
            );
            let asked = reading.calls.iter().any(|call| call.to == *to);
            assert!(asked || !is_known, "nobody named {to}");
        }
        let mut asked = reading.calls.iter();
        for (place, request) in &self.requests {
            let to = &*self.connections[*place].to;
            if reading.end == End::Unknown && contains(input, &self.connections[*place].said) {
                continue;
            }
            match to == CLEAR {
                true => judge(request, CLEAR),
                false => {
                    let host = all(&request.fields, "host").concat();
                    assert_eq!(authority(&host, Some(80)).as_deref(), Some(to));
                    judge_hop(request);
                }
            }
            let found = asked.any(|call| call.is_for(to, request));
            assert!(found || !is_known, "nobody sent {to} {request:?}");
        }
        self.judge_first(&reading);
    }

    /// Takes the connection of the tunnel away, if it was granted.
    fn judge_tunnel(&mut self, to: &str, behind: &[u8], reading: &Reading) {
        let place = self.connections.len().wrapping_sub(1);
        let Some(last) = self.connections.last().filter(|last| last.to == to) else {
            return;
        };
        let is_tunnel = behind.starts_with(&last.said);
        // It may be that of a call before it.
        let was_called = reading.calls.iter().any(|call| call.to == to);
        assert!(
            is_tunnel || was_called,
            "in the tunnel: {}",
            show(&last.said)
        );
        if is_tunnel {
            assert!(TUNNEL_PORTS.iter().any(|port| to.ends_with(port)), "{to}");
            self.requests.retain(|(at, _)| *at != place);
            self.connections.pop();
        }
    }

    /// What is beyond doubt is not refused, and what is refused is told so.
    fn judge_first(&self, reading: &Reading) {
        let status = self.heard.strip_prefix(b"HTTP/1.1 ");
        let status = status.and_then(|rest| rest.first()).copied();
        match (&reading.first, status) {
            (First::Refused, status) => {
                assert!(status.is_none_or(|digit| digit == b'4'), "not refused");
            }
            (First::Fine, status) => assert_eq!(status, Some(b'2'), "refused"),
            (First::Unknown, _) => {}
        }
    }
}

/// A call by the strictest reading.
#[derive(Debug)]
struct Asked {
    /// Its host and port.
    to: String,
    /// Its target is a path now.
    request: Request,
}

impl Asked {
    fn is_for(&self, to: &str, left: &Request) -> bool {
        let own = &self.request;
        // RFC 9112 §3.2.4: the last proxy asks the server as a whole.
        let same_target = own.target == left.target
            || (own.method == "OPTIONS" && own.target == b"/" && left.target == b"*");
        self.to == to && same_target && (&own.method, &own.body) == (&left.method, &left.body)
    }
}

/// What becomes of the first head.
#[derive(Debug, PartialEq, Eq)]
enum First {
    /// It must be let through.
    Fine,
    /// It must be refused, if it is whole.
    Refused,
    Unknown,
}

/// What comes behind the last call.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Nothing that may leave.
    Over,
    /// The bytes of a tunnel to elsewhere.
    Tunnel { to: String, behind: Vec<u8> },
    /// What this reader does not take; headset may.
    Unknown,
}

/// An input by the strictest reading.
struct Reading {
    first: First,
    calls: Vec<Asked>,
    end: End,
}

impl Reading {
    fn of(input: &[u8]) -> Reading {
        let mut reading = Reading {
            first: First::Unknown,
            calls: Vec::new(),
            end: End::Over,
        };
        let (mut at, mut inside) = (0, None::<String>);
        while at < input.len() {
            let rest = &input[at..];
            // TLS, in which nobody here can say anything.
            if inside.is_some() && rest[0] == 0x16 {
                return reading;
            }
            let (request, used) = match strict::to_anyone(rest) {
                Ok(Some(read)) => read,
                Ok(None) => match strict::head_to_anyone(rest) {
                    // Where the body never ends, its call leaves all the same.
                    Ok(Some((request, _))) => (request, rest.len()),
                    _ => return reading,
                },
                Err(_) => {
                    reading.end = End::Unknown;
                    return reading;
                }
            };
            let is_first = at == 0;
            at += used;
            let is_connect = request.method == "CONNECT";
            let host = all(&request.fields, "host").concat();
            let named = match &inside {
                None => named(&request, &host),
                Some(_) if is_connect => None,
                Some(to) => in_tunnel(&request, &host).filter(|(named, _)| named == to),
            };
            if is_first {
                reading.first = first(&request, named.as_ref());
            }
            match named {
                Some((to, _)) if is_connect && [CLEAR, SECURE].contains(&&*to) => {
                    inside = Some(to);
                }
                Some((to, _)) if is_connect => {
                    let behind = input[at..].to_vec();
                    reading.end = End::Tunnel { to, behind };
                    return reading;
                }
                Some((to, target)) => reading.calls.push(Asked {
                    to,
                    request: Request { target, ..request },
                }),
                None if is_connect => return reading,
                None => {}
            }
        }
        reading
    }
}

/// The host and port that `request`, with this `Host`, names to a proxy, and its path.
fn named(request: &Request, host: &[u8]) -> Option<(String, Vec<u8>)> {
    if request.method == "CONNECT" {
        let framed = ["content-length", "transfer-encoding"];
        let length = all(&request.fields, framed[0]).concat();
        let has_body = !length.is_empty() && length != b"0";
        if has_body || !all(&request.fields, framed[1]).is_empty() {
            return None;
        }
        let to = authority(&request.target, None)?;
        // Some leave the port out.
        let (_, port) = to.rsplit_once(':')?;
        let same = [
            authority(host, port.parse().ok()),
            authority(host, Some(443)),
        ];
        return same.contains(&Some(to.clone())).then_some((to, Vec::new()));
    }
    let (default, at, target) = absolute(&request.target)?;
    let to = authority(at, Some(default))?;
    (authority(host, Some(default))? == to).then_some((to, target))
}

/// The same of a call in a tunnel, where the target may be a path.
fn in_tunnel(request: &Request, host: &[u8]) -> Option<(String, Vec<u8>)> {
    let host = authority(host, Some(80));
    match absolute(&request.target) {
        Some((80, at, target)) => {
            let to = authority(at, Some(80))?;
            (host? == to).then_some((to, target))
        }
        Some(_) => None,
        None => Some((host?, request.target.clone())),
    }
}

/// The scheme's own port, the authority and the path of an absolute target.
fn absolute(target: &[u8]) -> Option<(u16, &[u8], Vec<u8>)> {
    let scheme = target.windows(3).position(|three| three == b"://")?;
    let port = match &*target[..scheme].to_ascii_lowercase() {
        b"http" => 80,
        b"https" => 443,
        _ => return None,
    };
    let rest = &target[scheme + 3..];
    let end = rest.iter().position(|b| b"/?".contains(b));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    let mut target = path.to_vec();
    if !path.starts_with(b"/") {
        target.insert(0, b'/');
    }
    Some((port, authority, target))
}

/// The host, lower case and without the dot at its end, and the port.
fn authority(text: &[u8], default: Option<u16>) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, port)) => (format!("[{}]", ip.parse::<Ipv6Addr>().ok()?), port),
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            let is_whole = host.split('.').all(|label| !label.is_empty());
            (is_whole && host.bytes().all(fits)).then_some((host, port))?
        }
    };
    let port = match port.strip_prefix(':') {
        None if !port.is_empty() => return None,
        None | Some("") => default?,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
    };
    (port > 0).then(|| format!("{host}:{port}"))
}

/// What must become of the first head, where that is beyond doubt.
fn first(request: &Request, named: Option<&(String, Vec<u8>)>) -> First {
    let Some((to, path)) = named else {
        return First::Refused;
    };
    let host = all(&request.fields, "host").concat();
    let (name, port) = to.rsplit_once(':').unwrap_or_default();
    let is_plain = request.fields.len() == 1
        && name.ends_with(".test")
        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'.')
        && !name.starts_with('.')
        && !name.contains("..");
    let fine = match &*request.method {
        "CONNECT" => {
            let may = [CLEAR, SECURE].contains(&&**to) || ["443", "8443"].contains(&port);
            may && host == to.as_bytes()
        }
        "GET" => {
            let fits = |b: &u8| b.is_ascii_lowercase() || *b == b'/';
            // `Host` as the target writes it: another spelling of a port may be refused.
            let is_http = request.target.starts_with(&[b"http://", &*host].concat());
            is_http && path.iter().all(fits) && !contains(path, b"//")
        }
        _ => false,
    };
    match is_plain && fine {
        true => First::Fine,
        false => First::Unknown,
    }
}

/// Whether callers may have headset connect to the host of `to`; behind a proxy as it is
/// written.
fn is_for_callers(to: &str) -> bool {
    let Some((host, _)) = to.rsplit_once(':') else {
        return false;
    };
    let fits = |ip: Ipv4Addr| {
        !(ip.is_loopback()
            || ip.is_private()
            || ip.is_link_local()
            || ip.is_unspecified()
            || ip.is_broadcast()
            || ip.is_multicast()
            || ip.is_documentation()
            || ip == Ipv4Addr::new(100, 100, 100, 200))
    };
    if let Some(ip) = host.strip_prefix('[') {
        let Ok(ip) = ip.trim_end_matches(']').parse::<Ipv6Addr>() else {
            return false;
        };
        return !(ip.is_loopback()
            || ip.is_unspecified()
            || ip.is_multicast()
            || ip.is_unique_local()
            || ip.is_unicast_link_local())
            && ip.to_ipv4().is_none_or(fits);
    }
    if let Ok(ip) = host.parse() {
        return fits(ip);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => last.bytes().all(|b| b.is_ascii_digit()),
    };
    !is_number && !["metadata", "metadata.google.internal"].contains(&host)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes
        .windows(part.len().max(1))
        .any(|window| window == part)
        || part.is_empty()
}
