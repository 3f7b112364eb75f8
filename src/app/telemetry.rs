//! Logs: one JSON object a line, or a form for people on a terminal. To stderr, so
//! that stdout stays for data, and through a queue, so that nothing waits for whoever
//! reads them.

mod access;
mod level;
mod lines;
mod lost;
#[cfg(feature = "otlp")]
mod otlp;
mod people;
mod traces;

use std::io::IsTerminal;
use std::sync::Arc;

use tracing_subscriber::fmt;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::access::access_log;
pub use self::level::{LevelControl, level_control};
use self::lines::LogQueue;
pub use self::lost::count_losses;
pub use self::traces::Traces;
use crate::base::problem::Problem;
use crate::config::{LogConfig, LogFormat};

/// Starts logging for the whole process. A second call changes nothing.
///
/// Only headset's own events are written: what the libraries below log at their
/// debug levels may hold whole header fields.
pub fn start(log: LogConfig) {
    let for_people = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let (level, control) = level::filter(log.level);
    let ours =
        tracing_subscriber::filter::filter_fn(|metadata| metadata.target().starts_with("headset"));
    let registry = tracing_subscriber::registry().with(level);
    let lost = if for_people {
        |lost: u64| format!("WARN {lost} log lines were lost, since nobody read them\n")
    } else {
        |lost: u64| {
            let line = serde_json::json!({
                "level": "WARN",
                "message": "log lines were lost, since nobody read them",
                "log.lost": lost,
            });
            format!("{line}\n")
        }
    };
    let prepare: lines::Prepare = match for_people {
        true => people::one_line,
        false => |line| line.into(),
    };
    let writer = match LogQueue::start(lost, prepare) {
        Ok(lines) => BoxMakeWriter::new(Arc::new(lines)),
        // No thread to be had: better a log that may block than none.
        Err(_) => BoxMakeWriter::new(std::io::stderr),
    };
    let begun = if for_people {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let layer = fmt::layer()
            .fmt_fields(people::PeopleFields)
            .with_writer(writer)
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
            .with_writer(writer)
            .log_internal_errors(false);
        registry
            .with(tracing_subscriber::Layer::with_filter(layer, ours))
            .try_init()
    };
    if begun.is_ok() {
        control.adopt();
    }
}

/// Logs a warning about a configuration, with its key where it is about one.
pub fn warn(warning: &Problem) {
    let key = Some(&warning.key).filter(|key| !key.is_empty());
    tracing::warn!(config.key = key.map(tracing::field::display), "{warning}");
}

/// Waits, for a second at most, until the lines so far have been written.
pub fn finish() {
    lines::finish();
    access::finish();
}
