//! The way to Redis: a connection for commands and messages, made anew when it breaks, and in
//! a cluster one more for each node that has a name of ours.
//!
//! Connecting, and each response, have the store's time limit. After a failure nobody
//! tries again for a moment of up to a second, so that calls of a process do not wait one after
//! the other for a store that is away.
//!
//! All keys of a name have one hash slot (`{NAME}` in them), so a node that has the name
//! has all of it: `MOVED` and `ASK` are followed, and which slot that is need not be known.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::{Cmd, ErrorKind, PushInfo, RedisError, ServerErrorKind, Value};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, timeout};

use super::dial::{Dialer, ServerConnection, ServerFault, named, shown};
use super::servers::Servers;
use crate::config::outbound::UpstreamTls;
use crate::config::shared_store::SharedStoreConfig;
use crate::config::url::HttpOrigin;
use crate::credential::fleet::StoreDown;
use crate::net::connect::SetUpError;
use crate::net::egress::ProcessContext;

/// Nobody tries again for up to this time after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// So many messages wait to be read. Who falls behind looks at the records instead: whoever
/// may publish in Redis shall not fill our memory.
const PUSHES: usize = 256;

/// A call is sent on so often: a cluster that is being changed may send it to and fro.
const HOPS: u32 = 5;

/// So many names are remembered with their nodes; beyond it they are learned anew.
const LEARNED: usize = 100_000;

/// See the module.
pub(super) struct RedisLink {
    dialer: Dialer,
    servers: Servers,
    shown: String,
    limit: Duration,
    pushes: broadcast::Sender<PushInfo>,
    /// Where messages come from, and commands go that no other node is known for.
    home: tokio::sync::Mutex<Option<ServerConnection>>,
    /// The other nodes of a cluster.
    nodes: tokio::sync::Mutex<HashMap<HttpOrigin, ServerConnection>>,
    known: Mutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    /// Until when nobody tries, and why; `None` is home.
    rests: HashMap<Option<HttpOrigin>, (Instant, StoreDown)>,
    /// How often a connection was made.
    connected: u64,
    /// It was away since.
    is_away: bool,
    /// How often it came back.
    returned: u64,
    channels: Vec<String>,
    /// Which node has a name.
    leads: HashMap<Box<str>, HttpOrigin>,
}

impl RedisLink {
    /// A link, and what is pushed to it.
    pub(super) fn new(
        config: &SharedStoreConfig,
        tls: &UpstreamTls,
        process: ProcessContext,
    ) -> Result<(RedisLink, broadcast::Receiver<PushInfo>), SetUpError> {
        let (pushes, pushed) = broadcast::channel(PUSHES);
        let dialer = Dialer::new(tls, config.timeout, process);
        // A file that cannot be used is told of at the start.
        dialer.connector(&config.origin)?;
        let link = RedisLink {
            dialer,
            servers: Servers::new(config),
            shown: shown(&config.origin),
            limit: config.timeout,
            pushes,
            home: tokio::sync::Mutex::new(None),
            nodes: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        };
        Ok((link, pushed))
    }

    /// Where it leads, for a message.
    pub(super) fn shown(&self) -> String {
        self.shown.clone()
    }

    /// How long a call may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether names may be on several nodes, each of which can be away alone.
    pub(super) fn is_cluster(&self) -> bool {
        self.servers.is_cluster()
    }

    /// How often the store came back after it had been away.
    pub(super) fn returned(&self) -> u64 {
        self.known().returned
    }

    /// Messages of `channel` are pushed from now on, also after a new connection. In a cluster
    /// every node has the messages of all.
    pub(super) async fn subscribe(&self, channel: String) -> Result<(), StoreDown> {
        self.known().channels.push(channel.clone());
        let before = self.known().connected;
        let mut server = self.home().await?;
        if self.known().connected != before {
            // A new connection has subscribed to all of them.
            return Ok(());
        }
        let subscribed = timeout(self.limit, server.redis.subscribe(channel)).await;
        self.judged(&server, None, subscribed).await
    }

