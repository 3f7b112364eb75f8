//! Worker threads: each serves every listener on a current-thread runtime of its
//! own, so that a call never leaves the thread that accepted it.
//!
//! New sockets are handed over first, since that may fail; they wait in the workers until
//! [`AdoptedSockets::serve`] says what all listeners serve from then on, which cannot fail. So a
//! reload has changed nothing where a worker cannot follow. Listeners that are removed end
//! by their phase.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::health::Health;
use crate::base::name::Name;
use crate::base::permits::Permits;
use crate::base::task::boxed_local;
use crate::base::worker;
use crate::gateway::metrics::ListenerMetrics;
use crate::gateway::route::{Blueprint, Gateway};
use crate::modes::{ConnectionRules, CurrentService, Phase, Service, Serving, serve};
use crate::net::activity::Activity;
use crate::net::listen::{BoundSocket, Listener};
use crate::net::share::WorkerShare;
use crate::net::tls::server::TlsAcceptor;
use crate::net::turn;

/// Heartbeat and sweep.
const TICK: Duration = Duration::from_secs(1);

/// How many polls between two looks at the sockets; see docs/performance.md.
const EVENT_INTERVAL: u32 = 256;

/// All worker threads.
#[derive(Debug)]
pub struct Workers {
    commands: Vec<mpsc::UnboundedSender<WorkerCommand>>,
    _threads: Vec<JoinHandle<()>>,
}

/// Tells when the workers have ended.
#[derive(Debug)]
pub struct WorkersEnded(mpsc::Receiver<()>);

impl WorkersEnded {
    /// Waits until every worker has closed its last connection.
    pub async fn all(&mut self) {
        while self.0.recv().await.is_some() {}
    }
}

/// One worker's handle of a listening socket.
#[derive(Debug)]
pub struct WorkerSocket {
    /// Which listener's; never used twice in a process.
    pub listener: u64,
    /// The listener's name, for the log.
    pub name: Name,
    /// The socket.
    pub bound: BoundSocket,
    /// Counts its calls.
    pub activity: Arc<Activity>,
    /// How far the listener is on its way out.
    pub phase: watch::Receiver<Phase>,
}

/// How one worker serves one listener.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Which; its socket was handed over before.
    pub listener: u64,
    /// Who puts TLS on its connections; `None` leaves them plain.
    pub acceptor: Option<Arc<TlsAcceptor>>,
    /// Its routes.
    pub blueprint: Arc<Blueprint>,
    /// Its counters.
    pub metrics: Arc<ListenerMetrics>,
    /// How callers' connections are kept.
    pub rules: Arc<ConnectionRules>,
    /// Connections that may be open.
    pub connections: Arc<Permits>,
}

#[derive(Debug)]
enum WorkerCommand {
    /// Take these sockets, which nobody is served on yet.
    Adopt(Vec<WorkerSocket>, oneshot::Sender<io::Result<()>>),
    /// Close the sockets that were taken and not served on.
    Release,
    /// Serve all of these, and nothing else, from now on.
    Serve(Vec<Assignment>, oneshot::Sender<()>),
}

impl Workers {
    /// Starts `workers` threads, which serve nothing yet. [`worker::expect`] was told of them before
    /// the families of metrics were made.
    ///
    /// # Errors
    /// Where the machine refuses a thread.
    pub fn start(workers: usize, health: Arc<Health>) -> io::Result<(Workers, WorkersEnded)> {
        debug_assert!(workers <= worker::expected(), "counted with locks");
        let (alive, ended) = mpsc::channel(1);
        let mut threads = Vec::new();
        let mut commands = Vec::new();
        for (index, share) in WorkerShare::among(workers).into_iter().enumerate() {
            let (command, taken) = mpsc::unbounded_channel();
            let (health, alive) = (health.clone(), alive.clone());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    worker::begin(index);
                    let _alive = alive;
                    if let Err(error) = work(taken, health, share, index) {
                        tracing::error!(
                            worker = index,
                            error.detail = %error,
                            "a worker ended by a fault of headset; report the log, and restart headset"
                        );
                    }
                })?;
            commands.push(command);
            threads.push(thread);
        }
        let workers = Workers {
            commands,
            _threads: threads,
        };
        Ok((workers, WorkersEnded(ended)))
    }

    /// How many workers there are.
    pub fn size(&self) -> usize {
        self.commands.len()
    }

    /// Hands each worker its list of `sockets`. Where this fails or is dropped, and where
    /// what it yields is dropped unused, they are closed again.
    ///
    /// # Errors
    /// Where a worker cannot drive a socket, or has ended.
    pub async fn adopt(&self, sockets: Vec<Vec<WorkerSocket>>) -> io::Result<AdoptedSockets> {
        let adopted = AdoptedSockets(self.commands.clone());
        let mut waiting = Vec::new();
        for (command, sockets) in self.commands.iter().zip(sockets) {
            let (done, is_done) = oneshot::channel();
            let _ = command.send(WorkerCommand::Adopt(sockets, done));
            waiting.push(is_done);
        }
        for (index, is_done) in waiting.into_iter().enumerate() {
            let ended = |_| io::Error::other(format!("worker {index} has ended"));
            is_done.await.map_err(ended)??;
        }
        Ok(adopted)
    }

    /// No more commands: each worker ends with its last connection.
    pub fn dismiss(&mut self) {
        self.commands.clear();
    }
}

