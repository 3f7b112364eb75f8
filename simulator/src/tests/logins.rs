//! The logins whose tokens stand alone, and the calls behind them; the fixed keys.

use super::*;
use crate::TokenAs;

const CAMPAIGNS: &str = "/v2/accounts/acct/campaigns";
const APP: &str = "/v2/integrations/app";

#[tokio::test]
async fn a_ccm_token_is_a_bearer_until_its_expires_in() {
    let bench = Bench::start(Faults::default()).await;
    let answer = bench.log_in(Kind::CcmToken).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(
        (&body["method"], &body["http_code"]),
        (&json!("POST"), &json!(200))
    );
    let data = &body["response"]["data"];
    assert_eq!(
        (&data["token_type"], &data["expires_in"]),
        (&json!("Bearer"), &json!(86400))
    );
    let token = text(&answer, "/response/data/access_token");
    assert!(
        token.starts_with("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."),
        "{token}"
    );
    let exp = json!(START_MS / 1000 + 86400);
    assert!(near(&claims(&token)["exp"], &exp));

    let bearer = format!("Bearer {token}");
    assert_eq!(
        bench.get("/v2/accounts/acct/calls", &bearer).await.status,
        200
    );
    let placed = bench
        .call("POST", "/v2/accounts/acct/calls", &bearer, r#"{"to":"1"}"#)
        .await;
    assert_eq!(placed.status, 200);
    let elsewhere = bench.get("/v2/accounts/other/calls", &bearer).await;
    assert_eq!(elsewhere.status, 403);
    assert_eq!(
        bench.get(CAMPAIGNS, &token).await.status,
        401,
        "raw is not enough"
    );
    bench.clock.step(86_400_000);
    let late = bench.get(CAMPAIGNS, &bearer).await;
    assert_eq!(late.status, 401);
    assert_eq!(late.json()["response"]["error_data"]["code"], 1010);
    let state = bench.simulator.state();
    let counted = state.of(Kind::CcmToken);
    assert_eq!(
        (counted.logins, counted.login_attempts, counted.open),
        (1, 1, 0)
    );
    assert_eq!((state.effects, state.registrations, state.calls), (1, 0, 5));
}

#[tokio::test]
async fn the_account_takes_its_api_key_too_and_the_wrong_one_gets_no_token() {
    let bench = Bench::start(Faults::default()).await;
    let pair = |token: &str| format!("Basic {}", STANDARD.encode(format!("sim_api_key:{token}")));
    assert_eq!(
        bench.get(CAMPAIGNS, &pair("sim_api_token")).await.status,
        200
    );
    assert_eq!(bench.get(CAMPAIGNS, &pair("other")).await.status, 401);
    let issue = "/v2/accounts/acct/configuration/basicauth";
    let refused = bench.call("POST", issue, &pair("other"), "").await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["response"]["data"], Value::Null);
    let other = "/v2/accounts/other/configuration/basicauth";
    let foreign = bench.call("POST", other, &pair("sim_api_token"), "").await;
    assert_eq!(foreign.status, 403);
    let bodied = bench
        .call("POST", issue, &pair("sim_api_token"), "{}")
        .await;
    assert_eq!(bodied.status, 400);
    assert_eq!(bench.simulator.state().of(Kind::CcmToken).logins, 0);
}

#[tokio::test]
async fn contacts_are_uploaded_with_a_ccm_token_and_polled() {
    let bench = Bench::start(Faults::default()).await;
    let token = text(
        &bench.log_in(Kind::CcmToken).await,
        "/response/data/access_token",
    );
    let bearer = format!("Bearer {token}");
    let part = |name: &str, file: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n")
    };
    let csv = part("file", "; filename=\"c.csv\"", "name,phone\na,1\nb,2\n");
    let list = part("list_id", "", "list-1");
    let upload = async |body: &str| {
        let target = "/v2/accounts/acct/contacts/upload";
        let mut request = request("POST", target, &bearer, body);
        request.headers_mut().insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("multipart/form-data; boundary=b"),
        );
        bench.send(request).await.expect("an answer")
    };
    assert_eq!(upload(&format!("{csv}--b--\r\n")).await.status, 400);
    assert_eq!(bench.simulator.state().effects, 0);
    let taken = upload(&format!("{list}{csv}--b--\r\n")).await;
    assert_eq!(taken.status, 202);
    assert_eq!(taken.json()["response"]["data"]["total_records"], 2);
    let id = text(&taken, "/response/data/upload_id");
    let progress = format!("/v2/accounts/acct/contacts/upload/{id}");
    let polled = bench.get(&progress, &bearer).await.json();
    assert_eq!(polled["response"]["data"]["status"], "completed");
    let errors = bench.get(&format!("{progress}/errors"), &bearer).await;
    assert!(text(&errors, "/response/data/error_file_url").starts_with("https://"));
    assert_eq!(bench.simulator.state().uploads, 1);
}

