//! `dateExpiry` by the clock of the issuer.

use super::*;

/// What `dateExpiry` asked for, relative to the start, in seconds.
fn asked(seen: &SeenRequest) -> i64 {
    let at: jiff::Timestamp = seen.json("dateExpiry").parse().unwrap();
    (at.as_millisecond() - START_MS) / 1000
}

#[tokio::test]
async fn an_expiry_in_the_servers_past_is_sent_once_more_by_its_clock() {
    // Ahead by ten minutes; lives last one.
    for first in [200, 400] {
        let server = LoopbackServer::start(move |n, _| {
            let status = if n == 0 { first } else { 200 };
            dated(answer(status, r#"{"id":"1"}"#), START_MS + 600_000)
        })
        .await;
        let minute = Value::Duration(Duration::from_secs(60));
        let mint = Rig::new(&server).with("lifetime", minute).build();
        let fresh = mint.mint().await.unwrap();
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        // Less what the mark takes.
        assert!((57..=60).contains(&asked(&seen[0])));
        assert!(
            (652..=680).contains(&asked(&seen[1])),
            "{}",
            asked(&seen[1])
        );
        let life = fresh.expires.life.as_millis();
        assert!((37_000..=60_000).contains(&life), "{life}");
        let skew = fresh.skew_ms.unwrap();
        assert!((580_000..=601_000).contains(&skew), "{skew}");
    }
}

#[tokio::test]
async fn a_refusal_for_another_reason_is_not_sent_again() {
    let server = LoopbackServer::start(|_, _| dated(e1(400, "c", "bad"), START_MS + 600_000)).await;
    let hour = Value::Duration(Duration::from_secs(3600));
    let mint = Rig::new(&server).with("lifetime", hour).build();
    mint.mint().await.unwrap_err();
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_ahead_ends_the_life_by_its_own_clock() {
    let ahead = Arc::new(AtomicI64::new(600_000));
    let server = LoopbackServer::start({
        let ahead = ahead.clone();
        move |_, _| dated(answer(200, ""), START_MS + ahead.load(Ordering::SeqCst))
    })
    .await;
    let hour = Value::Duration(Duration::from_secs(3600));
    let mint = Rig::new(&server).with("lifetime", hour).build();
    let life = mint.mint().await.unwrap().expires.life.as_secs();
    assert!((2900..=3000).contains(&life), "{life}");
    // From then on it is written by the issuer's clock.
    let life = mint.mint().await.unwrap().expires.life.as_secs();
    assert!((3500..=3600).contains(&life), "{life}");
    assert!((4139..=4230).contains(&asked(&server.seen()[1])));
}

/// A key that was written by a wrong `Date` would be good at the issuer for decades.
#[tokio::test]
async fn no_key_is_made_for_decades_because_a_date_is_decades_ahead() {
    let decades = 70 * 365 * 86_400_000;
    let server =
        LoopbackServer::start(move |_, _| dated(answer(200, ""), START_MS + decades)).await;
    let hour = Value::Duration(Duration::from_secs(3600));
    let mint = Rig::new(&server).with("lifetime", hour).build();
    for _ in 0..2 {
        // Whether it counts as dead is for the slot to see.
        let _ = mint.mint().await;
    }
    let seen = server.seen();
    assert!(seen.len() >= 2);
    for request in &seen {
        assert!(asked(request) <= 3600 + 86_400 + 60, "{}", asked(request));
    }
}
