//! What can be made to go wrong with logins, for every kind.

use super::*;
use crate::{BrokenAs, ExpiryAs};

#[tokio::test]
async fn a_failing_login_has_no_effect_and_only_strikes_its_kind() {
    let bench = Bench::start(Faults::default()).await;
    for kind in Kind::ALL {
        bench.simulator.faults(Faults {
            login_only: Some(kind),
            login_status: 503,
            login_status_next: 1,
            retry_after_s: 7,
            ..Faults::default()
        });
        let other = Kind::ALL
            .into_iter()
            .find(|other| other.realm() != kind.realm());
        let other = bench.log_in(other.expect("another")).await;
        assert!(!other.status.is_server_error(), "{kind:?}");
        let failed = bench.log_in(kind).await;
        assert_eq!(failed.status, 503, "{kind:?}");
        assert_eq!(failed.headers[header::RETRY_AFTER], "7");
        assert_eq!(bench.simulator.current_faults().login_status_next, 0);
        bench.simulator.end_all(Kind::AmeyoSession);
        bench.simulator.end_all(Kind::AmeyoJwt);
    }
}

#[tokio::test]
async fn a_login_answers_the_codes_it_is_told_to() {
    let bench = Bench::start(Faults {
        login_status: 401,
        login_error_code: 70020,
        login_status_next: 1,
        login_512_next: 1,
        ..Faults::default()
    })
    .await;
    let blocked = bench.log_in(Kind::AmeyoJwt).await;
    assert_eq!(
        (blocked.status.as_u16(), &blocked.json()["errorCode"]),
        (401, &json!(70020))
    );
    let transient = bench.log_in(Kind::AmeyoJwt).await;
    assert_eq!(transient.status.as_u16(), 512);
    assert_eq!(
        transient.json()["message"],
        "SessionService.login.failed.not.able.to.fetch.user.info"
    );
    bench.simulator.faults(Faults {
        login_refusal_status: Some(200),
        ..Faults::default()
    });
    let (target, _, body) = login(Kind::IntegrationsToken);
    let body = body.replace("sim_integration_secret", "wrong");
    let lying = bench.call("POST", target, "", &body).await;
    assert_eq!(lying.status, 200);
    let said = lying.json();
    assert_eq!(
        (&said["Status"], &said["Code"], &said["Data"]),
        (&json!("Failed"), &json!(401), &json!(""))
    );
}

