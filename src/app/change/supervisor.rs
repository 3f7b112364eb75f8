//! What the service manager is told, where there is one that listens (`NOTIFY_SOCKET`,
//! sd_notify(3)): ready, reloading, stopping. With `Type=notify-reload`, `systemctl
//! start` and `systemctl reload` then return when it is done.
//!
//! Our own few lines, since the crates for it send in a way that waits: one who leaves
//! its socket unread would hold up the control thread. It may be a path or, after an `@`,
//! a name of Linux's abstract namespace (unix(7)).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::base::time;

/// The variable that names the socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Everything is bound.
pub fn ready() {
    tell("READY=1\n");
}

/// A reload begins; [`reloaded`] must follow.
pub fn reloading() {
    // Without the time it would be taken for an older reload's (systemd 253).
    let now = time::monotonic().as_micros();
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}\n"));
}

/// The reload is over; `outcome` is one line for `systemctl status`.
pub fn reloaded(outcome: &str) {
    tell(&format!("READY=1\nSTATUS={outcome}\n"));
}

/// headset is on its way out.
pub fn stopping() {
    tell("STOPPING=1\n");
}

fn tell(state: &str) {
    let Some(socket) = std::env::var_os(SOCKET).filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(
            error.detail = %error,
            "the service manager cannot be told through NOTIFY_SOCKET: {}",
            state.lines().next().unwrap_or_default()
        );
    }
}

/// Sends `state` to `socket`, or fails; never waits.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = address(socket)?;
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(name)
        }
        [b'/', ..] => SocketAddr::from_pathname(socket),
        _ => Err(io::Error::other(
            "it is neither an absolute path nor an abstract name after `@`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_abstract_name_are_both_told() {
        let path = std::env::temp_dir().join(format!("headset-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut all = vec![(path.clone().into_os_string(), UnixDatagram::bind(&path))];
        #[cfg(target_os = "linux")]
        {
            let name = format!("@headset-notify-{}", std::process::id());
            let bound = UnixDatagram::bind_addr(&address(OsStr::new(&name)).unwrap());
            all.push((name.into(), bound));
        }
        for (name, bound) in all {
            send(&name, "READY=1\n").unwrap();
            let mut text = [0; 64];
            let length = bound.unwrap().recv(&mut text).unwrap();
            assert_eq!(&text[..length], b"READY=1\n");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(send(OsStr::new("relative"), "").is_err());
        assert!(send(path.as_os_str(), "").is_err(), "nobody is there");
    }

    #[test]
    fn one_who_never_reads_is_not_waited_for() {
        let path = std::env::temp_dir().join(format!("headset-unread-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let _unread = UnixDatagram::bind(&path).unwrap();
        let told = (0..100_000).take_while(|_| send(path.as_os_str(), "READY=1\n").is_ok());
        assert!(told.count() < 100_000, "its queue is full at last");
        std::fs::remove_file(&path).unwrap();
    }
}
