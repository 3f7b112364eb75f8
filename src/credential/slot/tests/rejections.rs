//! What a rejection by the upstream brings about.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::{again, life, open, open_after, secs, stands};
use crate::credential::Rejection;
use crate::credential::slot::SlotState;
use crate::credential::testing::{ScriptedAct, refused};

#[tokio::test(start_paused = true)]
async fn rejections_are_told_once_a_minute_with_how_many_there_were() {
    let (slot, _, _) = open([life(36_000)]);
    let used = slot.obtain().await.unwrap();
    assert_eq!(slot.snapshot().rejected_ms, None);
    assert_eq!(slot.note_rejection(&used), Some(1));
    assert!(slot.snapshot().rejected_ms.is_some());
    for _ in 0..59 {
        sleep(secs(1)).await;
        assert_eq!(slot.note_rejection(&used), None);
    }
    sleep(secs(1)).await;
    assert_eq!(slot.note_rejection(&used), Some(60));
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_after_it_was_replaced_says_nothing_of_its_successor() {
    let (slot, _, _) = open([life(3600), life(36_000)]);
    let used = slot.obtain().await.unwrap();
    sleep(secs(3)).await;
    let next = again(slot.reject(&used).await);
    assert_eq!(next.generation, 2);
    assert_eq!(slot.note_rejection(&used), None);
    assert_eq!(slot.snapshot().rejected_ms, None);
    assert_eq!(slot.note_rejection(&next), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_nobody_waits_for_has_it_replaced_too() {
    let (slot, mint, _) = open([life(3600), life(36_000)]);
    let used = slot.obtain().await.unwrap();
    // It may not be known everywhere yet.
    slot.reject_unheard(&used, Rejection::Credential);
    sleep(secs(3)).await;
    assert_eq!(mint.calls(), 1);
    for _ in 0..100 {
        slot.reject_unheard(&used, Rejection::Credential);
    }
    sleep(secs(1)).await;
    assert_eq!((mint.calls(), slot.peek().unwrap().generation), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_late_rejection_of_an_old_generation_gets_the_current_one() {
    let (slot, mint, _) = open([life(3600)]);
    let old = slot.obtain().await.unwrap();
    sleep(secs(10)).await;
    let new = again(slot.reject(&old).await);
    assert_eq!((new.generation, mint.calls()), (2, 2));
    let late = again(slot.reject(&old).await);
    assert!(Arc::ptr_eq(&late, &new));
    assert_eq!(mint.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_young_generation_is_tried_again_when_it_is_two_seconds_old() {
    let (slot, mint, clock) = open([life(3600)]);
    let young = slot.obtain().await.unwrap();
    sleep(Duration::from_millis(500)).await;
    let same = again(slot.reject(&young).await);
    assert!(Arc::ptr_eq(&same, &young));
    assert!(clock.now().since(young.issued) >= secs(2));
    assert_eq!(mint.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_who_reject_one_generation_share_one_mint_and_its_outcome() {
    let (slot, mint, _) = open([life(3600)]);
    let old = slot.obtain().await.unwrap();
    sleep(secs(10)).await;
    let callers: Vec<_> = (0..300)
        .map(|_| {
            let (slot, old) = (slot.clone(), old.clone());
            tokio::spawn(async move { again(slot.reject(&old).await).generation })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 2);
    }
    assert_eq!(mint.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_generation_rejected_within_five_seconds_of_a_forced_mint_stays_in_use() {
    let (slot, mint, _) = open([life(3600)]);
    let first = slot.obtain().await.unwrap();
    sleep(secs(10)).await;
    let second = again(slot.reject(&first).await);
    sleep(secs(3)).await;
    assert!(stands(&slot.reject(&second).await));
    assert!(Arc::ptr_eq(&slot.peek().unwrap(), &second));
    assert_eq!(mint.calls(), 2);
    sleep(secs(3)).await;
    assert_eq!(again(slot.reject(&second).await).generation, 3);
}

#[tokio::test(start_paused = true)]
async fn a_forced_mint_that_fails_leaves_the_old_one_in_use_and_its_answer_stands() {
    let (slot, mint, _) = open([life(3600), ScriptedAct::Fails(refused())]);
    let first = slot.obtain().await.unwrap();
    sleep(secs(10)).await;
    assert!(stands(&slot.reject(&first).await));
    assert!(Arc::ptr_eq(&slot.peek().unwrap(), &first));
    assert_eq!(slot.snapshot().state, SlotState::Failing);
    // Refused: nobody asks again, however often it is rejected.
    for _ in 0..20 {
        sleep(secs(10)).await;
        assert!(stands(&slot.reject(&first).await));
    }
    assert_eq!(mint.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_a_rejected_one_is_replaced_further_calls_wait_for_the_new_one() {
    let (slot, mint, _) = open([life(3600)]);
    let first = slot.obtain().await.unwrap();
    sleep(secs(10)).await;
    *mint.takes.lock().unwrap() = secs(1);
    let rejecting = tokio::spawn({
        let (slot, first) = (slot.clone(), first.clone());
        async move { again(slot.reject(&first).await).generation }
    });
    sleep(Duration::from_millis(100)).await;
    assert!(slot.peek().is_none());
    assert_eq!(slot.obtain().await.unwrap().generation, 2);
    assert_eq!(rejecting.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_replacement_hands_the_rejected_one_out_again_after_the_wait() {
    let (slot, mint, _) = open([life(3600)]);
    let first = slot.obtain().await.unwrap();
    sleep(secs(10)).await;
    *mint.takes.lock().unwrap() = secs(8);
    let rejecting = tokio::spawn({
        let (slot, first) = (slot.clone(), first.clone());
        async move { stands(&slot.reject(&first).await) }
    });
    sleep(Duration::from_millis(100)).await;
    assert!(Arc::ptr_eq(&slot.obtain().await.unwrap(), &first));
    assert!(rejecting.await.unwrap());
    sleep(secs(4)).await;
    assert_eq!(slot.peek().unwrap().generation, 2, "the flight went on");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_cannot_renew_lets_the_rejection_stand() {
    let (slot, mint, _) = open_after([ScriptedAct::Lives(Duration::MAX)], |mint| {
        mint.renews.store(false, Ordering::SeqCst);
    });
    let first = slot.obtain().await.unwrap();
    sleep(secs(86_400)).await;
    assert!(stands(&slot.reject(&first).await));
    assert_eq!(mint.calls(), 1);

    slot.secret_changed();
    sleep(secs(1)).await;
    assert_eq!(again(slot.reject(&first).await).generation, 2);
    assert_eq!(slot.snapshot().human_due_ms, None);
}
