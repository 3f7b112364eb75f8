//! Sessions: with and without a JWT, refreshed, kept alive, evicted, ended.

use super::*;
use crate::SessionDeadAs;

const ASSIGNED: &str = "/ameyorestapi/cc/campaigns/getAssigned";
const PING: &str = "/ameyorestapi/session/keepAliveWithPingPush";
const LOGOUT: &str = "/ameyorestapi/session/userLogout";
const REFRESH: &str = "/ameyorestapi/session/refreshToken";
const TIMELINE: &str =
    "/interaction-svc/api/v1/cc-list/1/process-list/1/interactions/7/interaction-timeline";

/// A login of `doc_admin`.
async fn log_in(bench: &Bench, force: bool) -> Answer {
    let body = json!({"userId": "doc_admin", "token": "doc_admin", "forceLogin": force});
    let target = "/ameyorestapi/session/userLogin";
    bench.call("POST", target, "", &body.to_string()).await
}

async fn status(bench: &Bench, target: &str, fields: HeaderFields<'_>) -> u16 {
    bench.ask("GET", target, fields, "").await.status.as_u16()
}

#[tokio::test]
async fn a_session_lets_in_by_header_or_query_and_says_nothing_of_its_life() {
    let bench = Bench::start(Faults::default()).await;
    let answer = bench.log_in(Kind::AmeyoSession).await;
    let body = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&body["userId"], &body["terminalInfo"]),
        (&json!("doc_admin"), &json!("test"))
    );
    assert!(near(&body["loginTime"], &json!(START_MS)), "{body}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(6));
    let id = text(&answer, "/sessionId");
    assert!(id.contains("-ses-doc_admin-") && id.len() > 150, "{id}");

    assert_eq!(status(&bench, ASSIGNED, &[("Sessionid", &id)]).await, 200);
    assert_eq!(
        status(&bench, &format!("{ASSIGNED}?sessionId={id}"), &[]).await,
        200
    );
    assert_eq!(
        status(
            &bench,
            "/ameyorestapi/cc/processes/getAssigned",
            &[("sessionId", &id)]
        )
        .await,
        200
    );
    let log = "/ameyorestapi/cc/downloadVoiceLog?bytes=3";
    assert_eq!(status(&bench, log, &[("sessionId", &id)]).await, 200);
    for fields in [
        &[][..],
        &[("sessionId", "other")],
        &[("sessionId", &id), ("sessionId", &id)],
        &[("sessionId", &id), ("authorization", "Basic YTpi")],
    ] {
        let refused = bench.ask("GET", ASSIGNED, fields, "").await;
        assert_eq!(refused.status, 401, "{fields:?}");
        let body = refused.json();
        assert_eq!(
            (&body["code"], &body["message"], &body["status"]),
            (
                &json!(909090),
                &json!("invalid.authentication.token"),
                &json!(401)
            )
        );
        assert!(!body.to_string().contains(&id));
    }
    assert_eq!(status(&bench, TIMELINE, &[("sessionId", &id)]).await, 401);
}

#[tokio::test]
async fn a_session_idles_out_and_only_a_keep_alive_prevents_it() {
    let bench = Bench::start(Faults {
        session_idle_ms: 60_000,
        ..Faults::default()
    })
    .await;
    let id = text(&log_in(&bench, false).await, "/sessionId");
    let ping = json!({"sessionId": id, "listenerName": "l", "pushesFollowPing": false}).to_string();
    bench.clock.step(40_000);
    assert_eq!(status(&bench, ASSIGNED, &[("sessionId", &id)]).await, 200);
    assert_eq!(
        bench.call("POST", PING, "", &ping).await.json()["status"],
        "OK"
    );
    bench.clock.step(40_000);
    assert_eq!(status(&bench, ASSIGNED, &[("sessionId", &id)]).await, 200);
    bench.clock.step(20_000);
    assert_eq!(status(&bench, ASSIGNED, &[("sessionId", &id)]).await, 401);
    let late = bench.call("POST", PING, "", &ping).await;
    assert_eq!(
        (late.status.as_u16(), &late.json()["code"]),
        (401, &json!(909090))
    );

    bench.simulator.faults(Faults {
        session_idle_ms: 60_000,
        traffic_extends: true,
        session_dead_as: SessionDeadAs::Forbidden,
        ..Faults::default()
    });
    let id = text(&log_in(&bench, false).await, "/sessionId");
    for _ in 0..3 {
        bench.clock.step(40_000);
        assert_eq!(status(&bench, ASSIGNED, &[("sessionId", &id)]).await, 200);
    }
    bench.clock.step(60_000);
    let dead = bench.ask("GET", ASSIGNED, &[("sessionId", &id)], "").await;
    assert_eq!(dead.status, 403);
    assert_eq!(
        dead.json(),
        json!({"message": null, "code": 99999, "info": "invalid.session.id", "status": 403})
    );
    let state = bench.simulator.state();
    let counted = state.of(Kind::AmeyoSession);
    assert_eq!(
        (counted.logins, counted.keep_alives, counted.open),
        (2, 1, 0)
    );
    assert_eq!(state.unauthorised, 2);
}

