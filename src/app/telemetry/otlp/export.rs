//! Sends spans in batches, and tries a batch again while its collector may recover.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::lost;
use super::WaitingSpans;
use super::encode;
use super::settings::OtlpSettings;
use crate::base::causes::with_causes;
use crate::base::time::Clock;
use crate::base::trace::TraceSpan;
use crate::config::UpstreamTls;
use crate::credential::issuer_client::IssuerClient;
use crate::net::connect::Connector;
use crate::net::egress::Egress;

/// A batch that was not taken is sent so often in all (OTLP, "Retryable response codes").
const TRIES: u32 = 5;

/// The pause after the first of them; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// For what waits at the end of the process.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Sends what the sink took.
#[derive(Debug)]
pub struct SpanExporter {
    settings: OtlpSettings,
    waiting: WaitingSpans,
    /// What is being sent.
    batch: Vec<TraceSpan>,
    /// Whether the last batch failed, so that each failure is told once.
    failing: bool,
}

enum ExportOutcome {
    Taken,
    /// Not taken; again after this time, where it says so.
    Later(String, Option<Duration>),
    Refused(String),
}

impl SpanExporter {
    pub(super) fn new(settings: OtlpSettings, waiting: WaitingSpans) -> SpanExporter {
        SpanExporter {
            settings,
            waiting,
            batch: Vec::new(),
            failing: false,
        }
    }

    /// Sends by `egress` until `end` comes about; what waits then is sent within 2 s.
    /// Dropping the future loses what was not sent.
    pub async fn run(mut self, egress: Egress, clock: Clock, end: impl Future<Output = ()>) {
        let Some(client) = self.client(egress, clock) else {
            return;
        };
        tracing::info!(trace.endpoint = %self.settings.endpoint, "traces are sent by OTLP");
        let count = self.waiting.count.clone();
        let mut end = std::pin::pin!(end);
        loop {
            // A batch, or less where it takes longer to come together.
            tokio::select! {
                () = &mut end => break,
                _ = timeout(self.settings.delay, count.full.notified()) => {}
            }
            tokio::select! {
                () = &mut end => break,
                () = self.send_all(&client, TRIES) => {}
            }
        }
        let deadline = Instant::now() + LAST_SPANS;
        let _ = timeout_at(deadline, self.send_all(&client, 1)).await;
    }

    fn client(&self, egress: Egress, clock: Clock) -> Option<IssuerClient> {
        let tls = UpstreamTls {
            ca: self.settings.ca.clone(),
            ..UpstreamTls::default()
        };
        let (origin, limit) = (self.settings.endpoint.origin.clone(), self.settings.timeout);
        match Connector::new(origin, &tls, limit, egress) {
            Ok(connector) => Some(IssuerClient::new(connector, clock, limit)),
            Err(error) => {
                let detail = error.problem("OTEL_EXPORTER_OTLP_CERTIFICATE").to_string();
                tracing::error!(
                    error.detail = detail,
                    "there are no traces: the endpoint cannot be connected to"
                );
                None
            }
        }
    }

    async fn send_all(&mut self, client: &IssuerClient, tries: u32) {
        loop {
            if self.batch.is_empty() {
                self.batch = self.waiting.take(self.settings.batch);
            }
            if self.batch.is_empty() {
                return;
            }
            let outcome = self.send(client, tries).await;
            let count = std::mem::take(&mut self.batch).len() as u64;
            match outcome {
                Ok(()) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the collector takes traces again");
                    }
                    lost::of_spans().exported.inc_by(count);
                }
                Err(why) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(
                            trace.endpoint = %self.settings.endpoint,
                            error.detail = why,
                            "traces are lost: the collector does not take them"
                        );
                    }
                    lost::of_spans().lost.inc_by(count);
                }
            }
        }
    }

    async fn send(&self, client: &IssuerClient, tries: u32) -> Result<(), String> {
        let body = Bytes::from(encode::request(&self.settings.resource, &self.batch));
        let mut pause = PAUSE;
        for attempt in 1.. {
            match self.attempt(client, body.clone()).await {
                ExportOutcome::Taken => return Ok(()),
                ExportOutcome::Refused(why) => return Err(why),
                ExportOutcome::Later(why, _) if attempt >= tries => return Err(why),
                ExportOutcome::Later(_, after) => {
                    sleep(after.unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    pause *= 2;
                }
            }
        }
        Ok(())
    }

    async fn attempt(&self, client: &IssuerClient, body: Bytes) -> ExportOutcome {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        if let Ok(target) = self.settings.endpoint.path.parse() {
            *request.uri_mut() = target;
        }
        let headers = request.headers_mut();
        headers.clone_from(&self.settings.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = match client.send(request).await {
            Ok(response) => response,
            Err(error) => return ExportOutcome::Later(with_causes(&error), None),
        };
        let why = format!("it answered {}", response.status);
        match response.status {
            status if status.is_success() => ExportOutcome::Taken,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                ExportOutcome::Later(why, retry_after(&response.headers))
            }
            _ => ExportOutcome::Refused(why),
        }
    }
}

/// `Retry-After` in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
