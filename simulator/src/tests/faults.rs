//! Everything that can be made to go wrong.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{BrokenAs, ResetAt};

#[tokio::test]
async fn refusals_strike_the_next_calls_that_would_have_been_let_in() {
    let bench = Bench::start(Faults {
        unauthorized_next: 1,
        forbidden_next: 1,
        too_many_next: 1,
        server_error_next: 1,
        ..Faults::default()
    })
    .await;
    bench.register("a").await;
    assert_eq!(bench.get(PROCESSES, "").await.status, 401);
    let mut seen = Vec::new();
    let mut limited = HeaderMap::new();
    for _ in 0..5 {
        let answer = bench.get(PROCESSES, &basic("a")).await;
        if answer.status == 429 {
            limited = answer.headers.clone();
        }
        seen.push(answer.status.as_u16());
    }
    assert_eq!(seen, [401, 403, 429, 500, 200]);
    assert_eq!(limited[header::RETRY_AFTER], "30");
    assert_eq!(limited["x-ratelimit-limit"], "200");
    assert_eq!(limited["x-ratelimit-remaining"], "0");
    let reset: i64 = limited["x-ratelimit-reset"]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!((30..90).contains(&(reset - START_MS / 1000)), "{reset}");
}

#[tokio::test]
async fn faults_are_merged_shown_and_cleared_and_unknown_ones_refused() {
    let bench = Bench::start(Faults::default()).await;
    let set = async |body: &str| bench.call("POST", "/_sim/faults", "", body).await;
    assert_eq!(set(r#"{"forbidden_next": 2}"#).await.status, 200);
    assert_eq!(set(r#"{"delay_ms": 1}"#).await.status, 200);
    let shown = bench.get("/_sim/faults", "").await.json();
    assert_eq!(
        (&shown["forbidden_next"], &shown["delay_ms"]),
        (&json!(2), &json!(1))
    );
    let unknown = set(r#"{"forbidden": 2}"#).await;
    assert_eq!(unknown.status, 400);
    let said = unknown.json()["errorMessage"].to_string();
    assert!(said.contains("`forbidden_next`"), "{said}");
    bench.call("DELETE", "/_sim/faults", "", "").await;
    assert_eq!(bench.simulator.current_faults(), Faults::default());
}

/// Sends one mapping (a write) and reads until the end, whatever the end is.
async fn write_raw(bench: &Bench) -> (Vec<u8>, std::io::Result<usize>) {
    let mut socket = TcpStream::connect(bench.simulator.address())
        .await
        .expect("it listens");
    let body = r#"{"campaignId":1,"leadId":1,"userIds":["agent01"]}"#;
    let head = format!(
        "PUT /cms/configuration/voice/campaignLeadUserMapping HTTP/1.1\r\nHost: h\r\n\
         Authorization: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        basic("a"),
        body.len()
    );
    socket
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .expect("sent");
    let mut read = Vec::new();
    let end = socket.read_to_end(&mut read).await;
    (read, end)
}

#[tokio::test]
async fn a_reset_is_a_real_one_and_strikes_where_it_was_asked_to() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    for (reset_at, effects) in [
        (ResetAt::Head, 0),
        (ResetAt::Body, 0),
        (ResetAt::Effect, 1),
        (ResetAt::Answer, 2),
    ] {
        bench.simulator.faults(Faults {
            reset_next: 1,
            reset_at,
            ..Faults::default()
        });
        let (read, end) = write_raw(&bench).await;
        let error = end.expect_err("cut");
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "{reset_at:?}"
        );
        assert_eq!(bench.simulator.state().effects, effects, "{reset_at:?}");
        let read = String::from_utf8_lossy(&read).into_owned();
        if reset_at == ResetAt::Answer {
            assert!(read.starts_with("HTTP/1.1 200 "), "{read}");
            assert!(read.contains(r#"{"campaignId"#), "{read}");
            assert!(!read.contains("agent01"), "{read}");
        } else {
            assert_eq!(read, "", "{reset_at:?}");
        }
    }
    assert_eq!(bench.get(PROCESSES, &basic("a")).await.status, 200);
}

#[tokio::test]
async fn a_failing_registration_has_no_effect_and_says_when_to_come_back() {
    let bench = Bench::start(Faults {
        registration_status: 503,
        registration_status_next: 1,
        retry_after_s: 2,
        ..Faults::default()
    })
    .await;
    let failed = bench.register("a").await;
    assert_eq!(failed.status, 503);
    assert_eq!(failed.headers[header::RETRY_AFTER], "2");
    assert_eq!(bench.simulator.state().keys, []);
    assert_eq!(bench.register("a").await.status, 200);
    assert_eq!(bench.simulator.state().registration_attempts, 2);
}

#[tokio::test]
async fn a_lost_or_half_answer_leaves_the_key_registered() {
    let bench = Bench::start(Faults {
        registration_lost_next: 1,
        ..Faults::default()
    })
    .await;
    let send = async |name: &str| {
        let body = registration(name, START_MS + 3_600_000).to_string();
        let request = request("POST", KEYS, &bench.bearer, &body);
        bench.send(request).await
    };
    assert!(send("lost").await.is_err());
    assert_eq!(bench.get(PROCESSES, &basic("lost")).await.status, 200);

    bench.simulator.faults(Faults {
        registration_broken_next: 1,
        registration_broken_as: BrokenAs::Half,
        ..Faults::default()
    });
    assert!(send("half").await.is_err());
    assert_eq!(bench.get(PROCESSES, &basic("half")).await.status, 200);
    assert_eq!(bench.simulator.state().registrations, 2);
}

#[tokio::test]
async fn a_sign_in_page_instead_of_an_answer_registers_nothing() {
    let bench = Bench::start(Faults {
        registration_broken_next: 1,
        ..Faults::default()
    })
    .await;
    let page = bench.register("a").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers[header::CONTENT_TYPE], "text/html");
    assert_eq!(bench.simulator.state().keys, []);
}

#[tokio::test]
async fn a_new_key_is_unknown_until_it_has_propagated() {
    let bench = Bench::start(Faults {
        propagation_ms: 3_000_000,
        ..Faults::default()
    })
    .await;
    bench.register("a").await;
    let early = bench.get(PROCESSES, &basic("a")).await;
    assert_eq!(early.status, 401);
    assert_eq!(
        early.json()["errorMessage"],
        "the registration is not known here yet"
    );
    bench.clock.step(3_000_000);
    assert_eq!(bench.get(PROCESSES, &basic("a")).await.status, 200);
}

#[tokio::test]
async fn a_key_dies_at_the_maximum_life_whatever_it_asked_for() {
    let bench = Bench::start(Faults {
        max_life_ms: Some(600_000),
        ..Faults::default()
    })
    .await;
    bench.register("a").await;
    assert_eq!(bench.get(PROCESSES, &basic("a")).await.status, 200);
    bench.clock.step(600_000);
    assert_eq!(bench.get(PROCESSES, &basic("a")).await.status, 401);
}

#[tokio::test]
async fn delays_hold_the_answer_but_not_the_deed() {
    let bench = Bench::start(Faults {
        delay_ms: 3_600_000,
        ..Faults::default()
    })
    .await;
    bench.register("a").await;
    let body = r#"{"campaignId":1}"#;
    let target = "/cms/configuration/voice/campaignLeadUserMapping";
    let pair = basic("a");
    let slow = bench.call("PUT", target, &pair, body);
    let done = async {
        while bench.simulator.state().effects == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = slow => panic!("answered {} within an hour", answer.status),
        () = done => {}
    }
}
