//! What a call gets, and when: first callers, slow attempts, ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{life, open, open_after, secs};
use crate::base::time::Clock;
use crate::credential::slot::SlotState;
use crate::credential::testing::{START_MS, ScriptedAct, ScriptedMint, measured_slot, refused};
use crate::credential::{Cause, MintError, UnavailableReason};

#[tokio::test(start_paused = true)]
async fn a_crowd_of_first_callers_costs_one_mint() {
    let (slot, mint, _) = open([life(3600)]);
    assert!(slot.peek().is_none());
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let slot = slot.clone();
            tokio::spawn(async move { slot.obtain().await.unwrap() })
        })
        .collect();
    let mut first = None;
    for caller in callers {
        let got = caller.await.unwrap();
        assert!(Arc::ptr_eq(&got, first.get_or_insert(got.clone())));
    }
    assert_eq!(mint.calls(), 1);
    assert_eq!(slot.peek().unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn it_mints_at_start_without_being_asked() {
    let (slot, mint, _) = open([life(3600)]);
    assert_eq!(slot.snapshot().state, SlotState::None);
    sleep(secs(1)).await;
    assert_eq!((mint.calls(), slot.snapshot().state), (1, SlotState::Live));
    assert_eq!(slot.snapshot().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_cancels_nothing() {
    let (slot, mint, _) = open([life(3600)]);
    let left = tokio::time::timeout(Duration::from_millis(50), slot.obtain()).await;
    assert!(left.is_err());
    assert_eq!(slot.obtain().await.unwrap().generation, 1);
    assert_eq!(mint.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_takes_too_long_is_waited_for_but_not_for_ever() {
    let (slot, mint, _) = open([life(3600)]);
    *mint.takes.lock().unwrap() = secs(7);
    let started = Instant::now();
    let error = slot.obtain().await.unwrap_err();
    assert!(matches!(&*error.cause, Cause::StillMinting(_)), "{error}");
    assert_eq!(started.elapsed(), secs(5));
    assert_eq!(slot.obtain().await.unwrap().generation, 1);
    assert_eq!(mint.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_at_its_time_limit() {
    let (slot, mint, _) = open([life(3600)]);
    *mint.takes.lock().unwrap() = secs(3600);
    sleep(Duration::from_millis(10_500)).await;
    let error = slot.obtain().await.unwrap_err();
    assert!(
        matches!(
            &*error.cause,
            Cause::Failed(MintError::Unavailable {
                reason: UnavailableReason::Timeout,
                ..
            })
        ),
        "{error}"
    );
    assert_eq!(mint.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_nobody_holds_ends() {
    let (slot, mint, _) = open([life(60)]);
    slot.obtain().await.unwrap();
    drop(slot);
    sleep(secs(3600)).await;
    assert_eq!(mint.calls(), 1);
    assert_eq!(Arc::strong_count(&mint), 1, "the keeper is gone");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_dropped_before_its_first_attempt_ends_too() {
    let (slot, mint, _) = open([life(60)]);
    drop(slot);
    sleep(secs(60)).await;
    assert_eq!(mint.calls(), 0);
    assert_eq!(Arc::strong_count(&mint), 1, "the keeper is gone");
}

#[tokio::test(start_paused = true)]
async fn its_metrics_follow_its_life_even_when_nobody_calls() {
    let registry = prometheus::Registry::new();
    let clock = Clock::faked(START_MS);
    let mint = ScriptedMint::new([life(60), ScriptedAct::Fails(refused())]);
    let slot = measured_slot(&mint, &clock, &registry);
    let shows = |line: &str| {
        let encoder = prometheus::TextEncoder::new();
        let text = encoder.encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains(line), "{line} is not in\n{text}");
    };
    let state = |state: &str| {
        shows(&format!(
            "headset_credential_state{{credential=\"cms_key\",state=\"{state}\"}} 1"
        ));
    };
    state("none");
    slot.obtain().await.unwrap();
    state("live");
    shows("headset_credential_expiry_timestamp_seconds{credential=\"cms_key\"} 1800000060");
    shows("headset_credential_generation{credential=\"cms_key\"} 1");
    sleep(secs(50)).await;
    state("failing");
    sleep(secs(10)).await;
    state("refused");
    shows("due_timestamp_seconds{credential=\"cms_key\"} 1800000060");
    shows("mints_total{credential=\"cms_key\",outcome=\"success\",reason=\"start\"} 1");
    shows("mints_total{credential=\"cms_key\",outcome=\"refused\",reason=\"refused\"} 1");
    shows("headset_mint_duration_seconds_count{credential=\"cms_key\"} 2");
}

#[test]
fn callers_on_other_runtimes_share_the_flight() {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (slot, mint, _) = control.block_on(async { open([life(3600)]) });
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let slot = slot.clone();
            std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(async { slot.obtain().await.unwrap().generation })
            })
        })
        .collect();
    for worker in workers {
        assert_eq!(worker.join().unwrap(), 1);
    }
    assert_eq!(mint.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_may_have_hung_is_named_beside_the_issuer() {
    let (slot, mint, _) = open_after([life(60)], |mint| {
        let vault = ["vault", "read"].map(String::from).to_vec();
        *mint.sources.lock().unwrap() = vec![crate::secret::SecretSource::Command(vault.into())];
    });
    *mint.takes.lock().unwrap() = secs(1000);
    let told = slot.obtain_within(secs(500)).await.unwrap_err().to_string();
    assert!(
        told.contains("command vault and the issuer together"),
        "{told}"
    );
}

/// The one who waits and the task that renews must not wake each other without end: under
/// paused time that would never end, and otherwise take a core.
#[tokio::test(start_paused = true)]
async fn a_call_that_comes_between_two_renewals_waits_without_a_busy_loop() {
    let short = ScriptedAct::Lives(Duration::from_millis(400));
    let (slot, mint, _) = open([short, life(60)]);
    slot.obtain().await.unwrap();
    let begun = Instant::now();
    sleep(Duration::from_millis(450)).await;
    assert!(slot.peek().is_none(), "it has ended, and none may come yet");
    let (one, other) = tokio::join!(slot.obtain(), slot.obtain());
    assert_eq!(one.unwrap().generation, 2);
    assert_eq!(other.unwrap().generation, 2);
    assert!(begun.elapsed() >= Duration::from_millis(900));
    assert_eq!(mint.calls(), 2);
}
