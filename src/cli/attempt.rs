//! One attempt to obtain a credential, with what it takes its bearer from: for `mint` and
//! `check --online`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::base::time::Clock;
use crate::credential::attempt::{Attempt, attempt};
use crate::credential::tenants::CredentialHandle;
use crate::credential::{Mint, Revocation};

/// Makes one attempt by `mint` within `limit`. `sources` are the credentials that it is
/// chained to; they live as long as the attempt and are ended after it.
pub(super) async fn once(
    mint: &Arc<dyn Mint>,
    sources: Vec<CredentialHandle>,
    limit: Duration,
    clock: &Clock,
) -> Attempt {
    let attempt = attempt(mint, limit, clock).await;
    end(sources, limit).await;
    attempt
}

/// Ends what `sources` obtained for one attempt, for at most `limit` each: a session
/// that stays open may bar the next login of its user.
async fn end(sources: Vec<CredentialHandle>, limit: Duration) {
    for slot in sources.iter().filter_map(CredentialHandle::one) {
        if slot.mint().facts().revokes_on_shutdown
            && !matches!(
                timeout(limit, slot.mint().revoke(Revocation::Configured)).await,
                Ok(Ok(()))
            )
        {
            tracing::warn!(
                credential.name = %slot.name(),
                "what was obtained for this attempt could not be ended at the issuer"
            );
        }
    }
}
