//! The recipe engine: one way to log in, as data.
//!
//! A [`Recipe`] (`recipe.rs`) says how to ask, what an answer means and what it yields.
//! The kinds fill one in; `kind = "recipe"` lets a user do so. An [`Engine`] runs it:
//! `run.rs` logs in and refreshes, `yielded.rs` makes the credential of an answer,
//! `upkeep.rs` keeps the session alive and ends it.
//!
//! It promises: an answer's values leave it only in fields and in the requests that
//! name them; an error names keys, codes and places, never a value; whatever an
//! issuer answers ends in a [`MintError`], not in a panic. It follows no redirect and
//! sends nothing that the recipe does not name (see `credential/issuer_client.rs`).

pub mod answer;
pub mod eviction;
pub mod expiry;
pub mod issuer_request;
mod login_secrets;
pub mod recipe;
mod run;
mod session;
pub mod template;
mod upkeep;
pub mod verdict;
mod yielded;

use std::collections::hash_map::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::HeaderName;

use self::eviction::Evictions;
use self::login_secrets::sources;
use self::recipe::{ConfiguredName, Recipe};
use self::session::Session;
use super::Facts;
use super::issuer_client::IssuerClient;
use crate::base::time::{Clock, Moment};
use crate::config::url::HttpUrl;
use crate::secret::SecretSource;

/// A recipe that can be run.
pub struct Engine {
    recipe: Recipe,
    givens: Vec<(&'static str, ConfiguredName)>,
    secrets: Vec<(String, SecretSource)>,
    facts: Facts,
    login: IssuerClient,
    clock: Clock,
    memory: OnceLock<Arc<EngineMemory>>,
}

/// What attempts have learnt; shared by those that follow one another.
#[derive(Default)]
struct EngineMemory {
    fingerprints: RandomState,
    state: Mutex<EngineState>,
}

#[derive(Default)]
struct EngineState {
    session: Option<Arc<Session>>,
    /// The fingerprint of the secrets that the last attempt used.
    used: Option<u64>,
    refreshed: Option<Moment>,
    refresh_failures: u32,
    /// A refresh is of no use any more: log in anew.
    stale: bool,
    evictions: Evictions,
}

impl Engine {
    /// A runnable recipe over `login`'s origin. `secrets` are further named secrets,
    /// `urls` the prefixes that applications must not reach.
    pub fn new(
        recipe: Recipe,
        givens: Vec<(&'static str, ConfiguredName)>,
        secrets: Vec<(String, SecretSource)>,
        urls: Vec<HttpUrl>,
        login: IssuerClient,
        clock: Clock,
    ) -> Engine {
        let facts = facts(&recipe, sources(&givens, &secrets), urls);
        Engine {
            recipe,
            givens,
            secrets,
            facts,
            login,
            clock,
            memory: OnceLock::new(),
        }
    }

    /// The login secrets, for a person.
    fn sources_for_people(&self) -> String {
        let list: Vec<String> = self.facts.sources.iter().map(ToString::to_string).collect();
        match list.is_empty() {
            true => "its secrets".into(),
            false => list.join(" and "),
        }
    }

    /// Never held across an await; every use leaves it whole.
    fn state(&self) -> MutexGuard<'_, EngineState> {
        let state = &self.memory().state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> &Arc<EngineMemory> {
        self.memory.get_or_init(Arc::default)
    }
}

/// What a recipe makes true of its credentials.
fn facts(recipe: &Recipe, sources: Vec<SecretSource>, issuer_urls: Vec<HttpUrl>) -> Facts {
    let mut names: Vec<HeaderName> = Vec::new();
    for output in &recipe.outputs {
        if !names.contains(&output.name) {
            names.push(output.name.clone());
        }
    }
    let ends = recipe.ends_on_shutdown && recipe.end.is_some();
    Facts {
        issuer_urls,
        dead_session: recipe.dead_session,
        keep_alive: recipe.keep_alive.as_ref().map(|(how, _)| *how),
        holds_session: recipe.end.is_some(),
        revokes_on_shutdown: ends,
        // The session is its own, and while it is open its user may not be let in again.
        leaves_a_trace: ends,
        ..Facts::new(&names, sources)
    }
}
