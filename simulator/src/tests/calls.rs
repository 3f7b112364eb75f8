//! The business calls, the account API, the echo and the state.

use super::*;

#[tokio::test]
async fn the_business_reads_have_the_vendors_shapes() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let pair = basic("a");

    let page = bench
        .get(&format!("{PROCESSES}?limit=3&offset=4"), &pair)
        .await;
    assert_eq!(page.json()["metadata"]["total"], "5");
    assert_eq!(page.json()["response"].as_array().map(Vec::len), Some(1));
    let campaigns = "/configuration/hierarchyconfig/campaign?contactCenterId=1";
    assert!(bench.get(campaigns, &bench.bearer).await.json().is_array());

    let of = "/cms/configuration/cc/1/process/1/campaign/1";
    let leads = bench
        .get(&format!("{of}/campaign-lead"), &bench.bearer)
        .await;
    assert_eq!(leads.status, 200);
    assert_eq!(
        bench.get(&format!("{of}/lead-user"), &pair).await.status,
        200
    );
    // Where the vendor's page says Basic, a bearer is not enough.
    let refused = bench.get(&format!("{of}/lead-user"), &bench.bearer).await;
    assert_eq!(refused.status, 401);
    assert_eq!(bench.simulator.state().effects, 0);
}

#[tokio::test]
async fn writes_count_as_effects_and_only_when_they_are_let_in() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let mapping = "/cms/configuration/voice/campaignLeadUserMapping";
    let body = r#"{"campaignId":1,"leadId":1,"userIds":["agent01"]}"#;
    let stranger = bench.call("PUT", mapping, &basic("b"), body).await;
    assert_eq!(stranger.status, 401);
    let broken = bench.call("PUT", mapping, &basic("a"), "{").await;
    assert_eq!(broken.status, 400);
    assert_eq!(bench.simulator.state().effects, 0);
    let done = bench.call("PUT", mapping, &basic("a"), body).await;
    assert_eq!(done.status, 200);
    assert_eq!(bench.simulator.state().effects, 1);
}

