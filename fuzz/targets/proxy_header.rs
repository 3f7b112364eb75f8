//! The PROXY protocol beside a strict reader that was written apart from it.
//!
//! Promise (docs/http.md, "Refused"): a header has one reading or none, and exactly its
//! bytes are taken, so that what follows it is whole.

use std::future::Future as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use headset::net::proxy_header::read;

pub fn check(input: &[u8]) {
    let mut rest = input;
    let outcome = {
        let mut reading = pin!(read(&mut rest));
        match reading
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(outcome) => outcome.ok(),
            Poll::Pending => panic!("there is nothing to wait for"),
        }
    };
    let strict = strict(input);
    assert_eq!(
        outcome,
        strict.map(|(ip, _)| ip),
        "{}",
        input.escape_ascii()
    );
    if let Some((_, length)) = strict {
        assert_eq!(rest, &input[length..], "{}", input.escape_ascii());
    }
}

/// The address of the header at the beginning of `input`, if it names one, and its length.
fn strict(input: &[u8]) -> Option<(Option<IpAddr>, usize)> {
    match input.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n") {
        Some(rest) => binary(rest).map(|(ip, length)| (ip, length + 12)),
        None => text(input),
    }
}

fn text(input: &[u8]) -> Option<(Option<IpAddr>, usize)> {
    let end = input.iter().position(|b| *b == b'\n')? + 1;
    let line = std::str::from_utf8(input[..end].strip_suffix(b"\r\n")?);
    if !(15..=107).contains(&end) {
        return None;
    }
    // What stands behind UNKNOWN is to be ignored, whatever it is.
    let unknown = b"PROXY UNKNOWN";
    if input.starts_with(unknown) && matches!(input[unknown.len()], b' ' | b'\r') {
        let is_one_line = !input[..end - 2].contains(&b'\r');
        return is_one_line.then_some((None, end));
    }
    let words: Vec<&str> = line.ok()?.split(' ').collect();
    let ["PROXY", family, from, to, port, other] = words[..] else {
        return None;
    };
    for port in [port, other] {
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        if !digits || port.parse::<u16>().is_err() {
            return None;
        }
    }
    let ip: IpAddr = match family {
        "TCP4" => to
            .parse::<Ipv4Addr>()
            .ok()
            .and(from.parse::<Ipv4Addr>().ok())?
            .into(),
        "TCP6" => to
            .parse::<Ipv6Addr>()
            .ok()
            .and(from.parse::<Ipv6Addr>().ok())?
            .into(),
        _ => return None,
    };
    Some((Some(ip.to_canonical()), end))
}

fn binary(rest: &[u8]) -> Option<(Option<IpAddr>, usize)> {
    let [command, family, high, low, body @ ..] = rest else {
        return None;
    };
    let length = usize::from(*high) << 8 | usize::from(*low);
    let body = body.get(..length).filter(|_| length + 16 <= 2048)?;
    match command {
        0x20 => return Some((None, length + 4)),
        0x21 => {}
        _ => return None,
    }
    let ip = match (family, body) {
        (0x00, _) => None,
        (0x11 | 0x12, [a, b, c, d, _, _, _, _, _, _, _, _, ..]) => {
            Some(IpAddr::from([*a, *b, *c, *d]))
        }
        (0x21 | 0x22, body) if length >= 36 => {
            let ip: [u8; 16] = body[..16].try_into().ok()?;
            Some(IpAddr::from(ip).to_canonical())
        }
        (0x31 | 0x32, _) if length >= 216 => None,
        _ => return None,
    };
    // Not of TCP.
    let is_datagram = matches!(family, 0x12 | 0x22);
    (!is_datagram).then_some((ip, length + 4))
}