#[tokio::test]
async fn a_v4_login_tells_its_end_by_the_servers_clock() {
    let bench = Bench::start(Faults {
        clock_skew_ms: 300_000,
        ..Faults::default()
    })
    .await;
    let answer = bench.log_in(Kind::V4Login).await;
    assert_eq!(answer.status, 200);
    let ends = text(&answer, "/response/data/expires_at");
    let expected = date(START_MS + 86_400_000 + 300_000);
    assert!(near(&json!(ends), &json!(expected)), "{ends}");
    let token = text(&answer, "/response/data/session_token");
    assert!(token.starts_with("sess_"), "{token}");
    assert_eq!(
        bench
            .get(CAMPAIGNS, &format!("Bearer {token}"))
            .await
            .status,
        200
    );

    let wrong = json!({"username": "sim_api_key", "password": "no", "account_sid": "acct"});
    let path = "/v4/accounts/acct/login";
    let refused = bench.call("POST", path, "", &wrong.to_string()).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["response"]["code"], 401);
}

#[tokio::test]
async fn an_integrations_token_is_sent_raw_and_lives_ninety_days() {
    let bench = Bench::start(Faults::default()).await;
    let answer = bench.log_in(Kind::IntegrationsToken).await;
    let body = answer.json();
    assert_eq!(
        (&body["Status"], &body["Code"], &body["Error"]),
        (&json!("Success"), &json!(200), &json!(""))
    );
    let token = text(&answer, "/Data");
    assert_eq!(token.len(), 48, "base64 of a UUID: {token}");
    assert_eq!(bench.get(APP, &token).await.status, 200);
    let bearer = bench.get(APP, &format!("Bearer {token}")).await;
    assert_eq!(
        (bearer.status.as_u16(), &bearer.json()["Status"]),
        (401, &json!("Failed"))
    );

    let dial = "/v2/integrations/call/outbound_call";
    let whole = r#"{"customer_id":"c","app_id":"a","to":"1","user_id":"u"}"#;
    assert_eq!(
        bench
            .call("POST", dial, &token, r#"{"to":"1"}"#)
            .await
            .status,
        400
    );
    assert_eq!(
        bench.call("POST", dial, &token, whole).await.json()["Code"],
        200
    );
    assert_eq!(bench.simulator.state().effects, 1);
    bench.clock.step(90 * 86_400_000);
    assert_eq!(bench.get(APP, &token).await.status, 401);
}

#[tokio::test]
async fn tokens_may_look_otherwise() {
    for (token_as, dots, exp) in [
        (TokenAs::Jwt, 2, true),
        (TokenAs::JwtWithoutExp, 2, false),
        (TokenAs::Opaque, 0, false),
    ] {
        let bench = Bench::start(Faults {
            token_as,
            ..Faults::default()
        })
        .await;
        for (kind, pointer) in [
            (Kind::CcmToken, "/response/data/access_token".to_owned()),
            (Kind::IntegrationsToken, "/Data".into()),
            (Kind::AmeyoJwt, format!("{PROPERTIES}/jwt")),
        ] {
            let token = text(&bench.log_in(kind).await, &pointer);
            assert_eq!(token.matches('.').count(), dots, "{kind:?} {token_as:?}");
            if dots > 0 {
                assert_eq!(claims(&token).get("exp").is_some(), exp, "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_second_vendor_gives_its_token_in_a_header_and_its_end_in_seconds() {
    let bench = Bench::start(Faults::default()).await;
    let answer = bench.log_in(Kind::Acme).await;
    assert_eq!(answer.status, 201);
    let expires = json!(START_MS / 1000 + 3600);
    assert!(near(&answer.json()["expires"], &expires));
    let token = answer.headers["x-acme-token"].to_str().expect("text");
    let cookie = answer.headers[header::SET_COOKIE].to_str().expect("text");
    assert_eq!(
        cookie,
        format!("acme_session={token}; Path=/acme; HttpOnly")
    );
    let auth = [("X-Acme-Auth", token)];
    assert_eq!(
        bench.ask("GET", "/acme/things", &auth, "").await.status,
        200
    );
    assert_eq!(
        bench.ask("POST", "/acme/things", &auth, "{}").await.status,
        201
    );
    assert_eq!(bench.get("/acme/things", token).await.status, 401);
    assert_eq!(
        bench.ask("DELETE", "/acme/session", &auth, "").await.status,
        204
    );
    assert_eq!(
        bench.ask("DELETE", "/acme/session", &auth, "").await.status,
        401
    );
    assert_eq!(
        bench.ask("GET", "/acme/things", &auth, "").await.status,
        401
    );
    let counted = bench.simulator.state().of(Kind::Acme);
    assert_eq!((counted.logins, counted.logouts, counted.open), (1, 1, 0));
}

#[tokio::test]
async fn the_fixed_headers_let_in_and_a_refusal_is_a_200() {
    use crate::WebAccessFailsAs;
    let bench = Bench::start(Faults::default()).await;
    let right = [
        ("hash-key", "sim-hash-key"),
        ("policy-name", "token-based-authorization-policy"),
        ("requesting-host", "crm.example.com"),
    ];
    let download = "/ameyowebaccess/command?command=downloadVoiceLog&data=%7B'x':1%7D&bytes=5";
    let audio = bench.ask("GET", download, &right, "").await;
    assert_eq!((audio.status.as_u16(), audio.body.len()), (200, 5));
    for (fails_as, begins) in [
        (WebAccessFailsAs::Null, "null"),
        (WebAccessFailsAs::Html, "<!DOCTYPE html>"),
        (WebAccessFailsAs::Empty, ""),
        (
            WebAccessFailsAs::Error,
            r#"{"details":"hash-key is missing","reason":"#,
        ),
    ] {
        bench.simulator.faults(Faults {
            web_access_fails_as: fails_as,
            ..Faults::default()
        });
        let refused = bench.ask("GET", download, &right[1..], "").await;
        let body = String::from_utf8_lossy(&refused.body).into_owned();
        assert_eq!(refused.status, 200, "{fails_as:?}");
        assert!(body.starts_with(begins), "{fails_as:?} {body}");
        assert_eq!(body.is_empty(), begins.is_empty());
    }
    assert_eq!(bench.simulator.state().unauthorised, 4);

    let upload = "/ameyowebaccess/command?command=uploadContacts";
    let form =
        "data=%7B%22campaignId%22%3A1%2C%22leadId%22%3A2%2C%22customerRecords%22%3A%5B%7B%7D%5D%7D";
    let mut fields = right.to_vec();
    fields.push(("content-type", "application/x-www-form-urlencoded"));
    let mut request = request("POST", upload, "", form);
    request.headers_mut().clear();
    for (name, value) in fields {
        request.headers_mut().insert(
            http::HeaderName::from_static(name),
            http::HeaderValue::from_static(value),
        );
    }
    request
        .headers_mut()
        .insert(header::HOST, http::HeaderValue::from_static("h"));
    let taken = bench.send(request).await.expect("an answer");
    assert_eq!(taken.json()["beanResponse"][0]["inserted"], true);
    assert_eq!(bench.simulator.state().effects, 1);
}

#[tokio::test]
async fn a_ticket_takes_the_fixed_token_raw() {
    let bench = Bench::start(Faults::default()).await;
    let open = async |token: &str| {
        bench
            .call("POST", "/ameyorestapi/tickets", token, r#"{"subject":"x"}"#)
            .await
    };
    assert_eq!(open("0123456789abcdef").await.status, 200);
    let refused = open("Bearer 0123456789abcdef").await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["code"], 909090);
    assert_eq!(bench.simulator.state().effects, 1);
}

#[tokio::test]
async fn a_new_token_may_revoke_the_earlier_one() {
    let bench = Bench::start(Faults::default()).await;
    let mint = async || text(&bench.log_in(Kind::IntegrationsToken).await, "/Data");
    let first = mint().await;
    let second = mint().await;
    assert_eq!(bench.get(APP, &first).await.status, 200);
    bench.simulator.faults(Faults {
        login_revokes_earlier: true,
        ..Faults::default()
    });
    let third = mint().await;
    assert_eq!(bench.get(APP, &first).await.status, 401);
    assert_eq!(bench.get(APP, &second).await.status, 401);
    assert_eq!(bench.get(APP, &third).await.status, 200);
    bench.simulator.end_all(Kind::IntegrationsToken);
    assert_eq!(bench.get(APP, &third).await.status, 401);
}

#[tokio::test]
async fn a_client_proves_itself_once_and_gets_a_bearer() {
    let bench = Bench::start(Faults::default()).await;
    let answer = bench.log_in(Kind::Oauth2).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 3600);
    assert_eq!(body["scope"], "a");
    let token = format!("Bearer {}", text(&answer, "/access_token"));
    assert_eq!(bench.get("/oauth2/things", &token).await.status, 200);
    bench.clock.step(3_600_000);
    assert_eq!(bench.get("/oauth2/things", &token).await.status, 401);

    // Each part is encoded like a form's value before the two are joined.
    let pair = STANDARD.encode("sim_client:sim%2Bclient%2Fsecret%25%3A1");
    let basic = format!("Basic {pair}");
    let grant = "grant_type=client_credentials";
    let ask = async |authorization: &str, body: &str| {
        let answer = bench
            .call("POST", "/oauth2/token", authorization, body)
            .await;
        (answer.status.as_u16(), answer.json()["error"].clone())
    };
    assert_eq!(ask(&basic, grant).await, (200, Value::Null));
    let raw = format!(
        "Basic {}",
        STANDARD.encode("sim_client:sim+client/secret%:1")
    );
    assert_eq!(ask(&raw, grant).await, (401, json!("invalid_client")));
    for (authorization, body, error) in [
        (
            basic.as_str(),
            "grant_type=password",
            "unsupported_grant_type",
        ),
        (
            &basic,
            "grant_type=client_credentials&resource=x",
            "invalid_target",
        ),
        (
            &basic,
            "grant_type=client_credentials&scope=a&scope=b",
            "invalid_request",
        ),
        (
            &basic,
            "grant_type=client_credentials&client_id=a&client_secret=b",
            "invalid_request",
        ),
        ("", grant, "invalid_request"),
    ] {
        assert_eq!(
            ask(authorization, body).await,
            (400, json!(error)),
            "{body}"
        );
    }
}
