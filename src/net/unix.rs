//! A connection to a Unix socket, and why there is none: in words, since the kernel's are
//! few for all that can be wrong with a file.

use std::io;
use std::path::Path;

use tokio::net::UnixStream;

/// Why a Unix socket cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub enum UnixDialError {
    /// Nothing is at its path.
    #[error("there is no such file; start what listens there, or correct the path")]
    Missing,
    /// What is there is not listened on, or is no socket.
    #[error("nobody listens on it; start what does")]
    Refused,
    /// Headset may not.
    #[error(
        "user {uid} may not connect; it needs write permission on the socket, and search \
         permission (x) on each of its folders"
    )]
    Forbidden {
        /// Who headset runs as.
        uid: u32,
    },
    /// Its queue is full.
    #[error("its queue is full, since what listens there accepts nothing")]
    Full,
    /// Anything else.
    #[error(transparent)]
    Other(io::Error),
}

impl UnixDialError {
    /// Whether trying again at once would end the same way.
    pub fn is_lasting(&self) -> bool {
        matches!(self, UnixDialError::Forbidden { .. })
    }
}

/// Connects to the socket at `path`, which does not wait: it is there, or it is not.
///
/// # Errors
/// Where it cannot be.
pub async fn connect(path: &Path) -> Result<UnixStream, UnixDialError> {
    UnixStream::connect(path)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => UnixDialError::Missing,
            io::ErrorKind::ConnectionRefused => UnixDialError::Refused,
            // connect(2): a full backlog is EAGAIN on a socket that does not wait.
            io::ErrorKind::WouldBlock => UnixDialError::Full,
            io::ErrorKind::PermissionDenied => UnixDialError::Forbidden {
                uid: rustix::process::geteuid().as_raw(),
            },
            _ => UnixDialError::Other(error),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;

    #[tokio::test]
    async fn what_is_wrong_with_a_socket_is_told_in_words() {
        let folder = TempFolder::new();
        let path = folder.path().join("app.sock");
        let told = async || connect(&path).await.unwrap_err();
        assert!(matches!(told().await, UnixDialError::Missing));
        // Left by one that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(matches!(told().await, UnixDialError::Refused));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "no socket").unwrap();
        assert!(matches!(told().await, UnixDialError::Refused));
        std::fs::remove_file(&path).unwrap();
        // One that accepts nothing, its queue full to the last place.
        let stuck = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let stuck = stuck.unwrap();
        stuck
            .bind(&socket2::SockAddr::unix(&path).unwrap())
            .unwrap();
        stuck.listen(0).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            match connect(&path).await {
                Ok(one) => waiting.push(one),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, UnixDialError::Full), "{full}");
        assert!(!full.is_lasting());
    }
}
