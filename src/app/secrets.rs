//! Tells each slot when one of its secret files changed.

use tokio::sync::watch;

use crate::app::plan::PlannedCredential;
use crate::credential::tenants::Holder;
use crate::secret::Source;
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

fn sources(credentials: &[PlannedCredential]) -> Vec<Source> {
    let all = credentials.iter().flat_map(|one| match &one.holder {
        Holder::One(slot) => {
            let mint = slot.mint();
            with(mint.sources(), mint.also_watched())
        }
        Holder::PerTenant(tenants) => with(tenants.sources(), tenants.also_watched()),
    });
    all.collect()
}

fn with(mut sources: Vec<Source>, more: Option<Source>) -> Vec<Source> {
    sources.extend(more);
    sources
}

fn tell(credentials: &[PlannedCredential], changed: &[Source]) {
    for credential in credentials {
        let concerned = sources(std::slice::from_ref(credential));
        if !concerned.iter().any(|source| changed.contains(source)) {
            continue;
        }
        tracing::debug!(credential.name = %credential.holder.name(), "a secret of it may have changed");
        match &credential.holder {
            Holder::One(slot) => slot.secret_changed(),
            Holder::PerTenant(tenants) => {
                tenants
                    .all()
                    .iter()
                    .for_each(|(_, slot)| slot.secret_changed());
            }
        }
    }
}
