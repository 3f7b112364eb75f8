//! How often this thread's runtime has looked at its sockets with nothing else to do.
//!
//! A runtime learns what has arrived only when it asks the kernel, which it does when no
//! task is ready. Between two of these looks a socket appears empty, whatever has arrived
//! on it. Who must know compares turns: in the same one, nothing was learned. It also looks
//! after many polls in which there always was a ready task; of that nobody tells, so such a turn is
//! longer than it need be, and more is taken for unknown.

use std::cell::Cell;

thread_local! {
    static TURN: Cell<u64> = const { Cell::new(0) };
}

/// The sockets were looked at. For `tokio::runtime::Builder::on_thread_unpark`; where
/// nobody calls it the turn never ends, and nothing is taken for known.
pub fn advance() {
    TURN.set(TURN.get() + 1);
}

/// The turn of this thread.
pub fn current() -> u64 {
    TURN.get()
}
