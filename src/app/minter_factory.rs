//! From a credential's table to who holds it: one slot, or one for each tenant.
//!
//! A credential with `{tenant}` in its texts is made once for an example of a
//! tenant, so that its problems show when the configuration is read, and once more
//! for each tenant that calls.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;

use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::base::time::Clock;
use crate::config::url::HttpUrl;
use crate::config::{self, Config};
use crate::credential::chain::Chains;
use crate::credential::kinds::{BuiltMint, Kind, KindContext};
use crate::credential::metrics::CredentialMetrics;
use crate::credential::slot::{Slot, SlotLimits, SlotParts};
use crate::credential::store::persistent_mint::kept;
use crate::credential::store::{NullStore, Store, StoreScope};
use crate::credential::tenants::{CredentialHandle, OpenSlot, Tenants};
use crate::credential::{Mint, MintError};
use crate::net::egress::{Egress, OwnAddresses};

/// What every minter is made with.
#[derive(Clone, Debug)]
pub struct MinterFactory {
    /// The clock by which credentials expire.
    pub clock: Clock,
    /// The time limit of one attempt.
    pub mint_limit: Duration,
    /// Where credentials find those that they are chained to.
    pub chains: Chains,
    /// headset's own way out.
    pub egress: Egress,
    /// Where things outlive the process.
    pub store: Arc<dyn Store>,
    /// The upstream of each route, by the credential that it names.
    pub upstreams: Arc<[(Name, HttpUrl)]>,
}

impl MinterFactory {
    /// For the credentials of `config`, whose slots keep what must outlive the process
    /// in `store`.
    pub fn of(
        config: &Config,
        clock: Clock,
        own: OwnAddresses,
        store: Arc<dyn Store>,
    ) -> MinterFactory {
        let upstream = |route: &config::RouteConfig| {
            let name = route.credential.clone()?;
            Some((name, route.upstream.clone()))
        };
        MinterFactory {
            clock,
            mint_limit: config.timeouts.mint,
            chains: Chains::default(),
            egress: Egress::new(&config.egress, own),
            store,
            upstreams: config.routes.iter().filter_map(upstream).collect(),
        }
    }

    /// The same for a later configuration: its store, its chains and its clock stay.
    pub fn again(&self, config: &Config) -> MinterFactory {
        let own = self.egress.own().clone();
        let (clock, store) = (self.clock.clone(), self.store.clone());
        MinterFactory {
            chains: self.chains.clone(),
            ..MinterFactory::of(config, clock, own, store)
        }
    }

    /// Where `credential` may go.
    pub fn reached_by(&self, credential: &config::CredentialConfig) -> Vec<HttpUrl> {
        if !credential.origins.is_empty() {
            return credential.origins.clone();
        }
        let own = self.upstreams.iter();
        let own = own.filter(|(name, _)| *name == credential.name);
        own.map(|(_, upstream)| upstream.clone()).collect()
    }

    /// Makes the minter of `credential`, whose texts are whole. Asks nobody.
    ///
    /// # Errors
    /// With every problem that its kind finds.
    pub fn build(&self, credential: &config::CredentialConfig) -> BuiltMint {
        // Where it may go, for a kind that tries there what it obtained.
        let mut reaching = credential.clone();
        reaching.origins = self.reached_by(credential);
        let building = KindContext {
            credential: &reaching,
            clock: &self.clock,
            mint_limit: self.mint_limit,
            chains: &self.chains,
            egress: &self.egress,
        };
        match Kind::named(credential.kind) {
            Some(kind) => (kind.build)(&building),
            // The loader knows the same list of kinds.
            None => Err(vec![Problem::new(
                Place::Default,
                format!("credential.{}.kind", credential.name),
                "this kind is not built in",
                "choose one that `docs/configuration.md` lists",
            )]),
        }
    }

    /// The same for an example of its tenants, where each has its own.
    ///
    /// # Errors
    /// With every problem that its kind finds.
    pub fn example(&self, credential: &config::CredentialConfig, config: &Config) -> BuiltMint {
        if credential.is_per_tenant() {
            self.build(&credential.for_tenant(example_tenant(credential, config)))
        } else {
            self.build(credential)
        }
    }
}

