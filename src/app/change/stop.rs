//! What makes headset stop: a signal, or somebody in this process.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::app::change::terminal::Terminal;

/// What makes headset stop.
#[derive(Debug)]
pub enum Stop {
    /// SIGTERM, SIGINT or the SIGHUP of a terminal that was closed; a second SIGTERM or
    /// SIGINT means now.
    Signals(Signals),
    /// Somebody in this process: a drain begins when the sender is used or dropped.
    Asked(oneshot::Receiver<()>),
    /// The same, where whoever called has ended: only calls in flight are waited for.
    Finished(oneshot::Receiver<()>),
}

/// The signals that end a process, caught from the moment this is made. SIGHUP is one of
/// them where it says that the terminal was closed, and else a wish for a reload.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    closed: Signal,
    terminal: Terminal,
    hangup: Option<Signal>,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = closed(&mut self.closed, &self.terminal) => "SIGHUP of a closed terminal",
        }
    }

    /// The kernel and a shell may both send SIGHUP for one terminal: it says nothing anew.
    async fn second(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn closed(hangup: &mut Signal, terminal: &Terminal) {
    while hangup.recv().await.is_some() {
        if terminal.is_closed() {
            return;
        }
    }
    std::future::pending().await
}

impl Stop {
    /// Stops at a signal. Call it before anything is announced.
    ///
    /// # Errors
    /// Where the handlers cannot be installed.
    pub fn at_signals() -> std::io::Result<Stop> {
        // Before SIGHUP is caught.
        let terminal = Terminal::at_start();
        Ok(Stop::Signals(Signals {
            closed: signal(SignalKind::hangup())?,
            terminal,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: Some(signal(SignalKind::hangup())?),
        }))
    }

    /// SIGHUP, for whom it means something; the first time only. Whether it is taken or
    /// not, it ends nothing.
    pub fn take_hangup(&mut self) -> Option<Signal> {
        match self {
            Stop::Signals(signals) => signals.hangup.take(),
            Stop::Asked(_) | Stop::Finished(_) => None,
        }
    }

    /// Waits until it says so, and tells what did.
    pub async fn next(&mut self) -> &'static str {
        match self {
            Stop::Signals(signals) => signals.next().await,
            Stop::Asked(asked) => {
                let _ = asked.await;
                "request"
            }
            Stop::Finished(asked) => {
                let _ = asked.await;
                "the command has ended"
            }
        }
    }

    /// Whether somebody may still begin calls while headset drains.
    pub(super) fn has_callers(&self) -> bool {
        !matches!(self, Stop::Finished(_))
    }

    /// Waits for what means now. A request has no second one.
    pub(super) async fn second(&mut self) {
        match self {
            Stop::Signals(signals) => signals.second().await,
            Stop::Asked(_) | Stop::Finished(_) => std::future::pending().await,
        }
    }
}
