//! Sockets: listen, accept, speak HTTP/1.1, and cut a connection for real.
//!
//! A [`Wire`] rides in every request, so that a handler can have its own connection
//! reset (SO_LINGER 0, hence an RST). An orderly end lingers: what a client still
//! sends after an early answer is read and dropped, or the kernel would take the
//! answer away from it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::center::Center;

/// How long a client may go on sending after its answer.
const LINGER: Duration = Duration::from_secs(30);
/// How long accepting rests after the kernel had no socket to give (EMFILE).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A request's own connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Notify>);

impl Wire {
    /// Has the connection reset, as soon as its task runs.
    pub(super) fn reset(&self) {
        self.0.notify_one();
    }

    /// Has the connection reset and never returns: the connection's end drops this
    /// future.
    pub(super) async fn reset_and_wait(&self) -> ! {
        self.reset();
        std::future::pending().await
    }
}

/// A listening socket. `SO_REUSEADDR`, so that a restart finds its port free.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// Serves until it is dropped; that cuts every connection.
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    center: Arc<Center>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    center.lock().counted.connections += 1;
                    connections.spawn(connection(socket, acceptor.clone(), router.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(socket: TcpStream, acceptor: Option<TlsAcceptor>, router: Router) {
    // Pushes must not wait for each other's acknowledgements; failing costs only time.
    let _ = socket.set_nodelay(true);
    match acceptor {
        None => speak(socket, |socket| socket, router).await,
        Some(acceptor) => match acceptor.accept(socket).await {
            Ok(stream) => speak(stream, |stream| stream.get_ref().0, router).await,
            Err(error) => tracing::info!(%error, "a TLS handshake failed"),
        },
    }
}

async fn speak<I>(io: I, socket: fn(&I) -> &TcpStream, router: Router)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wire = Wire::default();
    let mine = wire.clone();
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(mine.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let mut http = http1::Builder::new()
        // The date is the simulator's own, which may be wrong on purpose.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(io), service);
    let ended = tokio::select! {
        ended = std::future::poll_fn(|cx| http.poll_without_shutdown(cx)) => Some(ended),
        () = wire.0.notified() => None,
    };
    let mut io = http.into_parts().io.into_inner();
    match ended {
        None => {
            // Failing means that the peer is gone already.
            let _ = socket(&io).set_zero_linger();
        }
        Some(Ok(())) => {
            let _ = tokio::time::timeout(LINGER, drain(&mut io)).await;
        }
        Some(Err(error)) => tracing::debug!(%error, "a connection broke"),
    }
}

/// Says goodbye, then reads until the peer does so too.
async fn drain<I: AsyncRead + AsyncWrite + Unpin>(io: &mut I) -> io::Result<()> {
    io.shutdown().await?;
    let mut dropped = vec![0; 16 * 1024];
    while io.read(&mut dropped).await? > 0 {}
    Ok(())
}
