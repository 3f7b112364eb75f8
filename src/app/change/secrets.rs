//! Tells each slot when one of its secret files changed.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::app::build::PlannedCredential;
use crate::credential::tenants::CredentialHandle;
use crate::secret::SecretSource;
use crate::secret::watch::FileWatch;

/// Has `files` watch the secrets of `credentials`, also when a reload makes others of them,
/// until the future is dropped. What they hold when this is called is what later content
/// is compared with, so call it before any of them is read.
pub fn watch(
    files: &FileWatch,
    mut credentials: watch::Receiver<Vec<PlannedCredential>>,
) -> impl Future<Output = ()> + use<> {
    let running = credentials.clone();
    let secrets = secret_files(&credentials.borrow_and_update());
    let subscription = files.subscribe(secrets, move |changed| tell(&running.borrow(), changed));
    async move {
        while credentials.changed().await.is_ok() {
            let secrets = secret_files(&credentials.borrow_and_update());
            // They may have changed since they were first read.
            let changed = subscription.turn_to(secrets).await;
            tell(&credentials.borrow(), &changed);
        }
    }
}

fn secret_files(credentials: &[PlannedCredential]) -> Vec<PathBuf> {
    let all = sources(credentials);
    let files = all.iter().filter_map(SecretSource::file);
    files.map(Into::into).collect()
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

fn tell(credentials: &[PlannedCredential], changed: &[PathBuf]) {
    for credential in credentials {
        let concerned = secret_files(std::slice::from_ref(credential));
        if !concerned.iter().any(|file| changed.contains(file)) {
            continue;
        }
        tracing::debug!(credential.name = %credential.handle.name(), "a secret file changed");
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