/// Sockets that the workers have and do not serve on yet; closed where this is dropped.
#[derive(Debug)]
pub struct AdoptedSockets(Vec<mpsc::UnboundedSender<WorkerCommand>>);

impl AdoptedSockets {
    /// Gives each worker its `assignments`, and waits until it goes by them. Where the
    /// future is dropped it goes by them all the same. A worker that has ended has
    /// said so, and shows in `/livez`.
    pub async fn serve(mut self, assignments: Vec<Assignment>) {
        let mut waiting = Vec::new();
        for command in std::mem::take(&mut self.0) {
            let (done, is_done) = oneshot::channel();
            let _ = command.send(WorkerCommand::Serve(assignments.clone(), done));
            waiting.push(is_done);
        }
        for is_done in waiting {
            let _ = is_done.await;
        }
    }
}

impl Drop for AdoptedSockets {
    fn drop(&mut self) {
        for command in &self.0 {
            let _ = command.send(WorkerCommand::Release);
        }
    }
}

fn work(
    commands: mpsc::UnboundedReceiver<WorkerCommand>,
    health: Arc<Health>,
    share: WorkerShare,
    index: usize,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .on_thread_unpark(turn::advance)
        .build_local(LocalOptions::default())?;
    // A task of its own: what `block_on` waits for is polled at every turn of the
    // runtime, which is at every call, and a handle costs less of that than what it tends.
    let tending = WorkerState::new(health, share, index).follow(commands);
    let tending = runtime.spawn_local(boxed_local(tending));
    runtime.block_on(tending).map_err(io::Error::other)
}

/// What one worker has.
struct WorkerState {
    health: Arc<Health>,
    /// Of the connections of all workers.
    share: WorkerShare,
    index: usize,
    /// Sockets that wait for their first assignment.
    adopted: Vec<(ServedSocket, Listener)>,
    /// What is served, by listener.
    served: Vec<(u64, Rc<CurrentService>)>,
    /// What removed listeners were served by, while connections of theirs are open.
    removed: Vec<Rc<CurrentService>>,
    serving: JoinSet<()>,
}

/// A [`WorkerSocket`] that the runtime drives.
struct ServedSocket {
    listener: u64,
    name: Name,
    phase: watch::Receiver<Phase>,
}

impl WorkerState {
    fn new(health: Arc<Health>, share: WorkerShare, index: usize) -> WorkerState {
        WorkerState {
            health,
            share,
            index,
            adopted: Vec::new(),
            served: Vec::new(),
            removed: Vec::new(),
            serving: JoinSet::new(),
        }
    }

    /// Follows commands and tends what they made, until there are no more of either.
    async fn follow(mut self, mut commands: mpsc::UnboundedReceiver<WorkerCommand>) {
        let mut dismissed = false;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !dismissed || !self.serving.is_empty() {
            tokio::select! {
                _ = tick.tick() => self.sweep(),
                command = commands.recv(), if !dismissed => match command {
                    Some(WorkerCommand::Adopt(sockets, done)) => {
                        let _ = done.send(self.adopt(sockets));
                    }
                    Some(WorkerCommand::Release) => self.adopted.clear(),
                    Some(WorkerCommand::Serve(assignments, done)) => {
                        self.serve(assignments);
                        let _ = done.send(());
                    }
                    None => dismissed = true,
                },
                Some(_) = self.serving.join_next() => {}
            }
        }
    }

