//! Logs: one JSON object a line, or a form for people on a terminal. To stderr, so
//! that stdout stays for data.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Starts logging for the whole process. A second call changes nothing.
///
/// Only headset's own events are written: what the libraries below log at their
/// debug levels may hold whole header fields.
pub fn start(log: Log) {
    let people = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let level = LevelFilter::from_level(log.level);
    let ours =
        tracing_subscriber::filter::filter_fn(|metadata| metadata.target().starts_with("headset"));
    let registry = tracing_subscriber::registry().with(level);
    let _ = if people {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let layer = fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(colour)
            .log_internal_errors(false);
        registry
            .with(tracing_subscriber::Layer::with_filter(layer, ours))
            .try_init()
    } else {
        let layer = fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_target(false)
            .with_writer(std::io::stderr)
            .log_internal_errors(false);
        registry
            .with(tracing_subscriber::Layer::with_filter(layer, ours))
            .try_init()
    };
}
