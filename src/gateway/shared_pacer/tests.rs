//! The store gives one place a second, is away, slow or mad; what calls get of it.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::Registry;
use tokio::time::sleep;

use super::asking::{AWAY, HEARTBEAT};
use super::*;
use crate::credential::fleet::StoreFuture;

/// A store of three replicas that gives one place a second, or is away, slow or mad.
#[derive(Debug, Default)]
struct FakeStore {
    is_away: AtomicBool,
    /// It answers after this time.
    delay: Mutex<Duration>,
    /// What it makes of a true answer.
    lie: Mutex<Option<Lie>>,
    next: Mutex<Option<Instant>>,
}

type Lie = fn(&PaceRequest, &mut PaceAnswer);

impl SharedPace for FakeStore {
    fn take<'a>(&'a self, _name: &'a str, request: &'a PaceRequest) -> StoreFuture<'a, PaceAnswer> {
        Box::pin(async move {
            let delay = *self.delay.lock().unwrap();
            sleep(delay).await;
            if self.is_away.load(Ordering::Relaxed) {
                return Err(StoreDown::new("away"));
            }
            let mut next = self.next.lock().unwrap();
            let now = Instant::now();
            let mut answer = PaceAnswer {
                replicas: 3,
                ..PaceAnswer::default()
            };
            let mut at = next.unwrap_or(now).max(now);
            for _ in 0..request.places {
                if at - now <= request.wait {
                    answer.places.push(at - now);
                    at += request.interval;
                }
            }
            answer.next = at - now;
            *next = Some(at);
            if let Some(lie) = *self.lie.lock().unwrap() {
                lie(request, &mut answer);
            }
            Ok(answer)
        })
    }
}

fn pacer(store: &Arc<FakeStore>) -> Arc<SharedPacer> {
    let rules = PaceConfig {
        calls: 60,
        per: Duration::from_secs(60),
        burst: 1,
        wait: Duration::from_secs(10),
        shared: true,
    };
    let metrics = FleetMetrics::new().unwrap();
    metrics.register(&Registry::new()).unwrap();
    let (route, handle) = (
        Name::parse("users").unwrap(),
        tokio::runtime::Handle::current(),
    );
    SharedPacer::begin(rules, route, store.clone(), metrics, &handle)
}

/// When each of so many calls left, in seconds; `None` where it was refused.
async fn left(pacer: &Arc<SharedPacer>, calls: usize) -> Vec<Option<u64>> {
    let begun = Instant::now();
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let pacer = pacer.clone();
            tokio::spawn(async move {
                let placed = pacer.place().await;
                placed.ok().map(|_| begun.elapsed().as_secs())
            })
        })
        .collect();
    let mut left = Vec::new();
    for call in calls {
        left.push(call.await.unwrap());
    }
    left
}

