//! Who asks the store: one task that gets places for the calls that wait, a few at a time, and
//! asks for more only when those are used, so each replica that has calls waiting has its turn
//! in the fleet's queue, however many wait behind it; and one that says that the replica is
//! there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::SharedPacer;

/// A replica says so often that it is there, give or take a quarter: a third of
/// [`ALIVE`](crate::credential::fleet::shared_pace::ALIVE).
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// While the store is away it is tried so often.
pub(super) const AWAY: Duration = Duration::from_secs(1);

/// Places are taken for about this time at once: so long one replica makes the others wait.
const BATCH: Duration = Duration::from_millis(200);

/// And no more than so many.
const MOST_PLACES: u32 = 100;

/// Says every so often that this replica is there.
pub(super) async fn beat(pacer: Weak<SharedPacer>) {
    loop {
        let Some(strong) = pacer.upgrade() else {
            return;
        };
        let pause = match strong.take(0, Duration::ZERO).await {
            Ok(_) => HEARTBEAT,
            Err(_) => AWAY,
        };
        drop(strong);
        sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
    }
}

/// Gets places for all who wait, until nobody does.
pub(super) async fn ask(pacer: Arc<SharedPacer>) {
    let interval = pacer.interval().max(Duration::from_nanos(1));
    let batch = (BATCH.as_nanos() / interval.as_nanos()).clamp(1, u128::from(MOST_PLACES));
    let batch = u32::try_from(batch).unwrap_or(1);
    let wait = pacer.rules.wait;
    loop {
        let (places, patience, alone) = {
            let mut state = pacer.state();
            state.waiting.retain(|call| !call.told.is_closed());
            let Some(first) = state.waiting.front() else {
                state.is_asking = false;
                return;
            };
            let patience = wait.saturating_sub(first.since.elapsed());
            let many = u32::try_from(state.waiting.len()).unwrap_or(u32::MAX);
            let alone = state.alone.as_ref();
            let alone = alone.map(|alone| alone.place_within(patience));
            (many.min(batch), patience, alone)
        };
        let last = match alone {
            Some(Ok(place)) => {
                let at = Instant::now() + place;
                pacer.state().give(at, wait);
                at
            }
            Some(Err(next)) => {
                let next = Instant::now() + next;
                pacer.state().refuse_until(next, wait);
                continue;
            }
            None => match pacer.take(places, patience).await {
                Ok(answer) if answer.places.is_empty() => {
                    let next = Instant::now() + answer.next;
                    pacer.state().refuse_until(next, wait);
                    // A moment, so that a full queue is not asked without end.
                    sleep(interval.min(BATCH)).await;
                    continue;
                }
                Ok(answer) => {
                    let now = Instant::now();
                    let mut state = pacer.state();
                    for place in &answer.places {
                        state.give(now + *place, wait);
                    }
                    now + answer.places.iter().max().copied().unwrap_or_default()
                }
                // Alone from now on.
                Err(_) => continue,
            },
        };
        sleep_until(last).await;
    }
}
