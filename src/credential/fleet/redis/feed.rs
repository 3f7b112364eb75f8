//! What replicas are told of their records: by messages, and by a look every so often.
//!
//! One task on the thread of the store; it ends with the store. While Redis is away it
//! tries every few seconds, each replica at moments of its own, and tells when it is back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::redis::{PushInfo, PushKind, Value, cmd, from_redis_value};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::link::RedisLink;
use super::scripts;
use super::thread::store_thread;
use crate::base::task::boxed;
use crate::credential::fleet::health::StoreHealth;
use crate::credential::fleet::record::MOST_GENERATION;
use crate::credential::fleet::{FleetNews, RecordPlace};

/// While Redis is away, it is tried about as often.
const AWAY: Duration = Duration::from_secs(3);

/// After messages were missed, the records are looked at so soon.
const MISSED: Duration = Duration::from_secs(1);

/// A message is believed at once if the one before it is this old; else the record says what
/// is true of it. Whoever may publish in Redis causes no more looks than that.
const BELIEVED: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Feed {
    link: Arc<RedisLink>,
    health: Arc<StoreHealth>,
    told: Arc<ToldReplicas>,
    start: Mutex<Option<(broadcast::Receiver<PushInfo>, Duration)>>,
}

/// Who is told, by the name of the record.
#[derive(Default)]
struct ToldReplicas(Mutex<HashMap<Arc<str>, watch::Sender<FleetNews>>>);

impl ToldReplicas {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, watch::Sender<FleetNews>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, record: &str, change: impl Fn(&mut FleetNews)) {
        if let Some(sender) = self.lock().get(record) {
            sender.send_if_modified(|news| {
                let before = *news;
                change(news);
                *news != before
            });
        }
    }
}

impl Feed {
    /// Looks by itself every `poll`, once somebody listens, and tells `health` of it.
    pub(super) fn new(
        link: Arc<RedisLink>,
        health: Arc<StoreHealth>,
        pushes: broadcast::Receiver<PushInfo>,
        poll: Duration,
    ) -> Feed {
        Feed {
            link,
            health,
            told: Arc::default(),
            start: Mutex::new(Some((pushes, poll))),
        }
    }

    pub(super) fn listen(&self, place: &RecordPlace) -> watch::Receiver<FleetNews> {
        let (is_new, receiver) = {
            let mut told = self.told.lock();
            let before = told.len();
            let sender = told
                .entry(place.record.clone())
                .or_insert_with(|| watch::Sender::new(FleetNews::default()));
            let receiver = sender.subscribe();
            (told.len() > before, receiver)
        };
        let Ok(thread) = store_thread() else {
            return receiver;
        };
        let start = self
            .start
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((pushes, poll)) = start {
            thread.spawn(boxed(run(
                Arc::downgrade(&self.link),
                Arc::downgrade(&self.told),
                self.health.clone(),
                pushes,
                poll,
            )));
        }
        if is_new {
            let (link, channel) = (self.link.clone(), place.record.to_string());
            // Whoever asks first meets what is wrong.
            thread.spawn(boxed(async move {
                let _ = link.subscribe(channel).await;
            }));
        }
        receiver
    }
}

async fn run(
    link: Weak<RedisLink>,
    told: Weak<ToldReplicas>,
    health: Arc<StoreHealth>,
    mut pushes: broadcast::Receiver<PushInfo>,
    poll: Duration,
) {
    let mut seen = 0;
    let mut heard: HashMap<String, Instant> = HashMap::new();
    let mut next = Instant::now() + jittered(poll);
    loop {
        tokio::select! {
            pushed = pushes.recv() => {
                let Some(told) = told.upgrade() else { return };
                let pushed = match pushed {
                    Ok(pushed) => pushed,
                    // What was missed is looked up, not at once: more may be coming.
                    Err(RecvError::Lagged(_)) => {
                        next = next.min(Instant::now() + MISSED);
                        continue;
                    }
                    Err(RecvError::Closed) => return,
                };
                match pushed.kind {
                    PushKind::Message => {
                        let Some((record, generation, rejected)) = message(pushed.data) else {
                            continue;
                        };
                        let now = Instant::now();
                        heard.retain(|_, at| now.duration_since(*at) < BELIEVED);
                        if heard.contains_key(&record) {
                            next = next.min(now + MISSED);
                        } else if told.lock().contains_key(record.as_str()) {
                            heard.insert(record.clone(), now);
                            told.tell(&record, |news| {
                                news.generation = generation;
                                news.rejected = rejected;
                            });
                        }
                    }
                    PushKind::Disconnection => {
                        let Some(link) = link.upgrade() else { return };
                        link.drop_connection().await;
                        next = Instant::now() + AWAY.mul_f64(fastrand::f64());
                    }
                    _ => {}
                }
            }
            // A connection that was given up carries no messages, and nobody says that it ended.
            () = health.went_down() => {
                next = next.min(Instant::now() + AWAY.mul_f64(fastrand::f64()));
            }
            () = sleep_until(next) => {
                let (Some(link), Some(told)) = (link.upgrade(), told.upgrade()) else { return };
                next = Instant::now() + match look(&link, &told, &health, &mut seen).await {
                    true => jittered(poll),
                    false => jittered(AWAY),
                };
            }
        }
    }
}

/// Looks at every record; tells who may be told of a new connection. Whether Redis did
/// what it was asked.
async fn look(link: &RedisLink, told: &ToldReplicas, health: &StoreHealth, seen: &mut u64) -> bool {
    let records: Vec<Arc<str>> = told.lock().keys().cloned().collect();
    let mut done = true;
    for record in records {
        let mut command = cmd("EVAL");
        command.arg(scripts::MARKS).arg(1).arg(&*record);
        let outcome = link.call(&record, command).await;
        health.note(&outcome);
        let answer = match outcome {
            Ok(answer) => answer,
            // The other nodes of a cluster may be well.
            Err(_) if link.is_cluster() => {
                done = false;
                continue;
            }
            Err(_) => return false,
        };
        let Ok((generation, rejected)) = from_redis_value::<(u64, u64)>(answer) else {
            continue;
        };
        let returned = link.returned();
        let came_back = returned != *seen;
        told.tell(&record, |news| {
            news.generation = generation;
            news.rejected = rejected;
            if came_back {
                news.back = returned;
            }
        });
    }
    *seen = link.returned();
    done
}

/// The record, the generation and the rejected one that a message tells of.
fn message(data: Vec<Value>) -> Option<(String, u64, u64)> {
    let (record, text): (String, String) = from_redis_value(Value::Array(data)).ok()?;
    let (generation, rejected) = text.split_once(' ')?;
    let number = |text: &str| text.parse().ok().filter(|it| *it < MOST_GENERATION);
    Some((record, number(generation)?, number(rejected)?))
}

fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.75 + fastrand::f64() / 2.0)
}