#[tokio::test(start_paused = true)]
async fn calls_leave_in_their_order_as_the_store_says_and_none_waits_too_long() {
    let store = Arc::new(FakeStore::default());
    let pacer = pacer(&store);
    let left = left(&pacer, 20).await;
    let served: Vec<u64> = left.iter().flatten().copied().collect();
    assert_eq!(served, (0..=10).collect::<Vec<_>>(), "{left:?}");
    assert!(
        left[..11].iter().all(Option::is_some),
        "the first come first"
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_each_keeps_to_its_part() {
    let store = Arc::new(FakeStore::default());
    let pacer = pacer(&store);
    assert_eq!(left(&pacer, 1).await, [Some(0)]);
    store.is_away.store(true, Ordering::Relaxed);
    sleep(HEARTBEAT * 2).await;
    let mut served = 0;
    for _ in 0..12 {
        // A minute, with more calls than there are places.
        served += left(&pacer, 4).await.iter().flatten().count();
        sleep(Duration::from_secs(5)).await;
    }
    let passed = pacer.state().alone.is_some();
    assert!(passed && served >= 12, "{served}");
    store.is_away.store(false, Ordering::Relaxed);
    sleep(AWAY * 3).await;
    assert!(pacer.state().alone.is_none());
    assert_eq!(left(&pacer, 3).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn alone_no_more_than_a_third_leaves() {
    let store = Arc::new(FakeStore::default());
    let pacer = pacer(&store);
    assert_eq!(left(&pacer, 1).await, [Some(0)]);
    store.is_away.store(true, Ordering::Relaxed);
    sleep(HEARTBEAT * 2).await;
    let begun = Instant::now();
    let mut served = 0;
    while begun.elapsed() < Duration::from_secs(120) {
        served += left(&pacer, 3).await.iter().flatten().count();
    }
    let seconds = begun.elapsed().as_secs();
    let most = usize::try_from(seconds / 3 + 1).unwrap();
    assert!(
        (most * 9 / 10..=most).contains(&served),
        "{served} in {seconds} s"
    );
}

/// What became of each of so many calls, and after how long.
async fn ended(pacer: &Arc<SharedPacer>, calls: usize) -> Vec<(Result<bool, Duration>, Duration)> {
    let begun = Instant::now();
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let pacer = pacer.clone();
            tokio::spawn(async move { (pacer.place().await, begun.elapsed()) })
        })
        .collect();
    let mut ended = Vec::new();
    for call in calls {
        ended.push(call.await.unwrap());
    }
    ended
}

/// The clock of the tests goes on in steps of a millisecond.
const STEP: Duration = Duration::from_millis(5);

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_nonsense_is_as_one_that_is_away() {
    let lies: [(&str, Lie); 8] = [
        ("a place in an hour", |_, answer| {
            answer.places.fill(Duration::from_secs(3600));
        }),
        ("a place in ages", |_, answer| {
            answer.places.fill(Duration::from_micros(u64::MAX));
        }),
        ("a place later than asked for", |asked, answer| {
            answer.places.fill(asked.wait + Duration::from_millis(100));
        }),
        ("more places than asked for", |_, answer| {
            answer.places = vec![Duration::ZERO; 1000];
        }),
        ("no place, and one is free", |_, answer| {
            answer.places.clear();
            answer.next = Duration::ZERO;
        }),
        ("the next one is free in a day", |_, answer| {
            answer.places.clear();
            answer.next = Duration::from_secs(86_400);
        }),
        ("the next one is free in ages", |_, answer| {
            answer.places.clear();
            answer.next = Duration::from_micros(u64::MAX);
        }),
        ("all the world keeps this pace", |_, answer| {
            answer.replicas = u32::MAX;
            answer.places.clear();
            answer.next = Duration::from_secs(20);
        }),
    ];
    for (name, lie) in lies {
        let store = Arc::new(FakeStore::default());
        let pacer = pacer(&store);
        assert_eq!(left(&pacer, 1).await, [Some(0)]);
        *store.lie.lock().unwrap() = Some(lie);
        let ended = ended(&pacer, 4).await;
        let mut served = Vec::new();
        for (result, after) in &ended {
            assert!(*after <= pacer.rules.wait + STEP, "{name}: {ended:?}");
            match result {
                Ok(_) => served.push(*after),
                Err(next) => assert!(*next < Duration::from_secs(320), "{name}: {ended:?}"),
            }
        }
        // Its part: one in three seconds.
        assert!(!served.is_empty(), "{name}: {ended:?}");
        for pair in served.windows(2) {
            let apart = pair[1].saturating_sub(pair[0]);
            assert!(apart >= Duration::from_secs(1), "{name}: {ended:?}");
        }
        *store.lie.lock().unwrap() = None;
        sleep(HEARTBEAT * 2).await;
        assert!(pacer.state().alone.is_none(), "{name}");
        assert_eq!(left(&pacer, 3).await, [Some(0), Some(1), Some(2)], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_waits_too_long_at_a_store_that_is_slow() {
    let store = Arc::new(FakeStore::default());
    let pacer = pacer(&store);
    *store.delay.lock().unwrap() = Duration::from_secs(3);
    // A place that was early enough when it was asked for.
    *store.next.lock().unwrap() = Some(Instant::now() + Duration::from_secs(12));
    for (result, after) in ended(&pacer, 1).await {
        assert!(after <= pacer.rules.wait + STEP, "{result:?} {after:?}");
        assert!(result.is_err(), "{result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_store_did_not_hear_of_ends_when_it_was_to_end() {
    let store = Arc::new(FakeStore::default());
    let pacer = pacer(&store);
    assert_eq!(left(&pacer, 1).await, [Some(0)]);
    store.is_away.store(true, Ordering::Relaxed);
    pacer.pause(Duration::from_secs(60));
    sleep(STEP).await;
    assert_eq!(
        left(&pacer, 1).await,
        [None],
        "and it holds here until then"
    );
    sleep(Duration::from_secs(50)).await;
    *store.lie.lock().unwrap() = Some(|asked, answer| {
        if asked.pause > Duration::from_secs(11) {
            answer.next = Duration::from_secs(250);
            answer.places.clear();
        }
    });
    store.is_away.store(false, Ordering::Relaxed);
    let told = pacer.take(1, pacer.rules.wait).await.unwrap();
    assert!(told.next < Duration::from_secs(250), "{told:?}");
}