impl MinterFactory {
    /// `mint` as a slot of `credential` (for `tenant`) takes it: with a memory.
    fn keeping(
        &self,
        mint: Arc<dyn Mint>,
        credential: &config::CredentialConfig,
        tenant: Option<&str>,
    ) -> Arc<dyn Mint> {
        let keep = StoreScope::new(self.store.clone(), credential, tenant.map(Into::into));
        kept(mint, keep, self.clock.clone())
    }
}

/// Opens the credentials that `credential` is chained to, and those that they are
/// chained to, for one attempt outside a running headset. They live as long as what is
/// returned. Must be called on a runtime; their first attempts begin at once.
///
/// # Errors
/// Where two metrics share a name, which would be a bug.
pub fn open_sources(
    factory: &MinterFactory,
    credential: &config::CredentialConfig,
    config: &Config,
) -> Result<Vec<CredentialHandle>, prometheus::Error> {
    let opener = SlotOpener {
        // What a running headset has stored is its own.
        factory: MinterFactory {
            store: Arc::new(NullStore::new()),
            ..factory.clone()
        },
        credential_wait: config.timeouts.mint,
        tenants: config.limits.tenants,
        metrics: CredentialMetrics::register(&Registry::new())?,
        runtime: tokio::runtime::Handle::current(),
    };
    let mut open = Vec::new();
    let mut wanted = vec![credential];
    while let Some(one) = wanted.pop() {
        for (_, source, _) in one.values.chained() {
            let found = config.credentials.iter().find(|c| c.name == *source);
            // The loader has refused unknown names and circles.
            if let Some(found) = found
                && let Ok(mint) = factory.build(found)
            {
                open.push(opener.open(found, &mint, None));
                wanted.push(found);
            }
        }
    }
    Ok(open)
}

/// A tenant that may be: the first that a route lists.
pub fn example_tenant<'c>(credential: &config::CredentialConfig, config: &'c Config) -> &'c str {
    listed_tenant(credential, config).unwrap_or("1")
}

/// The first tenant that a route with this credential lists by name.
pub fn listed_tenant<'c>(
    credential: &config::CredentialConfig,
    config: &'c Config,
) -> Option<&'c str> {
    config
        .routes
        .iter()
        .filter(|route| route.credential.as_ref() == Some(&credential.name))
        .find_map(|route| Some(route.tenant.as_ref()?.allow.first()?.as_str()))
}

/// What slots are opened with.
pub struct SlotOpener {
    /// Makes minters.
    pub factory: MinterFactory,
    /// How long a call waits for a flight.
    pub credential_wait: Duration,
    /// How many tenants of each credential are kept.
    pub tenants: usize,
    /// Where slots are counted.
    pub metrics: CredentialMetrics,
    /// The control runtime.
    pub runtime: tokio::runtime::Handle,
}

impl SlotOpener {
    /// Opens the slot of `credential`, whose first attempt begins at once; or gets
    /// ready for its tenants, of whom nothing is asked before their first calls.
    /// `mint` is what [`MinterFactory::example`] made, `before` in whose place it comes.
    pub fn open(
        &self,
        credential: &config::CredentialConfig,
        mint: &Arc<dyn Mint>,
        before: Option<&Predecessor>,
    ) -> CredentialHandle {
        let opening = self.opening(credential);
        if !credential.is_per_tenant() {
            let mint = self.factory.keeping(mint.clone(), credential, None);
            let old = before.and_then(|before| before.handle.one().cloned());
            let session = before.and_then(|before| before.followed(old, &*mint));
            let slot = Slot::start_after(opening(mint), None, session);
            self.factory.chains.open(&slot);
            return CredentialHandle::One(slot);
        }
        CredentialHandle::PerTenant(Arc::new(Tenants::new(
            credential.name.clone(),
            mint.clone(),
            self.tenants,
            self.opens_tenants(credential, before.cloned()),
        )))
    }

