//! The doors by which a call comes to headset, and what stands around them. What docs/http.md
//! promises holds by every door, so the same tables run through each; where a case differs by
//! what a door is, [`different`] says so, with the reason.

use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::run::{Asked, Expect, leaves};
use crate::support::PATIENCE;
use crate::support::any_authority::connector;
use crate::support::certificates::Authority;
use crate::support::client::Raw;
use crate::support::folder::Folder;
use crate::support::headset::Headset;
use crate::support::scripted::ScriptedUpstream;
use crate::support::strict::{self, Message, Read};
use crate::support::tls_upstream::Speaks;

/// By which door a call comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A reverse listener.
    Reverse,
    /// A forward listener, by the absolute form of the target.
    Absolute,
    /// A tunnel that a forward listener opened, in the clear.
    Tunnel,
    /// The same over TLS.
    Secure,
}

impl Door {
    pub const ALL: [Door; 4] = [Door::Reverse, Door::Absolute, Door::Tunnel, Door::Secure];

    /// What comes of `case` by this door; `None` where there is nothing to ask.
    pub fn expects(self, case: &Asked) -> Option<Expect> {
        let mut differences = different();
        let found = differences
            .iter()
            .position(|(doors, name, ..)| *name == case.name && doors.contains(&self));
        match found {
            None => Some(case.expects.clone()),
            Some(place) => differences.swap_remove(place).2,
        }
    }
}

/// Doors, the case, what comes of it there, and why.
type Difference = (&'static [Door], &'static str, Option<Expect>, &'static str);

const ABSOLUTE: &[Door] = &[Door::Absolute];
const TUNNELS: &[Door] = &[Door::Tunnel, Door::Secure];

/// Where a case of the tables ends otherwise by a door of a forward listener.
// A case a line: they are read as a table.
#[rustfmt::skip]
pub fn different() -> Vec<Difference> {
    let refused = |status, code| Some(Expect::Refused(status, code));
    let elsewhere = || refused(403, "elsewhere_refused");
    let no_target = || refused(400, "no_target");
    let differs = || refused(400, "framing");
    let misdirected = || refused(421, "misdirected");
    let foreign = || refused(403, "origin_not_allowed");
    let scheme = "a forward listener goes by the scheme of the target";
    let host = "`Host` must be that of the target, not one of the listener's";
    let tunnel = "calls in a tunnel are for whom it leads to";
    let page = "the pages of a forward listener's callers are not its own";
    vec![
        (ABSOLUTE, "an absolute https target goes where the route says", elsewhere(), scheme),
        (ABSOLUTE, "an absolute target of any scheme goes where the route says", no_target(), scheme),
        (ABSOLUTE, "an authority equal to Host is no target of a GET", no_target(), scheme),
        (ABSOLUTE, "OPTIONS * passes", Some(leaves("OPTIONS /", &[])), "docs/forward.md, \"What it does not do\""),
        (ABSOLUTE, "CONNECT is refused", None, "it is what a forward listener is for"),
        (ABSOLUTE, "CONNECT with a path is refused", no_target(), "it names no host and port"),
        (ABSOLUTE, "CONNECT to a host that is not ours is told what to do, not that the host is not ours", elsewhere(), "it is what a forward listener is for"),
        (ABSOLUTE, "a Host with a port passes", differs(), host),
        (ABSOLUTE, "a Host with an empty port passes", differs(), host),
        (ABSOLUTE, "an IPv6 Host passes", differs(), host),
        (ABSOLUTE, "a Host that is not served is refused", differs(), host),
        (ABSOLUTE, "HTTP/1.0 without Host names none that is served", Some(leaves("GET /a", &[]).and_closes()), "its target names the host"),
        (ABSOLUTE, "the listener's own origin passes", foreign(), page),
        (&[Door::Tunnel], "an absolute https target goes where the route says", misdirected(), tunnel),
        (TUNNELS, "an absolute target of any scheme goes where the route says", misdirected(), tunnel),
        (TUNNELS, "a Host with a port passes", misdirected(), tunnel),
        (TUNNELS, "a Host with an empty port passes", misdirected(), tunnel),
        (TUNNELS, "an IPv6 Host passes", misdirected(), tunnel),
        (TUNNELS, "a Host that is not served is refused", misdirected(), tunnel),
        (TUNNELS, "HTTP/1.0 without Host names none that is served", no_target(), tunnel),
        (TUNNELS, "the listener's own origin passes", foreign(), page),
    ]
}

/// headset behind one door, and an upstream behind it.
pub struct Rig {
    pub door: Door,
    pub upstream: ScriptedUpstream,
    pub headset: Headset,
}

impl Rig {
    /// headset with a credential on every path but those below `/open`; in `rest`,
    /// `UPSTREAM` is the upstream.
    pub async fn start(door: Door, rest: &str) -> Rig {
        let folder = Folder::new();
        let (upstream, scheme) = match door {
            Door::Secure => {
                let authority = Authority::new();
                folder.write("ca.pem", &authority.pem());
                let acceptor = Speaks::with(&authority.issue(&["127.0.0.1"])).acceptor();
                (ScriptedUpstream::behind(acceptor).await, "https")
            }
            _ => (ScriptedUpstream::start().await, "http"),
        };
        let url = format!("{scheme}://{}", upstream.address());
        let trust = match door {
            Door::Secure => "[upstream_tls]\nca = \"{folder}/ca.pem\"\n",
            _ => "",
        };
        let headset = headset(door, folder, &url, &format!("{trust}{rest}"));
        headset.ready().await;
        Rig {
            door,
            upstream,
            headset,
        }
    }

    /// `text`, as it is written for a reverse listener at `localhost`, as this door's callers
    /// write it.
    pub fn says(&self, text: &str) -> String {
        says(self.door, self.upstream.address(), text)
    }

    /// A connection in HTTP/1.1 whose calls are for the upstream.
    pub async fn caller(&self) -> Caller {
        let protocols = &["http/1.1"];
        let stream = enter(self.door, &self.headset, self.upstream.address(), protocols).await;
        Caller::over(stream)
    }
}

/// headset behind `door`, before the upstream at `url`.
pub fn headset(door: Door, folder: Folder, url: &str, rest: &str) -> Headset {
    folder.write("password", "hunter2");
    let mode = match door {
        Door::Reverse => "",
        // No name of a case is looked up.
        _ => "mode = \"forward\"\nelsewhere = \"refuse\"\n",
    };
    Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n{mode}\
             [admin]\nbind = \"127.0.0.1:0\"\n\
             [route.own]\nupstream = \"{url}\"\ncredential = \"robot\"\n\
             [route.open]\nmatch.path = \"/open\"\nupstream = \"{url}\"\n\
             [credential.robot]\nkind = \"static\"\nbasic.username = \"robot\"\n\
             basic.password = {{ file = \"{{folder}}/password\" }}\n{}\n",
            rest.replace("UPSTREAM", url)
        ),
    )
}

