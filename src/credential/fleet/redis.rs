//! The shared store in a Redis or Valkey, version 6 or newer.
//!
//! Each step on a record is one script (`redis/scripts.rs`), so that nothing happens between
//! its look and its change, by Redis's clock. One connection (`redis/link.rs`) carries
//! commands and messages, in a cluster one for each node; `redis/servers.rs` says which server
//! that is, alone, by Sentinels or in a cluster. `redis/feed.rs` turns messages, and a look every so often, into
//! what replicas are told. The ledgers of kinds lie beside (`redis/entries.rs`). All of it
//! lives on one thread of its own, so that a ledger can be written while the control
//! thread waits, for as long as the store's time limit allows.

mod bounded;
mod dial;
pub mod entries;
mod feed;
mod link;
mod paces;
mod scripts;
#[cfg(test)]
mod server;
mod servers;
#[cfg(test)]
mod tests;
mod thread;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Value, cmd, from_redis_value};
use tokio::sync::watch;

use self::feed::Feed;
use self::link::RedisLink;
use self::thread::on_store_thread;
use super::health::StoreHealth;
use super::record::{
    FailureNote, FleetView, LEASE_SLACK, LeaseAnswer, LeaseRequest, PublishAnswer,
};
use super::{FleetNews, FleetStore, RecordPlace, StoreDown, StoreFuture};
use crate::config::outbound::UpstreamTls;
use crate::config::shared_store::SharedStoreConfig;
use crate::net::connect::SetUpError;
use crate::net::egress::ProcessContext;

/// See the module. Clones share the connection.
#[derive(Clone)]
pub struct RedisFleet {
    link: Arc<RedisLink>,
    feed: Arc<Feed>,
    prefix: Arc<str>,
    health: Arc<StoreHealth>,
}

impl RedisFleet {
    /// The store that `config` names. Connects to nobody yet.
    ///
    /// # Errors
    /// Where TLS cannot be used.
    pub fn new(
        config: &SharedStoreConfig,
        tls: &UpstreamTls,
        process: ProcessContext,
    ) -> Result<RedisFleet, SetUpError> {
        let (link, pushes) = RedisLink::new(config, tls, process)?;
        let link = Arc::new(link);
        let health = Arc::new(StoreHealth::new());
        let feed = Feed::new(link.clone(), health.clone(), pushes, config.poll);
        Ok(RedisFleet {
            link,
            feed: Arc::new(feed),
            prefix: config.prefix.as_str().into(),
            health,
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        place: &RecordPlace,
        command: Cmd,
        read: impl FnOnce(Value) -> Option<T> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let (link, key) = (self.link.clone(), place.record.clone());
        Box::pin(async move {
            let shown = link.shown();
            let answer = on_store_thread(async move { link.call(&key, command).await }).await??;
            read(answer).ok_or_else(|| StoreDown::new(format!("{shown} answered nonsense")))
        })
    }
}

impl fmt::Debug for RedisFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisFleet({})", self.link.shown())
    }
}

impl FleetStore for RedisFleet {
    fn look<'a>(&'a self, place: &'a RecordPlace) -> StoreFuture<'a, FleetView> {
        let command = script(scripts::LOOK, place);
        let own = place.identity.to_string();
        self.ask(place, command, move |answer| view(answer, &own))
    }

