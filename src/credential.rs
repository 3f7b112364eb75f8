//! Credentials: what a kind must be able to do, and what it yields.
//!
//! A kind implements [`Mint`]: one way to ask for a credential. A [`slot::Slot`]
//! keeps the life of one credential, from the first attempt over its renewals to
//! what is done after a rejection. Callers meet only the slot. [`kinds::KINDS`] is
//! the list of kinds.

pub mod attempt;
pub mod chain;
pub mod engine;
pub mod error;
pub mod human;
pub mod identity;
pub mod issuer_client;
pub mod issuer_response;
mod jwt;
pub mod kind;
pub mod kinds;
mod login_secret;
pub mod metrics;
pub mod minter_factory;
mod quote;
mod render;
pub mod schedule;
pub mod secret_parts;
pub mod slot;
pub mod slot_opener;
pub mod slots;
pub mod store;
pub mod tenants;
#[cfg(test)]
pub(crate) mod testing;
mod text;
pub mod transcript;

pub use error::{Cause, MintError, RefusalReason, Unavailable, UnavailableReason};

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::base::time::{Deadline, Moment};
use crate::secret::spelling::Finder;
use secret_parts::SecretParts;

/// A credential as it goes on a call: rendered once, shared by reference, told
/// apart by identity (`Arc::ptr_eq`), never by content.
#[derive(Debug)]
pub struct Minted {
    /// The fields to set; every value is marked sensitive.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    /// Looks for its secret parts in an answer. Shared apart from the fields, as their
    /// last use tells when a registration may be removed.
    pub echoes: Arc<Finder>,
    /// When it was received.
    pub issued: Moment,
    /// When it dies, counted from `issued` or from the request that asked for it.
    pub expires: Deadline,
    /// Counts up from 1 within this process.
    pub generation: u64,
}

/// What a successful issue call yields; the slot adds the generation.
#[derive(Debug)]
pub struct Fresh {
    /// The fields to set; every value is marked sensitive.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    /// What in these fields is secret.
    pub secrets: SecretParts,
    /// When it dies; `Duration::MAX` for one that never does.
    pub expires: Deadline,
    /// When the way to renew it unattended ends (the bearer's own `exp`), where known.
    pub source_ends: Option<Moment>,
    /// How far the issuer's clock is ahead of ours (negative: behind), in ms.
    pub skew_ms: Option<i64>,
    /// Whether the issuer gave it now.
    pub origin: CredentialOrigin,
    /// The life that was taken for it, where the issuer did not say.
    pub assumed_life: Option<Duration>,
}

/// Where a credential comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialOrigin {
    /// The issuer gave it for this attempt.
    Issued,
    /// An earlier process, or an earlier attempt, obtained it, and it still lives.
    Reused,
    /// The same, but a secret or the configuration has changed since: it serves only
    /// until the next attempt, which follows at once.
    Outdated,
}

/// What a change of the secrets means for the credential that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The secrets are those that the last attempt used, or cannot be read now.
    Nothing,
    /// The credential stays as it is, but can be extended: a fresh admin bearer.
    Extends,
    /// The credential itself is another one now: a new password.
    Replaces,
}

/// What an upstream rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The credential as a whole: a 401.
    Credential,
    /// The session behind it: the words of [`Mint::dead_session`].
    Session,
}

/// How a session is kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// The pause between two keep-alive requests.
    pub every: Duration,
    /// Whether they are given without traffic too.
    pub always: bool,
}

/// One kind's way to obtain a credential. Implementations are cheap to share and
/// keep no lock across an await.
pub trait Mint: Any + Send + Sync {
    /// The fields that every credential of this one sets, lower case.
    fn header_names(&self) -> &[HeaderName];

    /// One attempt. It runs in a task of its own under the `mint` time limit; the
    /// slot never runs two at once. Dropping the future abandons the attempt.
    fn mint(&self) -> Pin<Box<dyn Future<Output = Result<Fresh, MintError>> + Send + '_>>;

    /// Whether a new attempt can yield a better credential than one that the
    /// upstream rejected. `false` for a static secret: only its source can change.
    fn renews(&self) -> bool {
        true
    }

    /// The secrets whose change makes a new attempt worthwhile.
    fn sources(&self) -> Vec<crate::secret::SecretSource>;

    /// A secret that may well be missing, and whose change may help an attempt that failed.
    fn also_watched(&self) -> Option<crate::secret::SecretSource> {
        None
    }

    /// What changed since the last attempt read the secrets. Reads them again, asks
    /// nobody. A kind that cannot tell says that everything did.
    fn change(&self) -> Change {
        Change::Replaces
    }

    /// Where only a person renews what proves us to the issuer: the life that each
    /// renewal yields until then. `None` for a source that nobody has to tend.
    fn person_renews(&self) -> Option<Duration> {
        None
    }

