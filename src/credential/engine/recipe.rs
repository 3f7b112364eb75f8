//! A recipe: one way to log in, as data.
//!
//! It says how to ask, what counts as success, where the values are, when they end, which
//! fields they become, and how the session behind them is refreshed, kept alive and
//! ended. Nothing here runs.

use std::time::Duration;

use http::HeaderName;

use super::answer::ValuePlace;
use super::expiry::Expiry;
use super::issuer_request::IssuerRequest;
use super::template::Template;
use super::verdict::{Codes, Success, no_codes};
use crate::credential::KeepAlive;
use crate::secret::SecretSource;

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
