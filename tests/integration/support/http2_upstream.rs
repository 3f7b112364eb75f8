//! Upstreams that speak HTTP/2: one of raw frames, for what no library would send,
//! and one of the library's, for what takes flow control.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use headset::net::tls::provider;
use http::{HeaderMap, Request, Response};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::frames::frame;
use super::server::Server;

/// What to do once a request has come whole.
#[derive(Clone, Debug)]
pub enum Act {
    /// `200` with this body.
    Answer(&'static str),
    /// The same, when [`FrameUpstream::release`] is called.
    Later(&'static str),
    /// `200` and no end.
    Head,
    /// Wait for [`FrameUpstream::release`].
    Hold,
    /// RST_STREAM.
    Reset(u32),
    /// GOAWAY whose last stream is this one plus the offset.
    GoAway(i64, u32),
    /// Close the connection.
    Close,
    /// Nothing.
    Silence,
}

/// What each GOAWAY says besides (RFC 9113 §6.8): it may be anything.
pub const DEBUG_DATA: &[u8] = b"a credential, maybe";

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Request {
        connection: usize,
        stream: u32,
        octets: usize,
    },
    Reset {
        connection: usize,
        stream: u32,
        code: u32,
    },
    Ping,
    Closed(usize),
}

#[derive(Default)]
struct Shared {
    events: Mutex<Vec<Event>>,
    script: Mutex<Vec<Vec<Act>>>,
    connections: AtomicUsize,
    release: Notify,
}

/// The upstream of raw frames; the last acts of its script repeat.
pub struct FrameUpstream {
    server: Server,
    shared: Arc<Shared>,
}

impl FrameUpstream {
    pub async fn start(script: impl IntoIterator<Item = Vec<Act>>) -> FrameUpstream {
        FrameUpstream::with(script, &[], true).await
    }

