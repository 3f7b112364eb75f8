//! The suite: what each kind is held to.

use std::sync::Arc;
use std::time::Duration;

use headset::base::time::Clock;
use headset::credential::slot::{RejectOutcome, SlotState};
use headset::credential::{Rejection, Revocation};
use percent_encoding::percent_decode_str;

use super::stage::Stage;
use super::{Contract, NEW_PASSWORD, START_MS, contracts};
use crate::contracts::issuer::{Issuer, Mood};
use crate::support::eventually;

/// What a case finds out.
pub enum Found {
    Holds,
    /// The case has nothing to ask of this kind.
    Nothing,
}

pub type Case = (&'static str, fn(Contract) -> Running);
pub type Running = std::pin::Pin<Box<dyn Future<Output = Found>>>;

macro_rules! cases {
    ($($title:literal $name:ident),* $(,)?) => {
        pub const CASES: &[Case] = &[$(($title, |contract| Box::pin($name(contract)))),*];
    };
}

cases! {
    "mints" mints,
    "caches" caches,
    "refreshes" refreshes_before_its_end,
    "rejects" is_replaced_when_rejected,
    "dead" a_dead_session_is_a_login,
    "password" a_new_password_is_used,
    "500" survives_500,
    "500 later" serves_while_renewal_fails,
    "429" waits_as_told,
    "401" stops_when_refused,
    "timeout" survives_silence,
    "slow" survives_a_drip,
    "garbage" survives_garbage,
    "huge" survives_a_flood,
    "redirect" follows_no_redirect,
    "revoke" ends_what_it_began,
}

async fn mints(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    let minted = stage.obtain().await;
    stage.carries(&minted, 1);
    for (name, _) in minted.headers.iter() {
        assert!(stage.slot.header_names().contains(name), "{name}");
    }
    assert_eq!(stage.logins(), usize::from(stage.contract.asks));
    let urls = stage.slot.mint().facts().issuer_urls.clone();
    let covered = urls.iter().any(|url| *url.path == *stage.contract.login);
    assert_eq!(
        covered, stage.contract.asks,
        "applications must not reach it"
    );
    Found::Holds
}

async fn caches(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    for _ in 0..100 {
        assert!(Arc::ptr_eq(&first, &stage.obtain().await));
    }
    assert_eq!(stage.issuer.count(), usize::from(stage.contract.asks));
    Found::Holds
}

async fn refreshes_before_its_end(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    stage.near_the_end(&first);
    eventually("a renewal", async || {
        let now = stage.slot.peek().expect("there is one all the time");
        now.generation == 2
    })
    .await;
    let second = stage.obtain().await;
    let life = second.expires.remaining(stage.clock.now());
    assert!(life > Duration::from_secs(1800), "{life:?}");
    Found::Holds
}

async fn is_replaced_when_rejected(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    stage.clock.sleep_machine(Duration::from_secs(3));
    match stage.slot.reject(&first).await {
        RejectOutcome::Again(second) => {
            assert!(stage.contract.asks && second.generation == 2);
            stage.carries(&second, stage.issuer.count());
        }
        RejectOutcome::Stands => assert!(!stage.contract.asks, "it could log in anew"),
    }
    Found::Holds
}

/// An issuer that keeps refreshing the token of a dead session is not asked to.
async fn a_dead_session_is_a_login(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    if stage.slot.mint().facts().dead_session.is_none() {
        return Found::Nothing;
    }
    let first = stage.obtain().await;
    stage.clock.sleep_machine(Duration::from_secs(3));
    let verdict = stage.slot.reject_as(&first, Rejection::Session).await;
    let RejectOutcome::Again(second) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!((second.generation, stage.logins()), (2, 2));
    stage.carries(&second, stage.issuer.count());
    Found::Holds
}

async fn a_new_password_is_used(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    stage.folder.write("password", NEW_PASSWORD);
    stage.slot.secret_changed();
    eventually("a mint with the new password", async || {
        !Arc::ptr_eq(&first, &stage.obtain().await)
    })
    .await;
    if stage.contract.asks {
        let asked = stage.issuer.asked();
        let mut logins = asked.iter().filter(|a| a.path == stage.contract.login);
        let last = logins.next_back().unwrap();
        let basic = "YXBpX2tleTpjb3JyZWN0LWhvcnNlLVNlY3JldCQwODE1";
        let in_field = last
            .headers
            .values()
            .any(|value| value.to_str().unwrap().contains(basic));
        assert!(
            in_field || unencoded(&last.body).contains(NEW_PASSWORD),
            "{}",
            last.path
        );
    }
    // A secret that reads as before changes nothing.
    let count = stage.issuer.count();
    stage.slot.secret_changed();
    stage.obtain().await;
    assert_eq!(stage.issuer.count(), count);
    Found::Holds
}

async fn survives_500(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Status(500, None)).await;
    let said = stage.failure().await;
    assert!(said.contains("500"), "{said}");
    let asked = stage.issuer.count();
    for _ in 0..50 {
        stage.failure().await;
    }
    assert_eq!(
        stage.issuer.count(),
        asked,
        "a crowd is answered from memory"
    );
    stage.recovers().await;
    Found::Holds
}

