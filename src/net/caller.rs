//! The socket towards a caller, as a protocol drives it and as we watch it.
//!
//! It notes when the first byte of a head arrived and since when a write has been stuck;
//! `modes/ending.rs` decides. It counts the frames of HTTP/2 (`frames.rs`) and closes so
//! that the last response arrives (`linger.rs`). HTTP/1 over it stands in `caller/h1.rs`.

pub mod h1;
mod inside;
pub mod stream;
pub mod upload;

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use crate::config::url::HttpOrigin;
use crate::net::activity::Activity;
use crate::net::tls::server::{self, TlsAcceptor};

use crate::net::buffers;
use crate::net::caller::stream::StreamState;
use crate::net::frames::{Flood, Frames};
use crate::net::linger::Linger;
use crate::net::listen::access;
use crate::net::poll_clock;
use crate::net::proxy_header::{self, ProxyHeaderError};
use crate::net::read_ahead::{self, SEALED};

/// Who a connection comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None` over a Unix socket.
    pub ip: Option<IpAddr>,
    /// Over a Unix socket whose it is, as the kernel says (unix(7), `SO_PEERCRED`).
    pub uid: Option<u32>,
    /// Whether it speaks TLS with us.
    pub tls: bool,
}

/// What the socket notes. One per connection, on its worker only.
#[derive(Debug)]
pub struct ConnState {
    /// Who it is.
    pub peer: Peer,
    /// Where the tunnel leads in which it comes.
    pub tunnelled_to: Option<Rc<HttpOrigin>>,
    /// Counts the calls of its listener.
    activity: Arc<Activity>,
    /// When the first byte of the head that is being read arrived, or, before any byte,
    /// the connection was accepted; `None` between calls and during one. Over HTTP/2 it
    /// is since when a head, or a frame, has been begun and not ended.
    pub head_since: Cell<Option<Instant>>,
    /// Calls of this connection that are being answered.
    pub calls: Cell<usize>,
    /// When the last call ended, or the connection was accepted.
    pub rested: Cell<Instant>,
    /// Since when the caller has taken nothing of what waits to be written.
    pub stuck_since: Cell<Option<Instant>>,
    /// Interim responses (RFC 9110 §15.2) that wait to be written, over HTTP/1.
    pub interim: RefCell<BytesMut>,
    /// Whether the last response is not the end: the caller may still be sending, or not have got all
    /// of it.
    pub unread: Cell<bool>,
    /// Bytes that were sent of the response under way, over HTTP/1.
    pub sent: Cell<usize>,
    /// Whether nobody will read the rest of it, so that the connection cannot be used
    /// again.
    pub abandoned: Cell<bool>,
    /// Whether headset stops.
    pub is_closing: Cell<bool>,
    /// Whether all is said, and we wait for the caller to close.
    pub lingers: Cell<bool>,
    /// What there was too much of: it ends the connection.
    pub flood: Cell<Option<Flood>>,
    /// What it would be, if the protocol library called it a flood.
    pub suspect: Cell<Flood>,
}

impl ConnState {
    fn new(
        peer: Peer,
        tunnelled_to: Option<Rc<HttpOrigin>>,
        activity: Arc<Activity>,
    ) -> Rc<ConnState> {
        Rc::new(ConnState {
            peer,
            tunnelled_to,
            activity,
            head_since: Cell::new(Some(Instant::now())),
            calls: Cell::new(0),
            rested: Cell::new(Instant::now()),
            stuck_since: Cell::new(None),
            interim: RefCell::default(),
            unread: Cell::new(false),
            sent: Cell::new(0),
            abandoned: Cell::new(false),
            is_closing: Cell::new(false),
            lingers: Cell::new(false),
            flood: Cell::new(None),
            suspect: Cell::new(Flood::Frames),
        })
    }

    fn read(&self, octets: usize) {
        if octets > 0 && self.calls.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(poll_clock::now()));
        }
    }

    fn wrote<T>(&self, written: &Poll<T>) {
        match written {
            Poll::Ready(_) => self.stuck_since.set(None),
            Poll::Pending if self.stuck_since.get().is_none() => {
                self.stuck_since.set(Some(Instant::now()));
            }
            Poll::Pending => {}
        }
    }
}

/// A call that is being answered; ends with the last byte of its response.
#[derive(Debug)]
pub struct InFlight {
    notes: Rc<ConnState>,
    stream: Option<Rc<StreamState>>,
}

