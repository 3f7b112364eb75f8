//! From a draft to a plan, in two steps, so that a reload can stop between them.
//!
//! [`OpenedPlan::open`] opens the slots that are new or changed; the others stay who they
//! are. A slot that replaces another under its name is asked for in its place from then
//! on, but calls keep to the old one until the plan is laid out. Dropped before that,
//! everything is as it was.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::abandoned::Abandoned;
use super::blueprints::{PlannedRoute, blueprint, lifetimes, origins_or_own};
use super::descriptors::{self, DescriptorLimits};
use super::draft::PlanDraft;
use super::issuers::{issuers, marks_anywhere, marks_at};
use super::plan::{Plan, PlannedCredential, PlannedListener, PoolId};
use super::process_state::ProcessState;
use super::spec::CredentialSpec;
use crate::base::name::Name;
use crate::base::permits::Permits;
use crate::config;
use crate::credential::chain::Chains;
use crate::credential::identity::{is_same_account, is_same_user};
use crate::credential::slot::Slot;
use crate::credential::slot_opener::{Predecessor, SlotOpener};
use crate::credential::tenants::CredentialHandle;
use crate::credential::{Cause, Mint, MintError, Unavailable};
use crate::gateway::response_body::open_stream::Allowance;
use crate::gateway::stack::admit::AdmitLayer;
use crate::gateway::stack::authorize::Grant;
use crate::modes::ConnectionRules;

/// A draft whose credentials are open.
pub struct OpenedPlan {
    draft: PlanDraft,
    credentials: Vec<(config::CredentialConfig, CredentialHandle, CredentialSpec)>,
    /// Those that stay, with other limits.
    tuned: Vec<(config::CredentialConfig, Arc<dyn Mint>, CredentialHandle)>,
    opener: SlotOpener,
    begun: UncommittedPlan,
}

/// What was begun beside what runs. Dropped before it is used, that goes on as before,
/// and what was opened is given back at its issuers.
struct UncommittedPlan {
    /// The slots that were opened now.
    new: Vec<Arc<Slot>>,
    /// Those that were replaced, each with its successor, and whether both log in as the
    /// same user: then what the successor registers ends what the other one had.
    replaced: Vec<(Arc<Slot>, Arc<Slot>, bool)>,
    chains: Chains,
    abandoned: Abandoned,
}

impl UncommittedPlan {
    /// It is used: there is no way back.
    fn commit(&mut self) {
        self.new.clear();
        self.replaced.clear();
    }
}

impl Drop for UncommittedPlan {
    fn drop(&mut self) {
        for slot in &self.new {
            self.chains.close(slot);
        }
        for (slot, successor, same_user) in &self.replaced {
            slot.take_back(Some(successor.clone()), *same_user);
        }
        self.abandoned.add(std::mem::take(&mut self.new));
    }
}

