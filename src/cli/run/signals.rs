//! The signals that a child is to get in headset's place.
//!
//! A terminal sends its signals (Ctrl-C, Ctrl-\, the end of its line) to all of the
//! foreground process group, the child included, which stays in headset's group for that;
//! passing them on would deliver them twice. Whoever else sends one sends it to headset
//! alone, unless to the group, and there is none in common where there is no terminal.

use std::fs::{File, OpenOptions};

use rustix::process::{Signal, getpgrp};
use rustix::termios::tcgetpgrp;
use tokio::signal::unix::{SignalKind, signal};

use crate::base::file;

/// A signal of those that are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PassedSignal {
    /// What to send.
    pub(super) signal: Signal,
    /// Whether a terminal sends it, too.
    from_terminal: bool,
}

impl PassedSignal {
    /// What a shell calls the end by it (128 and its number).
    pub(super) fn exit_code(self) -> u8 {
        u8::try_from(128 + self.signal.as_raw()).unwrap_or(u8::MAX)
    }
}

/// All of them, each caught from the moment this is made.
#[derive(Debug)]
pub(super) struct CaughtSignals {
    caught: Vec<(PassedSignal, tokio::signal::unix::Signal)>,
    terminal: Option<File>,
}

impl CaughtSignals {
    /// Catches them; but one that headset was started to ignore stays ignored, by headset
    /// and by the child, as nohup(1) and a shell's background jobs mean it.
    ///
    /// # Errors
    /// Where a handler cannot be installed.
    pub(super) fn catch() -> std::io::Result<CaughtSignals> {
        let ignored = ignored();
        let mut caught = Vec::new();
        for (signal_kind, passed, from_terminal) in [
            (SignalKind::hangup(), Signal::HUP, true),
            (SignalKind::interrupt(), Signal::INT, true),
            (SignalKind::quit(), Signal::QUIT, true),
            (SignalKind::terminate(), Signal::TERM, false),
            (SignalKind::user_defined1(), Signal::USR1, false),
            (SignalKind::user_defined2(), Signal::USR2, false),
        ] {
            if is_in(ignored, passed.as_raw()) {
                continue;
            }
            let passed = PassedSignal {
                signal: passed,
                from_terminal,
            };
            caught.push((passed, signal(signal_kind)?));
        }
        let mut options = OpenOptions::new();
        let terminal = file::without_waiting(options.read(true)).open("/dev/tty");
        Ok(CaughtSignals {
            caught,
            terminal: terminal.ok(),
        })
    }

    /// Whether headset was started in a terminal: then a child is of the same process group.
    pub(super) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Waits for the next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> PassedSignal {
        std::future::poll_fn(|cx| {
            for (passed, signal) in &mut self.caught {
                if let std::task::Poll::Ready(Some(())) = signal.poll_recv(cx) {
                    return std::task::Poll::Ready(*passed);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Whether the child has got it already, as one of the terminal's foreground group.
    pub(super) fn has_reached_child(&self, passed: PassedSignal) -> bool {
        let Some(terminal) = self.terminal.as_ref().filter(|_| passed.from_terminal) else {
            return false;
        };
        match tcgetpgrp(terminal) {
            Ok(foreground) => foreground == getpgrp(),
            // The line is gone, and the kernel has told all of the group.
            Err(_) => passed.signal == Signal::HUP,
        }
    }
}

/// The signals that who started us asked to be ignored, bit by bit (proc_pid_status(5)).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Signal 1 is the lowest bit.
fn is_in(mask: u64, signal: i32) -> bool {
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_tells_which_signals_are_ignored() {
        // SIGHUP and SIGINT, as nohup in a background job has them.
        assert!(is_in(0b11, 1) && is_in(0b11, 2));
        assert!(!is_in(0b11, 3) && !is_in(0, 1) && !is_in(u64::MAX, 0));
    }

    #[test]
    fn the_end_by_a_signal_has_the_code_that_shells_give_it() {
        let code = |signal| {
            let passed = PassedSignal {
                signal,
                from_terminal: false,
            };
            passed.exit_code()
        };
        assert_eq!((code(Signal::INT), code(Signal::TERM)), (130, 143));
    }
}
