//! What was configured, as one attempt reads it: the values of names, and which of them
//! must not be told.

use std::hash::{BuildHasher, Hasher};

use zeroize::Zeroizing;

use super::Engine;
use super::issuer_request::form_encoded;
use super::recipe::ConfiguredName;
use super::template::TemplateValues;
use crate::credential::MintError;
use crate::credential::login_secret::{fetched, fit, usable};
use crate::credential::render::basic_value;
use crate::secret::{Secret, SecretSource};

/// What was configured, as read for one attempt.
pub(super) struct LoginSecrets {
    pub(super) values: TemplateValues,
    /// Those of `values` that must not be told.
    pub(super) secrets: TemplateValues,
    /// A salted fingerprint of them.
    pub(super) print: u64,
}

impl Engine {
    /// What was configured, as it is now, without blocking.
    pub(super) async fn read_givens(&self) -> Result<LoginSecrets, MintError> {
        let mut read = Vec::new();
        for source in &self.facts.sources {
            let secret = fetched(source).await?;
            read.push((source.clone(), secret));
        }
        self.proof(&read)
    }

    /// The same where no command must run, at once: a disk may hold it up.
    pub(super) fn read_givens_now(&self) -> Result<LoginSecrets, MintError> {
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

/// Every secret that is read, once each.
pub(super) fn sources(
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
