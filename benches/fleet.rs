//! A fleet at scale: a thousand replicas' real credential engines in one process, each with a
//! connection of its own to a real Redis, against the simulated contact center.
//!
//!   cargo bench --bench fleet -- 1000
//!
//! It says for each scenario how many registrations there were beside the ideal, whether any
//! replica was without a credential, and how long it took until the last one had the new
//! one; then what Redis does in an hour for a replica, and its memory for the credential. Needs
//! `redis-server`. The figures of times are those of one process and one thread for the
//! store: a busy machine makes them worse.

#[cfg(feature = "redis")]
mod harness {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use headset::app::build::kind_keys;
    use headset::base::time::Clock;
    use headset::config::load::{Sources, load};
    use headset::config::{Config, UpstreamTls};
    use headset::credential::fleet::Fleet;
    use headset::credential::fleet::fleet_mint::{SharedCredential, shared};
    use headset::credential::fleet::metrics::FleetMetrics;
    use headset::credential::fleet::published::FleetKeys;
    use headset::credential::fleet::redis::RedisFleet;
    use headset::credential::identity::Identity;
    use headset::credential::metrics::CredentialMetrics;
    use headset::credential::minter_factory::MinterFactory;
    use headset::credential::slot::{RejectOutcome, Slot, SlotParts};
    use headset::credential::store::{NullStore, StoreScope};
    use headset::net::egress::ProcessContext;
    use headset_simulator::{Options, Simulator};
    use prometheus::Registry;

    /// How often it is looked whether all have it.
    const LOOK: Duration = Duration::from_millis(2);
    const PATIENCE: Duration = Duration::from_secs(120);

