//! Bad tries, locks and new passwords.

use super::*;

#[tokio::test]
async fn three_bad_tries_lock_whatever_the_kind_and_unlocking_helps() {
    let bench = Bench::start(Faults::default()).await;
    for (kind, user, password, locked) in [
        (Kind::V4Login, "sim_api_key", "sim_api_token", 403),
        (Kind::AmeyoSession, "doc_admin", "doc_admin", 401),
        (Kind::AmeyoJwt, "supervisor01", "supervisor@123$", 401),
        (
            Kind::IntegrationsToken,
            "sim_integration",
            "sim_integration_secret",
            403,
        ),
        (Kind::Acme, "acme_login", "acme_secret", 403),
    ] {
        let (target, _, good) = login(kind);
        let bad = good.replace(&format!("\"{password}\""), "\"wrong\"");
        // Where user and password are the same word, both were replaced.
        let bad = bad.replace(r#""userId":"wrong""#, &format!(r#""userId":"{user}""#));
        for _ in 0..3 {
            let refused = bench.call("POST", target, "", &bad).await;
            assert_eq!(refused.status, 401, "{kind:?}");
            if kind.realm() == Kind::AmeyoJwt.realm() {
                assert_eq!(refused.json()["errorCode"], 20203);
                assert_eq!(refused.json()["status"], 401);
            }
        }
        let late = bench.call("POST", target, "", &good).await;
        assert_eq!(late.status.as_u16(), locked, "{kind:?}");
        if kind.realm() == Kind::AmeyoJwt.realm() {
            assert_eq!(late.json()["errorCode"], 20207);
        }
        let state = bench.simulator.state();
        assert_eq!(state.locked, [user]);
        let counted = state.of(kind);
        assert_eq!(
            (counted.login_attempts, counted.logins, counted.lockouts),
            (4, 0, 1)
        );
        assert!(bench.simulator.unlock(user));
        assert!(bench.log_in(kind).await.status.is_success(), "{kind:?}");
    }
}

#[tokio::test]
async fn a_password_changes_and_a_lock_is_set_on_demand() {
    let bench = Bench::start(Faults::default()).await;
    let change = async |body: &str| bench.call("POST", "/_sim/users", "", body).await;
    let set = change(r#"{"user":"acme_login","password":"n\"ew"}"#).await;
    assert_eq!(set.status, 200);
    assert_eq!(bench.log_in(Kind::Acme).await.status, 401);
    let body = json!({"login": "acme_login", "secret": "n\"ew"}).to_string();
    let good = async || {
        bench
            .call("POST", "/acme/session", "", &body)
            .await
            .status
            .as_u16()
    };
    assert_eq!(good().await, 201);
    assert_eq!(
        change(r#"{"user":"acme_login","locked":true}"#)
            .await
            .status,
        200
    );
    assert_eq!(good().await, 403);
    bench.simulator.faults(Faults {
        max_bad_logins: 0,
        ..Faults::default()
    });
    assert_eq!(good().await, 201, "no lock is enforced");
    let ended = change(r#"{"user":"acme_login","locked":false,"end":true}"#).await;
    assert_eq!(ended.json()["ended"], 2);
    assert_eq!(bench.simulator.state().locked, Vec::<String>::new());
    assert_eq!(change(r#"{"user":"nobody"}"#).await.status, 404);
    assert_eq!(
        change(r#"{"user":"acme_login","pass":"x"}"#).await.status,
        400
    );
}

#[tokio::test]
async fn an_api_key_is_locked_by_the_call_that_issues_a_token_only() {
    let bench = Bench::start(Faults::default()).await;
    let issue = "/v2/accounts/acct/configuration/basicauth";
    let calls = "/v2/accounts/acct/calls";
    let wrong = format!("Basic {}", STANDARD.encode("sim_api_key:wrong"));
    for _ in 0..4 {
        assert_eq!(bench.get(calls, &wrong).await.status, 401);
    }
    assert_eq!(bench.simulator.state().locked, Vec::<String>::new());
    for _ in 0..3 {
        assert_eq!(bench.call("POST", issue, &wrong, "").await.status, 401);
    }
    assert_eq!(bench.log_in(Kind::CcmToken).await.status, 403);
    assert_eq!(bench.log_in(Kind::V4Login).await.status, 403);
    assert_eq!(bench.simulator.state().of(Kind::CcmToken).lockouts, 1);
}
