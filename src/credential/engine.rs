//! The recipe engine: one way to log in, as data.
//!
//! A [`Recipe`] says how to ask, what counts as success, where the values are, when
//! they end, which fields they become, and how the session behind them is refreshed,
//! kept alive and ended. The kinds fill one in; `kind = "recipe"` lets a user do so.
//!
//! It promises: an answer's values leave it only in fields and in the requests that
//! name them; an error names keys, codes and places, never a value; whatever an
//! issuer answers ends in a [`MintError`], not in a panic. It follows no redirect and
//! sends nothing that the recipe does not name (see `credential/issuer_client.rs`).

pub mod answer;
pub mod eviction;
pub mod expiry;
pub mod issuer_request;
mod run;
mod session;
pub mod template;
pub mod verdict;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::HeaderName;
use zeroize::Zeroizing;

use self::answer::ValuePlace;
use self::eviction::Evictions;
use self::expiry::Expiry;
use self::issuer_request::{IssuerRequest, form_encoded};
use self::session::Session;
use self::template::{Template, TemplateValues};
use self::verdict::{Codes, Success, no_codes};
use crate::base::time::{Clock, Moment};
use crate::config::url::HttpUrl;
use crate::credential::issuer_client::IssuerClient;
use crate::credential::login_secret::{fetched, fit, usable};
use crate::credential::render::basic_value;
use crate::credential::{Facts, KeepAlive, MintError};
use crate::secret::{Secret, SecretSource};

/// What a kind must know and the issuer cannot tell.
#[derive(Clone, Debug)]
pub enum ConfiguredName {
    /// A text of the configuration.
    Text(String),
    /// A secret, read for each attempt.
    Secret(SecretSource),
    /// A user name and a password as RFC 7617 joins them, without `Basic`.
    Basic(String, SecretSource),
    /// The same of a client's id and secret, each encoded like a form's value first
    /// (RFC 6749 §2.3.1).
    ClientBasic(String, SecretSource),
}

/// A value that is taken from an answer.
#[derive(Clone, Debug)]
pub struct TakenValue {
    /// Its name in templates.
    pub name: String,
    /// Where it stands.
    pub at: ValuePlace,
    /// Whether an answer without it is no use.
    pub required: bool,
    /// Whether it is a secret: a token is, an account's number is not.
    pub secret: bool,
}

impl TakenValue {
    /// A value that an answer must have.
    pub fn at(name: &str, at: ValuePlace) -> TakenValue {
        TakenValue {
            name: name.to_owned(),
            at,
            required: true,
            secret: true,
        }
    }

    /// A value that its JSON must have, by pointer.
    pub fn pointer(name: &str, pointer: &str) -> TakenValue {
        TakenValue::at(name, ValuePlace::pointer(pointer))
    }

    /// The same value, which may be absent.
    pub fn optional(mut self) -> TakenValue {
        self.required = false;
        self
    }

    /// The same value, which is no secret.
    pub fn plain(mut self) -> TakenValue {
        self.secret = false;
        self
    }
}

/// A field that calls carry.
#[derive(Clone, Debug)]
pub struct OutputField {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: Template,
    /// Whether it is left out where a value is missing.
    pub optional: bool,
}

impl OutputField {
    /// A field that every call carries.
    pub fn of(name: HeaderName, value: Template) -> OutputField {
        OutputField {
            name,
            value,
            optional: false,
        }
    }

    /// The same field, left out where a value is missing.
    pub fn optional(mut self) -> OutputField {
        self.optional = true;
        self
    }
}

/// How a session yields a fresh token without a login.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// The request.
    pub ask: IssuerRequest,
    /// What is taken from its answer, in place of the login's.
    pub takes: Vec<TakenValue>,
    /// What says when that ends; where nothing does, it lives as long as the first.
    pub expiries: Vec<Expiry>,
}

/// One way to log in.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The issue call.
    pub ask: IssuerRequest,
    /// What counts as success, of the refresh too.
    pub success: Success,
    /// The vendor's codes.
    pub codes: Codes,
    /// A truth value that makes a login useless, wherever it stands in the answer,
    /// and what a person must do.
    pub useless: Option<(&'static str, &'static str)>,
    /// What is taken from the answer.
    pub takes: Vec<TakenValue>,
    /// What says when it ends.
    pub expiries: Vec<Expiry>,
    /// How long it lives where the answer does not say so; where nothing at all does,
    /// `None` makes that an error.
    pub default_life: Option<Duration>,
    /// The fields that calls carry.
    pub outputs: Vec<OutputField>,
    /// How to refresh.
    pub refresh: Option<Refresh>,
    /// What in a 403 says that the session is dead.
    pub dead_session: Option<&'static str>,
    /// How to keep it alive.
    pub keep_alive: Option<(KeepAlive, IssuerRequest)>,
    /// How to end it.
    pub end: Option<IssuerRequest>,
    /// Whether it is ended when headset stops.
    pub ends_on_shutdown: bool,
    /// Whether a login may end somebody else's session.
    pub forces: bool,
}

