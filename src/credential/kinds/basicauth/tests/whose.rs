//! Whose a registration is that stands there already.

use super::*;

#[tokio::test]
async fn a_foreign_registration_is_left_alone_unless_it_may_be_adopted() {
    let server = LoopbackServer::start(foreign_center).await;
    let (reason, detail) = refusal(Rig::new(&server).build().mint().await.unwrap_err());
    assert_eq!(reason, "foreign");
    assert!(
        detail.contains("customer_manager") && detail.contains("adopt = true"),
        "{detail}"
    );
    assert!(!detail.contains("somebody-elses"));
    assert!(!methods(&server).iter().any(|call| call.starts_with("PUT")));

    let server = LoopbackServer::start(foreign_center).await;
    let rig = Rig::new(&server).with("adopt", Value::Bool(true));
    rig.build().mint().await.unwrap();
    assert_eq!(methods(&server).last().unwrap(), "PUT Bearer");
}

fn foreign_center(_: usize, seen: &SeenRequest) -> Response<String> {
    match seen.method {
        Method::POST => answer(409, ""),
        Method::GET if seen.header("authorization").starts_with("Basic") => {
            e1(401, "AUTH-1001", "bad credentials")
        }
        Method::GET => listed("somebody-elses", "2027-01-25T08:00:00.000Z"),
        _ => answer(200, ""),
    }
}

#[tokio::test]
async fn a_changed_password_takes_over_what_this_process_registered() {
    let server = LoopbackServer::start(|n, seen| match (n, &seen.method) {
        (0, _) => answer(201, ""),
        (_, &Method::POST) => answer(409, ""),
        (_, &Method::GET) => listed(PASSWORD, "2027-02-14T08:00:00.000Z"),
        _ => answer(200, ""),
    })
    .await;
    let rig = Rig::new(&server);
    let mint = rig.build();
    assert_eq!(mint.change(), Change::Replaces);
    mint.mint().await.unwrap();
    assert_eq!(mint.change(), Change::Nothing);
    rig.write("bearer", "opaque");
    assert_eq!(mint.change(), Change::Extends);
    rig.write("password", "new");
    assert_eq!(mint.change(), Change::Replaces);
    mint.mint().await.unwrap();
    assert_eq!(
        methods(&server)[1..],
        ["POST Bearer", "GET Bearer", "PUT Bearer"]
    );
    assert_eq!(server.seen()[3].json("password"), "new");
    std::fs::remove_file(rig.folder.path().join("bearer")).unwrap();
    assert_eq!(mint.change(), Change::Nothing);
}

#[tokio::test]
async fn the_look_up_goes_through_the_pages() {
    let server = LoopbackServer::start(|_, seen| {
        if seen.method == Method::POST {
            return answer(409, "");
        }
        // A server that gives two a page, whatever is asked.
        let others = r#"{"http_code":200,"response":[{"username":"customer_manager_a"},{"username":"customer_manager_b"}],"metadata":{"total":"5"}}"#;
        if seen.target.ends_with("offset=4") {
            listed(PASSWORD, "2027-01-25T08:00:00.000Z")
        } else {
            answer(200, others)
        }
    })
    .await;
    Rig::new(&server).build().mint().await.unwrap();
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_list_that_hashes_passwords_is_asked_with_our_own_pair() {
    let server = LoopbackServer::start(|_, seen| match seen.method {
        Method::POST => answer(409, ""),
        _ => listed("$2a$10$hash", "2027-01-25T08:00:00.000Z"),
    })
    .await;
    Rig::new(&server).build().mint().await.unwrap();
    assert_eq!(methods(&server), ["POST Bearer", "GET Bearer", "GET Basic"]);
    assert_eq!(server.seen()[2].header("authorization"), PAIR);
}

#[tokio::test]
async fn a_restart_reuses_its_own_registration_while_it_has_life_left() {
    for conflict in [409, 400] {
        let server = LoopbackServer::start(move |_, seen| match seen.method {
            Method::POST => e1(conflict, "CONF-2", "username already exists"),
            Method::GET => listed(PASSWORD, "2027-01-25T08:00:00.000Z"),
            _ => answer(200, ""),
        })
        .await;
        let mint = Rig::new(&server).build();
        let fresh = mint.mint().await.unwrap();
        let left = fresh.expires.life.as_secs_f64() / DAY as f64;
        assert!((9.99..=10.0).contains(&left), "{left}");
        assert_eq!(fresh.headers[0].1, PAIR);
        assert_eq!(methods(&server), ["POST Bearer", "GET Bearer"]);
        assert_eq!(
            server.seen()[1].target,
            "/configuration/basicauth?username=customer_manager&context=ContactCenter\
             &contextId=1&limit=100&offset=0"
        );
        // The next one renews by the id of the look-up.
        assert!(is_thirty_days(&mint.mint().await.unwrap()));
        assert_eq!(server.seen()[2].target, "/configuration/basicauth/42");
    }
}

#[tokio::test]
async fn what_an_upstream_rejected_is_written_anew_whatever_life_it_has_left() {
    let server = LoopbackServer::start(|_, seen| match seen.method {
        Method::POST => answer(409, ""),
        Method::GET => listed(PASSWORD, "2027-01-25T08:00:00.000Z"),
        _ => answer(204, ""),
    })
    .await;
    let mint = Rig::new(&server).build();
    mint.rejected(Rejection::Credential);
    assert!(is_thirty_days(&mint.mint().await.unwrap()));
    assert_eq!(
        methods(&server),
        ["POST Bearer", "GET Bearer", "PUT Bearer"]
    );
}

#[tokio::test]
async fn a_restart_with_little_life_left_renews_by_put() {
    let server = LoopbackServer::start(|_, seen| match seen.method {
        Method::POST => answer(409, ""),
        Method::GET => listed(PASSWORD, "2027-01-16T08:00:00.000Z"),
        _ => answer(204, ""),
    })
    .await;
    let fresh = Rig::new(&server).build().mint().await.unwrap();
    assert!(is_thirty_days(&fresh), "{:?}", fresh.expires);
    assert_eq!(
        methods(&server),
        ["POST Bearer", "GET Bearer", "PUT Bearer"]
    );
}
