//! What becomes of a slot that another one takes over from.

use std::sync::Arc;

use tokio::time::sleep;

use super::{again, life, open, secs};
use crate::credential::testing::{ScriptedAct, ScriptedMint, refused, slot, unavailable};

#[tokio::test(start_paused = true)]
async fn a_slot_with_a_successor_serves_what_it_has_and_asks_nobody() {
    let (old, asked, clock) = open([life(3600)]);
    let had = old.obtain().await.unwrap();
    let next = ScriptedMint::lives(7200);
    let successor = slot(&next, &clock);
    let found = successor.clone();
    old.hand_over(Arc::new(move || Some(found.clone())));
    assert!(Arc::ptr_eq(&old.obtain().await.unwrap(), &had), "it lives");

    // What the upstream rejects is replaced by the successor's, although it could renew.
    sleep(secs(10)).await;
    let instead = again(old.reject(&had).await);
    assert!(Arc::ptr_eq(&instead, &successor.obtain().await.unwrap()));
    old.secret_changed();
    // Nor does it renew; at its end the successor serves.
    sleep(secs(3600)).await;
    assert!(old.peek().is_none());
    assert!(Arc::ptr_eq(&old.obtain().await.unwrap(), &instead));
    assert_eq!((asked.calls(), next.calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slot_whose_successor_is_taken_back_goes_on_as_before() {
    let (slot, mint, clock) = open([life(3600)]);
    slot.obtain().await.unwrap();
    let successor = crate::credential::testing::slot(
        &ScriptedMint::new([ScriptedAct::Fails(refused())]),
        &clock,
    );
    slot.hand_over(Arc::new(move || Some(successor.clone())));
    sleep(secs(3590)).await;
    assert_eq!(mint.calls(), 1);
    slot.take_back(None, false);
    sleep(secs(1)).await;
    assert_eq!(mint.calls(), 2, "the renewal that was due");
    assert_eq!(slot.obtain().await.unwrap().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn callers_who_wait_when_the_successor_comes_are_served_by_it() {
    let (old, _, clock) = open([ScriptedAct::Fails(unavailable(None)), life(3600)]);
    old.obtain().await.unwrap_err();
    let mint = ScriptedMint::lives(3600);
    *mint.takes.lock().unwrap() = secs(2);
    let successor = slot(&mint, &clock);
    let (found, asked) = (successor.clone(), old.clone());
    old.hand_over(Arc::new(move || Some(found.clone())));
    let caller = tokio::spawn(async move { asked.obtain().await });
    let got = caller.await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&got, &successor.peek().unwrap()));
}
