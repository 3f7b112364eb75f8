//! Whether a SIGHUP says that the terminal was closed.
//!
//! The kernel sends SIGHUP when a terminal goes away; for a daemon it has come to mean
//! *read your configuration anew*. headset takes it for the former where it was started
//! in a terminal and that is not there any more: it must not live on behind a window that
//! somebody closed. Whoever wants that starts it with nohup(1), by which SIGHUP is ignored.

use std::fs::OpenOptions;

use crate::base::file;

/// See the module.
#[derive(Debug)]
pub struct Terminal {
    was_there: bool,
}

impl Terminal {
    /// Looks. Call it before SIGHUP is caught.
    pub fn at_start() -> Terminal {
        Terminal {
            was_there: is_there() && !is_hangup_ignored(),
        }
    }

    /// Whether it was there at the start and is not now.
    pub fn is_closed(&self) -> bool {
        self.was_there && !is_there()
    }
}

/// Whether this process has a terminal (tty(4): else opening this fails).
fn is_there() -> bool {
    let mut options = OpenOptions::new();
    file::without_waiting(options.read(true))
        .open("/dev/tty")
        .is_ok()
}

/// Whether who started us asked for SIGHUP to be ignored (proc_pid_status(5)).
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 1 is the lowest bit.
    ignored.is_some_and(|mask| mask & 1 == 1)
}
