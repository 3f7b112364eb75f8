//! Traces on their way out: OTLP over HTTP, as JSON, behind the variables of OpenTelemetry.
//!
//! Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or that for traces) is set, or
//! `OTEL_TRACES_EXPORTER` says `otlp`. Workers hand spans over by a bounded queue and go on; a
//! task on the control thread sends them in batches. What finds no room, or no collector
//! that takes it, is lost and counted: no call waits for its trace.

mod encode;
mod export;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::Notify;

use self::settings::{OtlpSettings, Sampler};
use super::lost;
use crate::base::trace::{SpanSink, TraceId, TraceSpan};
pub use export::SpanExporter;

/// What takes spans, and what sends them, as the variables of this process say; `None`
/// where they ask for no traces. What of them cannot be used is logged.
pub fn of_environment() -> Option<(Arc<dyn SpanSink>, SpanExporter)> {
    let (settings, warnings) = OtlpSettings::read(|name| std::env::var(name).ok());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let (sink, waiting) = queue(settings.as_ref()?);
    Some((sink, SpanExporter::new(settings?, waiting)))
}

fn queue(settings: &OtlpSettings) -> (Arc<dyn SpanSink>, WaitingSpans) {
    let (queue, spans) = sync_channel(settings.queue);
    let count = Arc::new(SpanCount::default());
    let sink = SpanQueue {
        queue,
        count: count.clone(),
        batch: settings.batch,
        sampler: settings.sampler,
    };
    (Arc::new(sink), WaitingSpans { spans, count })
}

/// How many spans wait, and who wants to know when they are a batch.
#[derive(Debug, Default)]
struct SpanCount {
    waiting: AtomicUsize,
    full: Notify,
}

/// Spans that wait to be sent.
#[derive(Debug)]
struct WaitingSpans {
    spans: Receiver<TraceSpan>,
    count: Arc<SpanCount>,
}

impl WaitingSpans {
    /// The next spans, at most so `many`.
    fn take(&mut self, many: usize) -> Vec<TraceSpan> {
        let spans: Vec<TraceSpan> = self.spans.try_iter().take(many).collect();
        self.count.waiting.fetch_sub(spans.len(), Ordering::Relaxed);
        spans
    }
}

#[derive(Debug)]
struct SpanQueue {
    queue: SyncSender<TraceSpan>,
    count: Arc<SpanCount>,
    batch: usize,
    sampler: Sampler,
}

impl SpanSink for SpanQueue {
    fn samples(&self, trace: TraceId, parent: Option<bool>) -> bool {
        self.sampler.samples(trace, parent)
    }

    fn take(&self, span: TraceSpan) {
        // Before it is there, so that who takes it has it counted.
        let before = self.count.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(span).is_err() {
            self.count.waiting.fetch_sub(1, Ordering::Relaxed);
            lost::of_spans().lost.inc();
        } else if before + 1 == self.batch {
            self.count.full.notify_one();
        }
    }
}
