//! The proxy on headset's own way out: everything that leaves passes it, so it sees which
//! host and port headset connects to, without a name being looked up, and what it says there.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::strict::{self, Request, show};
use crate::world::Upstream;

/// A connection that headset made.
#[derive(Debug, Default)]
pub struct Outbound {
    /// The host and port behind the proxy.
    pub to: String,
    /// All that was said there.
    pub said: Vec<u8>,
}

/// What left, in order.
#[derive(Default)]
pub struct OutboundProxy {
    /// Its connections, in the order of their CONNECTs.
    pub connections: RefCell<Vec<Outbound>>,
    /// Each whole request, with the place of its connection in `connections`.
    pub requests: RefCell<Vec<(usize, Request)>>,
    /// What came and was no CONNECT.
    pub faults: RefCell<Vec<String>>,
}

impl OutboundProxy {
    /// Listens; what moves is noted in `upstream`. Tells where.
    pub async fn start(self: &Rc<Self>, upstream: Rc<Upstream>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let this = self.clone();
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                upstream.open.set(upstream.open.get() + 1);
                upstream.moved.set(upstream.moved.get() + 1);
                let (this, upstream) = (this.clone(), upstream.clone());
                tokio::task::spawn_local(async move {
                    this.serve(stream, &upstream).await;
                    upstream.open.set(upstream.open.get() - 1);
                });
            }
        });
        address
    }

    async fn serve(&self, mut stream: TcpStream, upstream: &Upstream) {
        let (mut unread, mut read, mut place) = (Vec::new(), 0, None);
        while stream.read_buf(&mut unread).await.is_ok_and(|n| n > 0) {
            upstream.moved.set(upstream.moved.get() + 1);
            let Some(place) = place else {
                let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") else {
                    continue;
                };
                let head: Vec<u8> = unread.drain(..end + 4).collect();
                let Some(to) = target(&head) else {
                    self.faults.borrow_mut().push(show(&head));
                    break;
                };
                place = Some(self.connections.borrow().len());
                let said = unread.clone();
                self.connections.borrow_mut().push(Outbound { to, said });
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                continue;
            };
            self.connections.borrow_mut()[place].said = unread.clone();
            while let Ok(Some((request, used))) = strict::request(&unread[read..]) {
                read += used;
                self.requests.borrow_mut().push((place, request));
                let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.write_all(ok).await;
                upstream.moved.set(upstream.moved.get() + 1);
            }
        }
        // A reset leaves no port behind that waits: runs are many.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

/// The host and port of a CONNECT as headset writes one, and no other head.
fn target(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let to = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    (head == format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")).then(|| to.to_owned())
}