impl InFlight {
    /// Notes that a head has been read and its call begins.
    pub fn begin(notes: Rc<ConnState>) -> InFlight {
        notes.head_since.set(None);
        // A new head means that the body before it was read.
        notes.unread.set(false);
        notes.sent.set(0);
        notes.abandoned.set(false);
        InFlight::call(notes, None)
    }

    /// The same on a stream of HTTP/2, noting in `stream` what the caller takes.
    pub fn begin_stream(notes: Rc<ConnState>, stream: Rc<StreamState>) -> InFlight {
        InFlight::call(notes, Some(stream))
    }

    #[inline]
    fn call(notes: Rc<ConnState>, stream: Option<Rc<StreamState>>) -> InFlight {
        notes.calls.set(notes.calls.get() + 1);
        notes.activity.begin();
        InFlight { notes, stream }
    }

    /// Its stream, over HTTP/2.
    pub fn stream(&self) -> Option<&StreamState> {
        self.stream.as_deref()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let notes = &self.notes;
        notes.calls.set(notes.calls.get() - 1);
        notes.activity.end();
        notes.rested.set(poll_clock::now());
    }
}

#[derive(Debug)]
enum CallerStream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed: it is large, and plain connections should not pay for it.
    Tls(Box<TlsStream<TcpStream>>),
    /// In a tunnel that a CONNECT asked for.
    Inside(Box<CallerIo>),
    /// The same with TLS in it.
    TlsInside(Box<TlsStream<CallerIo>>),
}

/// A caller's connection.
#[derive(Debug)]
pub struct CallerIo {
    stream: CallerStream,
    /// What was read to tell the protocol, to be read again: over HTTP/2.
    first: Bytes,
    /// The protocol, where ALPN has settled it.
    chosen: Option<Protocol>,
    notes: Rc<ConnState>,
    /// For HTTP/2 only.
    frames: Option<Box<Frames>>,
    linger: Option<Linger>,
}

/// What tells HTTP/2 with prior knowledge (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A protocol that a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2, by prior knowledge or by ALPN.
    Http2,
}

impl CallerIo {
    /// Wraps a TCP connection that comes `from` there; its calls are counted in `activity`.
    pub fn tcp(stream: TcpStream, from: SocketAddr, activity: Arc<Activity>) -> CallerIo {
        let peer = Peer {
            ip: Some(from.ip().to_canonical()),
            uid: None,
            tls: false,
        };
        CallerIo::new(CallerStream::Tcp(stream), peer, activity)
    }

    /// Wraps a Unix connection; its calls are counted in `activity`.
    pub fn unix(stream: UnixStream, activity: Arc<Activity>) -> CallerIo {
        let peer = Peer {
            uid: access::uid_of(&stream),
            ..Peer::default()
        };
        CallerIo::new(CallerStream::Unix(stream), peer, activity)
    }

    fn new(stream: CallerStream, peer: Peer, activity: Arc<Activity>) -> CallerIo {
        CallerIo::with(stream, ConnState::new(peer, None, activity))
    }

    fn with(stream: CallerStream, notes: Rc<ConnState>) -> CallerIo {
        CallerIo {
            stream,
            first: Bytes::new(),
            chosen: None,
            notes,
            frames: None,
            linger: None,
        }
    }

    /// Counts the HTTP/2 frames of the caller from here on; reading fails where
    /// there are too many that move nothing.
    pub fn count_frames(&mut self) {
        self.frames = Some(Box::new(Frames::begin()));
    }

    /// What the socket notes.
    pub fn notes(&self) -> &Rc<ConnState> {
        &self.notes
    }

    /// Reads the header of the PROXY protocol that the connection begins with, and nothing
    /// behind it: the address that it names, if any.
    ///
    /// # Errors
    /// Where no header comes that can be used; the connection is of no more use then.
    pub async fn read_proxy_header(&mut self) -> Result<Option<IpAddr>, ProxyHeaderError> {
        match &mut self.stream {
            CallerStream::Tcp(io) => proxy_header::read(io).await,
            CallerStream::Unix(io) => proxy_header::read(io).await,
            CallerStream::Tls(io) => proxy_header::read(io).await,
            // No load balancer stands in a tunnel.
            CallerStream::Inside(_) | CallerStream::TlsInside(_) => Ok(None),
        }
    }

    /// The same connection, now that of `ip`.
    pub fn coming_from(self, ip: IpAddr) -> CallerIo {
        let peer = Peer {
            ip: Some(ip),
            ..self.notes.peer
        };
        let activity = self.notes.activity.clone();
        CallerIo::new(self.stream, peer, activity)
    }