/// `text`, as it is written for a reverse listener at `localhost`, as callers by `door` write
/// it who want the `upstream`: a body stays as it is.
pub fn says(door: Door, upstream: SocketAddr, text: &str) -> String {
    if door == Door::Reverse {
        return text.to_owned();
    }
    let start = text.len() - text.trim_start_matches("\r\n").len();
    let end = text[start..].find("\r\n\r\n");
    let (head, body) = text.split_at(end.map_or(text.len(), |end| start + end));
    // A port that is written already is another one.
    let mut head = head
        .replace("localhost:", &format!("{}:", upstream.ip()))
        .replace("localhost", &upstream.to_string())
        .replace("LOCALHOST", &upstream.to_string());
    if door == Door::Secure {
        head = head.replacen("http://", "https://", 1);
    }
    if door == Door::Absolute {
        let line = head[start..].find(['\r', '\n']);
        let line = line.map_or(head.len(), |line| start + line);
        if let Some(path) = head[..line].find(" /") {
            head.insert_str(path + 1, &format!("http://{upstream}"));
        } else if head.starts_with("OPTIONS * ") {
            // RFC 9112 §3.2.4: to a proxy, the server as a whole has no path.
            head = head.replacen('*', &format!("http://{upstream}"), 1);
        }
    }
    head + body
}

/// A connection to `headset` whose calls are for the `upstream`; over TLS it offers
/// `protocols`.
pub async fn enter(
    door: Door,
    headset: &Headset,
    upstream: SocketAddr,
    protocols: &[&str],
) -> Box<dyn Stream> {
    let tcp = TcpStream::connect(headset.app()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    if !TUNNELS.contains(&door) {
        return Box::new(tcp);
    }
    let mut caller = Raw::over(tcp);
    caller
        .send(format!(
            "CONNECT {upstream} HTTP/1.1\r\nHost: {upstream}\r\n\r\n"
        ))
        .await;
    assert_eq!(caller.head().await.map(|(status, _)| status), Some(200));
    let (tcp, unread) = caller.into_parts();
    assert!(unread.is_empty());
    if door == Door::Tunnel {
        return Box::new(tcp);
    }
    let name = ServerName::from(upstream.ip());
    Box::new(connector(protocols).connect(name, tcp).await.unwrap())
}

/// What a caller speaks over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A caller that reads strictly.
pub struct Caller {
    read: Box<dyn AsyncRead + Unpin + Send>,
    write: Option<Box<dyn AsyncWrite + Unpin + Send>>,
    unread: Vec<u8>,
}

impl Caller {
    /// One that writes, too.
    pub fn over(stream: Box<dyn Stream>) -> Caller {
        let (read, write) = tokio::io::split(stream);
        Caller {
            write: Some(Box::new(write)),
            ..Caller::reading(read)
        }
    }

    /// One whose writing is somebody else's business.
    pub fn reading(read: impl AsyncRead + Unpin + Send + 'static) -> Caller {
        Caller {
            read: Box::new(read),
            write: None,
            unread: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // One that was refused early is closed before all is written.
        let _ = self.write.as_mut().unwrap().write_all(bytes).await;
    }

    /// `false` at the end of the connection.
    async fn more(&mut self) -> Result<bool, String> {
        let read = tokio::time::timeout(PATIENCE, self.read.read_buf(&mut self.unread));
        let read = read.await.map_err(|_| "headset went silent")?;
        Ok(read.unwrap_or(0) > 0)
    }

    pub async fn is_closed(&mut self) -> bool {
        self.more().await == Ok(false)
    }

    /// The next final answer; `None` where the connection ends before its end, an
    /// error where it has more than one reading.
    pub async fn answer(&mut self, to_head: bool) -> Result<Option<Message>, String> {
        let mut closed = false;
        loop {
            if !self.unread.is_empty() {
                match strict::answer(&self.unread, to_head, closed)? {
                    Read::Whole(message, end) => {
                        self.unread.drain(..end);
                        if message.line.starts_with("HTTP/1.1 1") {
                            continue;
                        }
                        return Ok(Some(message));
                    }
                    Read::More if closed => return Ok(None),
                    Read::More => {}
                }
            } else if closed {
                return Ok(None);
            }
            closed = !self.more().await?;
        }
    }
}