    /// With `settings` (RFC 9113 §6.5.2), and answering PING or not.
    pub async fn with(
        script: impl IntoIterator<Item = Vec<Act>>,
        settings: &[(u16, u32)],
        pongs: bool,
    ) -> FrameUpstream {
        let shared = Arc::new(Shared::default());
        let mut steps: Vec<Vec<Act>> = script.into_iter().collect();
        steps.reverse();
        *shared.script.lock().unwrap() = steps;
        let (sharing, settings) = (shared.clone(), settings.to_vec());
        let server = Server::start(move |stream| {
            let number = sharing.connections.fetch_add(1, Ordering::SeqCst);
            let (shared, settings) = (sharing.clone(), settings.clone());
            async move {
                let _ = frames(stream, number, &shared, &settings, pongs).await;
                let mut events = shared.events.lock().unwrap();
                events.push(Event::Closed(number));
            }
        });
        FrameUpstream {
            server: server.await,
            shared,
        }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub fn events(&self) -> Vec<Event> {
        self.shared.events.lock().unwrap().clone()
    }

    /// How many requests came whole.
    pub fn requests(&self) -> usize {
        let is_request = |event: &&Event| matches!(event, Event::Request { .. });
        self.events().iter().filter(is_request).count()
    }

    /// Replaces what is left of the script.
    pub fn then(&self, script: impl IntoIterator<Item = Vec<Act>>) {
        let mut steps: Vec<Vec<Act>> = script.into_iter().collect();
        steps.reverse();
        *self.shared.script.lock().unwrap() = steps;
    }

    /// Answers what waits for it, on one connection.
    pub fn release(&self) {
        self.shared.release.notify_one();
    }
}

fn answer(stream: u32, body: &str) -> Vec<u8> {
    // `:status: 200` is entry 8 of the static table (RFC 7541 A).
    let mut bytes = frame(1, 4, stream, &[0x88]);
    bytes.extend(frame(0, 1, stream, body.as_bytes()));
    bytes
}

async fn frames(
    mut io: TcpStream,
    connection: usize,
    shared: &Shared,
    settings: &[(u16, u32)],
    pongs: bool,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    io.read_exact(&mut preface).await?;
    let settings: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    io.write_all(&frame(4, 0, 0, &settings)).await?;
    let mut unread = BytesMut::new();
    let mut octets = std::collections::HashMap::<u32, usize>::new();
    let mut later: Vec<(u32, &'static str)> = Vec::new();
    loop {
        let length = match unread.get(..3) {
            Some(l) => usize::from(l[0]) << 16 | usize::from(l[1]) << 8 | usize::from(l[2]),
            None => usize::MAX,
        };
        if unread.len() < 9 || unread.len() - 9 < length {
            tokio::select! {
                read = io.read_buf(&mut unread) => if read? == 0 { return Ok(()) },
                () = shared.release.notified(), if !later.is_empty() => {
                    for (stream, body) in later.drain(..) {
                        io.write_all(&answer(stream, body)).await?;
                    }
                }
            }
            continue;
        }
        let (kind, flags) = (unread[3], unread[4]);
        let stream = u32::from_be_bytes([unread[5], unread[6], unread[7], unread[8]]);
        unread.advance(9);
        let payload = unread.split_to(length);
        match kind {
            0 | 1 => {
                if kind == 0 {
                    *octets.entry(stream).or_default() += payload.len();
                    let more = u32::try_from(payload.len()).unwrap().to_be_bytes();
                    if !payload.is_empty() {
                        io.write_all(&frame(8, 0, 0, &more)).await?;
                    }
                }
                if flags & 1 == 0 {
                    continue;
                }
                let octets = octets.remove(&stream).unwrap_or(0);
                shared.events.lock().unwrap().push(Event::Request {
                    connection,
                    stream,
                    octets,
                });
                let acts = {
                    let mut script = shared.script.lock().unwrap();
                    match script.len() {
                        1 => script[0].clone(),
                        _ => script.pop().unwrap(),
                    }
                };
                for act in acts {
                    let bytes = match act {
                        Act::Answer(body) => answer(stream, body),
                        Act::Later(body) => {
                            later.push((stream, body));
                            continue;
                        }
                        Act::Head => frame(1, 4, stream, &[0x88]),
                        Act::Reset(code) => frame(3, 0, stream, &code.to_be_bytes()),
                        Act::GoAway(offset, code) => {
                            let last = u32::try_from(i64::from(stream) + offset).unwrap_or(0);
                            let payload =
                                [&last.to_be_bytes()[..], &code.to_be_bytes(), DEBUG_DATA].concat();
                            frame(7, 0, 0, &payload)
                        }
                        Act::Hold => {
                            shared.release.notified().await;
                            continue;
                        }
                        Act::Close => return Ok(()),
                        Act::Silence => continue,
                    };
                    io.write_all(&bytes).await?;
                }
            }
            3 => shared.events.lock().unwrap().push(Event::Reset {
                connection,
                stream,
                code: u32::from_be_bytes(payload[..4].try_into().unwrap()),
            }),
            4 if flags & 1 == 0 => io.write_all(&frame(4, 1, 0, &[])).await?,
            6 if flags & 1 == 0 => {
                shared.events.lock().unwrap().push(Event::Ping);
                if pongs {
                    io.write_all(&frame(6, 1, 0, &payload)).await?;
                }
            }
            _ => {}
        }
    }
}

/// The upstream of the library's.
pub struct StreamUpstream {
    server: Server,
    tls: bool,
    connections: Arc<AtomicUsize>,
}

impl StreamUpstream {
    /// Every stream goes to `handle`.
    pub async fn start<F, Fut>(tls: Option<TlsAcceptor>, handle: F) -> StreamUpstream
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        StreamUpstream::rotating(tls, usize::MAX, handle).await
    }

    /// The same; a connection says that it goes away with its stream number `streams`.
    pub async fn rotating<F, Fut>(
        tls: Option<TlsAcceptor>,
        streams: usize,
        handle: F,
    ) -> StreamUpstream
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, is_tls) = (connections.clone(), tls.is_some());
        let server = Server::start(move |tcp| {
            counted.fetch_add(1, Ordering::SeqCst);
            let (handle, tls) = (handle.clone(), tls.clone());
            async move {
                let Some(tls) = tls else {
                    return serve(tcp, streams, handle).await;
                };
                let Ok(mut stream) = tls.accept(tcp).await else {
                    return;
                };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    return serve(stream, streams, handle).await;
                }
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh1";
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.read(&mut [0]).await;
            }
        });
        StreamUpstream {
            server: server.await,
            tls: is_tls,
            connections,
        }
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.server.address())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve<T, F, Fut>(io: T, streams: usize, handle: F)
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = h2::server::handshake(io).await else {
        return;
    };
    let mut taken = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        taken += 1;
        if taken == streams {
            connection.graceful_shutdown();
        }
        tokio::spawn(handle(request, respond));
    }
}

/// A server's side of TLS that offers `protocols` by ALPN, and the authority to trust.
pub fn tls(protocols: &[&[u8]]) -> (TlsAcceptor, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), certificate.pem())
}

/// All of a body, its window kept open.
pub async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut whole = Vec::new();
    while let Some(octets) = body.data().await {
        let octets = octets?;
        let _ = body.flow_control().release_capacity(octets.len());
        whole.extend_from_slice(&octets);
    }
    Ok(whole)
}

/// Sends `octets` at the pace of whoever reads them.
pub async fn write(stream: &mut SendStream<Bytes>, mut octets: Bytes, end: bool) -> Option<()> {
    while !octets.is_empty() {
        stream.reserve_capacity(octets.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx))
            .await?
            .ok()?;
        let part = octets.split_to(room.min(octets.len()));
        let last = end && octets.is_empty();
        stream.send_data(part, last).ok()?;
    }
    Some(())
}

/// `200` with `body`, whatever was asked.
pub fn ok(mut respond: SendResponse<Bytes>, body: impl Into<Bytes>) {
    if let Ok(mut stream) = respond.send_response(Response::new(()), false) {
        let _ = stream.send_data(body.into(), true);
    }
}

/// Fields from pairs.
pub fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

/// A caller that speaks HTTP/2 by prior knowledge.
pub async fn caller(to: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let tcp = TcpStream::connect(to).await.unwrap();
    let (sender, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.ready().await.unwrap()
}
