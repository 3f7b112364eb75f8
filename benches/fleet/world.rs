//! Many replicas of one fleet in this process, and what they share.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headset::app::build::kind_keys;
use headset::base::time::Clock;
use headset::config::load::{Sources, load};
use headset::config::{Config, UpstreamTls};
use headset::credential::Minted;
use headset::credential::fleet::Fleet;
use headset::credential::fleet::fleet_mint::{SharedCredential, shared};
use headset::credential::fleet::metrics::FleetMetrics;
use headset::credential::fleet::published::FleetKeys;
use headset::credential::fleet::redis::RedisFleet;
use headset::credential::fleet::redis::entries::RedisEntries;
use headset::credential::identity::Identity;
use headset::credential::metrics::CredentialMetrics;
use headset::credential::minter_factory::MinterFactory;
use headset::credential::slot::{Asked, Slot, SlotParts};
use headset::credential::store::seal::Seal;
use headset::credential::store::{Store, StoreScope};
use headset::net::egress::ProcessContext;
use headset_simulator::{Faults, Options, Simulator};
use prometheus::Registry;

use crate::redis_server::RedisServer;
use crate::wire::Wire;

/// How often it is looked whether all have it.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(180);

#[allow(
    clippy::disallowed_methods,
    reason = "it measures, and nothing expires by it"
)]
pub fn now() -> Instant {
    Instant::now()
}

pub struct World {
    pub redis: RedisServer,
    pub wire: Wire,
    pub simulator: Simulator,
    pub replicas: Vec<Arc<Slot>>,
    config: Config,
    many: usize,
}

impl World {
    /// A Redis, a contact center, and no replica yet; credentials live for `lifetime`.
    pub async fn start(folder: &Path, many: usize, lifetime: &str) -> World {
        std::fs::create_dir_all(folder).expect("a folder can be made");
        let redis = RedisServer::start(folder.to_owned());
        let wire = Wire::to(redis.port);
        let simulator = Simulator::start(Options::default()).await;
        let simulator = simulator.expect("a port is free");
        World {
            config: config(folder, &simulator, wire.port, lifetime),
            redis,
            wire,
            simulator,
            replicas: Vec::new(),
            many,
        }
    }

    pub fn registrations(&self) -> u64 {
        let state = self.simulator.state();
        state.registrations + state.replacements
    }

    pub fn faults(&self, faults: Faults) {
        self.simulator.faults(faults);
    }

    /// A replica as `app/build` makes it: a keeper, with a connection of its own.
    pub fn replica(&self) -> Arc<Slot> {
        let shared_store = self.config.shared_store().expect("it has one");
        let store = self.config.store.as_ref().expect("it has one");
        let key = store.key.fetch().expect("its key is there");
        let process = ProcessContext::default();
        let redis = RedisFleet::new(shared_store, &UpstreamTls::default(), process.clone());
        let redis = redis.expect("it has no TLS");
        let seal = Seal::new(&key).expect("the key is long");
        let ledgers: Arc<dyn Store> = Arc::new(RedisEntries::new(
            redis.clone(),
            &shared_store.prefix,
            seal,
            None,
        ));
        let fleet = Fleet {
            store: Arc::new(redis),
            keys: Arc::new(FleetKeys::new(&key, None).expect("the key is long")),
            role: shared_store.role,
            prefix: shared_store.prefix.as_str().into(),
            timeout: shared_store.timeout,
            metrics: FleetMetrics::new().expect("their names are good"),
        };
        let clock = Clock::system();
        let factory = MinterFactory::of(&self.config, clock.clone(), process, ledgers.clone());
        let credential = &self.config.credentials[0];
        let built = factory.build(credential).expect("it is whole");
        let identity = Identity::shared(credential).digest();
        let name = credential.name.clone();
        built.use_store(StoreScope::new(ledgers, &name, None, identity).shared());
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

    pub fn fill(&mut self) {
        self.replicas = (0..self.many).map(|_| self.replica()).collect();
    }

    pub fn generations(&self) -> Vec<u64> {
        let snapshots = self.replicas.iter().map(|slot| slot.snapshot().generation);
        snapshots.collect()
    }

    /// How many replicas could put nothing on a call now.
    pub fn without(&self) -> usize {
        let replicas = self.replicas.iter();
        replicas.filter(|slot| slot.peek().is_none()).count()
    }

    /// Asks the replica `at` for a new one, as a person does.
    pub async fn renew(&self, at: usize) {
        loop {
            match self.replicas[at].retry(true).await {
                Asked::Obtained => return,
                Asked::TooSoon(left) => tokio::time::sleep(left).await,
                other => panic!("a renewal: {other:?}"),
            }
        }
    }
}

/// One scenario while it goes on, and at last its line.
pub struct Row {
    what: String,
    ideal: u64,
    before: u64,
    begun: Instant,
    had: Vec<u64>,
    /// The most replicas that could put nothing on a call; `None` where that says nothing.
    pub lost: Option<usize>,
}

impl Row {
    pub fn begin(world: &World, what: &str, ideal: u64) -> Row {
        Row {
            what: what.into(),
            ideal,
            before: world.registrations(),
            begun: now(),
            had: world.generations(),
            lost: Some(0),
        }
    }