    fn opening(
        &self,
        credential: &config::CredentialConfig,
    ) -> impl Fn(Arc<dyn Mint>) -> SlotParts + Send + Sync + use<> {
        let pool = self.metrics.shared(&credential.name);
        {
            let name = credential.name.clone();
            let clock = self.factory.clock.clone();
            let (credential_wait, mint_limit) = (self.credential_wait, self.factory.mint_limit);
            let runtime = self.runtime.clone();
            move |mint| SlotParts {
                name: name.clone(),
                mint,
                clock: clock.clone(),
                credential_wait,
                mint_limit,
                meter: pool.meter(),
                runtime: runtime.clone(),
            }
        }
    }

    /// Opens the slot of a tenant of `credential`.
    fn opens_tenants(
        &self,
        credential: &config::CredentialConfig,
        before: Option<Predecessor>,
    ) -> OpenSlot {
        let opening = self.opening(credential);
        let (factory, spec) = (self.factory.clone(), credential.clone());
        // Held weakly, since who is replaced ends with its last call.
        let before = before.and_then(|before| match &before.handle {
            CredentialHandle::PerTenant(tenants) => {
                Some((Arc::downgrade(tenants), before.is_same_user))
            }
            CredentialHandle::One(_) => None,
        });
        Box::new(move |tenant: &str| {
            let own = spec.for_tenant(tenant);
            let mint = factory.build(&own).map_err(unfit)?;
            let mint = factory.keeping(mint, &own, Some(tenant));
            let session = before.as_ref().and_then(|(tenants, is_same_user)| {
                let tenants = tenants.upgrade()?;
                let old = tenants.find(tenant);
                let before = Predecessor {
                    handle: CredentialHandle::PerTenant(tenants),
                    is_same_user: *is_same_user,
                };
                before.followed(old, &*mint)
            });
            tracing::debug!(
                credential.name = %spec.name,
                credential.tenant = tenant,
                "the first call of a tenant"
            );
            let slot = Slot::start_after(opening(mint), Some(tenant), session);
            factory.chains.open(&slot);
            Ok(slot)
        })
    }

    /// Changes the limits of `running`, which is `credential` by its identity, to those of
    /// now. Its credentials live on, and nobody is asked for another.
    pub fn tune(
        &self,
        credential: &config::CredentialConfig,
        mint: &Arc<dyn Mint>,
        running: &CredentialHandle,
    ) {
        let tune = |slot: &Slot, mint: Arc<dyn Mint>| {
            mint.follow(&*slot.mint(), true);
            slot.tune(SlotLimits {
                mint,
                credential_wait: self.credential_wait,
                mint_limit: self.factory.mint_limit,
            });
        };
        match running {
            CredentialHandle::One(slot) => {
                tune(slot, self.factory.keeping(mint.clone(), credential, None))
            }
            CredentialHandle::PerTenant(tenants) => {
                let open = self.opens_tenants(credential, None);
                tenants.tune(mint.clone(), self.tenants, open);
                for (tenant, slot) in tenants.all() {
                    let own = credential.for_tenant(&tenant);
                    // One that cannot be made now goes on as it is.
                    if let Ok(mint) = self.factory.build(&own) {
                        tune(&slot, self.factory.keeping(mint, &own, Some(&tenant)));
                    }
                }
            }
        }
    }
}

/// In whose place a credential of another identity comes.
#[derive(Clone, Debug)]
pub struct Predecessor {
    /// The one that runs.
    pub handle: CredentialHandle,
    /// Whether both log in as the same user.
    pub is_same_user: bool,
}

impl Predecessor {
    /// Makes `mint` follow `old`, a slot of it; that slot, where its session is in the way
    /// of a login by `mint`.
    fn followed(&self, old: Option<Arc<Slot>>, mint: &dyn Mint) -> Option<Arc<Slot>> {
        let old = old?;
        let before = old.mint();
        mint.follow(&*before, false);
        let in_the_way = self.is_same_user && before.holds_session() && mint.holds_session();
        in_the_way.then_some(old)
    }
}

/// The example was made, so what is in the way is this tenant's name or a file that
/// has gone since.
fn unfit(problems: Vec<Problem>) -> MintError {
    let told: Vec<String> = problems.iter().map(|problem| problem.why.clone()).collect();
    MintError::Secret {
        detail: format!(
            "the credential of this tenant cannot be made: {}",
            told.join("; ")
        ),
    }
}