    /// What Redis answers to `command`, all of whose keys are those of the name in `key`.
    pub(super) async fn call(&self, key: &str, command: Cmd) -> Result<Value, StoreDown> {
        let name = name_in(key);
        let mut asks: Option<HttpOrigin> = None;
        let mut hops = 0;
        loop {
            let lead = match &asks {
                Some(at) => Some(at.clone()),
                None => self.known().leads.get(name).cloned(),
            };
            let server = match &lead {
                Some(at) => self.node(at).await?,
                None => self.home().await?,
            };
            let mut redis = server.redis.clone();
            let answer = match asks.take() {
                Some(_) => {
                    let mut both = ::redis::pipe();
                    both.cmd("ASKING").ignore().add_command(command.clone());
                    let sent = redis.send_packed_commands(&both, 1, 1);
                    timeout(self.limit, sent).await.map(|answers| {
                        let answer = answers?.pop().unwrap_or(Value::Nil);
                        answer.extract_error()
                    })
                }
                None => timeout(self.limit, command.query_async(&mut redis)).await,
            };
            server.budget.renew();
            hops += 1;
            let follows = self.is_cluster() && hops <= HOPS;
            match redirect(&answer, &server.at).filter(|_| follows) {
                Some(Redirect::Moved(at)) => self.learn(name, at),
                Some(Redirect::Ask(at)) => asks = Some(at),
                Some(Redirect::Again) => sleep(self.limit.min(PAUSE) / 10).await,
                None => return self.judged(&server, lead, answer).await,
            }
        }
    }

