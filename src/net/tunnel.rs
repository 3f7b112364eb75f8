//! A tunnel through a proxy: CONNECT (RFC 9110 §9.3.6), for `http` origins too.
//!
//! So there is one reading whatever the scheme: what goes through is the very exchange
//! that would go directly, and the proxy is shown no more than host, port and what it
//! asks for. Exactly the proxy's head is taken from the socket, of at most 8 KiB; what
//! comes behind it belongs to the origin.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::net::race::DialError;

/// The most that a proxy may say before the tunnel is open.
const HEAD: usize = 8 << 10;

/// Why there is no tunnel. Nothing of any call was sent.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The proxy's name has no address.
    #[error("its name cannot be resolved")]
    Resolve(#[source] std::sync::Arc<io::Error>),
    /// No address of the proxy connected.
    #[error("it cannot be reached ({0})")]
    Dial(DialError),
    /// What it is to be shown is not to be had.
    #[error("egress.proxy_authorization cannot be used")]
    Authorization(#[source] io::Error),
    /// It answered CONNECT with something other than 2xx.
    #[error("it answered {0} to CONNECT, {means}", means = means(*.0))]
    Status(u16),
    /// It answered what is no head of HTTP/1.
    #[error("its response to CONNECT is not HTTP/1.1")]
    Nonsense,
    /// Its head has no end.
    #[error("its response to CONNECT is longer than {HEAD} bytes")]
    TooLong,
    /// The connection broke off.
    #[error("it broke off the connection while opening the tunnel")]
    Broken(#[source] io::Error),
}

fn means(status: u16) -> &'static str {
    match status {
        407 => "so it requires authentication: set egress.proxy_authorization",
        403 | 405 => "so its rules do not allow this target",
        502..=504 => "so it cannot reach the upstream",
        _ => "instead of a 2xx",
    }
}

impl TunnelError {
    /// Whether trying again at once would end the same way.
    pub fn is_lasting(&self) -> bool {
        match self {
            TunnelError::Status(status) => *status < 500,
            TunnelError::Authorization(_) | TunnelError::Nonsense | TunnelError::TooLong => true,
            TunnelError::Resolve(_) | TunnelError::Dial(_) | TunnelError::Broken(_) => false,
        }
    }
}

/// Makes `tcp`, a connection to a proxy, one to the host and port `to`.
///
/// # Errors
/// Where the proxy does not open it; `tcp` is of no more use then.
pub async fn open(
    tcp: &mut TcpStream,
    to: &str,
    authorization: Option<&[u8]>,
) -> Result<(), TunnelError> {
    // With room for all of it, so that no copy of the secret is left behind.
    let mut head = Zeroizing::new(Vec::with_capacity(
        2 * to.len() + authorization.map_or(0, <[u8]>::len) + 64,
    ));
    head.extend_from_slice(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").as_bytes());
    if let Some(value) = authorization {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    tcp.write_all(&head).await.map_err(TunnelError::Broken)?;
    let mut room = HEAD;
    loop {
        let head = answer(tcp, room).await?;
        match status(&head).ok_or(TunnelError::Nonsense)? {
            // RFC 9110 §15.2: any number of them may come first.
            100..=199 => room -= head.len(),
            // What it says of lengths and codings means nothing here.
            200..=299 => return Ok(()),
            other => return Err(TunnelError::Status(other)),
        }
    }
}

/// One head, its empty line included, and not a byte more.
async fn answer(tcp: &mut TcpStream, room: usize) -> Result<Vec<u8>, TunnelError> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    let mut seen = [0; 1024];
    loop {
        let peeked = tcp.peek(&mut seen).await.map_err(TunnelError::Broken)?;
        if peeked == 0 {
            return Err(TunnelError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        let before = head.len();
        head.extend_from_slice(&seen[..peeked]);
        let from = before.saturating_sub(END.len() - 1);
        let end = head[from..].windows(END.len()).position(|w| w == END);
        if let Some(at) = end {
            head.truncate(from + at + END.len());
        }
        // What does not begin as HTTP does will not end as it does either.
        let begins = head.len().min(5);
        if head[..begins] != b"HTTP/"[..begins] {
            return Err(TunnelError::Nonsense);
        }
        if head.len() > room {
            return Err(TunnelError::TooLong);
        }
        let taken = tcp.read_exact(&mut seen[..head.len() - before]).await;
        taken.map_err(TunnelError::Broken)?;
        if end.is_some() {
            return Ok(head);
        }
    }
}

/// The status of a head of HTTP/1.0 or 1.1 (RFC 9112 §4).
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let [b'0' | b'1', b' ', hundreds, tens, ones, b' ' | b'\r', ..] = rest else {
        return None;
    };
    let digits = [*hundreds, *tens, *ones];
    let text = std::str::from_utf8(&digits).ok()?;
    text.parse()
        .ok()
        .filter(|status| (100..=599).contains(status))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What becomes of a CONNECT that is answered with `parts`, one write each; and
    /// what is left in the socket.
    async fn answered(parts: &[&[u8]]) -> (Result<(), String>, Vec<u8>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        theirs.set_nodelay(true).unwrap();
        let proxy = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                assert!(theirs.read_buf(&mut asked).await.unwrap() > 0);
            }
            for part in parts {
                theirs.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            theirs.shutdown().await.unwrap();
            String::from_utf8(asked).unwrap()
        };
        let opened = async {
            let opened = open(&mut ours, "[2001:db8::1]:443", Some(b"Basic eA==")).await;
            let mut rest = Vec::new();
            let _ = ours.read_to_end(&mut rest).await;
            (opened.map_err(|error| error.to_string()), rest)
        };
        let (asked, (opened, rest)) = tokio::join!(proxy, opened);
        (opened, rest, asked)
    }

    #[tokio::test]
    async fn a_tunnel_opens_on_any_2xx_and_what_follows_the_head_is_kept() {
        for parts in [
            &[b"HTTP/1.1 200 OK\r\n\r\nhello".as_slice()] as &[&[u8]],
            &[
                b"HTTP/1.0 200 Connection established\r\nX: y\r",
                b"\n\r",
                b"\nhello",
            ],
            &[b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", b"hello"],
            &[b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200\r\n\r\nhello"],
        ] {
            let (opened, rest, asked) = answered(parts).await;
            assert_eq!(opened, Ok(()));
            assert_eq!(rest, b"hello");
            assert_eq!(
                asked,
                "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\
                 Proxy-Authorization: Basic eA==\r\n\r\n"
            );
        }
    }

    #[tokio::test]
    async fn whatever_else_a_proxy_says_opens_nothing() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(2 * HEAD));
        let early = "HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD / 25 + 1);
        for (said, part) in [
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
                "proxy_authorization",
            ),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "answered 403"),
            (
                "HTTP/1.1 502 Bad Gateway\r\n\r\n",
                "cannot reach the upstream",
            ),
            ("HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", "answered 301"),
            ("HTTP/2 200 OK\r\n\r\n", "not HTTP/1.1"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "not HTTP/1.1"),
            ("SSH-2.0-OpenSSH_9.6\r\n", "not HTTP/1.1"),
            ("HTTP/1.1 200 OK\r\n", "broke off"),
            ("", "broke off"),
            (&endless, "longer than"),
            (&early, "longer than"),
        ] {
            let (opened, _, _) = answered(&[said.as_bytes()]).await;
            let told = opened.unwrap_err();
            assert!(told.contains(part), "{said:.60}: {told}");
        }
    }
}