#[tokio::test]
async fn a_user_has_one_session_and_a_forced_login_evicts_it() {
    let bench = Bench::start(Faults::default()).await;
    let first = text(&log_in(&bench, false).await, "/sessionId");
    let second = log_in(&bench, false).await;
    assert_eq!(second.status, 401);
    let said = second.json();
    assert_eq!(
        (&said["errorCode"], said.get("code")),
        (&json!(20201), None)
    );
    assert_eq!(
        status(&bench, ASSIGNED, &[("sessionId", &first)]).await,
        200
    );
    let forced = text(&log_in(&bench, true).await, "/sessionId");
    assert_eq!(
        status(&bench, ASSIGNED, &[("sessionId", &first)]).await,
        401
    );
    assert_eq!(
        status(&bench, ASSIGNED, &[("sessionId", &forced)]).await,
        200
    );

    let body = json!({"sessionId": forced, "reason": "Logout from UI"}).to_string();
    assert_eq!(
        bench.call("POST", LOGOUT, "", &body).await.json(),
        json!({"status": "OK"})
    );
    assert_eq!(bench.call("POST", LOGOUT, "", &body).await.status, 401);
    assert_eq!(log_in(&bench, false).await.status, 200);
    let counted = bench.simulator.state().of(Kind::AmeyoSession);
    assert_eq!((counted.logins, counted.login_attempts), (3, 4));
    assert_eq!(
        (counted.evictions, counted.logouts, counted.open),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn a_login_with_jwt_gives_the_whole_tree_and_both_headers_are_needed() {
    let bench = Bench::start(Faults::default()).await;
    let answer = bench.log_in(Kind::AmeyoJwt).await;
    assert_eq!(answer.status, 200);
    let tree = answer.json();
    let properties = tree.pointer(PROPERTIES).expect("the properties");
    for (name, value) in properties.as_object().expect("an object") {
        assert!(value.is_string(), "{name} is {value}");
    }
    assert_eq!(properties["jwtTokenExpiryMs"], "900000");
    assert_eq!(properties["cms.server.domain"], "cms.test.local");
    assert_eq!(tree["userSessionInfo"]["rootUser"], false);
    let jwt = text(&answer, &format!("{PROPERTIES}/jwt"));
    let exp = json!(START_MS / 1000 + 900);
    assert!(near(&claims(&jwt)["exp"], &exp));
    let id = text(&answer, "/userSessionInfo/sessionId");
    let auth = ("authorization", jwt.as_str());
    let session = ("sessionId", id.as_str());
    let bearer = format!("Bearer {jwt}");

    for target in [ASSIGNED, TIMELINE] {
        assert_eq!(
            status(&bench, target, &[auth, session]).await,
            200,
            "{target}"
        );
        assert_eq!(status(&bench, target, &[auth]).await, 401, "{target}");
        assert_eq!(status(&bench, target, &[session]).await, 401, "{target}");
        let prefixed = [("authorization", bearer.as_str()), session];
        assert_eq!(status(&bench, target, &prefixed).await, 401, "{target}");
    }
    let refused = bench.ask("GET", TIMELINE, &[auth], "").await.json();
    assert_eq!(refused["response"]["error_data"]["error_code"], "AUTH-1001");

    let reports = "/data-engine/api/v1/reports";
    let hidden = bench.ask("GET", reports, &[auth, session], "").await;
    assert_eq!(hidden.status, 404);
    assert_eq!(
        (&hidden.json()["errorCode"], &hidden.json()["errorMessage"]),
        (&json!("1001"), &json!("Data not found"))
    );
    let account = text(&answer, &format!("{PROPERTIES}/accountId"));
    let all = [auth, session, ("accountid", account.as_str())];
    assert_eq!(status(&bench, reports, &all).await, 200);

    bench.simulator.faults(Faults {
        secure_mode: false,
        ..Faults::default()
    });
    assert_eq!(status(&bench, ASSIGNED, &[session]).await, 200);
    assert_eq!(status(&bench, TIMELINE, &[session]).await, 401);
}

#[tokio::test]
async fn a_jwt_is_refreshed_while_its_session_lives() {
    let bench = Bench::start(Faults::default()).await;
    let answer = bench.log_in(Kind::AmeyoJwt).await;
    let first = text(&answer, &format!("{PROPERTIES}/jwt"));
    let id = text(&answer, "/userSessionInfo/sessionId");
    let session = ("sessionId", id.as_str());
    let refresh = async |jwt: &str, user: &str| {
        let fields = [("authorization", jwt), session];
        let body = json!({"userId": user}).to_string();
        bench.ask("POST", REFRESH, &fields, &body).await
    };
    bench.clock.step(900_000);
    assert_eq!(
        status(&bench, ASSIGNED, &[("authorization", &first), session]).await,
        401
    );
    assert_eq!(refresh(&first, "doc_admin").await.status, 401);
    let refreshed = refresh(&first, "supervisor01").await;
    assert_eq!(
        refreshed.json().as_object().map(serde_json::Map::len),
        Some(1)
    );
    let second = text(&refreshed, "/jwtToken");
    assert_eq!(
        status(&bench, ASSIGNED, &[("authorization", &second), session]).await,
        200
    );
    let superseded = refresh(&first, "supervisor01").await;
    assert_eq!(
        (superseded.status.as_u16(), &superseded.json()["code"]),
        (401, &json!(909090))
    );
    assert_eq!(bench.simulator.end_all_of("supervisor01"), 1);
    assert_eq!(refresh(&second, "supervisor01").await.status, 401);
    let counted = bench.simulator.state().of(Kind::AmeyoJwt);
    assert_eq!((counted.refreshes, counted.refresh_attempts), (1, 4));
}

#[tokio::test]
async fn a_login_refuses_any_authorization_and_unknown_fields() {
    let bench = Bench::start(Faults::default()).await;
    for kind in [Kind::AmeyoSession, Kind::AmeyoJwt] {
        let (target, _, body) = login(kind);
        let stale = bench.call("POST", target, "stale", &body).await;
        assert_eq!(stale.status, 401, "{kind:?}");
        assert_eq!(stale.json()["errorCode"], 909090);
        let more = body.replacen('{', r#"{"password":"x","#, 1);
        let unknown = bench.call("POST", target, "", &more).await;
        assert_eq!(unknown.status, 400);
        assert_eq!(unknown.json()["info"], "password: unknown field");
        assert_eq!(bench.simulator.state().of(kind).logins, 0);
    }
}

#[tokio::test]
async fn the_jwt_of_a_live_session_registers_keys() {
    let bench = Bench::start(Faults::default()).await;
    let answer = bench.log_in(Kind::AmeyoJwt).await;
    let bearer = format!("Bearer {}", text(&answer, &format!("{PROPERTIES}/jwt")));
    let body = registration("a", START_MS + 3_600_000).to_string();
    assert_eq!(bench.call("POST", KEYS, &bearer, &body).await.status, 200);
    let again = async |why: &str| {
        let body = registration("b", START_MS + 7_200_000).to_string();
        let answer = bench.call("POST", KEYS, &bearer, &body).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.json()["errorMessage"], why);
    };
    bench.clock.step(900_000);
    again("the bearer has expired").await;
    bench.simulator.end_all_of("supervisor01");
    again("the bearer is unknown").await;
}

#[tokio::test]
async fn a_session_is_of_no_use_while_the_password_must_be_changed() {
    let bench = Bench::start(Faults {
        password_change_due: true,
        ..Faults::default()
    })
    .await;
    let answer = bench.log_in(Kind::AmeyoJwt).await;
    let due = "/authenticationState/authPolicyVsUserInfo/auth.type.passwd/properties/passwordStateDetail/shouldChangePassword";
    assert_eq!(answer.json().pointer(due), Some(&json!(true)));
    let id = text(&answer, "/userSessionInfo/sessionId");
    let jwt = text(&answer, &format!("{PROPERTIES}/jwt"));
    let both = [("sessionId", id.as_str()), ("authorization", jwt.as_str())];
    assert_eq!(status(&bench, ASSIGNED, &both).await, 401);
}

#[tokio::test]
async fn an_administrator_ends_the_sessions_of_somebody_else() {
    let bench = Bench::start(Faults::default()).await;
    let mine = text(&log_in(&bench, false).await, "/sessionId");
    let theirs = bench.log_in(Kind::AmeyoJwt).await;
    assert_eq!(theirs.status, 200);
    let target = "/ameyorestapi/session/terminateAllSessionsForUser";
    let body = r#"{"userId":"supervisor01","reason":"maintenance"}"#;
    let done = bench
        .ask("POST", target, &[("sessionId", &mine)], body)
        .await;
    assert_eq!(done.status, 200);
    assert_eq!(bench.simulator.state().of(Kind::AmeyoJwt).open, 0);
    assert_eq!(bench.simulator.state().of(Kind::AmeyoSession).open, 1);
}