impl OpenedPlan {
    /// Opens what `draft` needs beside what `before` runs already. Mints begin at once.
    pub fn open(
        draft: PlanDraft,
        process_state: &ProcessState,
        before: Option<&Plan>,
    ) -> OpenedPlan {
        let config = &draft.config;
        let opener = SlotOpener {
            factory: draft.factory.clone(),
            credential_wait: config.timeouts.credential_wait,
            tenants: config.limits.tenants,
            metrics: process_state.credentials.clone(),
            runtime: process_state.runtime.clone(),
        };
        let named = |name: &Name| {
            let mut routes = draft.routes.iter();
            routes.any(|(route, ..)| route.credential.as_ref() == Some(name))
                || draft.credentials.iter().any(|(credential, _)| {
                    let mut chained = credential.values.chained().into_iter();
                    chained.any(|(_, source, _)| source == name)
                })
        };
        let mut begun = UncommittedPlan {
            new: Vec::new(),
            replaced: Vec::new(),
            chains: draft.factory.chains.clone(),
            abandoned: process_state.abandoned.clone(),
        };
        let mut tuned = Vec::new();
        let mut credentials = Vec::new();
        // One that neither a route nor another credential names is not asked for: the
        // loader warned of it.
        for (credential, mint) in draft.credentials.iter().filter(|(c, _)| named(&c.name)) {
            let spec = CredentialSpec::of(credential, config, &draft.factory);
            let running = before.and_then(|before| before.running(&credential.name));
            if let Some((same, was)) = running.filter(|(_, was)| was.identity == spec.identity) {
                if *was != spec {
                    tuned.push((credential.clone(), mint.clone(), same.handle.clone()));
                }
                credentials.push((credential.clone(), same.handle.clone(), spec));
                continue;
            }
            let predecessor = predecessor(credential, config, before);
            let handle = opener.open(credential, mint, predecessor.as_ref());
            if let CredentialHandle::One(slot) = &handle {
                let by_name = running.map(|(running, _)| &running.handle);
                let by_account = predecessor.as_ref().map(|old| &old.handle);
                if let Some(old) = by_name.or(by_account).and_then(CredentialHandle::one) {
                    let successor = slot.clone();
                    old.hand_over(Arc::new(move || Some(successor.clone())));
                    let same_user = predecessor.as_ref().is_some_and(|old| old.is_same_user);
                    begun.replaced.push((old.clone(), slot.clone(), same_user));
                }
                begun.new.push(slot.clone());
            }
            credentials.push((credential.clone(), handle, spec));
        }
        OpenedPlan {
            draft,
            credentials,
            tuned,
            opener,
            begun,
        }
    }

    /// Waits until every slot that was opened now has its first credential, for as long
    /// as an attempt and a wait for it may take. Those of tenants are opened by calls.
    ///
    /// # Errors
    /// With what stops the first that cannot be had.
    pub async fn first_mints(&self) -> Result<(), Unavailable> {
        let times = &self.draft.config.timeouts;
        let end = Instant::now() + times.mint + times.credential_wait;
        let mut flights = tokio::task::JoinSet::new();
        for slot in &self.begun.new {
            flights.spawn(first_mint(slot.clone(), end));
        }
        while let Some(flight) = flights.join_next().await {
            if let Ok(Err(unavailable)) = flight {
                return Err(unavailable);
            }
        }
        Ok(())
    }

    /// The slots that were opened now.
    pub fn new_slots(&self) -> Vec<CredentialHandle> {
        self.begun
            .new
            .iter()
            .cloned()
            .map(CredentialHandle::One)
            .collect()
    }

