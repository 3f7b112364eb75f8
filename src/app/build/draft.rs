//! A configuration that was resolved: every problem found, nothing running.
//!
//! It finds what only those see who would use the configuration (a kind over its
//! options, a CA file over its PEM), so `check` makes one too. A later configuration
//! goes the same way, by [`PlanDraft::again`].

use std::sync::Arc;

use super::authorities;
use super::listener_auth::{self, ListenerAuth, ListenerAuths};
use super::resolve::{Credentials, Routes, resolve};
use super::stores::{OpenedStores, open_stores};
use crate::base::problem::Problem;
use crate::base::time::Clock;
use crate::config::{self, Config};
use crate::credential::kind::BuiltMint;
use crate::credential::minter_factory::MinterFactory;
use crate::credential::slot_opener::open_sources;
use crate::credential::store::NullStore;
use crate::credential::tenants::CredentialHandle;
use crate::net::egress::ProcessContext;
use crate::net::tls::authority::Authority;

/// A resolved configuration.
pub struct PlanDraft {
    pub(super) config: Config,
    pub(super) factory: MinterFactory,
    pub(super) credentials: Credentials,
    pub(super) routes: Routes,
    pub(super) listener_auths: ListenerAuths,
}

impl PlanDraft {
    /// Resolves `config`.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn new(
        config: Config,
        clock: Clock,
        process: ProcessContext,
    ) -> Result<PlanDraft, Vec<Problem>> {
        let (mut listener_auths, mut found) = listener_auth::open(
            &config.listeners,
            config.admin.token.as_ref(),
            &[],
            &process.files,
        );
        let auths = &mut listener_auths.listeners;
        found.extend(authorities::open(
            &config,
            &clock,
            &[],
            &process.files,
            auths,
        ));
        PlanDraft::resolved(config, clock, process, listener_auths, found)
    }

    /// The same to try a credential only: nobody will call, so the files and tokens of
    /// listeners are left alone. It is not to be started.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn to_mint(
        config: Config,
        clock: Clock,
        process: ProcessContext,
    ) -> Result<PlanDraft, Vec<Problem>> {
        PlanDraft::resolved(config, clock, process, ListenerAuths::default(), Vec::new())
    }

    fn resolved(
        config: Config,
        clock: Clock,
        process: ProcessContext,
        listener_auths: ListenerAuths,
        mut found: Vec<Problem>,
    ) -> Result<PlanDraft, Vec<Problem>> {
        let stores = open_stores(&config, process.clone()).unwrap_or_else(|problem| {
            found.push(problem);
            OpenedStores::default()
        });
        let nowhere = Arc::new(NullStore::new());
        let factory = MinterFactory::of(&config, clock, process, nowhere);
        let factory = stores.given_to(factory);
        let (credentials, routes) = resolve(&config, &factory, found)?;
        Ok(PlanDraft {
            config,
            factory,
            credentials,
            routes,
            listener_auths,
        })
    }

    /// Resolves `config`, which comes after the one that `factory` was made for: its
    /// store, its chains and its clock stay, and what is as in one of the `known`.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn again(
        config: Config,
        factory: &MinterFactory,
        known: &[ListenerAuth],
    ) -> Result<PlanDraft, Vec<Problem>> {
        let factory = factory.again(&config);
        let files = &factory.egress.process().files;
        let (mut listener_auths, mut found) =
            listener_auth::open(&config.listeners, config.admin.token.as_ref(), known, files);
        let auths = &mut listener_auths.listeners;
        found.extend(authorities::open(
            &config,
            &factory.clock,
            known,
            files,
            auths,
        ));
        let (credentials, routes) = resolve(&config, &factory, found)?;
        Ok(PlanDraft {
            config,
            factory,
            credentials,
            routes,
            listener_auths,
        })
    }

    /// Every problem that resolving `config` would find, secrets unread but for the keys
    /// of listeners, each of which must fit its certificate.
    pub fn judge(config: &Config, clock: &Clock) -> Vec<Problem> {
        let process = ProcessContext::default();
        let factory = MinterFactory::of(config, clock.clone(), process, Arc::new(NullStore::new()));
        let mut found = listener_auth::judge(&config.listeners);
        found.extend(authorities::judge(config, clock));
        let found = resolve(config, &factory, found);
        found.err().unwrap_or_default()
    }

    /// The local authority of the listener `name`, where it has one.
    pub fn authority(&self, name: &str) -> Option<&Arc<Authority>> {
        let listeners = self.config.listeners.iter();
        let mut all = listeners.zip(&self.listener_auths.listeners);
        let found = all.find(|(listener, _)| listener.name.as_str() == name);
        found.and_then(|(_, auth)| auth.authority.as_ref())
    }

    /// The clock by which its credentials expire.
    pub fn clock(&self) -> &Clock {
        &self.factory.clock
    }

    /// Opens what `credential` is chained to, for one attempt: see [`open_sources`].
    ///
    /// # Errors
    /// Where two metrics share a name, which would be a bug.
    pub fn open_sources(
        &self,
        credential: &config::CredentialConfig,
    ) -> Result<Vec<CredentialHandle>, prometheus::Error> {
        open_sources(&self.factory, credential, &self.config)
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A minter of `credential` as made for `tenant`, where each has its own.
    ///
    /// # Errors
    /// With every problem that its kind finds.
    pub fn mint(&self, credential: &config::CredentialConfig, tenant: Option<&str>) -> BuiltMint {
        match tenant {
            Some(tenant) => self.factory.build(&credential.for_tenant(tenant)),
            None => self.factory.build(credential),
        }
    }
}
