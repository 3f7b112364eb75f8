//! How often this thread's runtime has looked at its sockets, and when it last did.
//!
//! A runtime learns what has arrived only when it asks the kernel, which it does when no
//! task is ready. Between two of these looks a socket appears empty, whatever has arrived
//! on it. Who must know compares turns: in the same one, nothing was learned.
//!
//! A turn is short, so what only bounds a wait takes its time from [`now`], and whether a
//! credential lives from [`moment`]: the clocks are read once for all of them. What is measured
//! reads the clock itself.

use std::cell::Cell;
use std::thread::LocalKey;

use tokio::time::Instant;

use crate::base::time::{Clock, Moment};

thread_local! {
    static TURN: Cell<u64> = const { Cell::new(0) };
    static NOW: ReadOnce<Instant> = const { Cell::new(None) };
    static MOMENT: ReadOnce<Moment> = const { Cell::new(None) };
}

/// What was read in this turn, and how often it was used since.
type ReadOnce<T> = Cell<Option<(T, u32)>>;

/// How often one reading of the clock is used: a turn in which there is always another task
/// to poll may be long.
const USES: u32 = 64;

/// The sockets were looked at. For `tokio::runtime::Builder::on_thread_unpark`; where
/// nobody calls it the turn never ends, and nothing is taken for known.
pub fn advance() {
    TURN.set(TURN.get() + 1);
    NOW.set(None);
    MOMENT.set(None);
}

/// The turn of this thread.
pub fn current() -> u64 {
    TURN.get()
}

/// About now: when it was first asked for in this turn.
pub fn now() -> Instant {
    once(&NOW, Instant::now)
}

/// About now by `clock`, on the wall and since boot. A thread asks for one clock only.
pub fn moment(clock: &Clock) -> Moment {
    once(&MOMENT, || clock.now())
}

fn once<T: Copy>(kept: &'static LocalKey<ReadOnce<T>>, read: impl FnOnce() -> T) -> T {
    match kept.get() {
        Some((now, uses)) if uses < USES => {
            kept.set(Some((now, uses + 1)));
            now
        }
        _ => {
            let now = read();
            if TURN.get() > 0 {
                kept.set(Some((now, 0)));
            }
            now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_read_once_a_turn_and_again_in_a_long_one() {
        let pass = || tokio::time::advance(Duration::from_millis(1));
        let clock = Clock::faked(0);
        let both = || (now(), moment(&clock));
        let differ = |one: (Instant, Moment), other: (Instant, Moment)| {
            assert_ne!(one.0, other.0);
            assert_ne!(one.1, other.1);
        };
        let begun = both();
        pass().await;
        differ(both(), begun); // Nobody tells of turns here.
        advance();
        let turn = both();
        pass().await;
        assert_eq!(both(), turn);
        advance();
        differ(both(), turn);
        let turn = both();
        pass().await;
        let uses = (0..1000).take_while(|_| both() == turn).count();
        assert!(uses < USES as usize, "{uses}");
        differ(both(), turn);
    }
}
