//! A caller's connection in a tunnel that a CONNECT asked for and that ends here.

use std::io;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use super::{CallerIo, CallerStream, ConnState, Peer};
use crate::config::url::HttpOrigin;
use crate::net::tls::authority::LeafAcceptor;

/// The type of the record with which TLS begins (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// What is read at most to tell what is spoken in a tunnel: a hello fits.
const FIRST_OF_A_TUNNEL: usize = 4096;

impl CallerIo {
    /// What the caller says in a tunnel to `to` that ends here, `first` of which came
    /// together with the CONNECT. Reads far enough to tell whether it is TLS, and yields
    /// that with it; `to` then has that scheme. `None` where the caller left without a word.
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// As the socket tells.
    pub async fn inside(
        mut self,
        first: Bytes,
        mut to: HttpOrigin,
    ) -> io::Result<Option<(CallerIo, bool)>> {
        self.first = first;
        if self.first.is_empty() {
            let mut read = BytesMut::with_capacity(FIRST_OF_A_TUNNEL);
            if self.read_buf(&mut read).await? == 0 {
                return Ok(None);
            }
            self.first = read.freeze();
        }
        to.tls = self.first.first() == Some(&HANDSHAKE);
        let is_tls = to.tls;
        let (peer, activity) = (self.notes.peer, self.notes.activity.clone());
        let peer = Peer { tls: false, ..peer };
        let notes = ConnState::new(peer, Some(Rc::new(to)), activity);
        let inside = CallerIo::with(CallerStream::Inside(Box::new(self)), notes);
        Ok(Some((inside, is_tls)))
    }

    /// Puts TLS on what is said in a tunnel that ends here, as the host that it leads to.
    ///
    /// # Errors
    /// As [`CallerIo::secure`].
    pub async fn secure_inside(self, acceptor: &LeafAcceptor) -> io::Result<Option<CallerIo>> {
        let CallerStream::Inside(tunnel) = self.stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let tls = Box::new(acceptor.greet(*tunnel).await?);
        Ok(Some(CallerIo::secured(
            &self.notes,
            tls,
            CallerStream::TlsInside,
        )))
    }
}
