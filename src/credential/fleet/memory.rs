//! A shared store in this process: for tests of the protocol, and its definition.
//!
//! It can be down, so that what replicas do then can be seen. What Redis does is held to
//! what this does by one suite.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::health::StoreHealth;
use super::record::{FailureNote, FleetView, LeaseAnswer, LeaseRequest, PublishAnswer};
use super::steps::FleetRecord;
use super::{FleetNews, FleetStore, RecordPlace, StoreDown, StoreFuture};
use crate::base::time::Clock;

/// See the module.
#[derive(Debug)]
pub struct MemoryFleet {
    clock: Clock,
    inner: Mutex<Shelves>,
    health: StoreHealth,
}

#[derive(Debug, Default)]
struct Shelves {
    down: bool,
    back: u64,
    records: HashMap<RecordPlace, FleetRecord>,
    told: HashMap<RecordPlace, watch::Sender<FleetNews>>,
}

impl MemoryFleet {
    /// An empty one, whose time is that of `clock`.
    pub fn new(clock: Clock) -> MemoryFleet {
        MemoryFleet {
            clock,
            inner: Mutex::default(),
            health: StoreHealth::new(),
        }
    }

    /// Whether it is down from now on; replicas are told when it is back.
    pub fn set_down(&self, down: bool) {
        let mut inner = self.lock();
        inner.down = down;
        if !down {
            inner.back += 1;
            let places: Vec<RecordPlace> = inner.told.keys().cloned().collect();
            for place in places {
                inner.tell(&place);
            }
        }
    }

    /// Loses all that it has, and tells nobody.
    pub fn wipe(&self) {
        self.lock().records.clear();
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().wall_ms).unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step<T: Send + 'static>(
        &self,
        place: &RecordPlace,
        step: impl FnOnce(&mut FleetRecord, u64) -> T,
    ) -> StoreFuture<'static, T> {
        let now = self.now();
        let mut inner = self.lock();
        let outcome = match inner.down {
            true => Err(StoreDown::new("the store in memory is down")),
            false => {
                let record = inner.records.entry(place.clone()).or_default();
                let before = record.marks();
                let outcome = step(record, now);
                if record.marks() != before {
                    inner.tell(place);
                }
                Ok(outcome)
            }
        };
        Box::pin(std::future::ready(outcome))
    }
}

impl Shelves {
    fn news(&self, place: &RecordPlace) -> FleetNews {
        let record = self.records.get(place);
        let (generation, rejected) = record.map_or((0, 0), FleetRecord::marks);
        FleetNews {
            generation,
            rejected,
            back: self.back,
        }
    }

    fn tell(&self, place: &RecordPlace) {
        if let Some(sender) = self.told.get(place) {
            sender.send_replace(self.news(place));
        }
    }
}

impl FleetStore for MemoryFleet {
    fn look<'a>(&'a self, place: &'a RecordPlace) -> StoreFuture<'a, FleetView> {
        let known = self.lock().records.keys().cloned().collect::<Vec<_>>();
        let others = known
            .into_iter()
            .filter(|other| other.known == place.known && other.identity != place.identity);
        let others: Vec<String> = others.map(|other| other.identity.to_string()).collect();
        self.step(place, |record, now| {
            let view = record.look(now);
            match view.generation {
                0 => FleetView { others, ..view },
                _ => view,
            }
        })
    }

    fn lease<'a>(
        &'a self,
        place: &'a RecordPlace,
        request: &'a LeaseRequest,
    ) -> StoreFuture<'a, LeaseAnswer> {
        self.step(place, |record, now| record.lease(now, request))
    }

    fn publish<'a>(
        &'a self,
        place: &'a RecordPlace,
        token: &'a str,
        generation: u64,
        sealed: &'a [u8],
        left: Option<Duration>,
    ) -> StoreFuture<'a, PublishAnswer> {
        self.step(place, |record, now| {
            record.publish(now, token, generation, sealed, left)
        })
    }

    fn fail<'a>(
        &'a self,
        place: &'a RecordPlace,
        token: &'a str,
        failure: &'a FailureNote,
    ) -> StoreFuture<'a, ()> {
        self.step(place, |record, now| record.fail(now, token, failure))
    }

    fn reject<'a>(&'a self, place: &'a RecordPlace, generation: u64) -> StoreFuture<'a, ()> {
        self.step(place, |record, _| record.reject(generation))
    }

    fn listen(&self, place: &RecordPlace) -> watch::Receiver<FleetNews> {
        let mut inner = self.lock();
        let news = inner.news(place);
        let sender = inner
            .told
            .entry(place.clone())
            .or_insert_with(|| watch::Sender::new(news));
        sender.subscribe()
    }

    fn shown(&self) -> String {
        "memory".into()
    }

    fn health(&self) -> &StoreHealth {
        &self.health
    }
}
