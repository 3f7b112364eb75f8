//! The life of a slot under paused time, over a scripted kind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use super::{RejectOutcome, Slot, SlotState};
use crate::base::time::{Clock, Deadline};
use crate::credential::testing::{
    START_MS, ScriptedAct, ScriptedMint, measured_slot, refused, slot, unavailable,
};
use crate::credential::{
    Cause, Change, MintError, Minted, RefusalReason, Rejection, UnavailableReason,
};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn life(n: u64) -> ScriptedAct {
    ScriptedAct::Lives(secs(n))
}

fn open(script: impl IntoIterator<Item = ScriptedAct>) -> (Arc<Slot>, Arc<ScriptedMint>, Clock) {
    let clock = Clock::faked(START_MS);
    let mint = ScriptedMint::new(script);
    (slot(&mint, &clock), mint, clock)
}

fn again(rejected: RejectOutcome) -> Arc<Minted> {
    match rejected {
        RejectOutcome::Again(minted) => minted,
        RejectOutcome::Stands => panic!("it stands"),
    }
}

fn stands(rejected: &RejectOutcome) -> bool {
    matches!(rejected, RejectOutcome::Stands)
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_first_callers_costs_one_mint() {
    let (slot, mint, _) = open([life(3600)]);
    assert!(slot.peek().is_none());
    let log_limiter: Vec<_> = (0..1000)
        .map(|_| {
            let slot = slot.clone();
            tokio::spawn(async move { slot.obtain().await.unwrap() })
        })
        .collect();
    let mut first = None;
    for caller in log_limiter {
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
async fn a_caller_who_leaves_cancels_nothing() {
    let (slot, mint, _) = open([life(3600)]);
    let left = tokio::time::timeout(Duration::from_millis(50), slot.obtain()).await;
    assert!(left.is_err());
    assert_eq!(slot.obtain().await.unwrap().generation, 1);
    assert_eq!(mint.calls(), 1);
}

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
async fn a_credential_that_is_dead_on_arrival_is_a_failure_not_a_loop() {
    let (slot, mint, _) = open([ScriptedAct::Lives(Duration::from_millis(300))]);
    *mint.takes.lock().unwrap() = Duration::from_millis(100);
    let error = slot.obtain().await.unwrap_err();
    assert!(error.to_string().contains("ended already"), "{error}");
    sleep(secs(60)).await;
    assert!(mint.calls() < 40, "{}", mint.calls());
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
    let log_limiter: Vec<_> = (0..300)
        .map(|_| {
            let (slot, old) = (slot.clone(), old.clone());
            tokio::spawn(async move { again(slot.reject(&old).await).generation })
        })
        .collect();
    for caller in log_limiter {
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
    let (slot, mint, _) = open([ScriptedAct::Lives(Duration::MAX)]);
    mint.renews.store(false, Ordering::SeqCst);
    let first = slot.obtain().await.unwrap();
    sleep(secs(86_400)).await;
    assert!(stands(&slot.reject(&first).await));
    assert_eq!(mint.calls(), 1);

    slot.secret_changed();
    sleep(secs(1)).await;
    assert_eq!(again(slot.reject(&first).await).generation, 2);
    assert_eq!(slot.snapshot().human_due_ms, None);
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

#[tokio::test(start_paused = true)]
async fn a_slot_with_an_heir_serves_what_it_has_and_asks_nobody() {
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
async fn a_slot_whose_heir_is_taken_back_goes_on_as_before() {
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
async fn callers_who_wait_when_the_heir_comes_are_served_by_it() {
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

#[tokio::test(start_paused = true)]
async fn a_command_that_may_have_hung_is_named_beside_the_issuer() {
    let (slot, mint, _) = open([life(60)]);
    let vault = ["vault", "read"].map(String::from).to_vec();
    *mint.sources.lock().unwrap() = vec![crate::secret::SecretSource::Command(vault.into())];
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