    /// The upstream rejected what the last attempt yielded; the next attempt follows at
    /// once, and should not yield the same again. After [`Rejection::Session`] it must
    /// not go on with the session either.
    fn rejected(&self, _what: Rejection) {}

    /// What a person does when [`Mint::person_renews`] is up, in one sentence without
    /// a full stop. Names secrets by where they are kept, never shows one.
    fn person_does(&self) -> String {
        let sources: Vec<String> = self.sources().iter().map(ToString::to_string).collect();
        format!(
            "renew what proves headset to the issuer: {}",
            sources.join(" or ")
        )
    }

    /// The words in the JSON body of a 403 by which the upstream says that the session
    /// is dead, which then counts as a 401; `None` where no 403 does.
    fn dead_session(&self) -> Option<&'static str> {
        None
    }

    /// How the session behind the credential is kept alive; `None` for a credential
    /// that lives without being asked after.
    fn keep_alive(&self) -> Option<KeepAlive> {
        None
    }

    /// One keep-alive request for the session, under the `mint` time limit. An error of
    /// [`MintError::Refused`] says that the session is dead: log in again.
    fn ping(&self) -> Pin<Box<dyn Future<Output = Result<(), MintError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Hands over the place in which things may outlive the process, once and before
    /// the first attempt of a slot; never for one attempt outside a slot. Answers
    /// whether the kind keeps its credential there itself.
    fn keep(&self, _place: store::StoreScope) -> bool {
        false
    }

    /// Goes on where `before` stands, which a reload replaces by this one: called once,
    /// before any attempt, after [`Mint::keep`]. With the same [identity] all that it
    /// knows is shared, so that attempts of either are those of one credential; with
    /// another one, what is ours at the issuer is known here too. Other kinds than its
    /// own it leaves alone.
    ///
    /// [identity]: identity::Identity
    fn follow(&self, _before: &dyn Mint, _same: bool) {}

    /// Whether a user may be logged in only so often, so that the session is ended
    /// before a successor of another identity logs in as the same user.
    fn holds_session(&self) -> bool {
        false
    }

    /// Ends whatever this minter alone obtained, though it may have been meant to stay:
    /// it was opened for a configuration that is not used.
    fn undo(&self) -> Pin<Box<dyn Future<Output = Result<(), MintError>> + Send + '_>> {
        self.revoke()
    }

    /// What an earlier process obtained and calls may still carry, of a kind that
    /// keeps it itself. Asked once, before the first attempt; asks no issuer.
    fn resume(&self) -> Pin<Box<dyn Future<Output = Option<Fresh>> + Send + '_>> {
        Box::pin(std::future::ready(None))
    }

    /// What a later process needs to refresh, keep alive and end what the last attempt
    /// obtained, in the kind's own form; `None` where that takes nothing. A secret.
    fn session(&self) -> Option<Zeroizing<Vec<u8>>> {
        None
    }

    /// Takes up what [`Mint::session`] gave an earlier process that had the same secrets.
    /// `false` where it is of no use. Reads secrets, asks no issuer; dropping the future
    /// takes up nothing.
    fn take_up(
        &self,
        _session: Zeroizing<Vec<u8>>,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(false))
    }

    /// Whether one attempt outside a slot leaves something at the issuer that is its
    /// alone and that nobody would find again, such as an open session: then it is
    /// revoked after the attempt.
    fn leaves_a_trace(&self) -> bool {
        false
    }

    /// Whether ending what was obtained takes another credential, which is therefore
    /// ended later.
    fn leans_on_another(&self) -> bool {
        false
    }

    /// Whether what was obtained is to be ended at the issuer when headset stops.
    fn revokes_on_shutdown(&self) -> bool {
        false
    }

    /// Ends what was obtained at the issuer: a logout, a DELETE. Touches nothing that
    /// this process (or its ledger) did not obtain.
    fn revoke(&self) -> Pin<Box<dyn Future<Output = Result<(), MintError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The URL prefixes at which credentials are issued, listed or revoked; calls of
    /// applications must not reach them.
    fn issuer_urls(&self) -> Vec<crate::config::url::HttpUrl> {
        Vec::new()
    }
}

/// That an attempt by `mint` did not end within `limit`. A program that was to print a
/// secret may be what it waited for, so it is named beside the issuer.
pub fn too_slow(mint: &dyn Mint, limit: Duration) -> MintError {
    let sources = mint.sources();
    let commands = sources.iter().filter(|source| source.is_unwatched());
    let commands: Vec<String> = commands.map(ToString::to_string).collect();
    MintError::Unavailable {
        reason: UnavailableReason::Timeout,
        detail: match commands.is_empty() {
            true => format!("the issuer did not answer within {limit:?}"),
            false => format!(
                "{} and the issuer together took longer than {limit:?}; try the command by \
                 hand, or raise timeouts.mint",
                commands.join(", ")
            ),
        },
        retry_after: None,
    }
}