    fn lease<'a>(
        &'a self,
        place: &'a RecordPlace,
        request: &'a LeaseRequest,
    ) -> StoreFuture<'a, LeaseAnswer> {
        let mut command = script(scripts::LEASE, place);
        command
            .arg(&request.token)
            .arg(millis(request.life))
            .arg(request.seen)
            .arg(request.had)
            .arg(&request.print)
            .arg(u8::from(request.forced))
            .arg(millis(request.life.saturating_add(LEASE_SLACK)));
        self.ask(place, command, |answer| {
            let (word, number, failures): (String, u64, u32) = from_redis_value(answer).ok()?;
            let left = Duration::from_millis(number);
            Some(match word.as_str() {
                "granted" => LeaseAnswer::Granted {
                    generation: number,
                    failures,
                },
                "newer" => LeaseAnswer::Newer,
                "held" => LeaseAnswer::Held(left),
                "failed" => LeaseAnswer::Failed(left),
                "young" => LeaseAnswer::Young(left),
                _ => return None,
            })
        })
    }

    fn publish<'a>(
        &'a self,
        place: &'a RecordPlace,
        token: &'a str,
        generation: u64,
        sealed: &'a [u8],
        left: Option<Duration>,
    ) -> StoreFuture<'a, PublishAnswer> {
        let mut command = script(scripts::PUBLISH, place);
        command
            .arg(token)
            .arg(generation)
            .arg(sealed)
            .arg(left.map_or(String::new(), |left| millis(left).to_string()))
            .arg(&*place.identity);
        self.ask(place, command, |answer| {
            match from_redis_value::<String>(answer).ok()?.as_str() {
                "accepted" => Some(PublishAnswer::Accepted),
                "late" => Some(PublishAnswer::Late),
                _ => None,
            }
        })
    }

    fn fail<'a>(
        &'a self,
        place: &'a RecordPlace,
        token: &'a str,
        failure: &'a FailureNote,
    ) -> StoreFuture<'a, ()> {
        let mut command = script(scripts::FAIL, place);
        command
            .arg(token)
            .arg(&failure.sealed)
            .arg(&failure.print)
            .arg(millis(failure.wait));
        self.ask(place, command, |_| Some(()))
    }

    fn reject<'a>(&'a self, place: &'a RecordPlace, generation: u64) -> StoreFuture<'a, ()> {
        let mut command = script(scripts::REJECT, place);
        command.arg(generation);
        self.ask(place, command, |_| Some(()))
    }

    fn listen(&self, place: &RecordPlace) -> watch::Receiver<FleetNews> {
        self.feed.listen(place)
    }

    fn shown(&self) -> String {
        self.link.shown()
    }

    fn health(&self) -> &StoreHealth {
        &self.health
    }
}

fn script(text: &str, place: &RecordPlace) -> Cmd {
    let mut command = cmd("EVAL");
    command
        .arg(text)
        .arg(2)
        .arg(&*place.record)
        .arg(&*place.known);
    command
}

/// So many other configurations of a name are told of.
const OTHERS: usize = 3;

/// What the script of a look answers: whether somebody else wrote there, the generation, what
/// is sealed, what is left of it, the rejected one, the failure, the lease, who else there is.
type LookAnswer = (
    u8,
    u64,
    Vec<u8>,
    Option<u64>,
    u64,
    Option<(Vec<u8>, Vec<u8>, u64)>,
    Option<(Vec<u8>, u64)>,
    Vec<Vec<u8>>,
);

fn view(answer: Value, own: &str) -> Option<FleetView> {
    let (foreign, generation, sealed, left, rejected, failure, lease, known): LookAnswer =
        from_redis_value(answer).ok()?;
    // They come from Redis, and go into messages: an identity or nothing.
    let is_identity = |one: &String| {
        one != own && one.len() == own.len() && one.bytes().all(|octet| octet.is_ascii_hexdigit())
    };
    let known = known.into_iter();
    let known = known.filter_map(|one| String::from_utf8(one).ok());
    Some(FleetView {
        generation,
        sealed,
        left: left.map(Duration::from_millis),
        rejected,
        failure: failure.map(|(sealed, print, left)| {
            let left = Duration::from_millis(left);
            let note = FailureNote {
                sealed,
                print: String::from_utf8(print).unwrap_or_default(),
                wait: left,
            };
            (note, left)
        }),
        lease: lease.and_then(|(token, left)| {
            let token = String::from_utf8(token).ok()?;
            Some((token, Duration::from_millis(left)))
        }),
        is_foreign: foreign != 0,
        others: known.filter(is_identity).take(OTHERS).collect(),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
