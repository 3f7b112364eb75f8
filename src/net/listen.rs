//! Listening sockets: bound once, exclusively, and shared by all workers.
//!
//! A second headset must fail to bind, and no process of the same user may take
//! connections away, so there is no `SO_REUSEPORT`; the workers accept from one
//! socket. A Unix socket is made for nobody else, then opened to whom it is for
//! (`access.rs`); one that nobody listens on any more is replaced, a live one or any
//! other file is an error.

pub mod access;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::umask;

use self::access::{Access, SocketFile};
use crate::config::Bind;
use crate::net::activity::Activity;
use crate::net::caller::CallerIo;
use crate::net::share::{SharedConnection, WorkerShare};

/// The queue of connections that wait to be accepted; the kernel caps it.
const BACKLOG: i32 = 4096;

/// How long to wait after an accept failed for want of descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {bind}")]
pub struct BindError {
    /// The address.
    pub bind: Bind,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// A bound socket that no runtime drives yet.
#[derive(Debug)]
pub enum BoundSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    Unix {
        /// Its file, held by one handle; removed with it, unless it is taken before.
        file: Option<SocketFile>,
        /// The socket.
        listener: std::os::unix::net::UnixListener,
    },
}

impl BoundSocket {
    /// Binds and listens; `access` is for Unix sockets. Needs no runtime.
    ///
    /// # Errors
    /// Where the address is taken, or headset may not do this.
    pub fn bind(bind: &Bind, access: &Access) -> Result<BoundSocket, BindError> {
        let bound = match bind {
            Bind::Tcp(address) => bind_tcp(*address).map(BoundSocket::Tcp),
            Bind::Unix(path) => bind_unix(path, access),
        };
        bound.map_err(|source| BindError {
            bind: bind.clone(),
            source,
        })
    }

    /// The address that was bound, with the port that a `:0` became.
    pub fn address(&self) -> io::Result<Bind> {
        match self {
            BoundSocket::Tcp(listener) => listener.local_addr().map(Bind::Tcp),
            BoundSocket::Unix { listener, .. } => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().unwrap_or(Path::new(""));
                Ok(Bind::Unix(path.to_owned()))
            }
        }
    }

    /// A second handle on the same socket, for another worker.
    pub fn share(&self) -> io::Result<BoundSocket> {
        match self {
            BoundSocket::Tcp(listener) => listener.try_clone().map(BoundSocket::Tcp),
            BoundSocket::Unix { listener, .. } => Ok(BoundSocket::Unix {
                file: None,
                listener: listener.try_clone()?,
            }),
        }
    }

    /// The file of a Unix socket, the first time. It is the taker's to keep for as long as
    /// the socket is listened on.
    pub fn take_file(&mut self) -> Option<SocketFile> {
        match self {
            BoundSocket::Tcp(_) => None,
            BoundSocket::Unix { file, .. } => file.take(),
        }
    }

    /// The TCP listener, where it is one.
    pub fn into_tcp(self) -> Option<std::net::TcpListener> {
        match self {
            BoundSocket::Tcp(listener) => Some(listener),
            BoundSocket::Unix { .. } => None,
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for old connections to time out; on Linux this does
    // not let two sockets listen at once.
    socket.set_reuse_address(true)?;
    // What is accepted has it as well (Linux; the BSDs, too): a call of the system less for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path, access: &Access) -> io::Result<BoundSocket> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() || !is_dead(path)? {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    // At no moment may anybody else connect before that is meant. The mask is the whole process's, which
    // makes nothing else at this time that others should read.
    let before = umask(Mode::from_raw_mode(0o077));
    let listener = std::os::unix::net::UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    let file = SocketFile::of(path)?;
    file.grant(access).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("its mode, owner or group cannot be set ({error})"),
        )
    })?;
    listener.set_nonblocking(true)?;
    Ok(BoundSocket::Unix {
        file: Some(file),
        listener,
    })
}

