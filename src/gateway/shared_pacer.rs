//! A route's pace, as all replicas of a fleet keep it together.
//!
//! Calls wait here in the order in which they came, for places that `shared_pacer/asking.rs`
//! gets. While the store is away a
//! replica keeps to its part: the rate divided by the number of replicas that were last heard
//! of, without a burst. A store that answers what cannot be is as one that is away.

mod asking;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use self::asking::{ask, beat};
use crate::base::name::Name;
use crate::base::task::boxed;
use crate::config::PaceConfig;
use crate::credential::fleet::StoreDown;
use crate::credential::fleet::metrics::FleetMetrics;
use crate::credential::fleet::shared_pace::{ALIVE, PaceAnswer, PaceRequest, SharedPace};
use crate::gateway::gcra::{Gcra, LONGEST_PAUSE};

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
    alone: Option<Gcra>,
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
        let alone = Gcra::new(rules);
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
