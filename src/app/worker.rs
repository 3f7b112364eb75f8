//! Worker threads: each serves every listener on a current-thread runtime of its
//! own, so that a call never leaves the thread that accepted it.
//!
//! What a worker serves is told it whole, at the start and at each reload, as a list of
//! posts: it begins those that are new, serves those that it knows by what they say now,
//! and sweeps no more behind those that are gone, whose phase tells them to end.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::health::Health;
use crate::gateway::metrics::ListenerMetrics;
use crate::gateway::route::{Blueprint, Gateway};
use crate::gateway::stack::limit::Permits;
use crate::modes::connection::Rules;
use crate::modes::{Current, Phase, Serving, serve};
use crate::net::activity::Activity;
use crate::net::listen::{Bound, Listener};
use crate::net::tls::server::Doorman;

/// Heartbeat and sweep.
const TICK: Duration = Duration::from_secs(1);

/// How many polls between two looks at the sockets; measured, see benches/.
const EVENT_INTERVAL: u32 = 256;

/// All worker threads.
#[derive(Debug)]
pub struct Crew {
    orders: Vec<mpsc::UnboundedSender<Order>>,
    _threads: Vec<JoinHandle<()>>,
}

/// Tells when the workers have ended.
#[derive(Debug)]
pub struct Ended(mpsc::Receiver<()>);

impl Ended {
    /// Waits until every worker has closed its last connection.
    pub async fn all(&mut self) {
        while self.0.recv().await.is_some() {}
    }
}

/// One listener as one worker serves it.
#[derive(Debug)]
pub struct Post {
    /// Which; never used twice in a process.
    pub station: u64,
    /// A handle of its socket, where this worker has none yet.
    pub bound: Option<Bound>,
    /// Who puts TLS on its connections; `None` leaves them plain.
    pub doorman: Option<Arc<Doorman>>,
    /// Its routes.
    pub blueprint: Arc<Blueprint>,
    /// Its counters.
    pub metrics: Arc<ListenerMetrics>,
    /// How callers' connections are kept.
    pub rules: Arc<Rules>,
    /// Connections that may be open.
    pub connections: Arc<Permits>,
    /// Counts its calls.
    pub activity: Arc<Activity>,
    /// How far it is on its way out.
    pub phase: watch::Receiver<Phase>,
}

/// All posts of a worker, and who waits until it serves them.
struct Order {
    posts: Vec<Post>,
    done: oneshot::Sender<io::Result<()>>,
}

impl Crew {
    /// Starts `workers` threads, which serve nothing yet.
    ///
    /// # Errors
    /// Where the machine refuses a thread.
    pub fn start(workers: usize, health: Arc<Health>) -> io::Result<(Crew, Ended)> {
        let (alive, ended) = mpsc::channel(1);
        let mut threads = Vec::new();
        let mut orders = Vec::new();
        for index in 0..workers {
            let (order, taken) = mpsc::unbounded_channel();
            let (health, alive) = (health.clone(), alive.clone());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    let _alive = alive;
                    if let Err(error) = work(taken, health, index) {
                        tracing::error!(error.detail = %error, "a worker cannot run");
                    }
                })?;
            orders.push(order);
            threads.push(thread);
        }
        let crew = Crew {
            orders,
            _threads: threads,
        };
        Ok((crew, Ended(ended)))
    }

    /// How many workers there are.
    pub fn size(&self) -> usize {
        self.orders.len()
    }

    /// Gives each worker its list of posts and waits until it serves them. Where the
    /// future is dropped they serve them all the same.
    ///
    /// # Errors
    /// Where a worker cannot drive a socket, or has ended; it serves what it did before.
    pub async fn serve(&self, lists: Vec<Vec<Post>>) -> io::Result<()> {
        let mut waiting = Vec::new();
        for (order, posts) in self.orders.iter().zip(lists) {
            let (done, is_done) = oneshot::channel();
            let _ = order.send(Order { posts, done });
            waiting.push(is_done);
        }
        for is_done in waiting {
            is_done.await.map_err(io::Error::other)??;
        }
        Ok(())
    }

    /// No more orders: each worker ends with its last connection.
    pub fn dismiss(&mut self) {
        self.orders.clear();
    }
}

fn work(
    orders: mpsc::UnboundedReceiver<Order>,
    health: Arc<Health>,
    index: usize,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()?;
    let local = LocalSet::new();
    // A task of its own: what `block_on` waits for is polled at every turn of the
    // runtime, which is at every call, and a handle costs less of that than what it tends.
    let tending = local.spawn_local(tend(orders, health, index));
    local.block_on(&runtime, tending).map_err(io::Error::other)
}

/// Takes orders and keeps what they made, until there are no more of either.
async fn tend(mut orders: mpsc::UnboundedReceiver<Order>, health: Arc<Health>, index: usize) {
    let mut serving = JoinSet::new();
    let mut posted: Vec<(u64, Rc<Current>)> = Vec::new();
    let mut dismissed = false;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                health.beat(index);
                posted.iter().for_each(|(_, current)| current.gateway().sweep());
            }
            order = orders.recv(), if !dismissed => match order {
                Some(Order { posts, done }) => {
                    let _ = done.send(take(posts, &mut posted, &mut serving));
                }
                None => {
                    dismissed = true;
                    if serving.is_empty() {
                        return;
                    }
                }
            },
            Some(ended) = serving.join_next() => {
                // Without a listener and not for want of orders: it can only have failed.
                if serving.is_empty() && (dismissed || ended.is_err()) {
                    return;
                }
            }
        }
    }
}

/// Serves `posts` from now on, or, where one of their sockets cannot be driven, what
/// was served before.
fn take(
    posts: Vec<Post>,
    posted: &mut Vec<(u64, Rc<Current>)>,
    serving: &mut JoinSet<()>,
) -> io::Result<()> {
    let mut ready = Vec::new();
    for mut post in posts {
        let listener = post.bound.take();
        let activity = post.activity.clone();
        let listener = listener.map(|bound| Listener::adopt(bound, activity));
        let listener = listener.transpose()?;
        ready.push((post, listener));
    }
    let before = std::mem::take(posted);
    for (post, listener) in ready {
        let known = before.iter().find(|(station, _)| *station == post.station);
        let gateway = known.map(|(_, current)| current.gateway());
        let now = Serving {
            doorman: post.doorman,
            gateway: Rc::new(Gateway::build(post.blueprint, gateway.as_deref())),
            rules: post.rules,
            connections: post.connections,
            metrics: post.metrics,
        };
        let current = match known {
            Some((_, current)) => {
                current.replace(now);
                current.clone()
            }
            None => Current::new(now),
        };
        if let Some(listener) = listener {
            serving.spawn_local(serve(listener, current.clone(), post.phase));
        }
        posted.push((post.station, current));
    }
    Ok(())
}