async fn serves_while_renewal_fails(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    stage.issuer.is(Mood::Status(503, None));
    stage.near_the_end(&first);
    eventually("a failed renewal", async || {
        stage.slot.snapshot().state == SlotState::Failing
    })
    .await;
    assert!(
        Arc::ptr_eq(&first, &stage.obtain().await),
        "the live one serves"
    );
    stage.clock.sleep_machine(Duration::from_secs(30));
    assert!(stage.slot.peek().is_none(), "and no longer than it lives");
    stage.recovers().await;
    Found::Holds
}

async fn waits_as_told(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Status(429, Some(40))).await;
    stage.failure().await;
    let asked = stage.issuer.count();
    stage.issuer.is(Mood::Good);
    stage.pass(Duration::from_secs(30));
    stage.failure().await;
    assert_eq!(stage.issuer.count(), asked, "Retry-After is a floor");
    stage.recovers().await;
    Found::Holds
}

async fn stops_when_refused(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Status(401, None)).await;
    let said = stage.failure().await;
    assert!(said.contains("401") && said.contains("file "), "{said}");
    assert_eq!(stage.slot.snapshot().state, SlotState::Refused);
    let asked = stage.issuer.count();
    for _ in 0..10 {
        stage.pass(Duration::from_secs(60));
        stage.failure().await;
    }
    assert_eq!(
        stage.issuer.count(),
        asked,
        "a refused password is tried once"
    );
    assert!(
        stage.slot.snapshot().human_due_ms.is_some(),
        "a person is called"
    );
    stage.issuer.is(Mood::Good);
    stage.folder.write("password", NEW_PASSWORD);
    stage.slot.secret_changed();
    let slot = &stage.slot;
    eventually("a try with the new password", async || {
        slot.obtain().await.is_ok()
    })
    .await;
    Found::Holds
}

async fn survives_silence(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let limit = Duration::from_millis(300);
    let stage = Stage::set_within(contract, Mood::Silent, limit).await;
    let said = stage.failure().await;
    assert!(said.contains("did not answer"), "{said}");
    Found::Holds
}

async fn survives_a_drip(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let limit = Duration::from_millis(300);
    let stage = Stage::set_within(contract, Mood::Slow, limit).await;
    let said = stage.failure().await;
    assert!(said.contains("did not answer"), "{said}");
    Found::Holds
}

async fn survives_garbage(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let bodies = [
        "",
        "null",
        "<html>Please sign in</html>",
        "{\"acc\u{1}ess",
        "[]",
        "{}",
        "7",
        "\"x\"",
        r#"{"response":null,"Data":{},"sessionId":{"a":1},"authenticationState":[1]}"#,
        r#"{"status":"error","reason":"Invalid session Id"}"#,
        r#"{"Status":"Failed","Code":500,"status":512,"http_code":503,"response":{"code":503},"ok":false}"#,
        r#"{"response":{"data":{"access_token":"a\u0000b","expires_in":"soon","session_token":"x\ny","expires_at":"never"}},"Status":"Success","Data":"a\nb","sessionId":"a\u0007"}"#,
    ];
    for body in bodies {
        let again = contracts().into_iter().find(|c| c.kind == contract.kind);
        let stage = Stage::set(again.unwrap(), Mood::Body(body)).await;
        if contract.believes_any_body {
            stage.obtain().await;
            continue;
        }
        let said = stage.failure().await;
        assert!(!said.contains("panicked"), "{body}: {said}");
        stage.issuer.is(Mood::Good);
        // A 512 in the body is a refusal, which a new password ends.
        stage.folder.write("password", NEW_PASSWORD);
        stage.recovers().await;
    }
    Found::Holds
}

async fn survives_a_flood(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Huge).await;
    let said = stage.failure().await;
    assert!(said.contains("longer than"), "{said}");
    stage.recovers().await;
    Found::Holds
}

async fn follows_no_redirect(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let elsewhere = Issuer::start(contract.good, Clock::faked(START_MS)).await;
    let mood = Mood::Redirect(format!("{}{}", elsewhere.base(), contract.login));
    let stage = Stage::set(contract, mood).await;
    let said = stage.failure().await;
    assert!(said.contains("307"), "{said}");
    assert_eq!(elsewhere.count(), 0, "a redirect was followed");
    stage.recovers().await;
    Found::Holds
}

async fn ends_what_it_began(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    stage.obtain().await;
    let before = stage.issuer.count();
    let mint = stage.slot.mint();
    let ends = mint.facts().revokes_on_shutdown;
    mint.revoke(Revocation::Configured).await.unwrap();
    if !ends {
        assert_eq!(stage.issuer.count(), before, "nothing was to be ended");
        return Found::Nothing;
    }
    assert_eq!(stage.issuer.count(), before + 1);
    // What is ended once is not ended again.
    mint.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(stage.issuer.count(), before + 1);
    Found::Holds
}

/// A body as it was before it was encoded as a form, where it was.
fn unencoded(body: &str) -> String {
    percent_decode_str(body).decode_utf8_lossy().into_owned()
}
