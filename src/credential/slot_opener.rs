//! From a minter to who holds its credential: one slot, or one for each tenant.
//!
//! A slot that is opened begins its first attempt at once; those of tenants are opened by
//! their first calls. Where a credential comes in the place of another one, its minter
//! follows the one before.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;

use super::fleet::fleet_mint::{SharedCredential, shared};
use super::identity::Identity;
use super::metrics::CredentialMetrics;
use super::minter_factory::{FleetStores, MinterFactory};
use super::slot::{Slot, SlotLimits, SlotParts};
use super::store::persistent_mint::persistent;
use super::store::{NullStore, Store, StoreScope};
use super::tenants::{CredentialHandle, OpenSlot, Tenants};
use super::{Mint, MintError};
use crate::base::problem::Problem;
use crate::config::{self, Config};

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

impl MinterFactory {
    /// `mint` as a slot of `credential` (for `tenant`) takes it: with a memory.
    pub fn keeping(
        &self,
        mint: Arc<dyn Mint>,
        credential: &config::CredentialConfig,
        tenant: Option<&str>,
    ) -> Arc<dyn Mint> {
        let tenant = tenant.map(Into::into);
        // What nobody mints is not shared.
        if let Some(stores) = self.fleet.as_ref().filter(|_| mint.facts().renews) {
            return shared_by(stores, self, mint, credential, tenant);
        }
        let spec = Identity::of(credential).digest();
        let scope = StoreScope::new(self.store.clone(), &credential.name, tenant, spec);
        persistent(mint, scope, self.clock.clone())
    }
}

/// `mint` as a replica of a fleet takes it.
fn shared_by(
    stores: &FleetStores,
    factory: &MinterFactory,
    mint: Arc<dyn Mint>,
    credential: &config::CredentialConfig,
    tenant: Option<Box<str>>,
) -> Arc<dyn Mint> {
    let name = &credential.name;
    let identity = Identity::shared(credential).digest();
    let scope =
        |store: &Arc<dyn Store>| StoreScope::new(store.clone(), name, tenant.clone(), identity);
    mint.use_store(scope(&factory.store).shared());
    let credential = SharedCredential {
        name: name.clone(),
        tenant: tenant.clone(),
        identity,
    };
    shared(
        mint,
        &stores.fleet,
        credential,
        scope(&stores.copies),
        factory.clock.clone(),
        factory.mint_limit,
    )
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
        let in_the_way =
            self.is_same_user && before.facts().holds_session && mint.facts().holds_session;
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
            fleet: None,
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