    #[allow(
        clippy::disallowed_methods,
        reason = "it measures, and nothing expires by it"
    )]
    fn now() -> Instant {
        Instant::now()
    }

    fn tell(line: std::fmt::Arguments<'_>) {
        let told = writeln!(std::io::stdout(), "{line}");
        told.expect("stdout is there");
    }

    /// A Redis on a port and in a folder of its own.
    struct Redis {
        port: u16,
        folder: PathBuf,
        child: Child,
    }

    impl Redis {
        fn start(folder: PathBuf) -> Redis {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let port = free.local_addr().expect("it has an address").port();
            drop(free);
            let child = Redis::run(port, &folder);
            Redis {
                port,
                folder,
                child,
            }
        }

        fn run(port: u16, folder: &Path) -> Child {
            let child = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no", "--maxclients", "20000"])
                .arg("--dir")
                .arg(folder)
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is there (Debian: redis-server)");
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
            child
        }

        fn kill(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }

        fn again(&mut self) {
            self.child = Redis::run(self.port, &self.folder);
        }

        fn ask(&self, command: &[&str]) -> String {
            let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("Redis listens");
            let mut text = format!("*{}\r\n", command.len());
            for part in command {
                text.push_str(&format!("${}\r\n{part}\r\n", part.len()));
            }
            text.push_str("*1\r\n$4\r\nQUIT\r\n");
            socket.write_all(text.as_bytes()).expect("it is sent");
            let mut answer = String::new();
            let _ = socket.read_to_string(&mut answer);
            answer
        }

        /// How many commands it did since it started, those of scripts not counted apart.
        fn commands(&self) -> u64 {
            let answer = self.ask(&["INFO", "stats"]);
            let line = answer
                .lines()
                .find_map(|line| line.strip_prefix("total_commands_processed:"));
            line.and_then(|number| number.trim().parse().ok())
                .unwrap_or(0)
        }
    }

    impl Drop for Redis {
        fn drop(&mut self) {
            self.kill();
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    struct World {
        config: Config,
        simulator: Simulator,
        replicas: Vec<Arc<Slot>>,
        many: usize,
    }

    impl World {
        fn registrations(&self) -> u64 {
            let state = self.simulator.state();
            state.registrations + state.replacements
        }

        fn replica(&self) -> Arc<Slot> {
            let shared_store = self.config.shared_store().expect("it has one");
            let store = self.config.store.as_ref().expect("it has one");
            let key = store.key.fetch().expect("its key is there");
            let process = ProcessContext::default();
            let redis = RedisFleet::new(shared_store, &UpstreamTls::default(), process.clone());
            let fleet = Fleet {
                store: Arc::new(redis.expect("it has no TLS")),
                keys: Arc::new(FleetKeys::new(&key, None).expect("the key is long")),
                role: shared_store.role,
                prefix: shared_store.prefix.as_str().into(),
                timeout: shared_store.timeout,
                metrics: FleetMetrics::new().expect("their names are good"),
            };
            let clock = Clock::system();
            let factory = MinterFactory::of(
                &self.config,
                clock.clone(),
                process,
                Arc::new(NullStore::new()),
            );
            let credential = &self.config.credentials[0];
            let built = factory.build(credential).expect("it is whole");
            let identity = Identity::shared(credential).digest();
            let name = credential.name.clone();
            let mint = shared(
                built,
                &fleet,
                SharedCredential {
                    name: name.clone(),
                    tenant: None,
                    identity,
                },
                StoreScope::nowhere(&name),
                clock.clone(),
                self.config.timeouts.mint,
            );
            let metrics = CredentialMetrics::register(&Registry::new()).expect("they are new");
            Slot::start(SlotParts {
                meter: metrics.of(&name),
                name,
                mint,
                clock,
                credential_wait: Duration::from_secs(60),
                mint_limit: self.config.timeouts.mint,
                runtime: tokio::runtime::Handle::current(),
            })
        }

        fn fill(&mut self) {
            self.replicas = (0..self.many).map(|_| self.replica()).collect();
        }

        /// Waits until every replica has a credential that `is_new`; how long it took from
        /// `begun`.
        async fn until_all(
            &self,
            begun: Instant,
            is_new: impl Fn(usize, &headset::credential::Minted) -> bool,
        ) -> Duration {
            loop {
                let missing = self
                    .replicas
                    .iter()
                    .enumerate()
                    .any(|(at, slot)| slot.peek().is_none_or(|minted| !is_new(at, &minted)));
                if !missing {
                    return now() - begun;
                }
                assert!(now() - begun < PATIENCE, "not all replicas recovered");
                tokio::time::sleep(LOOK).await;
            }
        }

        fn without(&self) -> usize {
            self.replicas
                .iter()
                .filter(|slot| slot.peek().is_none())
                .count()
        }

        fn generations(&self) -> Vec<u64> {
            let snapshots = self.replicas.iter().map(|slot| slot.snapshot().generation);
            snapshots.collect()
        }

        fn row(&self, what: &str, ideal: u64, before: u64, lost: usize, took: Duration) {
            let seen = self.registrations() - before;
            tell(format_args!(
                "| {what} | {ideal} | {seen} | {lost} | {:.2} s |",
                took.as_secs_f64()
            ));
        }
    }

    fn config(folder: &Path, simulator: &Simulator, redis: &Redis) -> Config {
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("it is written");
            path.display().to_string()
        };
        let bearer = simulator.admin_bearer(Duration::from_secs(12 * 3600));
        let text = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n\
             [route.all]\nupstream = \"{base}\"\ncredential = \"cms_key\"\n\
             [store]\nurl = \"redis://127.0.0.1:{port}\"\nkey = {{ file = \"{key}\" }}\n\
             timeout = \"20s\"\n\
             [credential.cms_key]\nkind = \"basicauth\"\n\
             url = \"{base}/configuration/basicauth\"\nusername = \"crm_sync\"\n\
             context_id = \"1\"\npassword = {{ file = \"{password}\" }}\n\
             admin_bearer = {{ file = \"{bearer}\" }}\n",
            base = simulator.base_url(),
            port = redis.port,
            key = write("key", "0123456789abcdef0123456789abcdef"),
            password = write("password", "a password of the harness"),
            bearer = write("bearer", &bearer),
        );
        let file = folder.join("headset.toml");
        std::fs::write(&file, text).expect("it is written");
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        load(&sources, &kind_keys()).expect("it is whole")
    }

    pub(crate) async fn run(many: usize) {
        let folder = std::env::temp_dir().join(format!("headset-fleet-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let mut redis = Redis::start(folder.clone());
        let simulator = Simulator::start(Options::default()).await;
        let simulator = simulator.expect("a port is free");
        let mut world = World {
            config: config(&folder, &simulator, &redis),
            simulator,
            replicas: Vec::new(),
            many,
        };
        tell(format_args!(
            "{many} replicas\n\n| scenario | ideal | registrations | replicas without a \
             credential | until the last had it |\n|---|---|---|---|---|"
        ));

        let begun = now();
        world.fill();
        let took = world.until_all(begun, |_, _| true).await;
        world.row("cold start of all", 1, 0, 0, took);

        let (before, begun) = (world.registrations(), now());
        for at in 0..many {
            world.replicas[at] = world.replica();
        }
        let took = world.until_all(begun, |_, _| true).await;
        world.row("restart of all", 0, before, 0, took);

        // What is older than 5 s may be rejected.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let (before, had, begun) = (world.registrations(), world.generations(), now());
        let mut calls = tokio::task::JoinSet::new();
        for slot in &world.replicas {
            let slot = slot.clone();
            let used = slot.peek().expect("it is live");
            calls.spawn(async move { slot.reject(&used).await });
        }
        let mut stood = 0;
        while let Some(outcome) = calls.join_next().await {
            let outcome = outcome.expect("no call panics");
            stood += usize::from(matches!(outcome, RejectOutcome::Stands));
        }
        let took = world
            .until_all(begun, |at, minted| minted.generation > had[at])
            .await;
        world.row(
            "a storm of 401: every replica at once",
            1,
            before,
            stood,
            took,
        );

        tokio::time::sleep(Duration::from_secs(6)).await;
        let (before, had) = (world.registrations(), world.generations());
        let slot = world.replicas[0].clone();
        let used = slot.peek().expect("it is live");
        let _ = slot.reject(&used).await;
        let begun = now();
        let took = world
            .until_all(begun, |at, minted| minted.generation > had[at])
            .await;
        world.row("from a publication to the last", 1, before, 0, took);

        let (commands, begun) = (redis.commands(), now());
        tokio::time::sleep(Duration::from_secs(90)).await;
        let steady = (redis.commands() - commands) as f64;
        let each = steady / many as f64 / (now() - begun).as_secs_f64() * 3600.0;
        let keys = redis.ask(&["KEYS", "headset:*"]);
        let record = keys
            .lines()
            .find(|line| line.contains(":{cms_key}:") && !line.ends_with("known"));
        let memory = record.map(|record| redis.ask(&["MEMORY", "USAGE", record]));
        let memory = memory.unwrap_or_default();

        let (before, begun) = (world.registrations(), now());
        redis.kill();
        let mut lost = 0;
        while now() - begun < Duration::from_secs(10) {
            lost = lost.max(world.without());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        world.row("Redis away for 10 s", 0, before, lost, Duration::ZERO);
        let before = world.registrations();
        redis.again();
        let begun = now();
        loop {
            lost = lost.max(world.without());
            if redis
                .ask(&["EXISTS", "headset:{cms_key}:known"])
                .starts_with(":1")
            {
                break;
            }
            assert!(now() - begun < PATIENCE, "nobody published it again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = now() - begun;
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.row("Redis back, and empty", 0, before, lost, took);

        tell(format_args!(
            "\nRedis in steady state: {each:.0} commands a replica and hour; its memory for the \
             credential: {} bytes",
            memory.lines().next().unwrap_or("").trim_start_matches(':')
        ));
    }
}

#[cfg(feature = "redis")]
fn main() {
    let many = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(harness::run(many.unwrap_or(1000)));
}

#[cfg(not(feature = "redis"))]
fn main() {}
