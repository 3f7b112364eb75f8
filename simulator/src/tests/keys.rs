//! Registering, finding, replacing and revoking keys.

use super::*;
use crate::{Duplicate, ListPasswords};

#[tokio::test]
async fn a_registered_key_lets_in_until_its_date_expiry() {
    let bench = Bench::start(Faults::default()).await;
    let registered = bench.register("customer_manager").await;
    assert_eq!(registered.status, 200);
    assert!(registered.body.is_empty());

    // The dossier's own vector for this pair.
    let vector = "Basic Y3VzdG9tZXJfbWFuYWdlcjpjdXN0b21lcl9tYW5hZ2VyQDEyMyQ=";
    assert_eq!(vector, basic("customer_manager"));
    assert_eq!(bench.get(PROCESSES, vector).await.status, 200);
    bench.clock.step(3_500_000);
    assert_eq!(bench.get(PROCESSES, vector).await.status, 200);
    bench.clock.step(100_000);
    let late = bench.get(PROCESSES, vector).await;
    assert_eq!(late.status, 401);
    assert_eq!(late.json()["statusCode"], 401);
    assert_eq!(late.json()["errorCode"], "CONF-1001");
    assert_eq!(late.json()["errorMessage"], "the registration has expired");

    let state = bench.simulator.state();
    assert_eq!((state.registrations, state.registration_attempts), (1, 1));
    assert_eq!(
        (state.calls, state.authorised, state.unauthorised),
        (3, 2, 1)
    );
    assert_eq!(state.calls_by_status[&200], 2);
}

#[tokio::test]
async fn only_a_live_known_administrator_registers() {
    let bench = Bench::start(Faults::default()).await;
    let body = registration("a", START_MS + 60_000).to_string();
    bench.simulator.register_foreign("other", PASSWORD);
    let dead = format!("Bearer {}", bench.simulator.admin_bearer(Duration::ZERO));
    for (authorization, why) in [
        ("", "Authorization is missing"),
        (dead.as_str(), "the bearer has expired"),
        (
            "Bearer eyJhbGciOiJSUzUxMiJ9.e30.AA",
            "the bearer is unknown",
        ),
        (
            "Bearer opaque",
            "the bearer is not a JWT whose header says alg RS512",
        ),
        (
            &basic("other"),
            "this takes the administrator's bearer, not a key",
        ),
    ] {
        let answer = bench.call("POST", KEYS, authorization, &body).await;
        assert_eq!(answer.status, 401, "{authorization}");
        assert_eq!(answer.json()["errorMessage"], why);
    }
    bench.simulator.revoke_all_bearers();
    let revoked = bench.call("POST", KEYS, &bench.bearer, &body).await;
    assert_eq!(revoked.json()["errorMessage"], "the bearer is unknown");
    let state = bench.simulator.state();
    assert_eq!((state.registrations, state.registration_attempts), (0, 6));
}

#[tokio::test]
async fn a_past_date_is_refused_and_the_date_header_shows_the_servers_clock() {
    let bench = Bench::start(Faults {
        clock_skew_ms: 300_000,
        ..Faults::default()
    })
    .await;
    let body = registration("a", START_MS + 60_000).to_string();
    let answer = bench.call("POST", KEYS, &bench.bearer, &body).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json()["errorMessage"],
        "dateExpiry: lies in the past"
    );
    let dated = answer.headers[header::DATE].to_str().expect("text");
    assert!(
        dated.starts_with("Fri, 15 Jan 2027 08:05:") && dated.ends_with(" GMT"),
        "{dated}"
    );
}

#[tokio::test]
async fn a_body_that_is_no_registration_is_refused_with_its_field() {
    let bench = Bench::start(Faults::default()).await;
    let mut body = registration("a:b", START_MS + 60_000);
    let answer = bench
        .call("POST", KEYS, &bench.bearer, &body.to_string())
        .await;
    assert_eq!(answer.status, 400);
    let said = answer.json()["errorMessage"].to_string();
    assert!(said.contains("username") && !said.contains("a:b"), "{said}");

    body["username"] = "a".into();
    let mut as_text = request("POST", KEYS, &bench.bearer, &body.to_string());
    as_text.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain"),
    );
    let answer = bench.send(as_text).await.expect("an answer");
    assert_eq!(answer.status, 400);
    assert_eq!(bench.simulator.state().keys, []);
}

#[tokio::test]
async fn a_second_registration_of_a_name_follows_the_policy() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    for (duplicate, status, keys) in [
        (Duplicate::Conflict, 409, 1),
        (Duplicate::BadRequest, 400, 1),
        (Duplicate::Overwrite, 200, 1),
        (Duplicate::Silent, 200, 2),
    ] {
        bench.simulator.faults(Faults {
            duplicate,
            ..Faults::default()
        });
        assert_eq!(bench.register("a").await.status, status, "{duplicate:?}");
        assert_eq!(bench.simulator.state().keys.len(), keys, "{duplicate:?}");
    }
}

