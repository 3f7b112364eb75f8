//! headset's whole stack on one thread: a caller's connection that no listener
//! accepted, and an upstream on loopback that reads by the strictest reading.
//!
//! Each run has a gateway of its own, so an input means the same whenever it is
//! replayed. There is no sleep: a run is over when nothing has moved for a number of
//! turns of the reactor; what then must still end is waited for, with patience.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use headset::app::build::{self, Plan, PlanDraft, kind_keys};
use headset::base::time::Clock;
use headset::config::load::{self, Sources};
use headset::gateway::route::Gateway;
use headset::modes::connection;
use headset::modes::{CurrentService, Phase, Service, Serving};
use headset::net::caller::CallerIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::strict;

/// What the route with a credential sends: `robot:hunter2`.
pub const AUTHORIZATION: &str = "Basic cm9ib3Q6aHVudGVyMg==";
/// Below this path the route carries no credential.
pub const OPEN: &str = "/open";
/// Nothing takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// So many turns of the reactor without a move are the end of it: a call needs about
/// eight, of which at most three in a row are unseen.
const STILL: usize = 24;

/// What the upstream does with a request.
pub enum Reply {
    /// Answers so and goes on.
    Answer(Vec<u8>),
    /// Answers so and closes.
    Last(Vec<u8>),
}

/// What the upstream was sent and what it is to say.
#[derive(Default)]
pub struct Upstream {
    pub requests: RefCell<Vec<strict::Request>>,
    pub faults: RefCell<Vec<String>>,
    /// The next replies; where they end, `ok`.
    pub script: RefCell<VecDeque<Reply>>,
    /// Connections that are open.
    pub open: Cell<usize>,
    /// Goes up whenever something moved.
    pub moved: Cell<u64>,
}

/// All that a run needs.
pub struct World {
    pub upstream: Rc<Upstream>,
    pub address: String,
    plan: Plan,
    phase: watch::Sender<Phase>,
    _folder: Scratch,
}

/// Runs `story` in this thread's world, which is made at first use.
pub fn run<T>(story: impl AsyncFnOnce(&World) -> T) -> T {
    thread_local! {
        static STAGE: Stage<World> = Stage::new(World::new);
    }
    STAGE.with(|stage| stage.run(story))
}

/// A thread's runtime with what lives in it.
pub struct Stage<W> {
    runtime: tokio::runtime::Runtime,
    local: LocalSet,
    world: W,
}

impl<W> Stage<W> {
    pub fn new(world: impl AsyncFnOnce() -> W) -> Stage<W> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let local = LocalSet::new();
        let world = local.block_on(&runtime, world());
        Stage {
            runtime,
            local,
            world,
        }
    }

    pub fn run<T>(&self, story: impl AsyncFnOnce(&W) -> T) -> T {
        self.local.block_on(&self.runtime, story(&self.world))
    }
}