    /// Says more of the scenario.
    pub fn also(&mut self, more: &str) {
        self.what.push_str(more);
    }

    /// The time to recover counts from now.
    pub fn recovers_from_now(&mut self) {
        self.begun = now();
    }

    /// Waits until `condition` holds, and sees meanwhile who has no credential.
    pub async fn until(&mut self, world: &World, mut condition: impl FnMut() -> bool) -> Duration {
        let begun = now();
        while !condition() {
            self.lost = self.lost.map(|lost| lost.max(world.without()));
            assert!(now() - begun < PATIENCE, "{}: not all recovered", self.what);
            tokio::time::sleep(LOOK).await;
        }
        self.begun.elapsed()
    }

    /// The same until every replica has a credential.
    pub async fn until_all(&mut self, world: &World) -> Duration {
        self.until(world, || world.without() == 0).await
    }

    /// The same until every replica has another one than at the beginning.
    pub async fn until_newer(&mut self, world: &World) -> Duration {
        let had = std::mem::take(&mut self.had);
        let is_new = |(slot, had): (&Arc<Slot>, &u64)| {
            slot.peek()
                .is_some_and(|minted: Arc<Minted>| minted.generation > *had)
        };
        self.until(world, || world.replicas.iter().zip(&had).all(is_new))
            .await
    }

    pub fn tell(self, world: &World, took: Duration) {
        let seen = world.registrations() - self.before;
        let lost = self.lost.map_or("–".to_owned(), |lost| lost.to_string());
        crate::tell(format_args!(
            "| {} | {}, {seen} | {lost} | {:.1} s |",
            self.what,
            self.ideal,
            took.as_secs_f64()
        ));
        assert!(seen <= self.ideal, "more registrations than are needed");
        assert_eq!(self.lost.unwrap_or(0), 0, "a call would have been lost");
    }
}

fn config(folder: &Path, simulator: &Simulator, redis: u16, lifetime: &str) -> Config {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("it is written");
        path.display().to_string()
    };
    let bearer = simulator.admin_bearer(Duration::from_secs(12 * 3600));
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n\
         [route.all]\nupstream = \"{base}\"\ncredential = \"cms_key\"\n\
         [store]\nurl = \"redis://127.0.0.1:{redis}\"\nkey = {{ file = \"{key}\" }}\n\
         [credential.cms_key]\nkind = \"basicauth\"\n\
         url = \"{base}/configuration/basicauth\"\nusername = \"crm_sync\"\n\
         context_id = \"1\"\nlifetime = \"{lifetime}\"\npassword = {{ file = \"{password}\" }}\n\
         admin_bearer = {{ file = \"{bearer}\" }}\n",
        base = simulator.base_url(),
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