#[tokio::test]
async fn a_dialer_started_twice_answers_512() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let dial = async |verb: &str| {
        let target = format!("/ameyorestapi/voice/{verb}Dialer");
        bench
            .call("POST", &target, &basic("a"), r#"{"campaignId":"7"}"#)
            .await
    };
    assert_eq!(dial("start").await.status, 200);
    let again = dial("start").await;
    assert_eq!(again.status.as_u16(), 512);
    let message = again.json()["message"].clone();
    assert!(
        message
            .as_str()
            .is_some_and(|text| text.starts_with(r#"["OutboundVoiceCampaign.dial.in.progress""#)),
        "{message}"
    );
    assert_eq!(dial("stop").await.status, 200);
    assert_eq!(dial("start").await.status, 200);
}

#[tokio::test]
async fn two_authorization_fields_are_never_let_in() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let mut twice = request("GET", PROCESSES, &basic("a"), "");
    twice.headers_mut().append(
        header::AUTHORIZATION,
        basic("a").parse().expect("a header value"),
    );
    let answer = bench.send(twice).await.expect("an answer");
    assert_eq!(answer.status, 401);
    assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
    let said = answer.json()["errorMessage"].clone();
    assert_eq!(said, "Authorization is there 2 times, once is right");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_with_e1() {
    let bench = Bench::start(Faults::default()).await;
    let nowhere = bench.get("/nowhere", "").await;
    assert_eq!(
        (nowhere.status.as_u16(), &nowhere.json()["statusCode"]),
        (404, &json!(404))
    );
    let wrong = bench.call("PATCH", "/_sim/state", "", "").await;
    assert_eq!(wrong.status, 405);
    assert_eq!(wrong.json()["statusCode"], 405);
    assert_eq!(bench.simulator.state().calls, 1);
}

#[tokio::test]
async fn the_echo_shows_what_arrived() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bench = Bench::start(Faults::default()).await;
    let mut socket = TcpStream::connect(bench.simulator.address())
        .await
        .expect("it listens");
    let raw = "POST /_sim/echo/a%2Fb?q={'x':%zz} HTTP/1.1\r\nHost: h\r\nX-One: 1\r\n\
               Authorization: Basic YQ==\r\nX-One: 2\r\nAuthorization: b\r\n\
               Transfer-Encoding: chunked\r\nTrailer: x-end\r\nConnection: close\r\n\r\n\
               3\r\nabc\r\n0\r\nx-end: bye\r\n\r\n";
    socket.write_all(raw.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("answered");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    let shown: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(shown["method"], "POST");
    assert_eq!(shown["target"], "/_sim/echo/a%2Fb?q={'x':%zz}");
    assert_eq!(shown["authorization"], json!(["Basic YQ==", "b"]));
    assert_eq!(shown["octets"], 3);
    // SHA-256 of "abc", FIPS 180-2 appendix B.1.
    assert_eq!(
        shown["sha256"],
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(shown["trailers"], json!([["x-end", "bye"]]));
    let ones: Vec<&Value> = shown["headers"]
        .as_array()
        .expect("pairs")
        .iter()
        .filter(|pair| pair[0] == "x-one")
        .map(|pair| &pair[1])
        .collect();
    assert_eq!(ones, ["1", "2"]);
    assert_eq!(bench.simulator.state().effects, 1);
}

#[tokio::test]
async fn the_account_api_answers_its_clients_in_its_own_envelopes() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let form = |target: &str, body: &str| {
        let mut request = request("POST", target, &basic("a"), body);
        request.headers_mut().insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        request
    };
    let sms = "/v1/Accounts/acct/Sms/send.json";
    let sent = bench
        .send(form(sms, "From=0804&To=%2B919000000001&Body=hi"))
        .await
        .expect("an answer");
    assert_eq!(sent.json()["SMSMessage"]["To"], "+919000000001");
    let incomplete = bench.send(form(sms, "From=0804")).await.expect("an answer");
    assert_eq!(incomplete.status, 400);
    assert_eq!(incomplete.json()["RestException"]["Status"], 400);
    let call = bench
        .send(form(
            "/v1/Accounts/acct/Calls/connect.json",
            "From=1&CallerId=2&To=3",
        ))
        .await
        .expect("an answer");
    let sid = call.json()["Call"]["Sid"].clone();
    let details = format!(
        "/v1/Accounts/acct/Calls/{}.json",
        sid.as_str().expect("text")
    );
    assert_eq!(
        bench.get(&details, &basic("a")).await.json()["Call"]["Sid"],
        sid
    );

    let campaigns = bench
        .get("/v2/accounts/acct/campaigns", &basic("a"))
        .await
        .json();
    assert_eq!(campaigns["response"][0]["code"], 200);
    let stranger = bench.get("/v2/accounts/acct/campaigns", "").await;
    assert_eq!(stranger.status, 401);
    assert_eq!(
        stranger.json()["response"]["error_data"]["description"],
        "Authorization is missing"
    );
    assert_eq!(bench.simulator.state().effects, 2);
}

#[tokio::test]
async fn the_state_is_served_without_any_password() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let answer = bench.get("/_sim/state", "").await;
    let state = answer.json();
    assert_eq!(state["registrations"], 1);
    assert_eq!(state["keys"][0]["username"], "a");
    assert_eq!(state["calls"], 0);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains(PASSWORD), "{text}");
}

#[tokio::test]
async fn tls_is_spoken_with_a_certificate_of_its_own() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    let simulator = Simulator::start(Options {
        tls: true,
        ..Options::default()
    })
    .await
    .expect("a free port");
    assert!(simulator.base_url().starts_with("https://127.0.0.1:"));
    let pem = simulator.ca_pem().expect("an authority");
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM"))
        .expect("a certificate");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_root_certificates(roots)
    .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for name in ["127.0.0.1", "localhost", "::1"] {
        let socket = TcpStream::connect(simulator.address())
            .await
            .expect("it listens");
        let name = ServerName::try_from(name).expect("a name");
        let stream = connector
            .connect(name, socket)
            .await
            .expect("a trusted peer");
        let answer = exchange(stream, request("GET", "/_sim/state", "", ""))
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn a_port_in_use_is_an_error_and_shutdown_frees_it() {
    let bench = Bench::start(Faults::default()).await;
    let bind = bench.simulator.address();
    let again = || {
        Simulator::start(Options {
            bind,
            ..Options::default()
        })
    };
    let error = again().await.expect_err("taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    bench.simulator.shutdown().await;
    assert_eq!(again().await.expect("free again").address(), bind);
}
