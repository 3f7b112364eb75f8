//! The kind over its whole life, against the simulated contact center: generations,
//! restarts with a store, shutdown, and clocks that lie.

mod clocks;
mod names;
mod passwords;

use std::time::Duration;

use prometheus::Registry;

use super::*;
use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::base::temp_folder::TempFolder;
use crate::base::time::Clock;
use crate::config::url::HttpUrl;
use crate::config::values::{Value, Values};
use crate::config::{CredentialConfig, Roots, UpstreamTls};
use crate::credential::CredentialOrigin;
use crate::credential::identity::Identity;
use crate::credential::metrics::CredentialMetrics;
use crate::credential::slot::{Slot, SlotParts};
use crate::credential::store::file::FileStore;
use crate::credential::store::persistent_mint::persistent;
use crate::credential::store::{NullStore, Store};
use crate::credential::testing::{LoopbackServer, START_MS, answer};
use crate::secret::Secret;
use headset_simulator::{
    Clock as CenterClock, Faults, ListPasswords, Options as Center, Simulator,
};

const HOUR: u64 = 3600;
const STORE_KEY: &str = "0123456789abcdef0123456789abcdef";

/// A contact center, and what headset is told about it.
struct LifeRig {
    center: Simulator,
    folder: TempFolder,
    clock: Clock,
    options: Vec<(&'static str, Value)>,
}

impl LifeRig {
    async fn new() -> LifeRig {
        let clock = Clock::faked(START_MS);
        LifeRig::with_clocks(clock.clone(), clock).await
    }

    async fn with_clocks(clock: Clock, issuers: Clock) -> LifeRig {
        let center = Simulator::start(Center {
            clock: CenterClock::from_fn(move || issuers.now().wall_ms),
            ..Center::default()
        })
        .await
        .unwrap();
        let folder = TempFolder::new();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            std::fs::write(&path, text).unwrap();
            Value::Secret(SecretSource::File(path))
        };
        let url = format!("{}/configuration/basicauth", center.base_url());
        let text = |text: &str| Value::Text(text.into());
        let options = vec![
            ("username", text("crm")),
            ("context", text("ContactCenter")),
            ("context_id", text("1")),
            ("user_role", text("Administrator")),
            ("lifetime", Value::Duration(Duration::from_secs(HOUR))),
            ("password", write("password", "first")),
            (
                "admin_bearer",
                write("bearer", &center.admin_bearer(Duration::from_secs(86_400))),
            ),
            ("url", Value::Url(HttpUrl::parse(&url).unwrap())),
        ];
        LifeRig {
            center,
            folder,
            clock,
            options,
        }
    }

    fn with(mut self, key: &'static str, value: Value) -> LifeRig {
        self.set(key, value);
        self
    }

    fn set(&mut self, key: &'static str, value: Value) {
        self.options.retain(|(known, _)| *known != key);
        self.options.push((key, value));
    }

    fn new_names(self) -> LifeRig {
        self.with("rotation", Value::Text("new_name".into()))
    }

    fn credential(&self) -> CredentialConfig {
        let values = self
            .options
            .iter()
            .map(|(key, value)| (*key, (value.clone(), Place::Flag("--test".into()))));
        CredentialConfig {
            name: Name::parse("cms_key").unwrap(),
            kind: "basicauth",
            values: Values(values.collect()),
            origins: vec![HttpUrl::parse(&self.center.base_url()).unwrap()],
            tls: UpstreamTls {
                roots: Roots::Bundled,
                ..UpstreamTls::default()
            },
            resolve: Default::default(),
        }
    }

    fn try_build(&self) -> Result<Arc<dyn Mint>, Vec<Problem>> {
        build(&KindContext {
            credential: &self.credential(),
            clock: &self.clock,
            mint_limit: Duration::from_secs(10),
            chains: &Default::default(),
            egress: &Default::default(),
        })
    }

    /// One life of the process, with the store in `folder`.
    fn stored_in(&self, folder: &std::path::Path) -> Arc<dyn Mint> {
        let key = Secret::new(STORE_KEY.to_owned(), "test");
        let store = FileStore::open(folder, &key).unwrap();
        let keep = self.scope(Arc::new(store));
        persistent(self.try_build().ok().unwrap(), keep, self.clock.clone())
    }

    fn scope(&self, store: Arc<dyn Store>) -> StoreScope {
        let credential = self.credential();
        let spec = Identity::of(&credential).digest();
        StoreScope::new(store, &credential.name, None, spec)
    }

    fn stored(&self) -> Arc<dyn Mint> {
        self.stored_in(&self.folder.path().join("store"))
    }

    fn unstored(&self) -> Arc<dyn Mint> {
        let keep = self.scope(Arc::new(NullStore::new()));
        persistent(self.try_build().ok().unwrap(), keep, self.clock.clone())
    }

    fn slot(&self, mint: Arc<dyn Mint>) -> Arc<Slot> {
        let name = Name::parse("cms_key").unwrap();
        let metrics = CredentialMetrics::register(&Registry::new()).unwrap();
        Slot::start(SlotParts {
            meter: metrics.of(&name),
            name,
            mint,
            clock: self.clock.clone(),
            credential_wait: Duration::from_secs(5),
            mint_limit: Duration::from_secs(10),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    fn names(&self) -> Vec<String> {
        let keys = self.center.state().keys;
        keys.into_iter().map(|key| key.username).collect()
    }

    async fn eventually_named(&self, expected: &[&str]) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.names() != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{:?}, not {expected:?}", self.names());
    }

    /// What is left of the first key by the issuer's own clock, in ms.
    fn left_there(&self) -> i64 {
        let state = self.center.state();
        let expiry: jiff::Timestamp = state.keys[0].date_expiry.parse().unwrap();
        expiry.as_millisecond() - state.now_ms
    }

    fn left_here(&self, fresh: &Fresh) -> i64 {
        let left = fresh.expires.remaining(self.clock.now());
        i64::try_from(left.as_millis()).unwrap()
    }
}

fn reason(error: &MintError) -> &'static str {
    error.labels().1
}
