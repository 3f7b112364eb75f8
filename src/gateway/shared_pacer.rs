//! A route's pace, as all replicas of a fleet keep it together.
//!
//! Calls wait here in the order in which they came. One task asks the store for places, a few at a
//! time, and asks for more only when those are used: so each replica that has calls waiting has
//! its turn in the fleet's queue, however many wait behind it. While the store is away a
//! replica keeps to its part: the rate divided by the number of replicas that were last heard
//! of, without a burst. A store that answers what cannot be is as one that is away.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::base::name::Name;
use crate::base::task::boxed;
use crate::config::PaceConfig;
use crate::credential::fleet::StoreDown;
use crate::credential::fleet::metrics::FleetMetrics;
use crate::credential::fleet::shared_pace::{ALIVE, PaceAnswer, PaceRequest, SharedPace};
use crate::gateway::pacer::{LONGEST_PAUSE, Pacer};

/// A replica says so often that it is there, give or take a quarter: a third of [`ALIVE`].
const HEARTBEAT: Duration = Duration::from_secs(10);

/// While the store is away it is tried so often.
const AWAY: Duration = Duration::from_secs(1);

/// Places are taken for about this time at once: so long one replica makes the others wait.
const BATCH: Duration = Duration::from_millis(200);

/// And no more than so many.
const MOST_PLACES: u32 = 100;

/// See the module.
#[derive(Debug)]
pub struct SharedPacer {
    rules: PaceConfig,
    route: Name,
    replica: String,
    store: Arc<dyn SharedPace>,
    metrics: FleetMetrics,
    runtime: tokio::runtime::Handle,
    state: Mutex<PaceState>,
}

#[derive(Debug, Default)]
struct PaceState {
    waiting: VecDeque<WaitingCall>,
    /// Somebody asks for them.
    is_asking: bool,
    /// The upstream asked to wait until then, and the fleet was not told yet.
    pause: Option<Instant>,
    /// How many replicas keep the pace; 0 before that is known.
    replicas: u32,
    /// Until when that number does not fall: after an outage replicas come back one by one.
    settles: Option<Instant>,
    /// The part of this replica, while the store is away.
    alone: Option<Pacer>,
}

#[derive(Debug)]
struct WaitingCall {
    since: Instant,
    told: oneshot::Sender<Result<Instant, Duration>>,
}

impl SharedPacer {
    /// The pace `rules` of `route`, kept with all others that are at `store`. Its tasks run on
    /// `runtime`, and end with it.
    pub fn begin(
        rules: PaceConfig,
        route: Name,
        store: Arc<dyn SharedPace>,
        metrics: FleetMetrics,
        runtime: &tokio::runtime::Handle,
    ) -> Arc<SharedPacer> {
        let pacer = Arc::new(SharedPacer {
            rules,
            replica: format!("{:016x}", fastrand::u64(..)),
            metrics,
            route,
            store,
            runtime: runtime.clone(),
            state: Mutex::default(),
        });
        runtime.spawn(boxed(beat(Arc::downgrade(&pacer))));
        pacer
    }

    /// How fast calls may leave, of all replicas together.
    pub fn rules(&self) -> PaceConfig {
        self.rules
    }

    /// Waits for a place. Whether there was something to wait for.
    ///
    /// # Errors
    /// Where there is none in time; the next free one is after that time.
    pub async fn place(self: &Arc<Self>) -> Result<bool, Duration> {
        let since = Instant::now();
        let (told, place) = oneshot::channel();
        {
            let mut state = self.state();
            let ahead = u32::try_from(state.waiting.len()).unwrap_or(u32::MAX);
            let wait = self
                .interval()
                .saturating_mul(state.share().saturating_mul(ahead));
            if wait > self.rules.wait {
                return Err(wait);
            }
            state.waiting.push_back(WaitingCall { since, told });
            if !std::mem::replace(&mut state.is_asking, true) {
                self.runtime.spawn(boxed(ask(self.clone())));
            }
        }
        let late = || self.interval().saturating_mul(self.state().share());
        let told = match timeout(self.rules.wait, place).await {
            Ok(Ok(told)) => told?,
            _ => return Err(late()),
        };
        let waits = told > Instant::now();
        sleep_until(told).await;
        Ok(waits)
    }

    /// Nobody in the fleet may leave for this `time`: the upstream asked for it.
    pub(super) fn pause(self: &Arc<Self>, time: Duration) {
        let mut state = self.state();
        if let Some(alone) = &state.alone {
            alone.pause(time);
        }
        if time.is_zero() {
            return;
        }
        let until = Instant::now() + time.min(LONGEST_PAUSE);
        let is_first = state.pause.is_none();
        state.pause = state.pause.max(Some(until));
        if is_first {
            let pacer = self.clone();
            self.runtime.spawn(boxed(async move {
                let _ = pacer.take(0, Duration::ZERO).await;
            }));
        }
    }

