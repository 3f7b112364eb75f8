//! The stores of a configuration: a folder, what a fleet shares, or both.
//!
//! Keys are read now; nothing is written and nobody is asked before it is needed.

use std::sync::Arc;

use crate::base::problem::{Place, Problem};
use crate::config::Config;
use crate::credential::minter_factory::{FleetStores, MinterFactory};
use crate::credential::store::file::{FileStore, OpenError};
use crate::credential::store::seal::WeakKey;
use crate::credential::store::{NullStore, Store};
use crate::net::egress::ProcessContext;
use crate::secret::{Secret, SecretSource};

/// The stores that minters are made with.
pub struct OpenedStores {
    /// What outlives the process: the folder, or what the fleet shares; else nothing.
    pub(super) entries: Arc<dyn Store>,
    /// The fleet, where there is one.
    pub(super) fleet: Option<FleetStores>,
}

impl Default for OpenedStores {
    /// Memory alone.
    fn default() -> OpenedStores {
        OpenedStores {
            entries: Arc::new(NullStore::new()),
            fleet: None,
        }
    }
}

impl OpenedStores {
    /// `factory` with these.
    pub fn given_to(self, factory: MinterFactory) -> MinterFactory {
        MinterFactory {
            store: self.entries,
            fleet: self.fleet,
            ..factory
        }
    }
}

/// Opens the stores of `config` for the headset of `process`. Reads their keys.
///
/// # Errors
/// Where a key or the path cannot be used, or TLS towards the shared store cannot.
pub fn open_stores(config: &Config, process: ProcessContext) -> Result<OpenedStores, Problem> {
    let Some(store) = &config.store else {
        return Ok(OpenedStores::default());
    };
    let key = read("store.key", &store.key)?;
    let folder: Arc<dyn Store> = match &store.path {
        None => Arc::new(NullStore::new()),
        Some(path) => match FileStore::open(path, &key) {
            Ok(opened) => Arc::new(opened),
            Err(OpenError::WeakKey(weak)) => return Err(weak_key("store.key", &weak)),
            Err(error @ OpenError::NotAFolder(_)) => {
                return Err(problem(
                    "store.path",
                    error.to_string(),
                    "name a folder; a missing one is made",
                ));
            }
        },
    };
    match &store.shared {
        None => Ok(OpenedStores {
            entries: folder,
            fleet: None,
        }),
        Some(shared) => share(config, shared, &key, folder, process),
    }
}

#[cfg(feature = "redis")]
fn share(
    config: &Config,
    shared: &crate::config::shared_store::SharedStoreConfig,
    key: &Secret<String>,
    folder: Arc<dyn Store>,
    process: ProcessContext,
) -> Result<OpenedStores, Problem> {
    use crate::credential::fleet::Fleet;
    use crate::credential::fleet::metrics::FleetMetrics;
    use crate::credential::fleet::published::FleetKeys;
    use crate::credential::fleet::redis::RedisFleet;
    use crate::credential::fleet::redis::entries::RedisEntries;
    use crate::credential::store::seal::Seal;

    let other = shared.other_key.as_ref();
    let other = other
        .map(|source| read("store.other_key", source))
        .transpose()?;
    let seal = Seal::new(key).map_err(|weak| weak_key("store.key", &weak))?;
    let other_seal = other.as_ref().map(Seal::new).transpose();
    let other_seal = other_seal.map_err(|weak| weak_key("store.other_key", &weak))?;
    let keys = FleetKeys::new(key, other.as_ref()).map_err(|weak| weak_key("store.key", &weak))?;
    let redis = RedisFleet::new(shared, &config.trust, process);
    let redis = redis.map_err(|error| error.problem("upstream_tls"))?;
    let metrics = FleetMetrics::new().map_err(|error| {
        problem(
            "store.url",
            format!("its metrics cannot be made ({error})"),
            "this is a bug: tell it with the version",
        )
    })?;
    let entries = RedisEntries::new(redis.clone(), &shared.prefix, seal, other_seal);
    Ok(OpenedStores {
        entries: Arc::new(entries),
        fleet: Some(FleetStores {
            fleet: Fleet {
                store: Arc::new(redis.clone()),
                keys: Arc::new(keys),
                role: shared.role,
                prefix: shared.prefix.as_str().into(),
                timeout: shared.timeout,
                metrics,
            },
            copies: folder,
            paces: Arc::new(redis),
        }),
    })
}

#[cfg(not(feature = "redis"))]
fn share(
    _config: &Config,
    _shared: &crate::config::shared_store::SharedStoreConfig,
    _key: &Secret<String>,
    _folder: Arc<dyn Store>,
    _process: ProcessContext,
) -> Result<OpenedStores, Problem> {
    Err(problem(
        "store.url",
        "this headset was built without Redis".into(),
        "use one that was built with the feature `redis`, or a store.path",
    ))
}

fn read(key: &str, source: &SecretSource) -> Result<Secret<String>, Problem> {
    source.fetch().map_err(|error| {
        let why = format!("{}: {}", error.from, error.fault);
        problem(key, why, error.fault.fix())
    })
}

fn weak_key(key: &str, weak: &WeakKey) -> Problem {
    problem(
        key,
        weak.to_string(),
        "make one with `openssl rand -base64 32`",
    )
}

fn problem(key: &str, why: String, fix: &str) -> Problem {
    Problem::new(Place::Default, key, why, fix)
}
