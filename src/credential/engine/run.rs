//! Running a recipe: log in and refresh.
//!
//! An attempt refreshes where it can and logs in where it must: without a session,
//! with other secrets than the session's, when issuer or upstream say that the
//! session is dead, when a refreshed token was rejected too, and after three refreshes
//! in a row that failed.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::answer::ReadAnswer;
use super::issuer_request::IssuerRequest;
use super::login_secrets::LoginSecrets;
use super::recipe::Refresh;
use super::session::Session;
use super::template::{Scope, TemplateValues};
use super::verdict::{JudgedAnswer, Meaning, Success, no_codes};
use super::yielded::{take, with};
use super::{Engine, EngineState};
use crate::base::causes::with_causes;
use crate::base::time::Moment;
use crate::credential::issuer_response::IssuerResponse;
use crate::credential::{
    Change, Facts, Fresh, Mint, MintError, MintFuture, RefusalReason, Rejection, Revocation,
    UnavailableReason,
};
use crate::secret::SecretSource;

/// So many refreshes in a row may fail before a login is tried instead.
const REFRESH_FAILURES_MOST: u32 = 3;

/// A refreshed token that is rejected within this time was no use.
const REFRESH_PROVES_IN: Duration = Duration::from_secs(60);

impl Mint for Engine {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn mint(&self) -> MintFuture<'_, Result<Fresh, MintError>> {
        Box::pin(self.attempt())
    }

    fn keep_alive(&self) -> MintFuture<'_, Result<(), MintError>> {
        Box::pin(self.ping())
    }

    fn revoke(&self, _what: Revocation) -> MintFuture<'_, Result<(), MintError>> {
        Box::pin(async move {
            let session = self.state().session.take();
            match session {
                Some(session) => self.end(&session).await,
                None => Ok(()),
            }
        })
    }

    fn change(&self) -> Change {
        // What a command will print is not known without running it.
        if self.facts.sources.iter().any(SecretSource::is_unwatched) {
            return Change::Replaces;
        }
        match self.read_givens_now() {
            Err(_) => Change::Nothing,
            Ok(proof) if self.state().used == Some(proof.print) => Change::Nothing,
            Ok(_) => Change::Replaces,
        }
    }

    fn rejected(&self, what: Rejection) {
        let now = self.clock.now();
        let mut state = self.state();
        let refreshed = state.refreshed;
        // A refresh would answer for a dead session too, and its token be rejected again.
        if what == Rejection::Session
            || refreshed.is_some_and(|at| now.since(at) < REFRESH_PROVES_IN)
        {
            state.stale = true;
        }
    }

    fn resume(&self, stored: Option<Fresh>) -> MintFuture<'_, Option<Fresh>> {
        Box::pin(async move {
            let mut stored = stored?;
            if let Some(session) = stored.session.take() {
                let proof = self.read_givens().await.ok()?;
                let session = Session::read(&session.0, proof.print)?;
                let mut state = self.state();
                state.used = Some(proof.print);
                state.session = Some(Arc::new(session));
            }
            Some(stored)
        })
    }

    fn follow(&self, before: &dyn Mint, same: bool) {
        if same && let Some(before) = (before as &dyn Any).downcast_ref::<Engine>() {
            let _ = self.memory.set(before.memory().clone());
        }
    }
}

/// Why a refresh yielded nothing.
enum Unrefreshed {
    /// The session is dead.
    Dead,
    /// It yields a token that the upstream will not take.
    Stale,
    /// It may work later.
    Failed(MintError),
}

impl Engine {
    async fn attempt(&self) -> Result<Fresh, MintError> {
        let proof = self.read_givens().await?;
        let session = {
            let mut state = self.state();
            state.used = Some(proof.print);
            state.session.clone()
        };
        if let (Some(session), Some(refresh)) = (&session, &self.recipe.refresh)
            && session.print == proof.print
            && !self.state().stale
        {
            match self.refresh(refresh, session, &proof).await {
                Ok(fresh) => return Ok(fresh),
                Err(Unrefreshed::Dead) => self.state().session = None,
                Err(Unrefreshed::Stale) => {}
                Err(Unrefreshed::Failed(error)) => {
                    let mut state = self.state();
                    state.refresh_failures += 1;
                    if state.refresh_failures < REFRESH_FAILURES_MOST {
                        return Err(error);
                    }
                }
            }
        }
        self.log_in(&proof).await
    }