/// Whether nobody listens on the Unix socket at `path`. It does not wait: an owner whose
/// queue is full because it accepts nothing is an owner all the same (connect(2), `EAGAIN`).
fn is_dead(path: &Path) -> io::Result<bool> {
    use socket2::{Domain, SockAddr, Socket, Type};
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let connected = socket.connect(&SockAddr::unix(path)?);
    Ok(connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// A listening socket on this worker's runtime.
#[derive(Debug)]
pub struct Listener {
    socket: SocketKind,
    activity: Arc<Activity>,
    share: WorkerShare,
    /// On a Unix socket, only this process's user and root are let in.
    ours: bool,
}

#[derive(Debug)]
enum SocketKind {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listener {
    /// Puts `bound` on the current runtime; calls on its connections are counted in
    /// `activity`, the connections themselves in `share`.
    ///
    /// # Errors
    /// Where the machine cannot watch one more socket.
    pub fn adopt(
        bound: BoundSocket,
        activity: Arc<Activity>,
        share: WorkerShare,
    ) -> io::Result<Listener> {
        let socket = match bound {
            BoundSocket::Tcp(listener) => {
                SocketKind::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            BoundSocket::Unix { listener, .. } => {
                SocketKind::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        };
        Ok(Listener {
            socket,
            activity,
            share,
            ours: false,
        })
    }

    /// The same, which on a Unix socket closes connections of anybody but this process's
    /// user and root, as the kernel tells them apart (unix(7), `SO_PEERCRED`).
    #[must_use]
    pub fn for_own_user(self) -> Listener {
        Listener { ours: true, ..self }
    }

    /// The next connection. Never fails: what is wrong with one connection is its
    /// own business, and out of descriptors or memory it calls `exhausted`, waits and
    /// tries again. It counts for its worker until what comes with it is dropped. Dropping
    /// the future loses no connection.
    pub async fn accept(&self, exhausted: impl Fn(&io::Error)) -> (CallerIo, SharedConnection) {
        loop {
            let activity = || self.activity.clone();
            let accepted = match &self.socket {
                SocketKind::Tcp(listener) => {
                    let accepted = self.share.in_turn(|cx| listener.poll_accept(cx)).await;
                    accepted.map(|(tcp, from)| CallerIo::tcp(tcp, from, activity()))
                }
                SocketKind::Unix(listener) => {
                    match self.share.in_turn(|cx| listener.poll_accept(cx)).await {
                        Ok((unix, _)) if self.ours && !access::is_own_user(&unix) => continue,
                        accepted => accepted.map(|(unix, _)| CallerIo::unix(unix, activity())),
                    }
                }
            };
            match accepted {
                Ok(io) => return (io, self.share.take()),
                Err(error) if is_one_connections(&error) => {}
                Err(error) => {
                    exhausted(&error);
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }
}

/// Errors of a connection that went away before it was accepted (accept(2)).
fn is_one_connections(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SocketAccess;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    fn tight() -> Access {
        Access::resolve(&SocketAccess::default()).unwrap()
    }

    fn loopback() -> Bind {
        Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    #[test]
    fn a_port_in_use_is_refused() {
        let first = BoundSocket::bind(&loopback(), &tight()).unwrap();
        let taken = first.address().unwrap();
        let error = BoundSocket::bind(&taken, &tight()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn what_is_accepted_writes_without_delay() {
        let bound = BoundSocket::bind(&loopback(), &tight()).unwrap();
        let listener = bound.into_tcp().unwrap();
        listener.set_nonblocking(false).unwrap();
        let _caller = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn a_dead_unix_socket_is_replaced_and_a_live_one_is_not() {
        let folder = std::env::temp_dir().join(format!("headset-listen-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("app.sock");
        let bind = Bind::Unix(path.clone());
        let first = BoundSocket::bind(&bind, &tight()).unwrap();
        assert!(
            BoundSocket::bind(&bind, &tight()).is_err(),
            "somebody listens there"
        );
        drop(first);
        assert!(!path.exists(), "it was ours");
        // Left by one that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let again = BoundSocket::bind(&bind, &tight()).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(again);
        // One that accepts nothing, its queue full to the last place.
        let stuck = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let stuck = stuck.unwrap();
        stuck
            .bind(&socket2::SockAddr::unix(&path).unwrap())
            .unwrap();
        stuck.listen(0).unwrap();
        let mut waiting = Vec::new();
        loop {
            let caller = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
            let caller = caller.unwrap();
            caller.set_nonblocking(true).unwrap();
            let connected = caller.connect(&socket2::SockAddr::unix(&path).unwrap());
            waiting.push(caller);
            if connected.is_err() {
                break;
            }
        }
        assert!(
            BoundSocket::bind(&bind, &tight()).is_err(),
            "it is somebody's, and does not hold us up"
        );
        drop((stuck, waiting));
        std::fs::write(folder.join("file"), "kept").unwrap();
        assert!(BoundSocket::bind(&Bind::Unix(folder.join("file")), &tight()).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_unix_socket_is_opened_to_whom_it_is_for() {
        let folder = std::env::temp_dir().join(format!("headset-access-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("app.sock");
        let own = std::fs::metadata(&folder).unwrap();
        let access = Access::resolve(&SocketAccess {
            mode: 0o660,
            owner: Some(own.uid().to_string()),
            group: Some(own.gid().to_string()),
        });
        let bound = BoundSocket::bind(&Bind::Unix(path.clone()), &access.unwrap());
        let about = std::fs::metadata(&path).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o660);
        assert_eq!((about.uid(), about.gid()), (own.uid(), own.gid()));
        drop(bound);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_took_the_place_of_a_unix_socket_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("headset-place-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, other) = (folder.join("app.sock"), folder.join("other"));
        std::fs::write(&other, "kept").unwrap();
        std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o640)).unwrap();
        let open = Access::resolve(&SocketAccess {
            mode: 0o666,
            ..SocketAccess::default()
        });
        let open = open.unwrap();
        let mut bound = BoundSocket::bind(&Bind::Unix(path.clone()), &tight()).unwrap();
        let file = bound.take_file().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(file.grant(&open).is_err(), "nothing is there");
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let error = file.grant(&open).unwrap_err().to_string();
        assert!(error.contains("not the socket any more"), "{error}");
        let mode = std::fs::metadata(&other).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        drop(file);
        assert!(path.is_symlink(), "it is not ours to remove");
        // Another one's socket is not either.
        std::fs::remove_file(&path).unwrap();
        let mut bound = BoundSocket::bind(&Bind::Unix(path.clone()), &tight()).unwrap();
        let file = bound.take_file().unwrap();
        std::fs::remove_file(&path).unwrap();
        let theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop((file, bound));
        assert!(path.exists());
        drop(theirs);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