    fn sweep(&mut self) {
        self.health.beat(self.index);
        // Whoever serves a connection holds it, too.
        self.removed.retain(|current| Rc::strong_count(current) > 1);
        let served = self.served.iter().map(|(_, current)| current);
        for current in served.chain(&self.removed) {
            if let Some(gateway) = current.gateway() {
                gateway.sweep();
            }
        }
    }

    fn adopt(&mut self, sockets: Vec<WorkerSocket>) -> io::Result<()> {
        self.adopted.clear();
        for socket in sockets {
            let listener = Listener::adopt(socket.bound, socket.activity, self.share.clone())?;
            let rest = ServedSocket {
                listener: socket.listener,
                name: socket.name,
                phase: socket.phase,
            };
            self.adopted.push((rest, listener));
        }
        Ok(())
    }

    fn serve(&mut self, assignments: Vec<Assignment>) {
        let mut before = std::mem::take(&mut self.served);
        for assignment in assignments {
            let number = assignment.listener;
            let known = before.iter().position(|(listener, _)| *listener == number);
            let known = known.map(|index| before.swap_remove(index).1);
            let gateway = known.as_ref().and_then(|current| current.gateway());
            let now = Serving {
                acceptor: assignment.acceptor,
                service: Service::Gateway(Rc::new(Gateway::build(
                    assignment.blueprint,
                    gateway.as_deref(),
                ))),
                rules: assignment.rules,
                connections: assignment.connections,
                makes_room: false,
                metrics: assignment.metrics,
            };
            let current = match known {
                Some(current) => {
                    current.replace(now);
                    current
                }
                None => CurrentService::new(now),
            };
            let mut waiting = self.adopted.iter();
            if let Some(index) = waiting.position(|(socket, _)| socket.listener == number) {
                let (socket, listener) = self.adopted.swap_remove(index);
                self.begin(socket, listener, current.clone());
            }
            self.served.push((number, current));
        }
        self.adopted.clear();
        self.removed
            .extend(before.into_iter().map(|(_, current)| current));
    }

    fn begin(&mut self, socket: ServedSocket, listener: Listener, current: Rc<CurrentService>) {
        let (health, index) = (self.health.clone(), self.index);
        let ServedSocket { name, phase, .. } = socket;
        let panicked = move |panic: &str| {
            health.stumble(index);
            tracing::error!(
                listener.name = %name,
                worker = index,
                error.detail = panic,
                "a fault of headset interrupted accepting connections; it goes on, report the log"
            );
        };
        let serving = serve(listener, current, phase, panicked);
        self.serving.spawn_local(boxed_local(serving));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Bind, SocketAccess};
    use crate::net::listen::access::Access;
    use std::net::SocketAddr;

    fn socket() -> WorkerSocket {
        let any = Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        WorkerSocket {
            listener: 1,
            name: Name::parse("app").unwrap(),
            bound: BoundSocket::bind(&any, &Access::resolve(&SocketAccess::default()).unwrap())
                .unwrap(),
            activity: Arc::default(),
            phase: watch::channel(Phase::Serving).1,
        }
    }

    #[tokio::test]
    async fn what_a_worker_that_has_ended_cannot_take_is_told_and_closed_everywhere() {
        worker::expect(2);
        let health = Arc::new(Health::new(2, Vec::new()));
        let (mut workers, _ended) = Workers::start(2, health).unwrap();
        let (dead, gone) = mpsc::unbounded_channel();
        drop(gone);
        workers.commands[1] = dead;
        let first = socket();
        let Bind::Tcp(address) = first.bound.address().unwrap() else {
            unreachable!("it is TCP")
        };
        let error = workers.adopt(vec![vec![first], vec![]]).await.unwrap_err();
        assert_eq!(error.to_string(), "worker 1 has ended");
        // Its commands come in order, so the release has come when this is answered.
        workers.commands.truncate(1);
        drop(workers.adopt(vec![vec![]]).await.unwrap());
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}
