//! An issuer that answers every kind's call in its own shape, or as badly as it is
//! told, and remembers what it was asked.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use headset::base::time::Clock;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// How it answers.
#[derive(Clone, Debug)]
pub enum Mood {
    /// As the kind expects.
    Good,
    /// With this status, an error body and, maybe, `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// 200 and this body.
    Body(&'static str),
    /// 200 and more than anybody may read.
    Huge,
    /// As expected, but one byte at a time.
    Slow,
    /// Never.
    Silent,
    /// With a way to elsewhere.
    Redirect(String),
}

/// What a kind expects: the answer to the n-th call (from 1) at that time.
pub type Good = fn(&Asked, usize, &Clock) -> Response<String>;

/// The issuer. It ends with the runtime.
pub struct Issuer {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    mood: Arc<Mutex<Mood>>,
}

impl Issuer {
    pub async fn start(good: Good, clock: Clock) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let issuer = Issuer {
            port,
            asked: Arc::default(),
            mood: Arc::new(Mutex::new(Mood::Good)),
        };
        let (asked, mood) = (issuer.asked.clone(), issuer.mood.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (asked, mood, clock) = (asked.clone(), mood.clone(), clock.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (asked, mood, clock) = (asked.clone(), mood.clone(), clock.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let this = Asked {
                            path: head.uri.path().to_owned(),
                            headers: head.headers,
                            body: String::from_utf8_lossy(&body).into_owned(),
                        };
                        let n = {
                            let mut asked = asked.lock().unwrap();
                            asked.push(this.clone());
                            asked.len()
                        };
                        let mood = mood.lock().unwrap().clone();
                        Ok::<_, Infallible>(answer(mood, good(&this, n, &clock)).await)
                    }
                });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        // Its clock is the faked one, which no `Date` shows.
                        .auto_date_header(false)
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        issuer
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

type AnyBody = BoxBody<Bytes, Infallible>;

async fn answer(mood: Mood, good: Response<String>) -> Response<AnyBody> {
    let whole = |text: String| Full::new(Bytes::from(text)).boxed();
    let mut response = Response::new(String::new());
    match mood {
        Mood::Good => response = good,
        Mood::Slow => {
            let (head, body) = good.into_parts();
            let drip = Drip {
                left: format!("{body:>200}").into(),
                tick: tokio::time::interval(Duration::from_millis(40)),
            };
            return Response::from_parts(head, drip.boxed());
        }
        Mood::Status(status, retry_after) => {
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            if let Some(after) = retry_after {
                response.headers_mut().insert("retry-after", after.into());
            }
            // Repeats what no log may hold.
            *response.body_mut() = format!(
                r#"{{"message":"no, {SECRET} will not do","status":{status}}}"#,
                SECRET = super::kinds::PASSWORD,
            );
        }
        Mood::Body(text) => *response.body_mut() = text.to_owned(),
        Mood::Huge => *response.body_mut() = " ".repeat(400_000) + good.body(),
        Mood::Silent => std::future::pending().await,
        Mood::Redirect(to) => {
            *response.status_mut() = http::StatusCode::TEMPORARY_REDIRECT;
            response
                .headers_mut()
                .insert("location", to.parse().unwrap());
        }
    }
    response.map(whole)
}

struct Drip {
    left: Bytes,
    tick: tokio::time::Interval,
}

impl Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        std::task::ready!(self.tick.poll_tick(cx));
        let octet = self.left.split_to(1);
        Poll::Ready(Some(Ok(Frame::data(octet))))
    }
}
