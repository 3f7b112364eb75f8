//! An upstream that records every byte it is sent and answers by a script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::lower_names;
use super::server::Server;

/// What to do with the next request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Read the whole request, then answer these bytes and go on.
    Answer(Vec<u8>),
    /// Read the whole request, answer these bytes, then close.
    AnswerAndClose(Vec<u8>),
    /// Read the whole request, answer these bytes, then reset the connection at
    /// [`Recorder::cut`].
    AnswerAndReset(Vec<u8>),
    /// Read the whole request, answer the first bytes, and the others at
    /// [`Recorder::cut`].
    AnswerInTwo(Vec<u8>, Vec<u8>),
    /// Read the head, then answer these bytes while the body may still come.
    AnswerEarly(Vec<u8>),
    /// Read the head and 64 KiB of the body, answer these bytes, and read no more.
    AnswerUnread(Vec<u8>),
    /// Read the whole request, then close without a word.
    Close,
    /// Read the whole request, then reset the connection.
    Reset,
    /// Read the whole request, then say nothing for ever.
    Silence,
}

impl Step {
    /// `200 OK` with `body`.
    pub fn ok(body: &str) -> Step {
        let length = body.len();
        Step::Answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into())
    }

    /// Only a status.
    pub fn status(status: u16) -> Step {
        Step::Answer(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into())
    }
}

#[derive(Default)]
struct Log {
    requests: Vec<Vec<u8>>,
    connections: usize,
    closed: usize,
}

/// The upstream. The last step of the script repeats.
pub struct Recorder {
    server: Server,
    log: Arc<Mutex<Log>>,
    script: Arc<Mutex<Vec<Step>>>,
    cut: Arc<Notify>,
}

impl Recorder {
    pub async fn start(script: impl IntoIterator<Item = Step>) -> Recorder {
        let log = Arc::new(Mutex::new(Log::default()));
        let mut steps: Vec<Step> = script.into_iter().collect();
        steps.reverse();
        let script = Arc::new(Mutex::new(steps));
        let cut = Arc::new(Notify::new());
        let (logged, scripted, cutting) = (log.clone(), script.clone(), cut.clone());
        let server = Server::start(move |stream| {
            logged.lock().unwrap().connections += 1;
            let (logged, scripted) = (logged.clone(), scripted.clone());
            let cutting = cutting.clone();
            async move {
                serve(stream, &logged, &scripted, &cutting).await;
                logged.lock().unwrap().closed += 1;
            }
        });
        Recorder {
            server: server.await,
            log,
            script,
            cut,
        }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Every request that arrived, whole, in order; the names of its fields in lower case.
    pub fn requests(&self) -> Vec<String> {
        let requests = self.as_written().into_iter();
        requests.map(|text| lower_names(&text)).collect()
    }

    /// The same, byte by byte.
    pub fn as_written(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        log.requests.iter().map(text).collect()
    }

    pub fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    pub fn closed(&self) -> usize {
        self.log.lock().unwrap().closed
    }

    /// Resets a connection that waits for it, or lets it go on.
    pub fn cut(&self) {
        self.cut.notify_one();
    }

    /// Replaces what is left of the script.
    pub fn then(&self, script: impl IntoIterator<Item = Step>) {
        let mut steps: Vec<Step> = script.into_iter().collect();
        steps.reverse();
        *self.script.lock().unwrap() = steps;
    }
}

async fn serve(mut stream: TcpStream, log: &Mutex<Log>, script: &Mutex<Vec<Step>>, cut: &Notify) {
    let mut unread = Vec::new();
    loop {
        let Some(head) = head(&mut stream, &mut unread).await else {
            return;
        };
        let step = {
            let mut script = script.lock().unwrap();
            if script.len() > 1 {
                script.pop().unwrap()
            } else {
                script[0].clone()
            }
        };
        if let Step::AnswerEarly(bytes) = &step {
            stream.write_all(bytes).await.unwrap();
        }
        if let Step::AnswerUnread(bytes) = &step {
            while unread.len() < 64 * 1024 {
                if stream.read_buf(&mut unread).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let _ = stream.write_all(bytes).await;
            cut.notified().await;
            return;
        }
        let Some(body) = body(&mut stream, &mut unread, &head).await else {
            return;
        };
        let mut request = head;
        request.extend_from_slice(&body);
        log.lock().unwrap().requests.push(request);
        match step {
            Step::AnswerEarly(_) | Step::AnswerUnread(_) => {}
            Step::Answer(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Step::AnswerAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Step::AnswerInTwo(first, second) => {
                let _ = stream.write_all(&first).await;
                cut.notified().await;
                if stream.write_all(&second).await.is_err() {
                    return;
                }
            }
            Step::AnswerAndReset(bytes) => {
                let _ = stream.write_all(&bytes).await;
                cut.notified().await;
                reset(&stream);
                return;
            }
            Step::Close => return,
            Step::Reset => {
                reset(&stream);
                return;
            }
            Step::Silence => {
                let mut rest = [0; 64];
                while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
                return;
            }
        }
    }
}

/// Makes the close that follows a reset.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

async fn head(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = unread.windows(4).position(|w| w == b"\r\n\r\n") {
            return Some(unread.drain(..at + 4).collect());
        }
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
}

/// The body by the strictest reading: a length or `chunked`, never both.
async fn body(stream: &mut TcpStream, unread: &mut Vec<u8>, head: &[u8]) -> Option<Vec<u8>> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = |name: &str| {
        let mut values = head
            .split("\r\n")
            .filter_map(|line| line.split_once(": "))
            .filter(|(n, _)| *n == name)
            .map(|(_, value)| value.to_owned());
        let first = values.next();
        assert!(values.next().is_none(), "{name} is repeated: {head}");
        first
    };
    let (length, coding) = (field("content-length"), field("transfer-encoding"));
    assert!(length.is_none() || coding.is_none(), "two framings: {head}");
    let end = |unread: &Vec<u8>| match (&length, &coding) {
        (Some(length), _) => {
            let length: usize = length.parse().unwrap();
            (unread.len() >= length).then_some(length)
        }
        (None, Some(coding)) => {
            assert_eq!(coding, "chunked");
            chunked_end(unread)
        }
        (None, None) => Some(0),
    };
    loop {
        if let Some(end) = end(unread) {
            return Some(unread.drain(..end).collect());
        }
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
}

/// Where a chunked body ends, trailers included, once all of it is there.
fn chunked_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = at + bytes[at..].windows(2).position(|w| w == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..line]).ok()?, 16).ok()?;
        at = line + 2;
        if size == 0 {
            loop {
                let line = at + bytes.get(at..)?.windows(2).position(|w| w == b"\r\n")?;
                let was_empty = line == at;
                at = line + 2;
                if was_empty {
                    return Some(at);
                }
            }
        }
        at += size + 2;
        if at > bytes.len() {
            return None;
        }
    }
}
