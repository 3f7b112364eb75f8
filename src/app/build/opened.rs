//! A draft whose credentials are open: half way to a plan, so that a reload can stop here.
//!
//! [`OpenedPlan::open`] opens the slots that are new or changed; the others stay who they
//! are. A slot that replaces another under its name is asked for in its place from then
//! on, but calls keep to the old one until the plan is laid out. Dropped before that,
//! everything is as it was.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::abandoned::Abandoned;
use super::draft::PlanDraft;
use super::plan::Plan;
use super::process_state::ProcessState;
use super::spec::{CredentialChange, CredentialSpec};
use super::succession::{candidates, is_named};
use crate::config;
use crate::credential::chain::Chains;
use crate::credential::identity::is_same_user;
use crate::credential::slot::Slot;
use crate::credential::slot_opener::{Predecessor, SlotOpener};
use crate::credential::tenants::CredentialHandle;
use crate::credential::{Cause, Mint, MintError, Unavailable};

/// A draft whose credentials are open.
pub struct OpenedPlan {
    pub(super) draft: PlanDraft,
    pub(super) credentials: Vec<(config::CredentialConfig, CredentialHandle, CredentialSpec)>,
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
        let mut begun = UncommittedPlan {
            new: Vec::new(),
            replaced: Vec::new(),
            chains: draft.factory.chains.clone(),
            abandoned: process_state.abandoned.clone(),
        };
        let mut tuned = Vec::new();
        let mut credentials = Vec::new();
        // One that nobody names is not asked for: the loader warned of it.
        let all = draft.credentials.iter();
        let named = all.filter(|(credential, _)| is_named(&credential.name, config));
        for (credential, mint) in named {
            let spec = CredentialSpec::of(credential, config, &draft.factory);
            let running = before.and_then(|before| before.running(&credential.name));
            let change = running.map(|(same, was)| (same, spec.change_from(was)));
            match change {
                Some((same, kept @ (CredentialChange::Nothing | CredentialChange::Limits))) => {
                    if kept == CredentialChange::Limits {
                        tuned.push((credential.clone(), mint.clone(), same.handle.clone()));
                    }
                    credentials.push((credential.clone(), same.handle.clone(), spec));
                    continue;
                }
                Some((_, CredentialChange::Another)) | None => {}
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

    /// From here on there is no way back: what was handed over stays so, and what goes on
    /// does so under its new limits.
    pub(super) fn commit(&mut self) {
        self.begun.commit();
        for (credential, mint, handle) in &self.tuned {
            self.opener.tune(credential, mint, handle);
        }
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

/// The running credential in whose place `credential` comes.
fn predecessor(
    credential: &config::CredentialConfig,
    config: &config::Config,
    before: Option<&Plan>,
) -> Option<Predecessor> {
    let before = before?;
    let all = candidates(credential, config, &before.config.credentials);
    all.into_iter().find_map(|old| {
        let (running, _) = before.running(&old.name)?;
        Some(Predecessor {
            handle: running.handle.clone(),
            is_same_user: is_same_user(old, credential),
        })
    })
}
