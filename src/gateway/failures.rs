//! One log line for a call that failed: which call it was, and why.
//!
//! A call has failed where headset answers it itself, or where its response breaks off; what
//! an upstream answers, a 500 included, is no failure of ours to tell. Their lines are limited
//! to one line a second (`base/log_limiter.rs`) for each route and code.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::base::log_limiter::LogLimiter;
use crate::base::name::Name;
use crate::gateway::observe::CallFacts;
use crate::gateway::recent_failures::{RecentFailure, RecentFailures};

/// No method, path or host is told at greater length, in bytes.
const LONGEST: usize = 1024;

/// Nor a path to who looks at the last failures.
const SHOWN: usize = 200;

/// The word for a response that broke off. It stands in no response, as it comes too late
/// for one; `docs/errors.md` has an entry for it all the same.
pub const BROKEN_ANSWER: &str = "answer_broken";

/// Why a call failed.
#[derive(Clone, Debug)]
pub struct CallFailure {
    /// A code of [`CODES`](crate::gateway::error::CODES), or [`BROKEN_ANSWER`].
    pub code: &'static str,
    /// The status that the application saw.
    pub status: StatusCode,
    /// What happened, for a person.
    pub detail: String,
    /// The id that the application was told; `None` where it was told none.
    pub request_id: Option<String>,
}

/// Writes the lines of one route, and keeps its last failures.
#[derive(Debug)]
pub struct FailureLog {
    lines: Arc<LogLimiter<FailureLine>>,
    route: Name,
    recent: Arc<RecentFailures>,
}

#[derive(Debug)]
struct FailureLine {
    method: String,
    path: String,
    host: String,
    took: Duration,
    failure: CallFailure,
}

impl FailureLog {
    /// For calls of `route`, which go to `upstream`; that is empty for the built-in route
    /// `none`. Each failure is also kept among the `recent`.
    pub fn new(route: Name, upstream: String, recent: Arc<RecentFailures>) -> Arc<FailureLog> {
        let name = route.clone();
        let write = move |line: &FailureLine, times| line.write(&name, &upstream, times);
        Arc::new(FailureLog {
            lines: LogLimiter::new(write),
            route,
            recent,
        })
    }

    /// Tells of `failure`, now or within a second. Never waits; it must run on a tokio
    /// runtime for a line to be told later without a further failure.
    pub fn tell(&self, call: &CallFacts, failure: CallFailure) {
        let line = FailureLine::of(call, failure);
        self.recent.keep(RecentFailure {
            at_ms: self.recent.now_ms(),
            route: self.route.clone(),
            method: line.method.clone(),
            path: line.path.chars().take(SHOWN).collect(),
            took: line.took,
            failure: line.failure.clone(),
        });
        self.lines.tell(line.failure.code, line);
    }
}

impl FailureLine {
    fn of(call: &CallFacts, failure: CallFailure) -> FailureLine {
        let host = call.host.as_ref().map(HeaderValue::as_bytes);
        let origin = call.forwarded.as_ref();
        let to = origin.map(|to| format!("{}:{}", to.host, to.port));
        let path = match (&call.target, &to) {
            (Some(target), _) => target.path().as_bytes(),
            // A CONNECT has none: it says to whom it is.
            (None, Some(to)) => to.as_bytes(),
            (None, None) => host.unwrap_or_default(),
        };
        FailureLine {
            method: bounded(call.method.as_str().as_bytes()),
            path: bounded(path),
            host: bounded(host.unwrap_or_default()),
            took: call.started.elapsed(),
            failure,
        }
    }

    fn write(&self, route: &Name, upstream: &str, times: u64) {
        let failure = &self.failure;
        let upstream = Some(upstream).filter(|upstream| !upstream.is_empty());
        tracing::warn!(
            route.name = route.as_str(),
            request.method = self.method,
            request.path = self.path,
            request.host = self.host,
            request.id = failure.request_id,
            response.status = failure.status.as_u16(),
            error.code = failure.code,
            error.detail = failure.detail,
            duration_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            upstream,
            repeats = (times > 1).then_some(times),
            "call failed"
        );
    }
}

