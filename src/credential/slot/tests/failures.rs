//! What a failed attempt costs, and what ends the wait after it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use super::{life, open, secs};
use crate::credential::slot::SlotState;
use crate::credential::testing::{START_MS, ScriptedAct, refused, unavailable};
use crate::credential::{Cause, Change, MintError, RefusalReason, UnavailableReason};

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_frees_the_slot() {
    let (slot, mint, _) = open([ScriptedAct::Panics, life(3600)]);
    let error = slot.obtain().await.unwrap_err();
    assert!(
        matches!(
            &*error.cause,
            Cause::Failed(MintError::Unavailable {
                reason: UnavailableReason::Panic,
                ..
            })
        ),
        "{error}"
    );
    sleep(secs(2)).await;
    assert_eq!(slot.obtain().await.unwrap().generation, 1);
    assert_eq!(mint.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_remembered_and_answered_at_once() {
    let (slot, mint, _) = open([ScriptedAct::Fails(unavailable(None))]);
    slot.obtain().await.unwrap_err();
    // 100 calls a second for a minute, none of which waits.
    for _ in 0..6000 {
        let asked = Instant::now();
        let error = slot.obtain().await.unwrap_err();
        assert_eq!(asked.elapsed(), Duration::ZERO);
        assert!(error.retry_after >= secs(1));
        assert_eq!(error.retry_after.subsec_nanos(), 0);
        advance(Duration::from_millis(10)).await;
    }
    assert!((2..60).contains(&mint.calls()), "{}", mint.calls());
    assert_eq!(mint.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_a_floor() {
    let (slot, mint, _) = open([ScriptedAct::Fails(unavailable(Some(40))), life(3600)]);
    let error = slot.obtain().await.unwrap_err();
    assert_eq!(error.retry_after, secs(40));
    sleep(secs(39)).await;
    assert_eq!(mint.calls(), 1);
    sleep(secs(2)).await;
    assert_eq!(slot.obtain().await.unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_stops_the_asking_until_a_cool_down_ends() {
    let (slot, mint, _) = open([ScriptedAct::Fails(refused())]);
    slot.obtain().await.unwrap_err();
    for _ in 0..14 {
        sleep(secs(60)).await;
        let error = slot.obtain().await.unwrap_err();
        assert!(error.to_string().contains("answered 401"), "{error}");
    }
    assert_eq!(
        (mint.calls(), slot.snapshot().state),
        (1, SlotState::Refused)
    );
    let due = slot.snapshot().human_due_ms.unwrap();
    assert!((START_MS..START_MS + 1000).contains(&due), "{due}");
    sleep(secs(120)).await;
    assert_eq!(mint.calls(), 2);
    // The second cool-down is twice as long.
    sleep(secs(29 * 60)).await;
    assert_eq!(mint.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_wakes_a_refused_credential_and_a_touched_one_does_not() {
    let (slot, mint, _) = open([ScriptedAct::Fails(refused()), life(3600)]);
    slot.obtain().await.unwrap_err();
    *mint.change.lock().unwrap() = Change::Nothing;
    slot.secret_changed();
    sleep(secs(5)).await;
    assert_eq!(mint.calls(), 1);

    *mint.change.lock().unwrap() = Change::Extends;
    slot.secret_changed();
    // Long before the 2 s that are allowed.
    sleep(Duration::from_millis(200)).await;
    assert_eq!((mint.calls(), slot.snapshot().state), (2, SlotState::Live));
    assert_eq!(slot.snapshot().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_secret_is_looked_at_again() {
    let gone = MintError::Secret {
        detail: "file /x cannot be read".into(),
    };
    let (slot, mint, _) = open([
        ScriptedAct::Fails(gone.clone()),
        ScriptedAct::Fails(gone),
        life(3600),
    ]);
    let error = slot.obtain().await.unwrap_err();
    assert!(error.to_string().contains("file /x"), "{error}");
    assert!(slot.snapshot().human_due_ms.is_some());
    *mint.change.lock().unwrap() = Change::Nothing;
    slot.secret_changed();
    sleep(secs(1)).await;
    assert_eq!(mint.calls(), 2);
    // Nobody tells of a file that came back as it was.
    sleep(secs(2)).await;
    assert_eq!((mint.calls(), slot.snapshot().state), (3, SlotState::Live));
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_dead_on_arrival_is_a_failure_not_a_loop() {
    let (slot, mint, _) = open([ScriptedAct::Lives(Duration::from_millis(300))]);
    *mint.takes.lock().unwrap() = Duration::from_millis(100);
    let error = slot.obtain().await.unwrap_err();
    assert!(error.to_string().contains("expired already"), "{error}");
    sleep(secs(60)).await;
    assert!(mint.calls() < 40, "{}", mint.calls());
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_does_not_overrule_retry_after() {
    let (slot, mint, _) = open([ScriptedAct::Fails(unavailable(Some(40))), life(3600)]);
    slot.obtain().await.unwrap_err();
    slot.secret_changed();
    sleep(secs(30)).await;
    assert_eq!(mint.calls(), 1);
    sleep(secs(11)).await;
    assert_eq!((mint.calls(), slot.snapshot().state), (2, SlotState::Live));
}

#[tokio::test(start_paused = true)]
async fn a_locked_account_is_not_asked_about_before_something_changes() {
    let locked = MintError::Refused {
        reason: RefusalReason::Locked,
        detail: "the account is blocked".into(),
    };
    let (slot, mint, _) = open([ScriptedAct::Fails(locked), life(3600)]);
    let error = slot.obtain().await.unwrap_err();
    assert_eq!(error.retry_after, secs(24 * 3600), "in place of for ever");
    sleep(secs(40 * 86_400)).await;
    assert!(slot.obtain().await.is_err());
    assert_eq!(mint.calls(), 1);
    assert_eq!(slot.snapshot().state, SlotState::Refused);
    slot.secret_changed();
    sleep(secs(1)).await;
    assert!(slot.obtain().await.is_ok());
}
