//! When a credential is renewed: ahead, by a changed secret, after a sleep.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{advance, sleep};

use super::{life, open, secs};
use crate::base::time::{Clock, Deadline};
use crate::credential::Change;
use crate::credential::slot::SlotState;
use crate::credential::testing::{START_MS, ScriptedAct, ScriptedMint, slot, unavailable};

#[tokio::test(start_paused = true)]
async fn it_renews_ahead_while_the_old_one_serves() {
    let (slot, mint, _) = open([life(3600)]);
    let first = slot.obtain().await.unwrap();
    *mint.takes.lock().unwrap() = secs(8);
    let mut seen = vec![first.generation];
    for _ in 0..3650 {
        sleep(secs(1)).await;
        let now = slot.peek().expect("there is always a live one").generation;
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    assert_eq!((seen, mint.calls()), (vec![1, 2], 2));
}

#[tokio::test(start_paused = true)]
async fn a_failing_renewal_keeps_the_live_one_until_hard_expiry_and_no_longer() {
    let (slot, mint, clock) = open([life(600), ScriptedAct::Fails(unavailable(None))]);
    let first = slot.obtain().await.unwrap();
    while first.expires.remaining(clock.now()) > Duration::from_millis(300) {
        assert!(Arc::ptr_eq(&slot.obtain().await.unwrap(), &first));
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(slot.snapshot().state, SlotState::Failing);
    assert!((2..30).contains(&mint.calls()), "{}", mint.calls());
    advance(Duration::from_millis(100)).await;
    assert!(
        !first.expires.passed(clock.now()),
        "the last quarter second"
    );
    assert!(slot.peek().is_none());
    let error = slot.obtain().await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(slot.snapshot().state, SlotState::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_life_of_three_seconds_leaves_no_gap_under_load() {
    let (slot, mint, clock) = open([life(3)]);
    slot.obtain().await.unwrap();
    for _ in 0..3000 {
        let live = slot.peek().expect("no gap");
        assert!(live.expires.remaining(clock.now()) > Duration::from_millis(250));
        sleep(Duration::from_millis(5)).await;
    }
    // 15 s; each is renewed 1.5 to 2.25 s after it was asked for.
    assert!((7..=11).contains(&mint.calls()), "{}", mint.calls());
}

#[tokio::test(start_paused = true)]
async fn the_same_expiry_again_stops_early_renewal_until_hard_expiry() {
    let clock = Clock::faked(START_MS);
    let end = Deadline::new(clock.now(), secs(600));
    let mint = ScriptedMint::new([ScriptedAct::Ends(end)]);
    let slot = slot(&mint, &clock);
    sleep(secs(599)).await;
    assert_eq!(
        mint.calls(),
        2,
        "one early renewal showed that it is of no use"
    );
    assert!(slot.peek().is_some());
    sleep(secs(31)).await;
    assert!((3..20).contains(&mint.calls()), "{}", mint.calls());
    assert!(slot.peek().is_none(), "it came back dead");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_past_the_expiry_mints_at_the_first_call() {
    let (slot, mint, clock) = open([life(3600)]);
    slot.obtain().await.unwrap();
    clock.sleep_machine(secs(7200));
    assert!(slot.peek().is_none());
    assert_eq!(slot.obtain().await.unwrap().generation, 2);
    assert_eq!(mint.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_renews_soon_even_without_a_call() {
    let (slot, mint, clock) = open([life(3600)]);
    slot.obtain().await.unwrap();
    clock.sleep_machine(secs(7200));
    sleep(secs(31)).await;
    assert_eq!(mint.calls(), 2);
    assert!(slot.peek().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_lengthens_nothing() {
    let (slot, mint, clock) = open([life(600), ScriptedAct::Fails(unavailable(None))]);
    slot.obtain().await.unwrap();
    clock.step_wall(-86_400_000);
    sleep(secs(550)).await;
    assert!(slot.peek().is_some());
    sleep(secs(50)).await;
    assert!(slot.peek().is_none());
    assert!(mint.calls() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_bearer_extends_at_once_and_then_at_most_hourly() {
    let (slot, mint, _) = open([life(30 * 86_400)]);
    slot.obtain().await.unwrap();
    *mint.change.lock().unwrap() = Change::Extends;
    slot.secret_changed();
    sleep(secs(1)).await;
    assert_eq!(mint.calls(), 2, "the first registration does not count");
    sleep(secs(60)).await;
    slot.secret_changed();
    sleep(secs(3500)).await;
    assert_eq!(mint.calls(), 2, "the second within an hour waits");
    sleep(secs(100)).await;
    assert_eq!(mint.calls(), 3, "and is not forgotten");
    sleep(secs(7200)).await;
    assert_eq!(mint.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_changed_password_is_registered_at_once_each_time() {
    let (slot, mint, _) = open([life(30 * 86_400)]);
    slot.obtain().await.unwrap();
    for calls in 2..5 {
        slot.secret_changed();
        sleep(secs(1)).await;
        assert_eq!(mint.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn it_renews_just_before_the_bearer_ends() {
    let (slot, mint, clock) = open([life(30 * 86_400)]);
    *mint.source_ends_in.lock().unwrap() = Some(secs(7200));
    slot.obtain().await.unwrap();
    let due = slot.snapshot().human_due_ms.unwrap();
    let expected = START_MS + (7200 + 30 * 86_400) * 1000;
    assert!((due - expected).abs() < 1000, "{due}");
    *mint.source_ends_in.lock().unwrap() = Some(secs(5));
    sleep(secs(7100)).await;
    assert_eq!(mint.calls(), 1);
    sleep(secs(99)).await;
    assert_eq!(mint.calls(), 2);
    sleep(secs(86_400)).await;
    assert_eq!(mint.calls(), 2, "a bearer about to end is worth no more");
    assert!(slot.snapshot().expires.unwrap().remaining(clock.now()) > secs(28 * 86_400));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_gives_ever_shorter_lives_is_not_asked_ever_more_often() {
    for life in [260, 300, 700, 1200] {
        let (_slot, mint, _) = open([ScriptedAct::Lives(Duration::from_millis(life))]);
        *mint.takes.lock().unwrap() = Duration::from_millis(1);
        sleep(secs(60)).await;
        let calls = mint.calls();
        assert!((20..=61).contains(&calls), "{life} ms: {calls}");
    }
}
