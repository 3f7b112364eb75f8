//! One TCP connection out of several addresses: Happy Eyeballs (RFC 8305).
//!
//! The families take turns, the resolver's first choice first. The next attempt begins
//! 250 ms after the one before, or at once where that failed; the first to connect
//! wins, and the others are closed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// RFC 8305 §5 and §8: the Connection Attempt Delay.
const HEAD_START: Duration = Duration::from_millis(250);

/// No address connected. Displays each with its own failure.
#[derive(Debug)]
pub struct DialError {
    /// Each address that was tried; `None` where it had not answered yet when time
    /// was up.
    pub tried: Vec<(SocketAddr, Option<io::Error>)>,
    /// How many were not tried.
    pub untried: usize,
    /// Whether it was the time limit that ended it.
    pub timed_out: bool,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 8;
        for (index, (address, error)) in self.tried.iter().take(MOST).enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match error {
                Some(error) => write!(f, "{address}: {}", plain(error))?,
                None => write!(f, "{address}: no answer")?,
            }
        }
        match self.tried.len().saturating_sub(MOST) + self.untried {
            0 => Ok(()),
            more => write!(f, ", {more} more"),
        }
    }
}

/// Without the number that the operating system has for it.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or("");
    text.to_ascii_lowercase()
}

/// Connects to one of `addresses` before `deadline`. Dropping the future closes every
/// attempt.
///
/// # Errors
/// Where none connects in time.
pub async fn connect(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    let mut attempts = JoinSet::new();
    let mut tried: Vec<(SocketAddr, Option<io::Error>)> = Vec::new();
    let order = interleave(addresses);
    let mut next = order.iter();
    let timed_out = loop {
        if let Some(&address) = next.next() {
            tried.push((address, None));
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let patience = match next.len() {
            0 => deadline,
            _ => deadline.min(Instant::now() + HEAD_START),
        };
        match timeout_at(patience, attempts.join_next()).await {
            Ok(Some(Ok((_, Ok(tcp))))) => return Ok(tcp),
            Ok(Some(Ok((address, Err(error))))) => {
                let one = tried.iter_mut().find(|(tried, _)| *tried == address);
                if let Some((_, failure)) = one {
                    *failure = Some(error);
                }
            }
            // A panic in connect(2), which is not to be: as if it had failed.
            Ok(Some(Err(_))) => {}
            Ok(None) => break false,
            Err(_) if Instant::now() >= deadline => break true,
            Err(_) => {}
        }
    };
    Err(DialError {
        tried,
        untried: next.len(),
        timed_out,
    })
}

/// RFC 8305 §4: the families by turns, in the order they came in otherwise.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let longest = one.len().max(other.len());
    let mut order: Vec<SocketAddr> = Vec::new();
    for index in 0..longest {
        for address in [one.get(index), other.get(index)].into_iter().flatten() {
            if !order.contains(address) {
                order.push(*address);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listener(at: &str) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address that refuses.
    fn closed(at: &str) -> SocketAddr {
        listener(at).1
    }

    /// An address that drops every further SYN: its backlog is full.
    fn black_hole() -> (socket2::Socket, Vec<std::net::TcpStream>, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut held = Vec::new();
        while let Ok(one) =
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300))
        {
            held.push(one);
            assert!(held.len() < 64, "the backlog does not fill");
        }
        (socket, held, address)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn the_families_take_turns_and_none_is_tried_twice() {
        let parse = |text: &str| -> Vec<SocketAddr> {
            let addresses = text.split(' ').map(|one| one.parse().unwrap());
            addresses.collect()
        };
        let order = interleave(parse(
            "[2::1]:1 [2::2]:1 [2::1]:1 1.0.0.1:1 1.0.0.2:1 1.0.0.3:1",
        ));
        assert_eq!(
            order,
            parse("[2::1]:1 1.0.0.1:1 [2::2]:1 1.0.0.2:1 1.0.0.3:1")
        );
    }

    #[tokio::test]
    async fn an_address_that_refuses_costs_nothing_and_the_live_one_is_taken() {
        let (_kept, live) = listener("127.0.0.1:0");
        let began = Instant::now();
        let dead: Vec<SocketAddr> = (0..20).map(|_| closed("127.0.0.1:0")).collect();
        let all = dead.into_iter().chain([live]).collect();
        let tcp = connect(all, soon()).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), live);
        // Twenty head starts would be 5 s.
        assert!(began.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn an_address_that_says_nothing_is_overtaken() {
        let (_kept, live) = listener("127.0.0.1:0");
        let (_socket, _held, silent) = black_hole();
        let began = Instant::now();
        let tcp = connect(vec![silent, live], soon()).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), live);
        assert!(began.elapsed() >= HEAD_START);
    }

    #[tokio::test]
    #[expect(clippy::print_stderr, reason = "what is skipped is said")]
    async fn the_other_family_is_tried_where_one_refuses() {
        let Ok(kept) = TcpListener::bind("[::1]:0") else {
            eprintln!("SKIPPED: this machine has no IPv6 loopback");
            return;
        };
        let live = kept.local_addr().unwrap();
        let tcp = connect(vec![closed("127.0.0.1:0"), live], soon())
            .await
            .unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), live);
        let (_kept, live) = listener("127.0.0.1:0");
        let tcp = connect(vec![closed("[::1]:0"), live], soon())
            .await
            .unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), live);
    }

    #[tokio::test]
    async fn when_none_connects_each_is_told_with_its_own_failure() {
        let (one, two) = (closed("127.0.0.1:0"), closed("127.0.0.1:0"));
        let lost = connect(vec![one, two], soon()).await.unwrap_err();
        assert!(!lost.timed_out);
        let told = lost.to_string();
        assert_eq!(
            told,
            format!("{one}: connection refused, {two}: connection refused")
        );

        let (_socket, _held, silent) = black_hole();
        let deadline = Instant::now() + Duration::from_millis(50);
        let lost = connect(vec![one, silent, two], deadline).await.unwrap_err();
        assert!(lost.timed_out);
        let told = lost.to_string();
        assert_eq!(
            told,
            format!("{one}: connection refused, {silent}: no answer, 1 more")
        );
    }
}
