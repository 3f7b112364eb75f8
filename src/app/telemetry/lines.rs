//! Log lines on their way to stderr, through a thread of their own.
//!
//! Whoever reads our stderr may stop reading, and a write to a full pipe blocks: on
//! a worker it would stop every call. So a line is queued; where the queue is full it
//! is lost, and the next line that gets through is preceded by one that says how
//! many were.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::lost;

/// Lines that may wait: some hundred KiB at most.
const QUEUE: usize = 1024;

/// How long a process that ends waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What a line is made into before it is written.
pub(super) type Prepare = fn(&[u8]) -> Cow<'_, [u8]>;

enum LogMessage {
    Line(Vec<u8>),
    /// All lines before it have been written; tells so.
    Flush(SyncSender<()>),
}

/// The end of the queue that is written to.
#[derive(Debug)]
pub(super) struct LogQueue {
    queue: SyncSender<LogMessage>,
    lost: Arc<AtomicU64>,
}

static QUEUED: OnceLock<SyncSender<LogMessage>> = OnceLock::new();

impl LogQueue {
    /// Starts the thread, on which lines are `prepare`d. `lost` renders the line that says how
    /// many were lost.
    ///
    /// # Errors
    /// Where the machine refuses a thread.
    pub(super) fn start(lost: fn(u64) -> String, prepare: Prepare) -> io::Result<LogQueue> {
        let (queue, queued) = sync_channel(QUEUE);
        let counter = Arc::new(AtomicU64::new(0));
        let counted = counter.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write(&queued, &counted, (lost, prepare), io::stderr()))?;
        let _ = QUEUED.set(queue.clone());
        Ok(LogQueue {
            queue,
            lost: counter,
        })
    }
}

/// Waits, for a second at most, until the lines so far have been written.
pub fn finish() {
    let Some(queue) = QUEUED.get() else { return };
    let (written, wait) = sync_channel(1);
    if queue.try_send(LogMessage::Flush(written)).is_ok() {
        let _ = wait.recv_timeout(LAST_LINES);
    }
}

impl Write for &LogQueue {
    /// Takes a whole line, as the subscriber hands it over. Never blocks or fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(LogMessage::Line(line.to_vec())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            lost::of_log().inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(
    queued: &Receiver<LogMessage>,
    lost: &AtomicU64,
    (say_lost, prepare): (fn(u64) -> String, Prepare),
    mut out: impl Write,
) {
    while let Ok(message) = queued.recv() {
        match message {
            LogMessage::Line(line) => {
                let missing = lost.swap(0, Ordering::Relaxed);
                // A stderr that is closed or full is no reason to stop.
                if missing > 0 {
                    let _ = out.write_all(say_lost(missing).as_bytes());
                }
                let _ = out.write_all(&prepare(&line));
            }
            LogMessage::Flush(written) => {
                let _ = written.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_lines_and_says_how_many() {
        let (queue, queued) = sync_channel(2);
        let lost = Arc::new(AtomicU64::new(0));
        let lines = LogQueue {
            queue,
            lost: lost.clone(),
        };
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            assert_eq!((&lines).write(line.as_bytes()).unwrap(), line.len());
        }
        drop(lines);
        let mut out = Vec::new();
        let say: fn(u64) -> String = |n| format!("{n} lost\n");
        write(&queued, &lost, (say, |line| line.into()), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "2 lost\none\ntwo\n");
    }
}