#[tokio::test]
async fn the_list_is_filtered_by_prefix_and_pages_by_two() {
    let bench = Bench::start(Faults::default()).await;
    for name in ["crm", "crm_sync", "crm_sync-2", "other"] {
        bench.register(name).await;
    }
    let page = bench
        .get(&format!("{KEYS}?username=crm"), &bench.bearer)
        .await
        .json();
    assert_eq!(
        page["metadata"],
        json!({"total": "3", "count": 2, "offset": 0, "limit": 2})
    );
    assert_eq!(page["response"][0]["username"], "crm");
    assert_eq!(page["response"][0]["password"], PASSWORD);
    assert_eq!(page["response"][0]["contextId"], "1");

    // A live key may read too, and the gateway's prefix leads to the same place.
    let second = bench
        .get(
            &format!("/cms{KEYS}?username=crm&offset=2&sort_by=username:asc"),
            &basic("other"),
        )
        .await
        .json();
    assert_eq!(second["response"][0]["username"], "crm_sync-2");
    assert_eq!(second["metadata"]["count"], 1);

    let nothing = bench
        .get(&format!("{KEYS}?contextId=2"), &bench.bearer)
        .await
        .json();
    assert_eq!(nothing["metadata"]["total"], "0");
    let wrong = bench
        .get(&format!("{KEYS}?sort_by=password:asc"), &bench.bearer)
        .await;
    assert_eq!(wrong.status, 400);
    assert_eq!(bench.get(KEYS, "").await.status, 401);
    assert_eq!(bench.simulator.state().lookups, 5);
}

#[tokio::test]
async fn listed_passwords_follow_the_policy() {
    let bench = Bench::start(Faults {
        list_passwords: ListPasswords::Hashed,
        ..Faults::default()
    })
    .await;
    bench.register("a").await;
    let hashed = bench.get(KEYS, &bench.bearer).await.json();
    let shown = hashed["response"][0]["password"].as_str();
    assert!(shown.is_some_and(|shown| shown.starts_with("{bcrypt}")));
    bench.simulator.faults(Faults {
        list_passwords: ListPasswords::Hidden,
        ..Faults::default()
    });
    let hidden = bench.get(KEYS, &bench.bearer).await.json();
    assert_eq!(hidden["response"][0].get("password"), None);
}

#[tokio::test]
async fn a_key_is_read_replaced_and_revoked_by_its_id() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    bench.register("b").await;
    let id = bench.simulator.state().keys[0].id;
    let one = format!("{KEYS}/{id}");

    let longer = registration("a", START_MS + 7_200_000).to_string();
    let replaced = bench.call("PUT", &one, &bench.bearer, &longer).await;
    assert_eq!(replaced.status, 200);
    let read = bench.get(&one, &bench.bearer).await.json();
    assert_eq!(read["dateExpiry"], date(START_MS + 7_200_000));
    assert_eq!(read["version"], 1);

    let stolen = registration("b", START_MS + 7_200_000).to_string();
    let taken = bench.call("PUT", &one, &bench.bearer, &stolen).await;
    assert_eq!(taken.status, 409);
    let refused = bench.call("DELETE", &one, &basic("a"), "").await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        bench.call("DELETE", &one, &bench.bearer, "").await.status,
        200
    );
    assert_eq!(bench.get(PROCESSES, &basic("a")).await.status, 401);
    for method in ["GET", "DELETE"] {
        assert_eq!(
            bench.call(method, &one, &bench.bearer, "").await.status,
            404
        );
    }
    let state = bench.simulator.state();
    assert_eq!((state.replacements, state.revocations), (1, 1));
    assert_eq!(state.keys.len(), 1);
}

#[tokio::test]
async fn a_forgotten_key_is_unknown_and_a_foreign_one_is_known() {
    let bench = Bench::start(Faults::default()).await;
    bench.simulator.register_foreign("theirs", PASSWORD);
    assert_eq!(bench.get(PROCESSES, &basic("theirs")).await.status, 200);
    assert_eq!(bench.register("theirs").await.status, 409);
    assert!(bench.simulator.forget("theirs"));
    assert!(!bench.simulator.forget("theirs"));
    assert_eq!(bench.get(PROCESSES, &basic("theirs")).await.status, 401);
}

#[tokio::test]
async fn a_key_without_a_date_lives_the_default_life() {
    let bench = Bench::start(Faults::default()).await;
    let mut body = registration("a", 0);
    body.as_object_mut().expect("object").remove("dateExpiry");
    let answer = bench
        .call("POST", KEYS, &bench.bearer, &body.to_string())
        .await;
    assert_eq!(answer.status, 200);
    let kept = &bench.simulator.state().keys[0];
    assert!(kept.date_expiry >= date(START_MS + 1_800_000), "{kept:?}");
    assert!(kept.date_expiry < date(START_MS + 1_860_000), "{kept:?}");
}
