//! The header of the PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`):
//! what a load balancer says at the start of a connection of whom it is for.
//!
//! Exactly the header is taken from the stream, so that what follows it, TLS or HTTP, is
//! whole. A crate reads it; beyond that crate what the text version leaves open to readings
//! is refused, and what is not about TCP, and a header of more than 2 KiB.

use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The shortest header there is: `PROXY UNKNOWN` and its end of line.
const SHORTEST: usize = 15;

/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;

/// The fixed part of version 2: signature, version and command, family, length.
const FIXED: usize = 16;

/// The longest header of version 2 that is taken: its addresses and what certificates say.
const LONGEST: usize = 2048;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 and the command of a connection that is the load balancer's own.
const LOCAL: u8 = 0x20;

/// Why a connection brought no header that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// It begins as none does.
    #[error("what came is no header of the PROXY protocol")]
    Absent,
    /// It begins as one does.
    #[error("the header of the PROXY protocol cannot be read")]
    Broken,
    /// It is longer than one is taken.
    #[error("the header of the PROXY protocol is longer than {LONGEST} bytes")]
    TooLong,
    /// The connection ended before it did.
    #[error("the connection ended before a whole header of the PROXY protocol came")]
    Ended(#[source] io::Error),
}

/// Reads the header, and nothing behind it. `None` is a connection that the load balancer
/// makes for itself (`LOCAL`, `UNKNOWN`), such as a health check. Dropping the future loses
/// what was read.
///
/// # Errors
/// Where no header comes that can be used.
pub async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<IpAddr>, ProxyHeaderError> {
    let mut header = [0; LONGEST];
    let read = stream.read_exact(&mut header[..SHORTEST]).await;
    read.map_err(ProxyHeaderError::Ended)?;
    let mut length = SHORTEST;
    if header.starts_with(SIGNATURE) {
        let read = stream.read_exact(&mut header[length..FIXED]).await;
        read.map_err(ProxyHeaderError::Ended)?;
        let rest = usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
        length = FIXED + rest;
        let rest = header.get_mut(FIXED..length);
        let rest = rest.ok_or(ProxyHeaderError::TooLong)?;
        let read = stream.read_exact(rest).await;
        read.map_err(ProxyHeaderError::Ended)?;
    } else if header.starts_with(b"PROXY ") {
        // Byte by byte to its end: nothing behind it may be taken.
        while !header[..length].ends_with(b"\n") {
            if length == LONGEST_LINE {
                return Err(ProxyHeaderError::Broken);
            }
            let read = stream.read_exact(&mut header[length..=length]).await;
            read.map_err(ProxyHeaderError::Ended)?;
            length += 1;
        }
    } else {
        return Err(ProxyHeaderError::Absent);
    }
    parse(&header[..length]).ok_or(ProxyHeaderError::Broken)
}

/// The address of a whole header and nothing else; `None` where it cannot be read.
fn parse(header: &[u8]) -> Option<Option<IpAddr>> {
    if let Some([LOCAL, ..]) = header.strip_prefix(SIGNATURE) {
        // Whatever else it says is to be ignored.
        return Some(None);
    }
    if !header.starts_with(SIGNATURE) {
        // `+80` is a number to a parser of Rust, and `UNKNOWNS` begins as `UNKNOWN` does.
        let line = header.strip_suffix(b"\r\n")?;
        let mut words = line.strip_prefix(b"PROXY ")?.split(|byte| *byte == b' ');
        let family = words.next()?;
        let plain = |word: &[u8]| {
            let fits = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b'.' | b':');
            !word.is_empty() && word.iter().all(fits)
        };
        let known = matches!(family, b"TCP4" | b"TCP6") && words.all(plain);
        if family != b"UNKNOWN" && !known {
            return None;
        }
    }
    let (read, length) = ProxyHeader::parse(header, ParseConfig::default()).ok()?;
    if length != header.len() {
        return None;
    }
    match read.proxied_address() {
        Some(address) if address.protocol == Protocol::Datagram => None,
        Some(address) => Some(Some(address.source.ip().to_canonical())),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `bytes`, and how much of them is left.
    async fn told(bytes: &[u8]) -> (Result<Option<IpAddr>, ProxyHeaderError>, usize) {
        let mut rest = bytes;
        let outcome = read(&mut rest).await;
        (outcome, rest.len())
    }

    fn second(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, body].concat()
    }

    #[tokio::test]
    async fn both_versions_say_who_calls_and_nothing_behind_them_is_taken() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x10, 0x00, 0x1f, 0x90];
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 7]);
        let with_more = [&four[..], &[0x04, 0, 1, 0]].concat();
        for (header, ip) in [
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 8080\r\n".to_vec(),
                Some("192.0.2.7"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(),
                Some("2001:db8::7"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (second(0x21, 0x11, &four), Some("192.0.2.7")),
            (second(0x21, 0x11, &with_more), Some("192.0.2.7")),
            (second(0x21, 0x21, &mapped), Some("192.0.2.7")),
            (second(0x20, 0x00, b""), None),
            (second(0x20, 0x11, &four), None),
            (second(0x20, 0x11, b""), None),
        ] {
            let (outcome, left) = told(&[&header[..], b"GET / "].concat()).await;
            let text = String::from_utf8_lossy(&header);
            assert_eq!(outcome.unwrap(), ip.map(|ip| ip.parse().unwrap()), "{text}");
            assert_eq!(left, 6, "{text}");
        }
    }

    #[tokio::test]
    async fn what_has_two_readings_or_none_is_refused() {
        for broken in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 +80 8080\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 80 8080\n",
            "PROXY TCP4 192.0.2.7  10.0.0.1 80 8080\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 80 8080\r\n",
            "PROXY TCP4 ::1 ::1 80 8080\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 80 65536\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 80\r\n",
            "PROXY TCP5 192.0.2.7 10.0.0.1 80 81\r\n",
            "PROXY UNKNOWNS 1 2 3\r\n",
            "PROXY  TCP4 192.0.2.7 10.0.0.1 80 81\r\n",
        ] {
            let (outcome, _) = told(broken.as_bytes()).await;
            assert!(matches!(outcome, Err(ProxyHeaderError::Broken)), "{broken}");
        }
        let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        assert!(matches!(
            told(line.as_bytes()).await.0,
            Err(ProxyHeaderError::Broken)
        ));
        for (command, family, body) in [
            (0x31, 0x11, &[0; 12][..]),
            (0x22, 0x11, &[0; 12]),
            (0x21, 0x12, &[0; 12]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x41, &[0; 12]),
        ] {
            let (outcome, _) = told(&second(command, family, body)).await;
            assert!(
                matches!(outcome, Err(ProxyHeaderError::Broken)),
                "{family:x}"
            );
        }
        let (long, _) = told(&second(0x21, 0x11, &[0; LONGEST])).await;
        assert!(matches!(long, Err(ProxyHeaderError::TooLong)));
        for none in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PROXYTCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        ] {
            let (outcome, _) = told(none.as_bytes()).await;
            assert!(matches!(outcome, Err(ProxyHeaderError::Absent)), "{none}");
        }
        for part in [
            &b"PROXY TCP4 192.0.2.7"[..],
            &second(0x21, 0x11, &[0; 12])[..20],
            b"",
        ] {
            assert!(matches!(
                told(part).await.0,
                Err(ProxyHeaderError::Ended(_))
            ));
        }
    }
}
