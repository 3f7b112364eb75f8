//! What a reload does with a credential: keep it as it is, change its limits while it
//! lives, or obtain another one.

use ring::digest::{SHA256, digest};

use crate::config::{self, Config};
use crate::credential::identity::Identity;
use crate::credential::minter_factory::MinterFactory;
use crate::net::tls;

/// All that a credential's slots are made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSpec {
    /// Another one is another credential.
    pub identity: Identity,
    /// All else, in one spelling for one meaning: what changes while it lives.
    limits: Vec<String>,
}

impl CredentialSpec {
    /// That of `credential` in `config`.
    pub fn of(
        credential: &config::CredentialConfig,
        config: &Config,
        factory: &MinterFactory,
    ) -> CredentialSpec {
        let mut parts = Vec::new();
        // Those of the identity among them do no harm: they are equal where it is.
        for (path, (value, _)) in &credential.values.0 {
            parts.push((*path).to_owned());
            parts.push(value.canonical());
        }
        let origins = factory.reached_by(credential);
        parts.extend(origins.iter().map(ToString::to_string));
        parts.push(format!("{:?}", credential.tls));
        // A file that was renewed under its name is another one.
        for file in credential.tls.files() {
            let content = tls::read(file).ok();
            let content = content
                .as_ref()
                .map_or(&[][..], |content| content.as_slice());
            parts.push(format!("{:?}", digest(&SHA256, content)));
        }
        parts.push(format!("{:?}", config.egress));
        let times = &config.timeouts;
        parts.push(format!("{:?} {:?}", times.mint, times.credential_wait));
        if credential.is_per_tenant() {
            parts.push(config.limits.tenants.to_string());
        }
        CredentialSpec {
            identity: Identity::of(credential),
            limits: parts,
        }
    }
}