    /// What came of a call to `server`; one that is lost is dialled anew by the next.
    async fn judged<T>(
        &self,
        server: &ServerConnection,
        lead: Option<HttpOrigin>,
        answer: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
    ) -> Result<T, StoreDown> {
        let mut is_misconfigured = false;
        let (why, is_lost) = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            // What it says of a command ends no connection, unless this server is none
            // that can be written.
            Ok(Err(error)) => {
                let codes = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"];
                let lasts = error.code().is_some_and(|code| codes.contains(&code));
                let is_lost = lasts || error.is_io_error() || error.is_connection_dropped();
                let fix = match error.code() {
                    Some("MOVED") if !self.is_cluster() => {
                        "; this is a node of a Redis Cluster: write store.cluster = true"
                    }
                    Some("NOPERM") => "; docs/fleet.md lists what its user must be allowed",
                    _ => "",
                };
                is_misconfigured = !fix.is_empty();
                (format!("{error}{fix}"), is_lost)
            }
            Err(_) => (format!("it did not answer within {:?}", self.limit), true),
        };
        let down = StoreDown {
            why: format!("the shared store {}: {why}", shown(&server.at)),
            is_misconfigured,
        };
        if is_lost {
            match &lead {
                Some(at) => {
                    self.nodes.lock().await.remove(at);
                    // Another node has its names from now on, or it is back by then.
                    self.known().leads.retain(|_, to| to != at);
                }
                None => *self.home.lock().await = None,
            }
            self.rest(lead, &down);
        }
        Err(down)
    }

    /// The node `at` has `name` from now on.
    fn learn(&self, name: &str, at: HttpOrigin) {
        self.servers.remember(&at);
        let mut known = self.known();
        if known.leads.len() >= LEARNED {
            known.leads.clear();
        }
        known.leads.insert(name.into(), at);
    }

    /// The connection of now, or a new one.
    async fn home(&self) -> Result<ServerConnection, StoreDown> {
        let mut home = self.home.lock().await;
        if let Some(server) = home.as_ref().filter(|server| !server.is_lost()) {
            return Ok(server.clone());
        }
        self.may_try(None)?;
        let connect = async {
            let connect = self.servers.connect(&self.dialer, self.limit, &self.pushes);
            let mut made = connect.await?;
            let channels = self.known().channels.clone();
            for channel in channels {
                let subscribed = made.redis.subscribe(channel).await;
                subscribed.map_err(|error| error.to_string())?;
                made.budget.renew();
            }
            Ok(made)
        };
        let made = self.made(None, timeout(self.limit * 2, connect).await)?;
        *home = Some(made.clone());
        Ok(made)
    }

    /// A connection to the node `at` of a cluster.
    async fn node(&self, at: &HttpOrigin) -> Result<ServerConnection, StoreDown> {
        {
            let home = self.home.lock().await;
            let is_home = |server: &&ServerConnection| server.at == *at && !server.is_lost();
            if let Some(server) = home.as_ref().filter(is_home) {
                return Ok(server.clone());
            }
        }
        let mut nodes = self.nodes.lock().await;
        if let Some(server) = nodes.get(at).filter(|server| !server.is_lost()) {
            return Ok(server.clone());
        }
        let made = async {
            self.may_try(Some(at))?;
            let dial = self.dialer.dial(at, self.servers.login(), None);
            self.made(Some(at), timeout(self.limit, dial).await)
        };
        let made = made.await;
        match &made {
            Ok(made) => {
                nodes.insert(at.clone(), made.clone());
            }
            // It may be gone for good: whoever is home knows who has its names.
            Err(_) => self.known().leads.retain(|_, to| to != at),
        }
        made
    }

    fn may_try(&self, at: Option<&HttpOrigin>) -> Result<(), StoreDown> {
        match self.known().rests.get(&at.cloned()) {
            Some((until, down)) if *until > Instant::now() => Err(down.clone()),
            _ => Ok(()),
        }
    }

    fn made(
        &self,
        at: Option<&HttpOrigin>,
        made: Result<Result<ServerConnection, ServerFault>, tokio::time::error::Elapsed>,
    ) -> Result<ServerConnection, StoreDown> {
        let fault = match made {
            Ok(Ok(made)) => {
                let mut known = self.known();
                known.rests.remove(&at.cloned());
                known.connected += 1;
                known.returned += u64::from(std::mem::take(&mut known.is_away));
                return Ok(made);
            }
            Ok(Err(fault)) => fault,
            Err(_) => format!("it did not answer within {:?}", self.limit).into(),
        };
        let shown = at.map_or_else(|| self.shown(), shown);
        let down = StoreDown {
            why: format!("the shared store {shown} is not reached: {}", fault.why),
            is_misconfigured: fault.lasts,
        };
        self.rest(at.cloned(), &down);
        Err(down)
    }

    /// The connection broke, as it says itself.
    pub(super) async fn drop_connection(&self) {
        let mut home = self.home.lock().await;
        // It may have been made anew already.
        home.take_if(|server| server.is_lost());
        self.known().is_away = true;
    }

    fn rest(&self, at: Option<HttpOrigin>, down: &StoreDown) {
        let until = Instant::now() + PAUSE.mul_f64(fastrand::f64());
        let mut known = self.known();
        known.rests.insert(at, (until, down.clone()));
        known.is_away = true;
    }

    /// Never held across an await; every use leaves it whole.
    fn known(&self) -> std::sync::MutexGuard<'_, LinkState> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a key that decides its hash slot (the specification of Redis Cluster, "Hash
/// tags").
fn name_in(key: &str) -> &str {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    tag.map_or(key, |(tag, _)| tag)
}

/// Where a node of a cluster sends a call.
enum Redirect {
    /// There from now on.
    Moved(HttpOrigin),
    /// There this once.
    Ask(HttpOrigin),
    /// Here, in a moment: the name is between two nodes.
    Again,
}

fn redirect<T, E>(
    answer: &Result<Result<T, RedisError>, E>,
    asked: &HttpOrigin,
) -> Option<Redirect> {
    let Ok(Err(error)) = answer else {
        return None;
    };
    let address = || named(asked, error.redirect_node()?.0);
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => address().map(Redirect::Moved),
        ErrorKind::Server(ServerErrorKind::Ask) => address().map(Redirect::Ask),
        ErrorKind::Server(ServerErrorKind::TryAgain) => Some(Redirect::Again),
        _ => None,
    }
}
