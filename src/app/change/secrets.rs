//! Tells each slot when one of its secret files changed.

use tokio::sync::watch;

use crate::app::build::PlannedCredential;
use crate::credential::tenants::CredentialHandle;
use crate::secret::SecretSource;
use crate::secret::watch::Watch;

/// Watches the secrets of `credentials`, also when a reload makes others of them, until
/// the future is dropped. What they hold when this is called is what later content is
/// compared with, so call it before any of them is read.
pub fn watch(
    mut credentials: watch::Receiver<Vec<PlannedCredential>>,
) -> impl Future<Output = ()> + use<> {
    let mut held = credentials.borrow_and_update().clone();
    let mut watch = Watch::start(sources(&held));
    async move {
        loop {
            let changed = tokio::select! {
                changed = watch.changed() => changed,
                Ok(()) = credentials.changed() => {
                    held.clone_from(&credentials.borrow_and_update());
                    // They may have changed since they were first read.
                    watch.turn_to(sources(&held)).await
                }
            };
            tell(&held, &changed);
        }
    }
}

fn sources(credentials: &[PlannedCredential]) -> Vec<SecretSource> {
    let all = credentials.iter().flat_map(|one| {
        let mint = one.handle.mint();
        let facts = mint.facts();
        let mut sources = facts.sources.clone();
        sources.extend(facts.also_watched.clone());
        sources
    });
    all.collect()
}

fn tell(credentials: &[PlannedCredential], changed: &[SecretSource]) {
    for credential in credentials {
        let concerned = sources(std::slice::from_ref(credential));
        if !concerned.iter().any(|source| changed.contains(source)) {
            continue;
        }
        tracing::debug!(credential.name = %credential.handle.name(), "a secret of it may have changed");
        match &credential.handle {
            CredentialHandle::One(slot) => slot.secret_changed(),
            CredentialHandle::PerTenant(tenants) => {
                tenants
                    .all()
                    .iter()
                    .for_each(|(_, slot)| slot.secret_changed());
            }
        }
    }
}
