//! From an issuer's answer to a credential: the values that are taken, how long it lives,
//! and the fields that calls carry.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::Engine;
use super::expiry::{self, CredentialLife, Expiry};
use super::login_secrets::LoginSecrets;
use super::recipe::TakenValue;
use super::template::{Scope, TemplateValues};
use super::verdict::JudgedAnswer;
use crate::base::time::Deadline;
use crate::credential::render::sensitive;
use crate::credential::secret_parts::SecretParts;
use crate::credential::{CredentialOrigin, Fresh, MintError, UnavailableReason};

impl Engine {
    /// How long it lives, by all that `case` says and allows.
    pub(super) fn life(
        &self,
        expiries: &[Expiry],
        case: &JudgedAnswer<'_>,
        values: &TemplateValues,
    ) -> Result<CredentialLife, MintError> {
        expiry::life(expiries, case.read, values).map_err(|unread| {
            case.unavailable(
                UnavailableReason::Body,
                format!(
                    "the {} in the issuer's answer to the {} is not a time in the form that \
                     was expected",
                    unread.at, case.doing
                ),
            )
        })
    }

    /// The credential that `values` make, which lives for `life`.
    pub(super) fn fresh(
        &self,
        values: &TemplateValues,
        life: Duration,
        case: &JudgedAnswer<'_>,
        proof: &LoginSecrets,
    ) -> Result<Fresh, MintError> {
        let scope = Scope {
            given: &proof.values,
            found: values,
        };
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        let mut secrets = SecretParts::default();
        for output in &self.recipe.outputs {
            let Some(text) = output.value.render(&scope) else {
                if output.optional {
                    continue;
                }
                return Err(case.unavailable(
                    UnavailableReason::Body,
                    format!("a value that the header {} needs is not known", output.name),
                ));
            };
            let value = sensitive(text).ok_or_else(|| {
                case.unavailable(
                    UnavailableReason::Body,
                    format!(
                        "what the issuer gave holds a character that cannot stand in the \
                         header {}",
                        output.name
                    ),
                )
            })?;
            headers.push((output.name.clone(), value));
            for name in output.value.names() {
                let named = [name, &format!("{name} password")];
                let ours = named.iter().filter_map(|name| proof.secrets.value(name));
                ours.chain(self.taken_secret(name, &scope))
                    .for_each(|part| secrets.add(part));
            }
        }
        Ok(Fresh {
            headers: headers.into(),
            secrets,
            expires: Deadline::new(case.read.answer.sent, life),
            source_ends: None,
            skew_ms: case.read.answer.skew_ms(),
            origin: CredentialOrigin::Issued,
            assumed_life: None,
            session: None,
        })
    }

    /// The value of `name`, where an issuer gave it and it is a secret.
    fn taken_secret<'a>(&self, name: &str, scope: &Scope<'a>) -> Option<&'a str> {
        let refreshed = self
            .recipe
            .refresh
            .iter()
            .flat_map(|refresh| &refresh.takes);
        let mut takes = self.recipe.takes.iter().chain(refreshed);
        let is_secret = takes.any(|taken| taken.name == name && taken.secret);
        let is_given = scope.given.value(name).is_some();
        scope.found.value(name).filter(|_| is_secret && !is_given)
    }
}

/// Takes what `takes` says out of an answer, into `values`.
pub(super) fn take(
    takes: &[TakenValue],
    case: &JudgedAnswer<'_>,
    values: &mut TemplateValues,
) -> Result<(), MintError> {
    for taken in takes {
        match case.read.value(&taken.at) {
            Some(value) => values.set(&taken.name, value),
            None if taken.required => return Err(case.lacks(&taken.at)),
            None => {}
        }
    }
    Ok(())
}

/// `secrets`, and `more` that an issuer gave: nothing of either is told.
pub(super) fn with(secrets: &TemplateValues, more: &TemplateValues) -> TemplateValues {
    let mut all = secrets.clone();
    for (index, value) in more.all().enumerate() {
        all.set(&format!("found {index}"), Zeroizing::new(value.to_owned()));
    }
    all
}