impl Default for Recipe {
    /// A POST of nothing that takes nothing: a 2xx is a success, only the status tells
    /// of failures, and there is no session.
    fn default() -> Recipe {
        Recipe {
            ask: IssuerRequest::default(),
            success: Success::default(),
            codes: no_codes,
            useless: None,
            takes: Vec::new(),
            expiries: Vec::new(),
            default_life: None,
            outputs: Vec::new(),
            refresh: None,
            dead_session: None,
            keep_alive: None,
            end: None,
            ends_on_shutdown: false,
            forces: false,
        }
    }
}

impl Recipe {
    /// Every name that its requests and fields use.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let asks = [
            Some(&self.ask),
            self.refresh.as_ref().map(|refresh| &refresh.ask),
            self.keep_alive.as_ref().map(|(_, ask)| ask),
            self.end.as_ref(),
        ];
        let outputs = self.outputs.iter().flat_map(|output| output.value.names());
        asks.into_iter()
            .flatten()
            .flat_map(IssuerRequest::names)
            .chain(outputs)
    }
}

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

/// What was configured, as read for one attempt.
struct LoginSecrets {
    values: TemplateValues,
    /// Those of `values` that must not be told.
    secrets: TemplateValues,
    print: u64,
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

    /// What was configured, as it is now, without blocking.
    async fn read_givens(&self) -> Result<LoginSecrets, MintError> {
        let mut read = Vec::new();
        for source in &self.facts.sources {
            let secret = fetched(source).await?;
            read.push((source.clone(), secret));
        }
        self.proof(&read)
    }

    /// The same where no command must run, at once: a disk may hold it up.
    fn read_givens_now(&self) -> Result<LoginSecrets, MintError> {
        let mut read = Vec::new();
        for source in &self.facts.sources {
            let secret = usable(source.fetch())?;
            read.push((source.clone(), secret));
        }
        self.proof(&read)
    }

    /// What the configuration and the secrets that were read make together.
    fn proof(&self, read: &[(SecretSource, Secret<String>)]) -> Result<LoginSecrets, MintError> {
        let secret_of = |wanted: &SecretSource| {
            let mut found = read.iter().filter(|(source, _)| source == wanted);
            let found = found.next().map(|(_, secret)| secret);
            found.ok_or_else(|| MintError::Secret {
                detail: format!("{wanted} was not read"),
            })
        };
        let mut proof = LoginSecrets {
            values: TemplateValues::default(),
            secrets: TemplateValues::default(),
            print: 0,
        };
        let mut hasher = self.memory().fingerprints.build_hasher();
        for (name, given) in &self.givens {
            let (value, is_secret) = match given {
                ConfiguredName::Text(text) => (Zeroizing::new(text.clone()), false),
                ConfiguredName::Secret(source) => {
                    let secret = secret_of(source)?;
                    (Zeroizing::new(secret.expose().clone()), true)
                }
                ConfiguredName::Basic(username, source)
                | ConfiguredName::ClientBasic(username, source) => {
                    let secret = secret_of(source)?;
                    let value = match given {
                        ConfiguredName::ClientBasic(..) => {
                            let encoded = form_encoded(secret.expose());
                            let value = basic_value(&form_encoded(username), &encoded);
                            proof.secrets.set(&format!("{name} encoded"), encoded);
                            value
                        }
                        _ => basic_value(username, secret.expose()),
                    };
                    let value = fit(secret, value)?;
                    let text = value.to_str().unwrap_or("");
                    let pair = text.strip_prefix("Basic ").unwrap_or(text);
                    // An issuer may repeat either.
                    let password = Zeroizing::new(secret.expose().clone());
                    proof.secrets.set(&format!("{name} password"), password);
                    (Zeroizing::new(pair.to_owned()), true)
                }
            };
            proof.take(name, value, is_secret, &mut hasher);
        }
        for (name, source) in &self.secrets {
            let secret = secret_of(source)?;
            let value = Zeroizing::new(secret.expose().clone());
            proof.take(name, value, true, &mut hasher);
        }
        proof.print = hasher.finish();
        Ok(proof)
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

/// Every secret that is read, once each.
fn sources(
    givens: &[(&'static str, ConfiguredName)],
    secrets: &[(String, SecretSource)],
) -> Vec<SecretSource> {
    let mut sources: Vec<SecretSource> = Vec::new();
    let given = givens.iter().filter_map(|(_, given)| match given {
        ConfiguredName::Text(_) => None,
        ConfiguredName::Secret(source)
        | ConfiguredName::Basic(_, source)
        | ConfiguredName::ClientBasic(_, source) => Some(source),
    });
    for source in given.chain(secrets.iter().map(|(_, source)| source)) {
        if !sources.contains(source) {
            sources.push(source.clone());
        }
    }
    sources
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

impl LoginSecrets {
    fn take(
        &mut self,
        name: &str,
        value: Zeroizing<String>,
        is_secret: bool,
        hasher: &mut impl Hasher,
    ) {
        if is_secret {
            hasher.write(value.as_bytes());
            hasher.write_u8(0xff);
            self.secrets.set(name, value.clone());
        }
        self.values.set(name, value);
    }
}
