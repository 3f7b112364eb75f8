//! From a credential's table to its minter.
//!
//! A credential with `{tenant}` in its texts is made once for an example of a
//! tenant, so that its problems show when the configuration is read, and once more
//! for each tenant that calls. Nothing is asked and nothing is started here; slots are
//! opened by `slot_opener.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::chain::Chains;
use super::fleet::Fleet;
use super::kind::{BuiltMint, KindContext};
use super::kinds;
use super::store::Store;
use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::base::time::Clock;
use crate::config::key::{Fallback, ValueType};
use crate::config::shared_store::FleetRole;
use crate::config::url::HttpUrl;
use crate::config::values::Value;
use crate::config::{self, Config};
use crate::credential::fleet::shared_pace::SharedPace;
use crate::net::egress::{Egress, ProcessContext};
use crate::secret::SecretSource;

/// The stores of a replica of a fleet.
#[derive(Clone, Debug)]
pub struct FleetStores {
    /// Where the replicas meet.
    pub fleet: Fleet,
    /// Where this replica keeps copies of its own; keeps nothing without a folder.
    pub copies: Arc<dyn Store>,
    /// Where replicas keep the paces of routes together.
    pub paces: Arc<dyn SharedPace>,
}

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
    /// Where things outlive the process: the ledgers of kinds, in the store of the fleet
    /// where there is one, and all else without a fleet.
    pub store: Arc<dyn Store>,
    /// The fleet that this process is a replica of.
    pub fleet: Option<FleetStores>,
    /// Whether this process never mints what keepers publish.
    pub is_holder: bool,
    /// The upstream of each route, by the credential that it names.
    pub upstreams: Arc<[(Name, HttpUrl)]>,
}

impl MinterFactory {
    /// For the credentials of `config`, whose slots keep what must outlive the process
    /// in `store`.
    pub fn of(
        config: &Config,
        clock: Clock,
        process: ProcessContext,
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
            egress: Egress::new(&config.egress, process),
            store,
            fleet: None,
            is_holder: config
                .shared_store()
                .is_some_and(|shared| shared.role == FleetRole::Holder),
            upstreams: config.routes.iter().filter_map(upstream).collect(),
        }
    }

    /// The same for a later configuration: its store, its chains and its clock stay.
    pub fn again(&self, config: &Config) -> MinterFactory {
        let process = self.egress.process().clone();
        let (clock, store) = (self.clock.clone(), self.store.clone());
        MinterFactory {
            chains: self.chains.clone(),
            fleet: self.fleet.clone(),
            ..MinterFactory::of(config, clock, process, store)
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
        let egress = self.egress.resolving(&credential.resolve);
        if self.is_holder {
            without_login_secrets(&mut reaching);
        }
        let building = KindContext {
            credential: &reaching,
            clock: &self.clock,
            mint_limit: self.mint_limit,
            chains: &self.chains,
            egress: &egress,
        };
        match kinds::named(credential.kind) {
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

/// A holder has none of the secrets by which its credentials are minted, and needs none.
fn without_login_secrets(credential: &mut config::CredentialConfig) {
    let keys = kinds::named(credential.kind).map_or(&[][..], |kind| kind.keys);
    let login = keys.iter().filter(|key| {
        key.default == Fallback::Required
            && matches!(
                key.ty,
                ValueType::Secret | ValueType::OwnSecret | ValueType::Bearer
            )
    });
    for key in login {
        let value = Value::Secret(SecretSource::Keepers);
        let place = credential.values.place(key.path);
        credential.values.0.insert(key.path, (value, place));
    }
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
