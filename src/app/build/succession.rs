//! Which credential comes after which, by their tables alone.

use crate::base::name::Name;
use crate::config::{Config, CredentialConfig};
use crate::credential::identity::is_same_account;

/// Whether a route or another credential of `config` names the credential `name`.
pub(super) fn is_named(name: &Name, config: &Config) -> bool {
    let mut routes = config.routes.iter();
    routes.any(|route| route.credential.as_ref() == Some(name))
        || config.credentials.iter().any(|credential| {
            let mut chained = credential.values.chained().into_iter();
            chained.any(|(_, source, _)| source == name)
        })
}

/// Those of `before` in whose place `credential` of `config` may come, the first first: the
/// one of its name, then those that `config` has no more and that log in to the same account.
pub(super) fn candidates<'c>(
    credential: &CredentialConfig,
    config: &Config,
    before: &'c [CredentialConfig],
) -> Vec<&'c CredentialConfig> {
    let has_url = |table: &CredentialConfig| table.values.0.contains_key("url");
    let is_gone = |name: &Name| config.credentials.iter().all(|kept| kept.name != *name);
    let may = |old: &&CredentialConfig| {
        old.name == credential.name
            || (is_gone(&old.name) && has_url(old) && is_same_account(old, credential))
    };
    let found = before.iter().filter(may);
    let (mut found, others): (Vec<_>, Vec<_>) = found.partition(|old| old.name == credential.name);
    found.extend(others);
    found
}

/// Whether what `old` registered may be in use by a credential of `config`, which logs in to
/// the same account.
pub fn has_successor(old: &CredentialConfig, config: &Config) -> bool {
    let mut all = config.credentials.iter();
    all.any(|credential| is_same_account(credential, old))
}

#[cfg(test)]
mod tests {
    use super::super::testing::config;
    use super::*;

    /// A configuration with one route, which names `route`, and `credentials`: each a name,
    /// a path and a user.
    fn with(route: &str, credentials: &[(&str, &str, &str)]) -> Config {
        let mut text = format!(
            "[route.a]\nmatch.path = \"/\"\nupstream = \"https://cms.example.com\"\n\
             credential = \"{route}\"\n"
        );
        for (name, path, user) in credentials {
            text += &format!(
                "[credential.{name}]\nkind = \"basicauth\"\ncontext_id = \"1\"\n\
                 url = \"https://cms.example.com/{path}\"\nusername = \"{user}\"\n\
                 password = {{ env = \"P\" }}\nadmin_bearer = {{ env = \"B\" }}\n"
            );
        }
        config(&text)
    }

    fn names(found: &[&CredentialConfig]) -> Vec<String> {
        found.iter().map(|one| one.name.to_string()).collect()
    }

    #[test]
    fn only_a_named_credential_is_opened() {
        let config = with("a", &[("a", "x", "crm"), ("b", "y", "crm")]);
        let named = |name| is_named(&Name::parse(name).unwrap(), &config);
        assert!(named("a") && !named("b") && !named("c"));
    }

    #[test]
    fn one_comes_after_its_namesake_or_after_one_that_is_gone_from_its_account() {
        let before = with(
            "a",
            &[("a", "x", "crm"), ("b", "x", "dialer"), ("c", "x", "crm")],
        );
        let after = |credentials: &[(&str, &str, &str)]| {
            let now = with(credentials[0].0, credentials);
            let mut all = now.credentials.iter();
            let one = all.find(|one| one.name.as_str() == credentials[0].0);
            let found = candidates(one.unwrap(), &now, &before.credentials);
            names(&found)
        };
        assert_eq!(after(&[("a", "y", "other")]), ["a"], "by name");
        assert_eq!(after(&[("a", "x", "crm")]), ["a", "c"], "by name first");
        let kept = [("new", "x", "crm"), ("a", "x", "crm"), ("c", "x", "crm")];
        assert!(after(&kept).is_empty(), "both are still there");
        let moved = [("new", "x", "crm"), ("c", "x", "crm")];
        assert_eq!(after(&moved), ["a"], "a was renamed");
        assert!(after(&[("new", "x", "somebody")]).is_empty());
    }

    #[test]
    fn who_logs_in_to_the_same_account_is_a_successor() {
        let old = &with("a", &[("a", "x", "crm")]).credentials[0];
        assert!(has_successor(old, &with("b", &[("b", "x", "crm")])));
        assert!(!has_successor(old, &with("b", &[("b", "x", "dialer")])));
        assert!(!has_successor(old, &with("b", &[("b", "y", "crm")])));
    }
}
