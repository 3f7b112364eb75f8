//! Each decision by itself, without a runtime, a clock or a kind.

use super::*;
use crate::credential::UnavailableReason;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// So many seconds after some moment.
fn at(seconds: u64) -> Moment {
    Moment {
        wall_ms: seconds as i64 * 1000,
        boot: secs(seconds),
    }
}

fn fresh(from: Moment, life: u64) -> Fresh {
    Fresh {
        headers: Box::default(),
        secrets: Default::default(),
        expires: Deadline::new(from, secs(life)),
        source_ends: None,
        skew_ms: None,
        origin: CredentialOrigin::Issued,
        assumed_life: None,
        session: None,
    }
}

/// One that was obtained at the 100th second and lives for an hour.
fn live() -> (RenewalState, Arc<Minted>) {
    let mut state = RenewalState::default();
    let renewed = state.on_success(fresh(at(100), 3600), None, at(100), 0.0);
    (state, renewed.minted)
}

fn refused(reason: RefusalReason) -> MintError {
    let detail = "no".into();
    MintError::Refused { reason, detail }
}

fn unavailable(retry_after: Option<Duration>) -> MintError {
    MintError::Unavailable {
        reason: UnavailableReason::Status,
        detail: "503".into(),
        retry_after,
    }
}

fn unreadable() -> MintError {
    MintError::Secret {
        detail: "gone".into(),
    }
}

const EVERY_SECOND: Option<KeepAlive> = Some(KeepAlive {
    every: Duration::from_secs(1),
    always: true,
});

#[test]
fn it_starts_at_once_then_waits_for_the_renewal_and_renews() {
    let mut state = RenewalState::default();
    assert_eq!(state.decide(at(0)), Step::Attempt(AttemptCause::Start));
    let (mut state, _) = live();
    // A margin of 180 s before the end, all of it as the share is 0.
    assert_eq!(state.decide(at(100)), Step::Wait(secs(3420)));
    assert_eq!(state.decide(at(3519)), Step::Wait(secs(1)));
    for late in [3520, 10_000] {
        assert_eq!(state.decide(at(late)), Step::Attempt(AttemptCause::Renewal));
    }
}

#[test]
fn a_life_shorter_than_the_least_pause_does_not_shorten_it() {
    let mut state = RenewalState::default();
    let mut short = fresh(at(100), 0);
    short.expires = Deadline::new(at(100), Duration::from_millis(400));
    state.on_success(short, None, at(100), 0.0);
    let later = Moment {
        wall_ms: 100_300,
        boot: Duration::from_millis(100_300),
    };
    assert_eq!(state.decide(later), Step::Wait(Duration::from_millis(700)));
    assert_eq!(state.decide(at(101)), Step::Attempt(AttemptCause::Renewal));
}

#[test]
fn the_end_that_comes_again_is_waited_for_and_an_outdated_credential_is_not() {
    let (mut state, _) = live();
    let again = state.on_success(fresh(at(100), 3600), None, at(200), 0.0);
    assert!(again.same_end);
    assert_eq!(again.minted.generation, 2);
    assert_eq!(
        state.decide(at(200)),
        Step::Wait(secs(3500) - schedule::LEEWAY)
    );

    let outdated = Fresh {
        origin: CredentialOrigin::Outdated,
        ..fresh(at(300), 3600)
    };
    assert!(!state.on_success(outdated, None, at(300), 0.0).same_end);
    let next = Step::Attempt(AttemptCause::SecretChanged);
    assert_eq!(state.decide(at(300)), next);
    assert_ne!(state.decide(at(300)), next, "once");
}

#[test]
fn one_that_is_only_found_again_keeps_its_renewal() {
    let (mut state, _) = live();
    let found = Fresh {
        origin: CredentialOrigin::Reused,
        ..fresh(at(100), 3600)
    };
    assert!(!state.on_success(found, None, at(200), 0.0).same_end);
    // Before the margin of an hour, as if it had not been found again.
    assert_eq!(state.decide(at(200)), Step::Wait(secs(3320)));
}

#[test]
fn how_long_a_failure_is_remembered_depends_on_whose_fault_it_is() {
    let after = |error: MintError| {
        let (mut state, _) = live();
        state.on_failure(error, at(200), 0.0);
        let step = state.decide(at(200));
        let Step::Wait(wait) = step else {
            panic!("{step:?}")
        };
        (wait, state)
    };
    assert_eq!(after(unavailable(None)).0, secs(1));
    assert_eq!(after(unavailable(Some(secs(40)))).0, secs(40));
    assert_eq!(after(unreadable()).0, SECRET_AGAIN);
    let (wait, mut state) = after(refused(RefusalReason::NotAccepted));
    assert_eq!(wait, schedule::cool_down(1));
    let retry = Step::Attempt(AttemptCause::Retry);
    assert_eq!(state.decide(at(1100)), retry);
    state.on_failure(refused(RefusalReason::Forbidden), at(1100), 0.0);
    assert_eq!(state.decide(at(1101)), Step::Wait(secs(1799)));
    assert_eq!(state.refusals(), 2);

    let (_, mut locked) = after(refused(RefusalReason::Locked));
    let in_a_year = locked.decide(at(365 * 86_400));
    assert!(matches!(in_a_year, Step::Wait(_)), "{in_a_year:?}");
    let woken = locked.on_secret_change(Change::Replaces, at(365 * 86_400));
    assert_eq!(woken, Some(Step::Attempt(AttemptCause::SecretChanged)));
}

