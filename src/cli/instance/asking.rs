//! Asking a headset that was found.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::InstanceError;
use crate::base::causes::with_causes;
use crate::net::listen::access;
use crate::secret::Secret;

/// No answer of the admin listener is longer, in bytes.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// A running headset.
#[derive(Debug)]
pub struct Instance(InstanceWay);

/// How it is asked.
#[derive(Debug)]
pub(super) enum InstanceWay {
    Socket(PathBuf),
    Port {
        /// Host and port, as they are dialled and named.
        authority: String,
        token: Option<Secret<String>>,
    },
}

/// What it answered.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as one line.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .trim()
            .replace('\n', "; ")
    }
}

/// Whether somebody listens at `socket`.
pub(super) async fn listens(socket: &Path) -> io::Result<()> {
    UnixStream::connect(socket).await.map(drop)
}

impl Instance {
    /// One that is asked by `way`.
    pub(super) fn by(way: InstanceWay) -> Instance {
        Instance(way)
    }

    /// Where it is, for a person.
    pub fn place(&self) -> String {
        match &self.0 {
            InstanceWay::Socket(path) => path.display().to_string(),
            InstanceWay::Port { authority, .. } => format!("http://{authority}"),
        }
    }

    /// Whether somebody still listens there.
    pub async fn is_there(&self) -> bool {
        match &self.0 {
            InstanceWay::Socket(path) => listens(path).await.is_ok(),
            InstanceWay::Port { authority, .. } => TcpStream::connect(authority).await.is_ok(),
        }
    }

    /// Its answer to `method` for `target`, with `body`, within `limit`.
    ///
    /// # Errors
    /// Where it does not answer, or does not let us: answers of 401, 403 and 421.
    pub async fn ask(
        &self,
        method: Method,
        target: &str,
        body: String,
        limit: Duration,
    ) -> Result<Reply, InstanceError> {
        let silent = |why: String| InstanceError::Silent {
            place: self.place(),
            why,
        };
        let asking = async {
            let (host, token) = match &self.0 {
                InstanceWay::Socket(_) => ("localhost", None),
                InstanceWay::Port { authority, token } => (authority.as_str(), token.as_ref()),
            };
            let mut request = Request::builder().method(method).uri(target);
            request = request.header(header::HOST, host);
            if let Some(token) = token {
                let bearer = format!("Bearer {}", token.expose());
                let mut value = http::HeaderValue::from_str(&bearer)
                    .map_err(|_| silent("the admin token cannot stand in a field".into()))?;
                value.set_sensitive(true);
                request = request.header(header::AUTHORIZATION, value);
            }
            let request = request
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| silent(error.to_string()))?;
            match &self.0 {
                InstanceWay::Socket(path) => {
                    let stream = UnixStream::connect(path).await;
                    let stream = stream.map_err(|error| silent(error.to_string()))?;
                    if !access::is_own_user(&stream) && !rustix::process::geteuid().is_root() {
                        return Err(InstanceError::Foreign(self.place()));
                    }
                    exchange(stream, request).await.map_err(silent)
                }
                InstanceWay::Port { authority, .. } => {
                    let stream = TcpStream::connect(authority).await;
                    let stream = stream.map_err(|error| silent(error.to_string()))?;
                    exchange(stream, request).await.map_err(silent)
                }
            }
        };
        let late = |_| silent(format!("no answer within {limit:?}"));
        let reply = tokio::time::timeout(limit, asking).await.map_err(late)??;
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
                Err(InstanceError::Refused {
                    place: self.place(),
                    why: reply.line(),
                })
            }
            _ => Ok(reply),
        }
    }

    /// The same, which must answer with a JSON object.
    ///
    /// # Errors
    /// As [`Instance::ask`], and where it does not.
    pub async fn ask_json(
        &self,
        method: Method,
        target: &str,
        body: String,
        limit: Duration,
    ) -> Result<(StatusCode, serde_json::Value), InstanceError> {
        let reply = self.ask(method, target, body, limit).await?;
        let json = reply.json();
        match json.is_object() {
            true => Ok((reply.status, json)),
            false => Err(InstanceError::Strange(self.place())),
        }
    }
}

/// One exchange on a connection of its own.
async fn exchange(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<Reply, String> {
    let told = |error: hyper::Error| with_causes(&error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(told)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok(Reply {
            status,
            body: body.to_bytes(),
        })
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection moves only while it is polled.
    tokio::select! {
        biased;
        reply = &mut exchange => return reply,
        _ = connection => {}
    }
    exchange.await
}