    /// The plan. What `before` has and it needs too is the same there: counters, permits,
    /// connections. From here on there is no way back for what was handed over.
    pub fn lay_out(mut self, process_state: &ProcessState, before: Option<&Plan>) -> Plan {
        self.begun.commit();
        for (credential, mint, handle) in &self.tuned {
            self.opener.tune(credential, mint, handle);
        }
        let OpenedPlan {
            draft, credentials, ..
        } = self;
        let config = draft.config;
        let wanted = |config: &config::Config| DescriptorLimits {
            connections: config.limits.connections,
            in_flight: config.limits.in_flight,
            streams: config.limits.streams,
        };
        // Permits that are taken count on under the same limits.
        let same = before.filter(|before| wanted(&before.config) == wanted(&config));
        let (connections, allowance) = match same {
            Some(before) => (before.connections.clone(), before.allowance.clone()),
            None => {
                let fit = descriptors::fit(wanted(&config));
                let allowance = Allowance {
                    in_flight: Permits::new(fit.in_flight),
                    streams: Permits::new(fit.streams),
                };
                (Permits::new(fit.connections), allowance)
            }
        };
        let issuers = issuers(&draft.credentials);
        let mut pools = Vec::new();
        let mut planned = Vec::new();
        for (route, upstream_target, connector) in draft.routes {
            let grant = route.credential.as_ref().and_then(|name| {
                let (credential, handle, _) = credentials.iter().find(|(c, ..)| c.name == *name)?;
                Some(Grant {
                    handle: handle.clone(),
                    origins: origins_or_own(&credential.origins, &route),
                    wait: route.timeouts.credential_wait,
                })
            });
            let lifetimes = lifetimes(&route.timeouts, &config.limits);
            let kept = before
                .into_iter()
                .flat_map(|before| &before.pools)
                .find(|line| {
                    line.route == route.name
                        && line.lifetimes == lifetimes
                        && line.connector.is_same_as(&connector)
                });
            let line = match kept {
                Some(line) => line.number,
                None => process_state.next_pool(),
            };
            pools.push(PoolId {
                route: route.name.clone(),
                connector: connector.clone(),
                lifetimes,
                number: line,
            });
            planned.push(PlannedRoute {
                metrics: Arc::new(process_state.families.route(&route.name)),
                issuers: match &grant {
                    // Our credential must not read out passwords through another
                    // name, port or gateway of the same contact center either.
                    Some(_) => marks_anywhere(&issuers),
                    None => marks_at(&issuers, upstream_target.origin()),
                },
                grant,
                route,
                upstream_target,
                connector,
                line,
            });
        }
        let listeners = config
            .listeners
            .iter()
            .zip(draft.listener_auths.listeners)
            .map(|(listener, listener_auth)| {
                let metrics = Arc::new(process_state.families.listener(&listener.name));
                let admit = AdmitLayer::new(listener_auth.token.clone(), metrics.clone());
                let entrance = (listener, &admit);
                let blueprint = blueprint(
                    &planned,
                    entrance,
                    &metrics,
                    &process_state.none,
                    &allowance,
                    &config,
                );
                PlannedListener {
                    config: listener.clone(),
                    listener_auth,
                    blueprint: Arc::new(blueprint),
                    metrics,
                }
            })
            .collect();
        let mut specs = Vec::new();
        let mut running = Vec::new();
        for (credential, handle, spec) in credentials {
            specs.push(spec);
            running.push(PlannedCredential {
                kind: credential.kind,
                handle,
            });
        }
        Plan {
            rules: Arc::new(rules(&config)),
            admin_token: draft.listener_auths.admin_token,
            connections,
            config,
            listeners,
            credentials: running,
            allowance,
            specs,
            pools,
        }
    }
}

/// The running credential in whose place `credential` comes: the one of its name, else one
/// that the new configuration has no more and that logs in to the same account.
fn predecessor(
    credential: &config::CredentialConfig,
    config: &config::Config,
    before: Option<&Plan>,
) -> Option<Predecessor> {
    let before = before?;
    let tables = before.config.credentials.iter();
    let has_url = |table: &config::CredentialConfig| table.values.0.contains_key("url");
    let is_gone = |name: &Name| config.credentials.iter().all(|kept| kept.name != *name);
    let mut candidates: Vec<&config::CredentialConfig> = tables
        .filter(|old| {
            old.name == credential.name
                || (is_gone(&old.name) && has_url(old) && is_same_account(old, credential))
        })
        .collect();
    candidates.sort_by_key(|old| old.name != credential.name);
    candidates.into_iter().find_map(|old| {
        let (running, _) = before.running(&old.name)?;
        Some(Predecessor {
            handle: running.handle.clone(),
            is_same_user: is_same_user(old, credential),
        })
    })
}

fn rules(config: &config::Config) -> ConnectionRules {
    ConnectionRules {
        header_bytes: config.limits.header_bytes,
        header_count: config.limits.header_count,
        header: config.timeouts.header,
        keep_alive: config.timeouts.caller_keep_alive,
        idle: config.timeouts.idle,
    }
}

/// The first credential of `slot`. What may mend itself is waited for until `end`.
async fn first_mint(slot: Arc<Slot>, end: Instant) -> Result<(), Unavailable> {
    let left = end.saturating_duration_since(Instant::now());
    let Err(unavailable) = slot.obtain_within(left).await else {
        return Ok(());
    };
    let stands = matches!(
        &*unavailable.cause,
        Cause::Failed(MintError::Refused { .. } | MintError::Secret { .. })
    );
    if !stands && matches!(timeout_at(end, slot.recovered(0)).await, Ok(true)) {
        return Ok(());
    }
    Err(unavailable)
}