#[test]
fn what_a_changed_secret_calls_for() {
    let attempt = Some(Step::Attempt(AttemptCause::SecretChanged));
    let fails = |error: MintError| {
        let (mut state, _) = live();
        state.on_failure(error, at(200), 0.0);
        state
    };
    let on = |mut state: RenewalState, change| state.on_secret_change(change, at(200));
    let none = RenewalState::default;
    assert_eq!(on(none(), Change::Replaces), None, "it is about to start");
    assert_eq!(on(live().0, Change::Nothing), None);
    assert_eq!(on(live().0, Change::Replaces), attempt);
    assert_eq!(on(live().0, Change::Extends), attempt);
    // One that cannot be read is looked at whatever it seems to be.
    assert_eq!(on(fails(unreadable()), Change::Nothing), attempt);
    let refusal = || fails(refused(RefusalReason::NotAccepted));
    assert_eq!(on(refusal(), Change::Nothing), None);
    assert_eq!(on(refusal(), Change::Extends), attempt);
    assert_eq!(on(fails(unavailable(None)), Change::Replaces), attempt);
    let named = fails(unavailable(Some(secs(40))));
    assert_eq!(on(named, Change::Replaces), None, "the issuer named a time");
}

#[test]
fn a_fresh_bearer_extends_at_most_hourly_and_none_is_forgotten() {
    let (mut state, _) = live();
    let attempt = Step::Attempt(AttemptCause::SecretChanged);
    let extends =
        |state: &mut RenewalState, seconds| state.on_secret_change(Change::Extends, at(seconds));
    assert_eq!(extends(&mut state, 200), Some(attempt));
    state.on_success(fresh(at(200), 86_400), None, at(200), 0.0);
    assert_eq!(extends(&mut state, 300), None);
    assert!(matches!(state.decide(at(300)), Step::Wait(_)));
    assert_eq!(state.decide(at(200 + 3600)), attempt);
}

#[test]
fn a_rejection_is_judged_by_identity_and_replaces_at_most_every_five_seconds() {
    let (mut state, first) = live();
    let verdict = state.on_rejection(&first, at(110));
    assert!(matches!(verdict, RejectionVerdict::Replace), "{verdict:?}");
    let second = state
        .on_success(fresh(at(110), 3600), None, at(110), 0.0)
        .minted;
    let verdict = state.on_rejection(&first, at(111));
    assert!(matches!(verdict, RejectionVerdict::Newer(newer) if Arc::ptr_eq(&newer, &second)));
    let verdict = state.on_rejection(&second, at(114));
    assert!(matches!(verdict, RejectionVerdict::Stands), "{verdict:?}");
    let verdict = state.on_rejection(&second, at(115));
    assert!(matches!(verdict, RejectionVerdict::Replace), "{verdict:?}");
}

#[test]
fn while_a_failure_is_remembered_a_rejection_stands_and_costs_no_later_attempt() {
    let (mut state, used) = live();
    state.on_failure(unavailable(Some(secs(40))), at(200), 0.0);
    let verdict = state.on_rejection(&used, at(239));
    assert!(matches!(verdict, RejectionVerdict::Stands), "{verdict:?}");
    let verdict = state.on_rejection(&used, at(240));
    assert!(matches!(verdict, RejectionVerdict::Replace), "{verdict:?}");
}

#[test]
fn during_an_attempt_only_the_newest_is_withheld_and_not_twice_in_five_seconds() {
    let (mut state, first) = live();
    let second = state
        .on_success(fresh(at(110), 3600), None, at(110), 0.0)
        .minted;
    assert!(!state.withholds(&first, at(120)));
    assert!(state.withholds(&second, at(120)));
    assert!(!state.withholds(&second, at(124)));
    state.on_failure(unavailable(None), at(130), 0.0);
    assert!(!state.withholds(&second, at(130)), "it is better than none");
}

#[test]
fn new_settings_have_an_unanswered_attempt_made_again_and_no_other() {
    let attempt_after = |error: MintError| {
        let mut state = RenewalState::default();
        state.on_failure(error, at(200), 0.0);
        state.on_settings(None, at(200));
        matches!(state.decide(at(200)), Step::Attempt(_))
    };
    assert!(attempt_after(unavailable(None)));
    assert!(!attempt_after(unavailable(Some(secs(40)))));
    assert!(!attempt_after(refused(RefusalReason::Forbidden)));
}

#[test]
fn a_session_is_kept_alive_while_it_lives() {
    let mut state = RenewalState::default();
    state.on_success(fresh(at(100), 3600), EVERY_SECOND, at(100), 0.0);
    assert_eq!(state.decide(at(100)), Step::Wait(secs(1)));
    assert_eq!(state.decide(at(101)), Step::KeepAlive);
    state.plan_keep_alive(EVERY_SECOND, at(101));
    assert_eq!(state.decide(at(101)), Step::Wait(secs(1)));
    state.on_settings(None, at(101));
    assert_eq!(state.decide(at(102)), Step::Wait(secs(3418)));
}

#[test]
fn a_session_that_was_ended_is_not_served_and_the_next_is_a_login() {
    let (mut state, _) = live();
    assert!(state.newest().is_some());
    state.on_session_ended();
    assert!(state.newest().is_none());
    let login = Step::Attempt(AttemptCause::SessionEnded);
    assert_eq!(state.decide(at(101)), login);
    state.on_settings(EVERY_SECOND, at(101));
    assert_eq!(
        state.decide(at(200)),
        login,
        "there is nothing to keep alive"
    );
}

#[test]
fn what_another_slot_may_have_replaced_is_renewed_once() {
    let mut state = RenewalState::default();
    state.on_replaced();
    assert_eq!(
        state.renews_at_once(),
        None,
        "the first attempt is due anyway"
    );
    let (mut state, _) = live();
    state.on_replaced();
    let renewal = Some(Step::Attempt(AttemptCause::Renewal));
    assert_eq!(state.renews_at_once(), renewal);
    assert_eq!(state.renews_at_once(), None);
}