    async fn log_in(&self, proof: &LoginSecrets) -> Result<Fresh, MintError> {
        if self.recipe.forces {
            self.wait_for_others()?;
        }
        let nothing = TemplateValues::default();
        let scope = Scope {
            given: &proof.values,
            found: &nothing,
        };
        let mut answer = self.send(&self.recipe.ask, &scope, proof).await?;
        let meaning = (self.recipe.codes)(&ReadAnswer::of(&answer));
        if matches!(meaning, Some(Meaning::Occupied(_))) {
            let ours = self.state().session.take();
            if let Some(ours) = ours {
                // Ours is in the way; it was to be replaced in any case.
                let _ = self.end(&ours).await;
                answer = self.send(&self.recipe.ask, &scope, proof).await?;
            }
        }
        let read = ReadAnswer::of(&answer);
        let sources = self.sources_for_people();
        let url = self.login.url_of(&self.recipe.ask.path);
        let case = JudgedAnswer {
            read: &read,
            doing: "login",
            url: &url,
            secrets: &proof.secrets,
            sources: &sources,
        };
        case.judge(&self.recipe.success, self.recipe.codes)?;
        if let Some((key, fix)) = self.recipe.useless
            && read.json.as_ref().is_some_and(|json| json.says(key))
        {
            return Err(MintError::Refused {
                reason: RefusalReason::Refused,
                detail: format!("the login answered, but its session is of no use ({key}): {fix}"),
            });
        }
        let mut values = TemplateValues::default();
        take(&self.recipe.takes, &case, &mut values)?;
        let known = self.life(&self.recipe.expiries, &case, &values)?;
        let assumed = self.recipe.default_life.filter(|_| known.said.is_none());
        let life = known.or(assumed).ok_or_else(|| {
            case.unavailable(
                UnavailableReason::Body,
                format!(
                    "the issuer's answer to the login does not say when it ends; {}",
                    read.shape(&proof.secrets)
                ),
            )
        })?;
        let fresh = self.fresh(&values, life, &case, proof)?;
        let session = Session {
            values,
            print: proof.print,
            life,
        };
        let fresh = Fresh {
            assumed_life: assumed.map(|_| life),
            session: session.written(),
            ..fresh
        };
        let mut state = self.state();
        state.session = Some(Arc::new(session));
        state.evictions.logged_in(answer.received, life);
        state.on_token(None);
        Ok(fresh)
    }

    /// Slows down where somebody else logs in with the same user again and again.
    fn wait_for_others(&self) -> Result<(), MintError> {
        let waiting = self.state().evictions.wait(self.clock.now());
        let Some((left, times)) = waiting else {
            return Ok(());
        };
        Err(MintError::Unavailable {
            reason: UnavailableReason::Evicted,
            detail: format!(
                "the session was ended right after its login {times} times in a row: somebody \
                 else logs in as the same user by force, and each ends the other's session; \
                 give this credential a user of its own"
            ),
            retry_after: Some(left),
        })
    }

    async fn refresh(
        &self,
        refresh: &Refresh,
        session: &Session,
        proof: &LoginSecrets,
    ) -> Result<Fresh, Unrefreshed> {
        let scope = Scope {
            given: &proof.values,
            found: &session.values,
        };
        let answer = self
            .send(&refresh.ask, &scope, proof)
            .await
            .map_err(Unrefreshed::Failed)?;
        let read = ReadAnswer::of(&answer);
        if self.says_dead(&read) {
            return Err(Unrefreshed::Dead);
        }
        let secrets = with(&proof.secrets, &session.values);
        let sources = self.sources_for_people();
        let url = self.login.url_of(&refresh.ask.path);
        let case = JudgedAnswer {
            read: &read,
            doing: "refresh",
            url: &url,
            secrets: &secrets,
            sources: &sources,
        };
        let outcome = (|| {
            // Only a login can be refused for good.
            let judged = case.judge(&Success::default(), no_codes);
            judged.map_err(|error| match error {
                MintError::Refused { detail, .. } => {
                    case.unavailable(UnavailableReason::Status, detail)
                }
                error => error,
            })?;
            let mut values = session.values.clone();
            take(&refresh.takes, &case, &mut values)?;
            let life = self.life(&refresh.expiries, &case, &values)?;
            // A cap alone says no more than the login did.
            let life = match life.said {
                None if life.most.is_none() => session.life,
                _ => life.or(None).unwrap_or(session.life),
            };
            let fresh = self.fresh(&values, life, &case, proof)?;
            let session = Session {
                values,
                print: session.print,
                life: session.life,
            };
            let fresh = Fresh {
                session: session.written(),
                ..fresh
            };
            let mut state = self.state();
            if state.stale {
                // Meanwhile the upstream said that the session is dead.
                return Ok(None);
            }
            state.session = Some(Arc::new(session));
            state.on_token(Some(answer.received));
            Ok(Some(fresh))
        })();
        match outcome {
            Ok(Some(fresh)) => Ok(fresh),
            Ok(None) => Err(Unrefreshed::Stale),
            Err(error) => Err(Unrefreshed::Failed(error)),
        }
    }

    /// Sends what `ask` makes of `scope`.
    pub(super) async fn send(
        &self,
        ask: &IssuerRequest,
        scope: &Scope<'_>,
        proof: &LoginSecrets,
    ) -> Result<IssuerResponse, MintError> {
        let Some(request) = ask.request(scope) else {
            let detail = format!(
                "the request to {} cannot be written: a value that it names is not known, or \
                 holds a character that cannot stand in a header (look for a line break in {})",
                ask.path,
                self.sources_for_people()
            );
            // Only a secret can change that.
            let _ = proof;
            return Err(MintError::Secret { detail });
        };
        self.login
            .send(request)
            .await
            .map_err(|error| MintError::Unavailable {
                reason: error.reason(),
                detail: with_causes(&error),
                retry_after: None,
            })
    }
}

impl EngineState {
    /// A token was obtained, by a refresh at that moment or by a login.
    fn on_token(&mut self, refreshed: Option<Moment>) {
        self.refreshed = refreshed;
        self.refresh_failures = 0;
        self.stale = false;
    }
}
