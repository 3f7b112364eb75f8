//! What a kind must be able to do: a few verbs, and facts that never change.
//!
//! A [`Mint`] is made from one credential's table. What of it is known from then on is
//! plain data ([`Facts`]), so that whoever stands around a kind only passes it on. The
//! verbs ask the issuer, or learn what happened to the credential. Implementations are
//! cheap to share and keep no lock across an await.

use std::any::Any;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::time::Duration;

use http::HeaderName;

use super::error::{MintError, UnavailableReason};
use super::minted::Fresh;
use super::shared_view::SharedView;
use super::store::StoreScope;
use crate::config::url::HttpUrl;
use crate::secret::SecretSource;

/// What a verb that asks somebody yields.
pub type MintFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One kind's way to obtain a credential. Only [`Mint::facts`] and [`Mint::mint`] have no
/// default: the others suit a credential that has no session and changes with its secrets.
pub trait Mint: Any + Send + Sync {
    /// What is true of every credential of this one.
    fn facts(&self) -> &Facts;

    /// One attempt. It runs in a task of its own under the `mint` time limit; the
    /// slot never runs two at once. Dropping the future abandons the attempt.
    fn mint(&self) -> MintFuture<'_, Result<Fresh, MintError>>;

    /// One keep-alive request for the session, as often as [`Facts::keep_alive`] says, under
    /// the `mint` time limit. An error of [`MintError::Refused`] says that the session is
    /// dead: log in again.
    fn keep_alive(&self) -> MintFuture<'_, Result<(), MintError>> {
        Box::pin(ready(Ok(())))
    }

    /// Ends what was obtained at the issuer: a logout, a DELETE. Touches nothing that
    /// cannot be told to be ours. Called again after an error, it tries what is left.
    fn revoke(&self, _what: Revocation) -> MintFuture<'_, Result<(), MintError>> {
        Box::pin(ready(Ok(())))
    }

    /// What changed since the last attempt read the secrets. Reads them again, asks
    /// nobody. A kind that cannot tell says that everything did.
    fn change(&self) -> Change {
        Change::Replaces
    }

    /// The upstream rejected what the last attempt yielded; the next attempt follows at
    /// once, and should not yield the same again. After [`Rejection::Session`] it must
    /// not go on with the session either.
    fn rejected(&self, _what: Rejection) {}

    /// A person says that what the issuer refused is mended: the next attempt is made
    /// whatever is remembered of a refusal.
    fn forget_refusal(&self) {}

    /// Waits until something elsewhere makes an attempt worthwhile: another replica of a
    /// fleet published a newer credential, or one was rejected there. Each such thing ends
    /// it once. Dropping the future misses nothing.
    fn news(&self) -> MintFuture<'_, ()> {
        Box::pin(pending())
    }

    /// What is known of it as one that replicas share; `None` where they do not.
    fn shared(&self) -> Option<SharedView> {
        None
    }

    /// Another process may have changed what is in the store: the next attempt reads it
    /// again.
    fn store_changed(&self) {}

    /// Hands over the place in which things may outlive the process, once and before
    /// the first attempt of a slot; never for one attempt outside a slot.
    fn use_store(&self, _scope: StoreScope) {}

    /// Goes on with what an earlier process obtained, and says what calls may still carry
    /// of it. Asked once, before the first attempt; reads secrets, asks no issuer.
    ///
    /// `stored` was obtained with the same secrets; [`Fresh::session`] is as that process
    /// gave it. It is `None` for a kind that [keeps itself](Facts::keeps_itself) what it
    /// obtained. Dropping the future takes up nothing.
    fn resume(&self, stored: Option<Fresh>) -> MintFuture<'_, Option<Fresh>> {
        Box::pin(ready(stored))
    }

    /// Goes on where `before` stands, which a reload replaces by this one: called once,
    /// before any attempt, after [`Mint::use_store`]. With the same [identity] all that it
    /// knows is shared, so that attempts of either are those of one credential; with
    /// another one, what is ours at the issuer is known here too. Other kinds than its
    /// own it leaves alone.
    ///
    /// [identity]: super::identity::Identity
    fn follow(&self, _before: &dyn Mint, _same: bool) {}
}

