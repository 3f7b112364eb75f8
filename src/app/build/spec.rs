//! What a reload does with a credential: keep it as it is, change its limits while it
//! lives, or obtain another one.

use ring::digest::{SHA256, digest};

use crate::config::{self, Config};
use crate::credential::identity::Identity;
use crate::credential::minter_factory::MinterFactory;
use crate::net::tls;

/// What a reload changes of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialChange {
    /// It goes on as it is.
    Nothing,
    /// It goes on under other limits.
    Limits,
    /// It is another one, which must be obtained.
    Another,
}

/// All that a credential's slots are made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSpec {
    /// With another one it is another credential.
    identity: Identity,
    /// All else, in one spelling for one meaning: what changes while it lives.
    limits: Vec<String>,
}

impl CredentialSpec {
    /// What changes where the one that runs was made by `was`.
    pub fn change_from(&self, was: &CredentialSpec) -> CredentialChange {
        if self.identity != was.identity {
            CredentialChange::Another
        } else if self.limits != was.limits {
            CredentialChange::Limits
        } else {
            CredentialChange::Nothing
        }
    }

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
        parts.push(credential.resolve.canonical());
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

#[cfg(test)]
mod tests {
    use super::super::testing::config;
    use super::*;
    use crate::base::time::Clock;
    use crate::credential::store::NullStore;

    fn spec(timeouts: &str, username: &str, extra: &str) -> CredentialSpec {
        let config = config(&format!(
            "[timeouts]\n{timeouts}\n\
             [route.a]\nmatch.path = \"/\"\nupstream = \"https://cms.example.com\"\n\
             credential = \"key\"\n\
             [credential.key]\nkind = \"basicauth\"\ncontext_id = \"1\"\n\
             url = \"https://cms.example.com/x\"\nusername = \"{username}\"\n\
             password = {{ env = \"P\" }}\nadmin_bearer = {{ env = \"B\" }}\n{extra}"
        ));
        let (clock, store) = (Clock::system(), std::sync::Arc::new(NullStore::new()));
        let factory = MinterFactory::of(&config, clock, Default::default(), store);
        CredentialSpec::of(&config.credentials[0], &config, &factory)
    }

    #[test]
    fn what_the_issuer_sees_makes_another_one_and_all_else_changes_limits() {
        let was = spec("", "crm", "");
        assert_eq!(
            spec("", "crm", "").change_from(&was),
            CredentialChange::Nothing
        );
        for (timeouts, extra) in [
            ("mint = \"7s\"", ""),
            ("", "on_shutdown = \"revoke\""),
            (
                "",
                "origins = [\"https://cms.example.com\", \"https://b.example.com\"]",
            ),
        ] {
            let now = spec(timeouts, "crm", extra);
            let change = now.change_from(&was);
            assert_eq!(change, CredentialChange::Limits, "{timeouts}{extra}");
        }
        let other = spec("mint = \"7s\"", "dialer", "");
        assert_eq!(other.change_from(&was), CredentialChange::Another);
    }
}