#[tokio::test]
async fn a_broken_answer_is_broken_for_every_kind() {
    for kind in Kind::ALL {
        let bench = Bench::start(Faults::default()).await;
        for broken in [
            BrokenAs::Garbage,
            BrokenAs::Noise,
            BrokenAs::Null,
            BrokenAs::Empty,
            BrokenAs::Failure,
        ] {
            bench.simulator.faults(Faults {
                login_broken_next: 1,
                login_broken_as: broken,
                ..Faults::default()
            });
            let answer = bench.log_in(kind).await;
            assert_eq!(answer.status, 200, "{kind:?} {broken:?}");
            let json = serde_json::from_slice::<Value>(&answer.body);
            let readable = matches!(broken, BrokenAs::Null | BrokenAs::Failure);
            assert_eq!(json.is_ok(), readable, "{kind:?} {broken:?}");
            assert_eq!(bench.simulator.state().of(kind).logins, 0);
        }
        bench.simulator.faults(Faults {
            login_broken_next: 1,
            login_broken_as: BrokenAs::Huge,
            ..Faults::default()
        });
        let huge = bench.log_in(kind).await;
        assert!(huge.body.len() > 300 * 1024, "{kind:?}");
        assert_eq!(bench.simulator.state().of(kind).logins, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_cut_lost_or_dripping_answer_leaves_the_login_done() {
    for kind in Kind::ALL {
        let bench = Bench::start(Faults::default()).await;
        let (target, fields, body) = login(kind);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let cut = Faults {
            login_broken_next: 1,
            login_broken_as: BrokenAs::Half,
            max_allowed_logins: 9,
            ..Faults::default()
        };
        bench.simulator.faults(cut.clone());
        assert!(
            bench.try_ask("POST", target, &fields, &body).await.is_err(),
            "{kind:?}"
        );
        bench.simulator.faults(Faults {
            login_broken_next: 0,
            login_lost_next: 1,
            ..cut.clone()
        });
        assert!(
            bench.try_ask("POST", target, &fields, &body).await.is_err(),
            "{kind:?}"
        );
        bench.simulator.faults(Faults {
            login_broken_as: BrokenAs::Drip,
            drip_ms: 1,
            ..cut
        });
        let dripped = bench.ask("POST", target, &fields, &body).await;
        assert!(
            serde_json::from_slice::<Value>(&dripped.body).is_ok(),
            "{kind:?}"
        );
        assert_eq!(bench.simulator.state().of(kind).logins, 3, "{kind:?}");
    }
}

#[tokio::test]
async fn refreshes_keep_alives_logouts_and_revocations_fail_without_effect() {
    let bench = Bench::start(Faults {
        refresh_status_next: 1,
        keep_alive_status_next: 1,
        logout_status_next: 1,
        revocation_status: 403,
        revocation_status_next: 1,
        ..Faults::default()
    })
    .await;
    let answer = bench.log_in(Kind::AmeyoJwt).await;
    let jwt = text(&answer, &format!("{PROPERTIES}/jwt"));
    let id = text(&answer, "/userSessionInfo/sessionId");
    let both = [("sessionId", id.as_str()), ("authorization", jwt.as_str())];
    let session = json!({"sessionId": id}).to_string();
    let user = r#"{"userId":"supervisor01"}"#;
    let of = |path: &str| format!("/ameyorestapi/session/{path}");
    for (path, body, status, message) in [
        ("refreshToken", user, 401, "invalid.authentication.token"),
        (
            "keepAliveWithPingPush",
            &session,
            401,
            "invalid.authentication.token",
        ),
        ("userLogout", &session, 512, "logout.failed"),
    ] {
        let failed = bench.ask("POST", &of(path), &both, body).await;
        assert_eq!(failed.status.as_u16(), status, "{path}");
        assert_eq!(failed.json()["message"], message, "{path}");
        assert_eq!(bench.simulator.state().of(Kind::AmeyoJwt).open, 1);
    }
    // A keep-alive may come with the JWT, then with the newest.
    let stale = [("authorization", "stale")];
    assert_eq!(
        bench
            .ask("POST", &of("keepAliveWithPingPush"), &stale, &session)
            .await
            .status,
        401
    );
    for (path, body) in [
        ("keepAliveWithPingPush", session.as_str()),
        ("refreshToken", user),
    ] {
        assert_eq!(
            bench.ask("POST", &of(path), &both, body).await.status,
            200,
            "{path}"
        );
    }
    assert_eq!(
        bench
            .ask("POST", &of("userLogout"), &[], &session)
            .await
            .status,
        200
    );

    bench.register("a").await;
    let id = bench.simulator.state().keys[0].id;
    let revoke = async || {
        let target = format!("{KEYS}/{id}");
        bench
            .call("DELETE", &target, &bench.bearer, "")
            .await
            .status
    };
    assert_eq!(revoke().await, 403);
    assert_eq!(bench.simulator.state().keys.len(), 1);
    assert_eq!(revoke().await, 200);
    let counted = bench.simulator.state().of(Kind::AmeyoJwt);
    assert_eq!(
        (counted.keep_alives, counted.refreshes, counted.logouts),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn a_broken_refresh_leaves_the_jwt_and_a_huge_one_replaces_it() {
    let bench = Bench::start(Faults::default()).await;
    let answer = bench.log_in(Kind::AmeyoJwt).await;
    let jwt = text(&answer, &format!("{PROPERTIES}/jwt"));
    let id = text(&answer, "/userSessionInfo/sessionId");
    let both = [("sessionId", id.as_str()), ("authorization", jwt.as_str())];
    let target = "/ameyorestapi/session/refreshToken";
    for (broken, refreshes) in [(BrokenAs::Garbage, 0), (BrokenAs::Huge, 1)] {
        bench.simulator.faults(Faults {
            refresh_broken_next: 1,
            login_broken_as: broken,
            ..Faults::default()
        });
        let body = r#"{"userId":"supervisor01"}"#;
        let answer = bench.ask("POST", target, &both, body).await;
        assert_eq!(answer.status, 200, "{broken:?}");
        let counted = bench.simulator.state().of(Kind::AmeyoJwt);
        assert_eq!(counted.refreshes, refreshes, "{broken:?}");
    }
}

#[tokio::test]
async fn the_told_end_may_be_wrong_or_missing_while_the_token_keeps_its_life() {
    let end = START_MS + 3_600_000;
    for (expiry_as, seconds, iso, ms_text, epoch) in [
        (
            ExpiryAs::Truth,
            json!(3600),
            json!(date(end)),
            json!("3600000"),
            json!(end / 1000),
        ),
        (
            ExpiryAs::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ),
        (
            ExpiryAs::Words,
            json!("soon"),
            json!("soon"),
            json!("soon"),
            json!("soon"),
        ),
        (
            ExpiryAs::Zero,
            json!(0),
            json!(date(START_MS)),
            json!("0"),
            json!(START_MS / 1000),
        ),
        (
            ExpiryAs::Past,
            json!(-60),
            json!(date(START_MS - 60_000)),
            json!("-60000"),
            json!(START_MS / 1000 - 60),
        ),
        (
            ExpiryAs::Late,
            json!(36000),
            json!(date(START_MS + 36_000_000)),
            json!("36000000"),
            json!(START_MS / 1000 + 36000),
        ),
        (
            ExpiryAs::EpochMs,
            json!(end),
            json!(end),
            json!(end.to_string()),
            json!(end),
        ),
    ] {
        let bench = told(expiry_as).await;
        for (kind, pointer, expected) in fields(seconds, iso, ms_text, epoch) {
            let answer = bench.log_in(kind).await.json();
            let told = answer.pointer(&pointer).expect("the field");
            assert!(
                near(told, &expected),
                "{kind:?} {expiry_as:?}: {told} is not {expected}"
            );
        }
    }
    let bench = told(ExpiryAs::Absent).await;
    let none = || Value::Null;
    for (kind, pointer, _) in fields(none(), none(), none(), none()) {
        let answer = bench.log_in(kind).await;
        assert!(answer.status.is_success(), "{kind:?}");
        assert_eq!(answer.json().pointer(&pointer), None, "{kind:?}");
    }
}

async fn told(expiry_as: ExpiryAs) -> Bench {
    Bench::start(Faults {
        expiry_as,
        ccm_token_life_ms: 3_600_000,
        v4_login_life_ms: 3_600_000,
        ameyo_jwt_life_ms: 3_600_000,
        ..Faults::default()
    })
    .await
}

fn fields(seconds: Value, iso: Value, ms_text: Value, epoch: Value) -> [(Kind, String, Value); 4] {
    [
        (Kind::CcmToken, "/response/data/expires_in".into(), seconds),
        (Kind::V4Login, "/response/data/expires_at".into(), iso),
        (
            Kind::AmeyoJwt,
            format!("{PROPERTIES}/jwtTokenExpiryMs"),
            ms_text,
        ),
        (Kind::Acme, "/expires".into(), epoch),
    ]
}

#[tokio::test]
async fn a_delayed_login_is_looked_at_late() {
    let bench = Bench::start(Faults {
        login_delay_ms: 3_600_000,
        ..Faults::default()
    })
    .await;
    let attempted = async {
        while bench.simulator.state().of(Kind::Acme).login_attempts == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = bench.log_in(Kind::Acme) => panic!("answered {} within an hour", answer.status),
        () = attempted => {}
    }
    assert_eq!(bench.simulator.state().of(Kind::Acme).logins, 0);
}

#[tokio::test]
async fn the_state_has_every_kind_by_name() {
    let bench = Bench::start(Faults::default()).await;
    bench.log_in(Kind::AmeyoSession).await;
    let state = bench.get("/_sim/state", "").await.json();
    let kinds = state["kinds"].as_object().expect("an object");
    let mut names: Vec<&str> = kinds.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "acme",
            "ameyo_jwt",
            "ameyo_session",
            "ccm_token",
            "integrations_token",
            "oauth2",
            "v4_login"
        ]
    );
    assert_eq!(
        kinds["ameyo_session"],
        json!({"logins": 1, "login_attempts": 1, "refreshes": 0, "refresh_attempts": 0,
               "keep_alives": 0, "logouts": 0, "evictions": 0, "lockouts": 0, "open": 1})
    );
    assert_eq!(kinds["acme"]["logins"], 0);
}
