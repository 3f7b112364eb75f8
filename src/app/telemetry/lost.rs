//! How many lines and spans were lost because nobody took them in time.
//!
//! A log begins before there is a registry, so these are the process's own.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

static LOST: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new(
        "headset_log_lines_lost_total",
        "Lines that were lost because nobody read them in time, by log.",
    );
    let family = IntCounterVec::new(opts, &["log"]);
    family.unwrap_or_else(|error| unreachable!("its name and label are good: {error}"))
});

static OF_LOG: LazyLock<IntCounter> = LazyLock::new(|| LOST.with_label_values(&["headset"]));
static OF_ACCESS: LazyLock<IntCounter> = LazyLock::new(|| LOST.with_label_values(&["access"]));

/// Those of headset's own log.
pub(super) fn of_log() -> &'static IntCounter {
    &OF_LOG
}

/// Those of the access log.
pub(super) fn of_access() -> &'static IntCounter {
    &OF_ACCESS
}

static SPANS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new(
        "headset_trace_spans_total",
        "Spans of traces that a collector took, and those that were lost.",
    );
    let family = IntCounterVec::new(opts, &["outcome"]);
    family.unwrap_or_else(|error| unreachable!("its name and label are good: {error}"))
});

static OF_SPANS: LazyLock<SpanCounters> = LazyLock::new(|| SpanCounters {
    exported: SPANS.with_label_values(&["exported"]),
    lost: SPANS.with_label_values(&["lost"]),
});

/// What became of spans; without the feature `otlp` nothing does.
#[cfg_attr(not(feature = "otlp"), allow(dead_code))]
pub(super) struct SpanCounters {
    /// Taken by a collector.
    pub(super) exported: IntCounter,
    /// Lost.
    pub(super) lost: IntCounter,
}

/// What became of spans.
pub(super) fn of_spans() -> &'static SpanCounters {
    &OF_SPANS
}

/// Shows them in `registry`.
///
/// # Errors
/// Where it has them already.
pub fn count_losses(registry: &Registry) -> Result<(), prometheus::Error> {
    let _ = (of_log(), of_access(), of_spans());
    registry.register(Box::new(LOST.clone()))?;
    registry.register(Box::new(SPANS.clone()))
}