    /// Puts TLS on a TCP connection; ALPN (RFC 7301) may settle the protocol. `None`
    /// where the caller left without a word, as probes of a port do. Dropping the
    /// future closes the connection.
    ///
    /// # Errors
    /// Where no TLS came about.
    pub async fn secure(self, acceptor: &TlsAcceptor) -> io::Result<Option<CallerIo>> {
        let CallerStream::Tcp(tcp) = self.stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        if !matches!(tcp.peek(&mut [0]).await, Ok(1..)) {
            return Ok(None);
        }
        let tls = Box::new(acceptor.greet(tcp).await?);
        Ok(Some(CallerIo::secured(&self.notes, tls, CallerStream::Tls)))
    }

    fn secured<T>(
        notes: &ConnState,
        mut tls: Box<TlsStream<T>>,
        stream: impl Fn(Box<TlsStream<T>>) -> CallerStream,
    ) -> CallerIo {
        let session = tls.get_mut().1;
        session.set_buffer_limit(Some(SEALED));
        let chosen = match session.alpn_protocol() {
            Some(server::H2) => Some(Protocol::Http2),
            Some(server::HTTP1) => Some(Protocol::Http1),
            _ => None,
        };
        let peer = Peer {
            tls: true,
            ..notes.peer
        };
        let notes = ConnState::new(peer, notes.tunnelled_to.clone(), notes.activity.clone());
        CallerIo {
            chosen,
            ..CallerIo::with(stream(tls), notes)
        }
    }

    /// Reads far enough to tell the protocol, where ALPN did not, and yields it with what
    /// was read, which over HTTP/1 comes before what is read next. `None` where the caller
    /// left without a word.
    ///
    /// # Errors
    /// As the socket tells.
    pub async fn sniff(&mut self) -> io::Result<Option<(Protocol, BytesMut)>> {
        if let Some(chosen) = self.chosen {
            return Ok(Some((chosen, BytesMut::new())));
        }
        // Who connects and says nothing holds no buffer.
        match &self.stream {
            CallerStream::Tcp(io) => io.readable().await?,
            CallerStream::Unix(io) => io.readable().await?,
            CallerStream::Tls(_) | CallerStream::Inside(_) | CallerStream::TlsInside(_) => {}
        }
        // A whole small head fits, so that telling the protocol costs no extra read.
        let mut seen = buffers::take();
        loop {
            let compared = seen.len().min(PREFACE.len());
            if seen[..compared] != PREFACE[..compared] {
                return Ok(Some((Protocol::Http1, seen)));
            }
            if compared == PREFACE.len() {
                self.first = seen.freeze();
                return Ok(Some((Protocol::Http2, BytesMut::new())));
            }
            let n = match &mut self.stream {
                CallerStream::Tcp(io) => io.read_buf(&mut seen).await?,
                CallerStream::Unix(io) => io.read_buf(&mut seen).await?,
                CallerStream::Tls(io) => io.read_buf(&mut seen).await?,
                CallerStream::Inside(io) => io.read_buf(&mut seen).await?,
                CallerStream::TlsInside(io) => io.read_buf(&mut seen).await?,
            };
            if n == 0 {
                buffers::give(&mut seen);
                return Ok(None);
            }
            if seen.len() == n {
                self.notes.head_since.set(Some(Instant::now()));
            }
        }
    }

