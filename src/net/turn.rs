//! How often this thread's runtime has looked at its sockets, and when it last did.
//!
//! A runtime learns what has arrived only when it asks the kernel, which it does when no
//! task is ready. Between two of these looks a socket appears empty, whatever has arrived
//! on it. Who must know compares turns: in the same one, nothing was learned.
//!
//! A turn is short, so what only bounds a wait takes its time from [`now`], which reads the
//! clock once for all of them. What is measured reads the clock itself.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    static TURN: Cell<u64> = const { Cell::new(0) };
    static NOW: Cell<Option<(Instant, u32)>> = const { Cell::new(None) };
}

/// How often one reading of the clock is used: a turn in which there is always another task
/// to poll may be long.
const USES: u32 = 64;

/// The sockets were looked at. For `tokio::runtime::Builder::on_thread_unpark`; where
/// nobody calls it the turn never ends, and nothing is taken for known.
pub fn advance() {
    TURN.set(TURN.get() + 1);
    NOW.set(None);
}

/// The turn of this thread.
pub fn current() -> u64 {
    TURN.get()
}

/// About now: when it was first asked for in this turn.
pub fn now() -> Instant {
    match NOW.get() {
        Some((now, uses)) if uses < USES => {
            NOW.set(Some((now, uses + 1)));
            now
        }
        _ => {
            let now = Instant::now();
            if TURN.get() > 0 {
                NOW.set(Some((now, 0)));
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
        let begun = now();
        pass().await;
        assert_ne!(now(), begun, "nobody tells of turns here");
        advance();
        let turn = now();
        pass().await;
        assert_eq!(now(), turn);
        advance();
        assert_ne!(now(), turn);
        let turn = now();
        pass().await;
        let uses = (0..1000).take_while(|_| now() == turn).count();
        assert!(uses < USES as usize, "{uses}");
    }
}