/// What is true of a credential from the start and for good, whatever is obtained.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The fields that every credential of this one sets, lower case.
    pub header_names: Box<[HeaderName]>,
    /// The URL prefixes at which credentials are issued, listed or revoked; calls of
    /// applications must not reach them.
    pub issuer_urls: Vec<HttpUrl>,
    /// The secrets whose change makes a new attempt worthwhile.
    pub sources: Vec<SecretSource>,
    /// A secret that may well be missing, and whose change may help an attempt that failed.
    pub also_watched: Option<SecretSource>,
    /// Whether a new attempt can yield a better credential than one that the upstream
    /// rejected. `false` for a static secret: only its source can change.
    pub renews: bool,
    /// Where only a person renews the login secret: the life that each renewal yields
    /// until then. `None` for a source that nobody has to tend.
    pub person_renews: Option<Duration>,
    /// What a person does when that is up, in one sentence without a full stop. Names
    /// secrets by where they are kept, never shows one.
    pub person_does: String,
    /// The words in the JSON body of a 403 by which the upstream says that the session
    /// is dead, which then counts as a 401; `None` where no 403 does.
    pub dead_session: Option<&'static str>,
    /// How the session behind the credential is kept alive; `None` for a credential
    /// that lives without being asked after.
    pub keep_alive: Option<KeepAlive>,
    /// Whether a user may be logged in only so often, so that the session is ended
    /// before a successor of another identity logs in as the same user.
    pub holds_session: bool,
    /// Whether what was obtained is to be ended at the issuer when headset stops.
    pub revokes_on_shutdown: bool,
    /// Whether one attempt outside a slot leaves something at the issuer that is its
    /// alone and that nobody would find again, such as an open session: then it is
    /// revoked after the attempt.
    pub leaves_a_trace: bool,
    /// Whether ending what was obtained takes another credential, which is therefore
    /// ended later.
    pub leans_on_another: bool,
    /// Whether the kind itself keeps what it obtained in the store, rather than having it
    /// kept as it was yielded.
    pub keeps_itself: bool,
    /// Whether others renew it: then a renewal of ours is due only after theirs was.
    pub follows: bool,
    /// How long one attempt may take, where that is not the `mint` time limit alone.
    pub longest_attempt: Option<Duration>,
}

impl Facts {
    /// Those of a credential that sets `header_names`, depends on `sources`, renews itself
    /// and has no session.
    pub fn new(header_names: &[HeaderName], sources: Vec<SecretSource>) -> Facts {
        let list: Vec<String> = sources.iter().map(ToString::to_string).collect();
        Facts {
            header_names: header_names.into(),
            issuer_urls: Vec::new(),
            sources,
            also_watched: None,
            renews: true,
            person_renews: None,
            person_does: format!("renew the login secret: {}", list.join(" or ")),
            dead_session: None,
            keep_alive: None,
            holds_session: false,
            revokes_on_shutdown: false,
            leaves_a_trace: false,
            leans_on_another: false,
            keeps_itself: false,
            follows: false,
            longest_attempt: None,
        }
    }
}

/// What is to be ended at the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// What the configuration says is not to outlive its use; a registration that is to
    /// be kept is left alone.
    Configured,
    /// Whatever this minter alone obtained, though it may have been meant to stay: it was
    /// opened for a configuration that is not used.
    Own,
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
    /// The session behind it: the words of [`Facts::dead_session`].
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

/// That an attempt by `mint` did not end within `limit`. A program that was to print a
/// secret may be what it waited for, so it is named beside the issuer.
pub fn too_slow(mint: &dyn Mint, limit: Duration) -> MintError {
    let sources = mint.facts().sources.iter();
    let commands = sources.filter(|source| source.is_unwatched());
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