    fn interval(&self) -> Duration {
        self.rules.per / u32::try_from(self.rules.calls.max(1)).unwrap_or(u32::MAX)
    }

    /// Asks the store for so many `places`, none later than `wait`.
    async fn take(&self, places: u32, wait: Duration) -> Result<PaceAnswer, StoreDown> {
        let pause = self.state().pause.take();
        let burst = u32::try_from(self.rules.burst.saturating_sub(1)).unwrap_or(u32::MAX);
        let request = PaceRequest {
            replica: self.replica.clone(),
            interval: self.interval(),
            tolerance: self.interval().saturating_mul(burst),
            wait,
            ahead: self.rules.wait.saturating_add(LONGEST_PAUSE),
            places,
            pause: pause.map_or(Duration::ZERO, |until| {
                until.saturating_duration_since(Instant::now())
            }),
        };
        let answer = self.store.take(self.route.as_str(), &request).await;
        let answer = answer.and_then(|answer| request.checked(answer));
        match &answer {
            Ok(answer) => self.is_together(answer.replicas),
            Err(down) => {
                let mut state = self.state();
                state.pause = state.pause.max(pause);
                drop(state);
                self.is_alone(down);
                if let (Some(alone), false) = (&self.state().alone, request.pause.is_zero()) {
                    alone.pause(request.pause);
                }
            }
        }
        answer
    }

    fn is_together(&self, replicas: u32) {
        let mut state = self.state();
        let now = Instant::now();
        if state.alone.take().is_some() {
            state.settles = Some(now + ALIVE);
            tracing::info!(route = %self.route, "the fleet keeps the pace together again");
        }
        let before = match state.settles {
            Some(settles) if settles > now => state.replicas,
            _ => 0,
        };
        state.replicas = replicas.max(before).max(1);
        self.show(&state);
    }

    /// From now on this replica keeps to its part, as if it had just used it.
    fn is_alone(&self, down: &StoreDown) {
        let mut state = self.state();
        if state.alone.is_some() {
            return;
        }
        let replicas = state.replicas.max(1);
        let rules = PaceConfig {
            per: self.rules.per * replicas,
            burst: 1,
            ..self.rules
        };
        let alone = Pacer::new(rules);
        // No two of them at the same moment, and none before its turn.
        let turn = (self.interval() * replicas).mul_f64(0.5 + fastrand::f64() / 2.0);
        alone.pause(turn);
        state.alone = Some(alone);
        self.show(&state);
        tracing::warn!(
            route = %self.route,
            replicas,
            error = %down,
            "the fleet cannot keep the pace together: this replica keeps to its part of it"
        );
    }

    /// Anew each time: the pacer before this one removes the series as it ends.
    fn show(&self, state: &PaceState) {
        let gauges = self.metrics.pace(&self.route);
        gauges.replicas.set(i64::from(state.replicas));
        gauges.shared.set(i64::from(state.alone.is_none()));
    }

    /// Never held across an await; every use leaves it whole.
    fn state(&self) -> MutexGuard<'_, PaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SharedPacer {
    fn drop(&mut self) {
        self.metrics.pace_ends(&self.route);
    }
}

impl PaceState {
    /// By how many replicas the rate is divided here. While they keep it together the others
    /// may have no calls.
    fn share(&self) -> u32 {
        self.alone.as_ref().map_or(1, |_| self.replicas.max(1))
    }

    /// Gives the place at `at` to whoever waits longest, and no longer than `wait`. Whether
    /// there was somebody.
    fn give(&mut self, at: Instant, wait: Duration) -> bool {
        self.refuse_until(at, wait);
        while let Some(call) = self.waiting.pop_front() {
            if call.told.send(Ok(at)).is_ok() {
                return true;
            }
        }
        false
    }

    /// Refuses all who would wait beyond their time for a place at `at`.
    fn refuse_until(&mut self, at: Instant, wait: Duration) {
        let now = Instant::now();
        while let Some(call) = self.waiting.pop_front_if(|call| call.since + wait < at) {
            let _ = call.told.send(Err(at.saturating_duration_since(now)));
        }
    }
}