impl World {
    async fn new() -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let upstream = Rc::new(Upstream::default());
        tokio::task::spawn_local(accept(listener, upstream.clone()));
        let routes = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\nhosts = [\"*\"]\n\
             [route.closed]\nupstream = \"http://{address}\"\ncredential = \"robot\"\n\
             [route.open]\nmatch = {{ path = \"{OPEN}\" }}\nupstream = \"http://{address}\"\n"
        );
        World::configured(upstream, address, &routes).await
    }

    /// headset by `toml`, which may name the credential `robot`, before `upstream` at
    /// `address`.
    pub async fn configured(upstream: Rc<Upstream>, address: String, toml: &str) -> World {
        let folder = Scratch::new();
        let password = folder.write("password", "hunter2");
        let config = folder.write(
            "headset.toml",
            format!(
                "[admin]\nbind = \"127.0.0.1:0\"\n\
                 [credential.robot]\nkind = \"static\"\nbasic.username = \"robot\"\n\
                 basic.password = {{ file = {password:?} }}\n{toml}"
            ),
        );
        let sources = Sources {
            file: Some(config),
            ..Sources::default()
        };
        let config = load::load(&sources, &kind_keys()).unwrap();
        let draft = PlanDraft::new(config, Clock::system(), Default::default());
        let draft = draft.unwrap_or_else(|problems| panic!("{problems:?}"));
        let registry = prometheus::Registry::new();
        let plan = build::start(
            draft,
            &registry,
            tokio::runtime::Handle::current(),
            Default::default(),
        );
        let (plan, _) = plan.unwrap();
        for slot in plan.shared_slots() {
            slot.obtain().await.expect("a live credential");
        }
        World {
            upstream,
            address,
            plan,
            phase: watch::channel(Phase::Serving).0,
            _folder: folder,
        }
    }

    /// Routes, stacks and pools that nothing has used yet.
    pub fn gateway(&self) -> Rc<Gateway> {
        Rc::new(Gateway::build(
            self.plan.listeners[0].blueprint.clone(),
            None,
        ))
    }

    /// A caller's connection to `gateway`.
    pub fn call(&self, gateway: &Rc<Gateway>) -> Caller {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let current = CurrentService::new(Serving {
            acceptor: None,
            service: Service::Gateway(gateway.clone()),
            rules: self.plan.rules.clone(),
            connections: self.plan.connections.clone(),
            makes_room: false,
            metrics: self.plan.listeners[0].metrics.clone(),
        });
        let serving = tokio::task::spawn_local(connection::serve(
            CallerIo::unix(theirs, Arc::default()),
            None,
            current,
            self.plan.rules.clone(),
            self.plan.listeners[0].metrics.clone(),
            self.phase.subscribe(),
        ));
        Caller {
            stream: ours,
            serving,
        }
    }

    /// Waits until nothing moves any more.
    pub async fn quiet(&self) {
        quiet(&self.upstream.moved).await;
    }

    /// Ends the gateway and tells what reached the upstream: the requests, in order of
    /// their ends, and what a strict reader could not take.
    pub async fn end(&self, gateway: Rc<Gateway>) -> (Vec<strict::Request>, Vec<String>) {
        drop(gateway);
        let upstream = &self.upstream;
        within("the upstream connections to close", async {
            while upstream.open.get() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        upstream.script.borrow_mut().clear();
        (upstream.requests.take(), upstream.faults.take())
    }
}

/// A caller.
pub struct Caller {
    stream: UnixStream,
    serving: tokio::task::JoinHandle<()>,
}

impl Caller {
    /// Sends `bytes` and reads what comes until nothing moves; the flag says whether
    /// headset closed.
    pub async fn exchange(&mut self, world: &World, bytes: &[u8]) -> (Vec<u8>, bool) {
        let (mut read, mut write) = self.stream.split();
        let moved = &world.upstream.moved;
        let mut heard = Vec::new();
        let mut closed = false;
        {
            let mut sending = std::pin::pin!(async {
                // A refused caller is not read to the end.
                let _ = write.write_all(bytes).await;
                world.quiet().await;
            });
            let mut hearing = std::pin::pin!(async {
                while read.read_buf(&mut heard).await.is_ok_and(|n| n > 0) {
                    moved.set(moved.get() + 1);
                }
                closed = true;
            });
            tokio::select! {
                () = &mut sending => {}
                () = &mut hearing => {}
            }
        }
        (heard, closed)
    }

    /// Hangs up and reads what was still on its way. What broke in headset breaks here.
    pub async fn hang_up(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.shutdown().await;
        // It may still read, so headset goes on until it is gone.
        let mut still = 0;
        while still < STILL {
            match self.stream.try_read_buf(&mut rest) {
                Ok(0) => break,
                Ok(_) => still = 0,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    still += 1;
                    tokio::task::yield_now().await;
                }
                Err(_) => break,
            }
        }
        drop(self.stream);
        within("the connection to end", async {
            if let Err(error) = self.serving.await {
                std::panic::resume_unwind(error.into_panic());
            }
        })
        .await;
        rest
    }

    /// The bare stream, for a client of another kind, and the task that serves it.
    pub fn into_parts(self) -> (UnixStream, tokio::task::JoinHandle<()>) {
        (self.stream, self.serving)
    }
}

/// Waits for `what`, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

async fn quiet(moved: &Cell<u64>) {
    let (mut last, mut still) = (moved.get(), 0);
    while still < STILL {
        tokio::task::yield_now().await;
        still = if moved.get() == last { still + 1 } else { 0 };
        last = moved.get();
    }
}

async fn accept(listener: TcpListener, upstream: Rc<Upstream>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        upstream.open.set(upstream.open.get() + 1);
        upstream.moved.set(upstream.moved.get() + 1);
        let upstream = upstream.clone();
        tokio::task::spawn_local(async move {
            serve(stream, &upstream).await;
            upstream.open.set(upstream.open.get() - 1);
        });
    }
}

async fn serve(mut stream: TcpStream, upstream: &Upstream) {
    let mut unread = Vec::new();
    loop {
        match strict::request(&unread) {
            Ok(Some((request, used))) => {
                unread.drain(..used);
                let ok = || Reply::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into());
                let reply = upstream.script.borrow_mut().pop_front().unwrap_or_else(ok);
                upstream.requests.borrow_mut().push(request);
                let (bytes, last) = match reply {
                    Reply::Answer(bytes) => (bytes, false),
                    Reply::Last(bytes) => (bytes, true),
                };
                let sent = stream.write_all(&bytes).await;
                upstream.moved.set(upstream.moved.get() + 1);
                if last || sent.is_err() {
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(fault) => {
                upstream.faults.borrow_mut().push(fault);
                return;
            }
        }
        if !stream.read_buf(&mut unread).await.is_ok_and(|n| n > 0) {
            // A reset leaves no port behind that waits: runs are many.
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            return;
        }
        upstream.moved.set(upstream.moved.get() + 1);
    }
}

/// A folder of its own, gone when dropped.
pub struct Scratch(std::path::PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        let name = format!(
            "headset-fuzz-{}-{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Writes the file `name` and tells its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
