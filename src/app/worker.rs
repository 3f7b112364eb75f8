//! Worker threads: each serves every listener on a current-thread runtime of its
//! own, so that a call never leaves the thread that accepted it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::health::Health;
use crate::app::plan::Plan;
use crate::gateway::metrics::ListenerMetrics;
use crate::gateway::route::{Blueprint, Gateway};
use crate::gateway::stack::limit::Permits;
use crate::modes::connection::Rules;
use crate::modes::{Phase, Serving, serve};
use crate::net::listen::{Bound, Listener};
use crate::net::tls::server::Doorman;

/// Heartbeat and sweep.
const TICK: Duration = Duration::from_secs(1);

/// How many polls between two looks at the sockets; measured, see benches/.
const EVENT_INTERVAL: u32 = 256;

/// All worker threads.
#[derive(Debug)]
pub struct Crew {
    threads: Vec<JoinHandle<()>>,
    /// Closed when the last worker has ended.
    ended: tokio::sync::mpsc::Receiver<()>,
}

struct Post {
    bound: Bound,
    doorman: Option<Arc<Doorman>>,
    blueprint: Arc<Blueprint>,
    metrics: Arc<ListenerMetrics>,
}

impl Crew {
    /// Starts `workers` threads over `listeners` (in the order of the plan's). Waits
    /// until each has its sockets on its runtime.
    ///
    /// # Errors
    /// Where the machine refuses a thread, a runtime or a second handle of a socket.
    pub fn start(
        workers: usize,
        plan: &Plan,
        listeners: &[Bound],
        rules: Arc<Rules>,
        connections: usize,
        phases: watch::Receiver<Phase>,
        health: Arc<Health>,
    ) -> io::Result<Crew> {
        let connections = Permits::new(connections);
        let (alive, ended) = tokio::sync::mpsc::channel(1);
        let (ready, readied) = mpsc::channel();
        let mut threads = Vec::new();
        for index in 0..workers {
            let posts = plan
                .listeners
                .iter()
                .zip(listeners)
                .map(|(planned, bound)| {
                    Ok(Post {
                        bound: bound.share()?,
                        doorman: planned.door.tls.clone(),
                        blueprint: planned.blueprint.clone(),
                        metrics: planned.metrics.clone(),
                    })
                })
                .collect::<io::Result<Vec<Post>>>()?;
            let (rules, connections) = (rules.clone(), connections.clone());
            let (phases, health) = (phases.clone(), health.clone());
            let (alive, ready) = (alive.clone(), ready.clone());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    let _alive = alive;
                    let outcome = work(posts, rules, connections, phases, &health, index, &ready);
                    if let Err(error) = outcome {
                        let _ = ready.send(Err(error));
                    }
                })?;
            threads.push(thread);
        }
        for _ in 0..workers {
            readied.recv().map_err(io::Error::other)??;
        }
        Ok(Crew { threads, ended })
    }

    /// Waits until every worker has closed its last connection.
    pub async fn ended(&mut self) {
        while self.ended.recv().await.is_some() {}
    }

    /// Whether some worker ended although nobody asked it to.
    pub fn lost_one(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

fn work(
    posts: Vec<Post>,
    rules: Arc<Rules>,
    connections: Arc<Permits>,
    phases: watch::Receiver<Phase>,
    health: &Health,
    index: usize,
    ready: &mpsc::Sender<io::Result<()>>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let mut gateways = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for post in posts {
            let gateway = Rc::new(Gateway::build(post.blueprint));
            gateways.push(gateway.clone());
            let serving = Serving {
                listener: Listener::adopt(post.bound)?,
                doorman: post.doorman,
                gateway,
                rules: rules.clone(),
                connections: connections.clone(),
                metrics: post.metrics,
            };
            tasks.spawn_local(serve(serving, phases.clone()));
        }
        let _ = ready.send(Ok(()));
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    health.beat(index);
                    gateways.iter().for_each(|gateway| gateway.sweep());
                }
                ended = tasks.join_next() => if ended.is_none() {
                    return Ok(());
                }
            }
        }
    })
}