/// Says every so often that this replica is there.
async fn beat(pacer: Weak<SharedPacer>) {
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
async fn ask(pacer: Arc<SharedPacer>) {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use prometheus::Registry;

    use super::*;
    use crate::credential::fleet::StoreFuture;

    /// A store of three replicas that gives one place a second, or is away, slow or mad.
    #[derive(Debug, Default)]
    struct FakeStore {
        is_away: AtomicBool,
        /// It answers after this time.
        delay: Mutex<Duration>,
        /// What it makes of a true answer.
        lie: Mutex<Option<Lie>>,
        next: Mutex<Option<Instant>>,
    }

    type Lie = fn(&PaceRequest, &mut PaceAnswer);

    impl SharedPace for FakeStore {
        fn take<'a>(
            &'a self,
            _name: &'a str,
            request: &'a PaceRequest,
        ) -> StoreFuture<'a, PaceAnswer> {
            Box::pin(async move {
                let delay = *self.delay.lock().unwrap();
                sleep(delay).await;
                if self.is_away.load(Ordering::Relaxed) {
                    return Err(StoreDown::new("away"));
                }
                let mut next = self.next.lock().unwrap();
                let now = Instant::now();
                let mut answer = PaceAnswer {
                    replicas: 3,
                    ..PaceAnswer::default()
                };
                let mut at = next.unwrap_or(now).max(now);
                for _ in 0..request.places {
                    if at - now <= request.wait {
                        answer.places.push(at - now);
                        at += request.interval;
                    }
                }
                answer.next = at - now;
                *next = Some(at);
                if let Some(lie) = *self.lie.lock().unwrap() {
                    lie(request, &mut answer);
                }
                Ok(answer)
            })
        }
    }

    fn pacer(store: &Arc<FakeStore>) -> Arc<SharedPacer> {
        let rules = PaceConfig {
            calls: 60,
            per: Duration::from_secs(60),
            burst: 1,
            wait: Duration::from_secs(10),
            shared: true,
        };
        let metrics = FleetMetrics::new().unwrap();
        metrics.register(&Registry::new()).unwrap();
        let (route, handle) = (
            Name::parse("users").unwrap(),
            tokio::runtime::Handle::current(),
        );
        SharedPacer::begin(rules, route, store.clone(), metrics, &handle)
    }

    /// When each of so many calls left, in seconds; `None` where it was refused.
    async fn left(pacer: &Arc<SharedPacer>, calls: usize) -> Vec<Option<u64>> {
        let begun = Instant::now();
        let calls: Vec<_> = (0..calls)
            .map(|_| {
                let pacer = pacer.clone();
                tokio::spawn(async move {
                    let placed = pacer.place().await;
                    placed.ok().map(|_| begun.elapsed().as_secs())
                })
            })
            .collect();
        let mut left = Vec::new();
        for call in calls {
            left.push(call.await.unwrap());
        }
        left
    }

    #[tokio::test(start_paused = true)]
    async fn calls_leave_in_their_order_as_the_store_says_and_none_waits_too_long() {
        let store = Arc::new(FakeStore::default());
        let pacer = pacer(&store);
        let left = left(&pacer, 20).await;
        let served: Vec<u64> = left.iter().flatten().copied().collect();
        assert_eq!(served, (0..=10).collect::<Vec<_>>(), "{left:?}");
        assert!(
            left[..11].iter().all(Option::is_some),
            "the first come first"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_store_is_away_each_keeps_to_its_part() {
        let store = Arc::new(FakeStore::default());
        let pacer = pacer(&store);
        assert_eq!(left(&pacer, 1).await, [Some(0)]);
        store.is_away.store(true, Ordering::Relaxed);
        sleep(HEARTBEAT * 2).await;
        let mut served = 0;
        for _ in 0..12 {
            // A minute, with more calls than there are places.
            served += left(&pacer, 4).await.iter().flatten().count();
            sleep(Duration::from_secs(5)).await;
        }
        let passed = pacer.state().alone.is_some();
        assert!(passed && served >= 12, "{served}");
        store.is_away.store(false, Ordering::Relaxed);
        sleep(AWAY * 3).await;
        assert!(pacer.state().alone.is_none());
        assert_eq!(left(&pacer, 3).await.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn alone_no_more_than_a_third_leaves() {
        let store = Arc::new(FakeStore::default());
        let pacer = pacer(&store);
        assert_eq!(left(&pacer, 1).await, [Some(0)]);
        store.is_away.store(true, Ordering::Relaxed);
        sleep(HEARTBEAT * 2).await;
        let begun = Instant::now();
        let mut served = 0;
        while begun.elapsed() < Duration::from_secs(120) {
            served += left(&pacer, 3).await.iter().flatten().count();
        }
        let seconds = begun.elapsed().as_secs();
        let most = usize::try_from(seconds / 3 + 1).unwrap();
        assert!(
            (most * 9 / 10..=most).contains(&served),
            "{served} in {seconds} s"
        );
    }

    /// What became of each of so many calls, and after how long.
    async fn ended(
        pacer: &Arc<SharedPacer>,
        calls: usize,
    ) -> Vec<(Result<bool, Duration>, Duration)> {
        let begun = Instant::now();
        let calls: Vec<_> = (0..calls)
            .map(|_| {
                let pacer = pacer.clone();
                tokio::spawn(async move { (pacer.place().await, begun.elapsed()) })
            })
            .collect();
        let mut ended = Vec::new();
        for call in calls {
            ended.push(call.await.unwrap());
        }
        ended
    }

    /// The clock of the tests goes on in steps of a millisecond.
    const STEP: Duration = Duration::from_millis(5);

    #[tokio::test(start_paused = true)]
    async fn a_store_that_answers_nonsense_is_as_one_that_is_away() {
        let lies: [(&str, Lie); 8] = [
            ("a place in an hour", |_, answer| {
                answer.places.fill(Duration::from_secs(3600));
            }),
            ("a place in ages", |_, answer| {
                answer.places.fill(Duration::from_micros(u64::MAX));
            }),
            ("a place later than asked for", |asked, answer| {
                answer.places.fill(asked.wait + Duration::from_millis(100));
            }),
            ("more places than asked for", |_, answer| {
                answer.places = vec![Duration::ZERO; 1000];
            }),
            ("no place, and one is free", |_, answer| {
                answer.places.clear();
                answer.next = Duration::ZERO;
            }),
            ("the next one is free in a day", |_, answer| {
                answer.places.clear();
                answer.next = Duration::from_secs(86_400);
            }),
            ("the next one is free in ages", |_, answer| {
                answer.places.clear();
                answer.next = Duration::from_micros(u64::MAX);
            }),
            ("all the world keeps this pace", |_, answer| {
                answer.replicas = u32::MAX;
                answer.places.clear();
                answer.next = Duration::from_secs(20);
            }),
        ];
        for (name, lie) in lies {
            let store = Arc::new(FakeStore::default());
            let pacer = pacer(&store);
            assert_eq!(left(&pacer, 1).await, [Some(0)]);
            *store.lie.lock().unwrap() = Some(lie);
            let ended = ended(&pacer, 4).await;
            let mut served = Vec::new();
            for (result, after) in &ended {
                assert!(*after <= pacer.rules.wait + STEP, "{name}: {ended:?}");
                match result {
                    Ok(_) => served.push(*after),
                    Err(next) => assert!(*next < Duration::from_secs(320), "{name}: {ended:?}"),
                }
            }
            // Its part: one in three seconds.
            assert!(!served.is_empty(), "{name}: {ended:?}");
            for pair in served.windows(2) {
                let apart = pair[1].saturating_sub(pair[0]);
                assert!(apart >= Duration::from_secs(1), "{name}: {ended:?}");
            }
            *store.lie.lock().unwrap() = None;
            sleep(HEARTBEAT * 2).await;
            assert!(pacer.state().alone.is_none(), "{name}");
            assert_eq!(left(&pacer, 3).await, [Some(0), Some(1), Some(2)], "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_call_waits_too_long_at_a_store_that_is_slow() {
        let store = Arc::new(FakeStore::default());
        let pacer = pacer(&store);
        *store.delay.lock().unwrap() = Duration::from_secs(3);
        // A place that was early enough when it was asked for.
        *store.next.lock().unwrap() = Some(Instant::now() + Duration::from_secs(12));
        for (result, after) in ended(&pacer, 1).await {
            assert!(after <= pacer.rules.wait + STEP, "{result:?} {after:?}");
            assert!(result.is_err(), "{result:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_store_did_not_hear_of_ends_when_it_was_to_end() {
        let store = Arc::new(FakeStore::default());
        let pacer = pacer(&store);
        assert_eq!(left(&pacer, 1).await, [Some(0)]);
        store.is_away.store(true, Ordering::Relaxed);
        pacer.pause(Duration::from_secs(60));
        sleep(STEP).await;
        assert_eq!(
            left(&pacer, 1).await,
            [None],
            "and it holds here until then"
        );
        sleep(Duration::from_secs(50)).await;
        *store.lie.lock().unwrap() = Some(|asked, answer| {
            if asked.pause > Duration::from_secs(11) {
                answer.next = Duration::from_secs(250);
                answer.places.clear();
            }
        });
        store.is_away.store(false, Ordering::Relaxed);
        let told = pacer.take(1, pacer.rules.wait).await.unwrap();
        assert!(told.next < Duration::from_secs(250), "{told:?}");
    }
}
