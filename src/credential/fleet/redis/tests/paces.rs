//! A pace that replicas keep together, in a real Redis.

use super::*;
use crate::credential::fleet::shared_pace::{PaceAnswer, PaceRequest};

/// A place of ten a minute, at most a minute ahead.
pub(super) fn pace_request() -> PaceRequest {
    PaceRequest {
        replica: "one".into(),
        interval: Duration::from_secs(6),
        tolerance: Duration::ZERO,
        wait: Duration::from_secs(60),
        ahead: Duration::from_secs(60 + 300),
        places: 1,
        pause: Duration::ZERO,
    }
}

#[tokio::test]
async fn replicas_take_places_one_after_the_other_and_none_beyond_the_rate() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let redis = fleet(&config(server.port));
    let take = async |replica: &str, places: u32| -> PaceAnswer {
        let request = PaceRequest {
            replica: replica.into(),
            places,
            ..pace_request()
        };
        redis.take("users", &request).await.unwrap()
    };
    assert!(take("one", 0).await.places.is_empty());
    let (first, second, rest) = (
        take("one", 2).await,
        take("two", 1).await,
        take("one", 50).await,
    );
    assert_eq!((first.replicas, second.replicas, rest.replicas), (1, 2, 2));
    let all: Vec<f64> = [&first, &second, &rest]
        .iter()
        .flat_map(|answer| &answer.places)
        .map(Duration::as_secs_f64)
        .collect();
    // Each is told by what is left, and Redis's clock went on between them.
    assert!((10..=12).contains(&all.len()), "{all:?}");
    for (number, pair) in all.windows(2).enumerate() {
        assert!(
            (4.0..6.1).contains(&(pair[1] - pair[0])),
            "{number}: {all:?}"
        );
    }
    assert!(
        take("three", 1).await.places.is_empty(),
        "it would wait for too long"
    );
    assert!(take("three", 0).await.next > Duration::from_secs(50));

    // What is lost or was written by others gives no burst.
    let burst = PaceRequest {
        tolerance: Duration::from_secs(60),
        places: 3,
        ..pace_request()
    };
    for nonsense in ["9e18", "-4", "nan", "x"] {
        server.say(&["SET", "headset:{pace.users}:used", nonsense]);
        let places = redis.take("users", &burst).await.unwrap().places;
        assert_eq!(places.len(), 3, "{nonsense}");
        assert!(
            places[1] >= Duration::from_secs(5),
            "{nonsense}: {places:?}"
        );
    }
    // After a rest there is one, but not while the upstream asked to wait.
    let used = server.say(&["GET", "headset:{pace.users}:used"]);
    let used: u64 = used.parse().unwrap();
    let long_ago = (used - 600_000_000).to_string();
    server.say(&["SET", "headset:{pace.users}:used", &long_ago]);
    let places = redis.take("users", &burst).await.unwrap().places;
    assert_eq!(places, [Duration::ZERO; 3]);
    let paused = PaceRequest {
        pause: Duration::from_secs(30),
        ..burst
    };
    let places = redis.take("users", &paused).await.unwrap().places;
    assert!(places[0] > Duration::from_secs(29), "{places:?}");
}

/// As after a failover to a server whose clock is behind, or written by others.
#[tokio::test]
async fn no_number_ahead_of_what_can_be_stops_a_pace() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let redis = fleet(&config(server.port));
    let burst = PaceRequest {
        tolerance: Duration::from_secs(60),
        places: 3,
        ..pace_request()
    };
    let set = |ahead: u64| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        let used = (now + Duration::from_secs(ahead)).as_micros();
        server.say(&["SET", "headset:{pace.users}:used", &used.to_string()]);
    };
    // Tolerance, the longest wait, the longest pause and an interval are 426 s.
    for ahead in [3500, 1200, 440] {
        set(ahead);
        let places = redis.take("users", &burst).await.unwrap().places;
        assert_eq!(places.len(), 3, "{ahead}");
        assert!(places[1] >= Duration::from_secs(5), "{ahead}: {places:?}");
    }
    // What can be is believed, and a heartbeat, which waits for nothing, loses none of it.
    set(410);
    let heartbeat = PaceRequest {
        wait: Duration::ZERO,
        places: 0,
        ..burst.clone()
    };
    for request in [&heartbeat, &burst] {
        let answer = redis.take("users", request).await.unwrap();
        assert!(answer.places.is_empty(), "{answer:?}");
        assert!(answer.next > Duration::from_secs(340), "{answer:?}");
    }
}

#[tokio::test]
async fn a_replica_of_the_future_counts_no_more() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let redis = fleet(&config(server.port));
    let key = "headset:{pace.users}:replicas";
    for (score, name) in [("9e15", "a"), ("+inf", "b"), ("-inf", "c"), ("-5", "d")] {
        assert_eq!(server.say(&["ZADD", key, score, name]), ":1\r\n");
    }
    let answer = redis.take("users", &pace_request()).await.unwrap();
    assert_eq!(answer.replicas, 1);
    let other = PaceRequest {
        replica: "two".into(),
        ..pace_request()
    };
    assert_eq!(redis.take("users", &other).await.unwrap().replicas, 2);
}
