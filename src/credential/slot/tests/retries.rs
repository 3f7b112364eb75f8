//! What a person who mended something gets.

use std::time::Duration;

use tokio::time::sleep;

use super::{life, open, secs};
use crate::credential::slot::{Asked, SlotState};
use crate::credential::testing::{ScriptedAct, refused, unavailable};
use crate::credential::{MintError, RefusalReason};

fn locked() -> ScriptedAct {
    ScriptedAct::Fails(MintError::Refused {
        reason: RefusalReason::Locked,
        detail: "the account is locked".into(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_locked_credential_is_asked_for_when_a_person_says_so_and_by_nothing_else() {
    let (slot, mint, _) = open([locked(), life(3600)]);
    slot.obtain().await.unwrap_err();
    sleep(secs(40 * 86_400)).await;
    assert_eq!(mint.calls(), 1, "a lock has no end of its own");
    assert_eq!(slot.retry(false).await, Asked::Obtained);
    assert_eq!((mint.calls(), slot.snapshot().state), (2, SlotState::Live));
    assert_eq!(slot.obtain().await.unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_the_attempt_that_a_person_asked_for() {
    let (slot, _, _) = open([ScriptedAct::Fails(refused()), life(3600)]);
    slot.obtain().await.unwrap_err();
    let (asked, minted) = tokio::join!(slot.retry(false), async {
        sleep(Duration::from_millis(50)).await;
        slot.obtain().await
    });
    assert_eq!((asked, minted.unwrap().generation), (Asked::Obtained, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_refusal_is_told_and_who_asks_in_a_loop_asks_nobody() {
    let (slot, mint, _) = open([ScriptedAct::Fails(refused())]);
    slot.obtain().await.unwrap_err();
    let failed = Asked::Failed {
        outcome: "refused",
        reason: "refused",
    };
    assert_eq!(slot.retry(false).await, failed);
    for _ in 0..40 {
        assert!(matches!(slot.retry(false).await, Asked::TooSoon(_)));
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(mint.calls(), 2);
    sleep(secs(2)).await;
    assert_eq!(slot.retry(true).await, failed);
    assert_eq!(mint.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_live_is_left_alone_unless_its_renewal_is_asked_for() {
    let (slot, mint, _) = open([life(3600)]);
    slot.obtain().await.unwrap();
    assert_eq!(slot.retry(false).await, Asked::NotNeeded);
    assert_eq!(mint.calls(), 1);
    assert_eq!(slot.retry(true).await, Asked::Obtained);
    assert_eq!(slot.obtain().await.unwrap().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_under_way_is_the_one_that_was_asked_for() {
    let (slot, mint, _) = open([ScriptedAct::Fails(unavailable(None)), life(3600)]);
    let (first, second) = tokio::join!(slot.retry(false), slot.retry(true));
    let failed = Asked::Failed {
        outcome: "unavailable",
        reason: "status",
    };
    assert_eq!((first, second, mint.calls()), (failed.clone(), failed, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_replaced_asks_nobody() {
    let (slot, mint, _) = open([ScriptedAct::Fails(refused())]);
    slot.obtain().await.unwrap_err();
    let (next, _, _) = open([life(60)]);
    slot.hand_over(std::sync::Arc::new(move || Some(next.clone())));
    assert_eq!(slot.retry(false).await, Asked::Replaced);
    assert_eq!(mint.calls(), 1);
}
