//! An attempt because a person asks for it.
//!
//! A refusal stops the asking, since repeated logins lock accounts, and headset cannot see
//! that an account was unlocked or a right was given. Whoever mended it says so, and the
//! next attempt is made at once. What is live is left alone unless its renewal is what is
//! asked for: it renews itself, and a login may end the session that calls are using.

use tokio::sync::oneshot;

use super::shared::RenewalOrder;
use super::{Asked, Slot};

impl Slot {
    /// Asks the issuer now, whatever became of the attempts before, and tells what came of
    /// it; a refusal that an earlier process was given is forgotten, too. Where the last
    /// attempt succeeded and the credential is live, only with `renew`. An attempt that is
    /// under way is the one that was asked for.
    ///
    /// Takes the time limit of an attempt at most, and that of the one before. Dropping the
    /// future cancels no attempt.
    pub async fn retry(&self, renew: bool) -> Asked {
        let (reply, told) = oneshot::channel();
        if self
            .orders
            .send(RenewalOrder::Retry { renew, reply })
            .is_err()
        {
            return Asked::Replaced;
        }
        told.await.unwrap_or(Asked::Replaced)
    }
}