    /// Ready when there may be something to read. Within TLS only a read can tell.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.stream {
            CallerStream::Tcp(io) => io.poll_read_ready(cx).map(drop),
            CallerStream::Unix(io) => io.poll_read_ready(cx).map(drop),
            CallerStream::Inside(io) if io.first.is_empty() => io.poll_readable(cx),
            CallerStream::Tls(_) | CallerStream::Inside(_) | CallerStream::TlsInside(_) => {
                Poll::Ready(())
            }
        }
    }

    /// Whether the caller has reset the connection: then nothing can be sent, not even
    /// nothing.
    pub fn has_failed(&self) -> bool {
        let socket = match &self.stream {
            CallerStream::Tcp(tcp) => socket2::SockRef::from(tcp),
            CallerStream::Unix(unix) => socket2::SockRef::from(unix),
            CallerStream::Tls(tls) => socket2::SockRef::from(tls.get_ref().0),
            CallerStream::Inside(io) => return io.has_failed(),
            CallerStream::TlsInside(tls) => return tls.get_ref().0.has_failed(),
        };
        let sent = socket.send(&[]);
        sent.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
    }

    /// Lets the close of the socket be a reset, where it can be one: what its caller has
    /// read is then not taken for all there is.
    pub fn reset_on_close(&self) {
        let tcp = match &self.stream {
            CallerStream::Tcp(tcp) => tcp,
            // Without its close_notify TLS shows a break.
            CallerStream::Unix(_) | CallerStream::Tls(_) | CallerStream::TlsInside(_) => return,
            CallerStream::Inside(io) => return io.reset_on_close(),
        };
        let _ = socket2::SockRef::from(tcp).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl CallerIo {
    #[inline]
    fn judge(&mut self, came: &[u8]) -> io::Result<()> {
        let Some(frames) = &mut self.frames else {
            return Ok(());
        };
        let flood = frames.came(came);
        let since = &self.notes.head_since;
        match frames.is_amid() {
            true if since.get().is_none() => since.set(Some(Instant::now())),
            true => {}
            false => since.set(None),
        }
        self.notes.suspect.set(frames.suspect());
        if flood.is_some() {
            self.notes.flood.set(flood);
            return Err(io::Error::other("too many frames that carry no data"));
        }
        Ok(())
    }

    fn note_write(&mut self, written: &Poll<io::Result<usize>>) {
        self.notes.wrote(written);
        if let Poll::Ready(Ok(octets)) = written {
            self.notes.sent.update(|sent| sent.saturating_add(*octets));
            if let Some(frames) = &mut self.frames {
                frames.went(*octets);
            }
        }
    }
}

impl AsyncRead for CallerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if !self.first.is_empty() {
            let n = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..n]);
            self.first.advance(n);
            return Poll::Ready(self.judge(&buf.filled()[before..]));
        }
        // Over HTTP/1 whoever reads bounds the room.
        let is_http2 = self.frames.is_some();
        let stream = &mut self.stream;
        let polled = match is_http2 {
            true => read_ahead::read(buf, |buf| stream.poll_read(cx, buf)),
            false => stream.poll_read(cx, buf),
        };
        // The frames of HTTP/2 tell by themselves where a head begins and ends.
        if self.frames.is_none() {
            self.notes.read(buf.filled().len() - before);
        }
        self.judge(&buf.filled()[before..])?;
        polled
    }
}

impl CallerStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            CallerStream::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            CallerStream::Unix(io) => Pin::new(io).poll_read(cx, buf),
            CallerStream::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
            CallerStream::Inside(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
            CallerStream::TlsInside(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for CallerIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            CallerStream::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            CallerStream::Unix(io) => Pin::new(io).poll_write(cx, buf),
            CallerStream::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
            CallerStream::Inside(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
            CallerStream::TlsInside(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        };
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            CallerStream::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            CallerStream::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            CallerStream::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
            CallerStream::Inside(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
            CallerStream::TlsInside(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        };
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            CallerStream::Tcp(io) => Pin::new(io).poll_flush(cx),
            CallerStream::Unix(io) => Pin::new(io).poll_flush(cx),
            // Here a write only fills a buffer; what waits for the caller waits in a flush.
            CallerStream::Tls(io) => {
                let flushed = Pin::new(io.as_mut()).poll_flush(cx);
                self.notes.wrote(&flushed);
                flushed
            }
            CallerStream::Inside(io) => Pin::new(io.as_mut()).poll_flush(cx),
            CallerStream::TlsInside(io) => {
                let flushed = Pin::new(io.as_mut()).poll_flush(cx);
                self.notes.wrote(&flushed);
                flushed
            }
        }
    }

    /// Closes our side, and waits for the caller's where it may still be sending: see
    /// `linger.rs`.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(match &mut this.stream {
                CallerStream::Tcp(io) => Pin::new(io).poll_shutdown(cx),
                CallerStream::Unix(io) => Pin::new(io).poll_shutdown(cx),
                CallerStream::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
                CallerStream::Inside(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
                CallerStream::TlsInside(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
            })?;
            // A head that was refused half read counts as well.
            let head = this.notes.head_since.take();
            if !this.notes.unread.get() && head.is_none() {
                return Poll::Ready(Ok(()));
            }
            this.notes.lingers.set(true);
            this.linger = Some(Linger::begin(this.notes.is_closing.get()));
        }
        let Some(linger) = &mut this.linger else {
            return Poll::Ready(Ok(()));
        };
        let stream = &mut this.stream;
        linger.poll(cx, |cx, buf| stream.poll_read(cx, buf)).map(Ok)
    }
}
