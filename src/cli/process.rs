//! What a command sets up in its process before it begins: a runtime, logging, and memory
//! that nobody else reads.

use std::io;

use crate::app::telemetry;
use crate::config::{LogConfig, LogFormat};

/// The runtime of a control thread: one thread, the caller's.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Logging for the commands that read no configuration.
pub(super) fn log_for_tools() {
    telemetry::start(LogConfig {
        level: tracing::Level::INFO,
        format: LogFormat::Auto,
        access: None,
    });
}

/// As [`protect_memory`], for one with a child, which would inherit a limit but not this.
pub(super) fn hide_memory() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
            tracing::warn!("core dumps could not be switched off; they would hold secrets");
        }
    }
}

/// Secrets stand in this process's memory: no core dump, and no debugger of the same
/// user (prctl(2), PR_SET_DUMPABLE).
pub(super) fn protect_memory() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{
            DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit,
        };
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let limited = setrlimit(Resource::Core, none);
        let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        if limited.is_err() || hidden.is_err() {
            tracing::warn!("core dumps could not be switched off; they would hold secrets");
        }
    }
}