fn bounded(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use crate::h1::spelling::Spelling;
    use std::io::Write;
    use std::sync::Mutex;

    use http::Method;
    use tokio::time::Instant;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::base::time::Clock;
    use crate::gateway::observe::{InterimRoom, SentHead};
    use crate::net::caller::Peer;

    #[derive(Clone, Default)]
    struct WrittenLines(Arc<Mutex<Vec<u8>>>);

    impl Write for WrittenLines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for WrittenLines {
        type Writer = WrittenLines;
        fn make_writer(&self) -> WrittenLines {
            self.clone()
        }
    }

    impl WrittenLines {
        fn lines(&self) -> Vec<serde_json::Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines = text.lines();
            lines
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }
    }

    fn subscribed() -> (WrittenLines, tracing::subscriber::DefaultGuard) {
        let written = WrittenLines::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(written.clone())
            .finish();
        (written, tracing::subscriber::set_default(subscriber))
    }

    fn facts(target: &str) -> CallFacts {
        CallFacts {
            started: Instant::now(),
            peer: Peer::default(),
            method: Method::GET,
            target: Some(target.parse().unwrap()),
            host: Some(HeaderValue::from_static("localhost:8080")),
            request_id: None,
            forwarded: None,
            came_by_tunnel: false,
            observed: None,
            spelling: Spelling::lower(),
            interim: InterimRoom::None,
            sent: SentHead::default(),
        }
    }

    fn failure(code: &'static str) -> CallFailure {
        CallFailure {
            code,
            status: StatusCode::BAD_GATEWAY,
            detail: "it is down".into(),
            request_id: Some("0123456789abcdef".into()),
        }
    }

    fn log() -> Arc<FailureLog> {
        let name = Name::parse("contacts").unwrap();
        let recent = Arc::new(RecentFailures::new(Clock::system()));
        FailureLog::new(name, "https://cms.example.com".into(), recent)
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_says_which_call_failed_and_never_its_query() {
        let (written, _guard) = subscribed();
        let facts = facts("/a/b?session=hunter2");
        tokio::time::advance(Duration::from_millis(1500)).await;
        log().tell(&facts, failure("upstream_unreachable"));
        let lines = written.lines();
        let expected = serde_json::json!({
            "route.name": "contacts", "request.method": "GET", "request.path": "/a/b",
            "request.host": "localhost:8080", "request.id": "0123456789abcdef",
            "response.status": 502, "error.code": "upstream_unreachable",
            "error.detail": "it is down", "duration_ms": 1500,
            "upstream": "https://cms.example.com", "level": "WARN", "message": "call failed",
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&lines[0][name], value, "{name}");
        }
        assert_eq!(lines[0].get("repeats"), None);
        assert!(!lines[0].to_string().contains("hunter2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connect_that_failed_is_told_by_its_authority() {
        let (written, _guard) = subscribed();
        let mut connect = facts("/");
        connect.method = Method::CONNECT;
        connect.target = None;
        connect.host = Some(HeaderValue::from_static("one.example.com:443"));
        let log = log();
        log.tell(&connect, failure("connect_refused"));
        let origin = crate::config::url::HttpUrl::parse("https://two.example.com").unwrap();
        connect.forwarded = Some(std::rc::Rc::new(origin.origin));
        log.tell(&connect, failure("target_forbidden"));
        let paths: Vec<String> = written
            .lines()
            .iter()
            .map(|line| line["request.path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths, ["one.example.com:443", "two.example.com:443"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_bounded_whatever_was_asked() {
        let (written, _guard) = subscribed();
        let mut facts = facts(&format!("/{}", "p".repeat(60_000)));
        facts.method = Method::from_bytes(&[b'M'; 60_000]).unwrap();
        facts.host = Some(HeaderValue::from_bytes(&[b'h'; 60_000]).unwrap());
        log().tell(&facts, failure("upstream_unreachable"));
        let lines = written.lines();
        for name in ["request.method", "request.path", "request.host"] {
            let told = lines[0][name].as_str().unwrap();
            assert_eq!(told.len(), LONGEST, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_each_kind_one_line_a_second_is_written_with_a_count() {
        let (written, _guard) = subscribed();
        let log = log();
        let counts = |code: &str| -> Vec<Option<u64>> {
            let lines = written.lines();
            let of_kind = lines.iter().filter(|line| line["error.code"] == code);
            of_kind.map(|line| line["repeats"].as_u64()).collect()
        };
        for _ in 0..25 {
            for at in 0..10 {
                log.tell(&facts(&format!("/{at}")), failure("upstream_closed"));
            }
            log.tell(&facts("/other"), failure("tenant"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // 250 in 2.5 s: the first, those of each second, and the rest when it is over.
        assert_eq!(counts("upstream_closed").len(), 3);
        drop(log);
        let told: u64 = counts("upstream_closed")
            .iter()
            .map(|n| n.unwrap_or(1))
            .sum();
        assert_eq!(told, 250);
        let told: u64 = counts("tenant").iter().map(|n| n.unwrap_or(1)).sum();
        assert_eq!(told, 25);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_back_is_told_though_nothing_fails_any_more() {
        let (written, _guard) = subscribed();
        let log = log();
        for _ in 0..3 {
            log.tell(&facts("/"), failure("upstream_closed"));
        }
        assert_eq!(written.lines().len(), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(written.lines().len(), 2);
        assert_eq!(written.lines()[1]["repeats"], 2);
        log.tell(&facts("/"), failure("upstream_closed"));
        assert_eq!(written.lines().len(), 3, "after a pause it is told at once");
    }
}
