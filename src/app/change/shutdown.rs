//! The order in which things stop.
//!
//! A plain sidecar gets SIGTERM together with its application, which may still have
//! calls to make. So headset says that it is leaving (`/readyz`, `Connection:
//! close`), keeps accepting until no call was open or began for 2 s or the drain
//! time is over, and only then closes. Last, the credentials that are to end with the
//! process are ended at their issuers, for which the end of the drain time is kept
//! free. A second signal means now (`stop.rs`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval, timeout_at};

use crate::app::build::Plan;
use crate::app::change::retired::Retired;
use crate::app::change::running::Running;
use crate::app::change::stop::Stop;
use crate::app::serve::workers::WorkersEnded;
use crate::credential::Revocation;
use crate::credential::slot::Slot;
use crate::modes::Phase;
use crate::net::activity::{ActivityCounts, QuietPeriod};

/// For how long no call must have been open or have begun.
const QUIET: Duration = Duration::from_secs(2);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The end of the drain time that is kept free for ending credentials: this, or a
/// quarter of it if that is less.
const REVOCATION: Duration = Duration::from_secs(5);

/// For this long an issuer is asked to end a credential, however little of the drain time
/// is left: one that lives on is somebody's to find.
const REVOCATION_LEAST: Duration = Duration::from_secs(2);

/// Stops `running` in order, since `why` asked for it.
pub async fn run(why: &str, mut stop: Stop, running: Running, mut ended: WorkersEnded) {
    let Running {
        plan,
        mut listener_sockets,
        mut workers,
        mut retired,
        health,
        process_state,
        ..
    } = running;
    // A reload that the stop overtook.
    retired.give_back(process_state.abandoned(), plan.config.timeouts.mint);
    let drain = plan.config.timeouts.drain;
    let files = listener_sockets.take_files();
    let in_flight = || listener_sockets.counts().open();
    tracing::info!(stop.reason = why, in_flight = in_flight(), "draining");
    health.mark_draining();
    listener_sockets.tell(Phase::Draining);
    let end = Instant::now() + drain;
    let revoking = revoking(&plan, &retired);
    let deadline = end - kept_free(drain, !revoking.is_empty() || retired.is_ending());
    let for_long = match stop.has_callers() {
        true => QUIET,
        false => Duration::ZERO,
    };
    let orderly = async {
        quiet(|| listener_sockets.counts(), for_long, deadline).await;
        // While the sockets are ours: the next headset may bind its own there.
        drop(files);
        listener_sockets.tell(Phase::Closing);
        workers.dismiss();
        let finished = timeout_at(deadline, ended.all()).await.is_ok();
        listener_sockets.tell(Phase::Over);
        let end = end.max(Instant::now() + REVOCATION_LEAST);
        tokio::join!(revoke(revoking, end), retired.finish(end));
        finished
    };
    tokio::select! {
        finished = orderly => {
            if finished || in_flight() == 0 {
                tracing::info!("stopped: every call finished");
            } else {
                tracing::warn!(in_flight = in_flight(), "stopped: the drain time ended before every call finished");
            }
        }
        () = stop.second() => {
            tracing::warn!(in_flight = in_flight(), "stopped at once by a second signal");
        }
    }
}

/// How much of the end of `drain` calls do not get, where credentials are to be ended.
fn kept_free(drain: Duration, for_ending: bool) -> Duration {
    match for_ending {
        true => REVOCATION.min(drain / 4),
        false => Duration::ZERO,
    }
}

/// The slots whose credentials end with the process.
fn revoking(plan: &Plan, retired: &Retired) -> Vec<Arc<Slot>> {
    let mut all = plan.live_slots();
    all.extend(retired.slots());
    all.retain(|slot| slot.mint().facts().revokes_on_shutdown);
    all
}

/// Ends what `slots` obtained, until `end` at most: all at once, but a credential that
/// others need for that after them.
async fn revoke(slots: Vec<Arc<Slot>>, end: Instant) {
    let (first, last): (Vec<_>, Vec<_>) = slots
        .into_iter()
        .partition(|slot| slot.mint().facts().leans_on_another);
    for slots in [first, last] {
        revoke_all(slots, end).await;
    }
}

async fn revoke_all(slots: Vec<Arc<Slot>>, end: Instant) {
    let mut revocations = tokio::task::JoinSet::new();
    for slot in slots {
        revocations.spawn(async move {
            let revoked = timeout_at(end, slot.mint().revoke(Revocation::Configured)).await;
            let error = match &revoked {
                Ok(Ok(())) => {
                    tracing::info!(credential.name = %slot.name(), "credential ended at its issuer");
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the drain time is over".into(),
            };
            tracing::warn!(
                credential.name = %slot.name(),
                error = %error,
                "the credential could not be ended at its issuer: it stays valid until it expires"
            );
        });
    }
    while revocations.join_next().await.is_some() {}
}

/// Waits until no call is open, and none was or began `for_long`, or until `deadline`.
async fn quiet(counts: impl Fn() -> ActivityCounts, for_long: Duration, deadline: Instant) {
    let mut look = interval(LOOK);
    let mut quiet = QuietPeriod::from(counts(), Instant::now());
    loop {
        let now = look.tick().await;
        let seen = counts();
        let is_quiet = quiet.look_at_open(seen, now) >= for_long && seen.open() == 0;
        if is_quiet || now >= deadline {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::activity::Activity;

    #[test]
    fn the_end_of_a_drain_is_kept_free_for_ending_credentials() {
        let seconds = Duration::from_secs;
        assert_eq!(kept_free(seconds(60), true), seconds(5));
        assert_eq!(kept_free(seconds(8), true), seconds(2));
        assert_eq!(kept_free(seconds(60), false), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_goes_on_while_short_calls_begin() {
        let activity = Activity::default();
        let begun = Instant::now();
        let calling = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(510)).await;
                activity.begin();
                activity.end();
            }
        };
        let drained = quiet(
            || activity.counts(),
            QUIET,
            begun + Duration::from_secs(600),
        );
        tokio::join!(calling, drained);
        // The last call began after 10.2 s.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(12_200), "{took:?}");
        assert!(took <= Duration::from_millis(12_300), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_in_time_though_calls_never_end() {
        let activity = Activity::default();
        activity.begin();
        let begun = Instant::now();
        quiet(|| activity.counts(), QUIET, begun + Duration::from_secs(9)).await;
        assert_eq!(begun.elapsed().as_secs(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn without_callers_a_drain_waits_for_open_calls_alone() {
        let activity = Activity::default();
        let begun = Instant::now();
        let end = begun + Duration::from_secs(9);
        quiet(|| activity.counts(), Duration::ZERO, end).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        activity.begin();
        quiet(|| activity.counts(), Duration::ZERO, end).await;
        assert_eq!(begun.elapsed().as_secs(), 9);
    }
}
