//! ** THE LIST of credential kinds **
//!
//! A kind is one file: its options, how to mint, an example, its tests; and one
//! entry in [`KINDS`]. From the entry come reading, the "unknown kind" hint, the
//! reference and `config/full.toml`. What kinds are made of lies below: `kind.rs`,
//! `engine.rs`, and here `login_kind.rs` and `option_rules.rs`.

mod ameyo;
mod ameyo_jwt;
mod ameyo_session;
mod basicauth;
mod ccm_token;
mod integrations_token;
mod login_kind;
mod oauth2;
mod option_rules;
mod recipe;
mod static_credential;
mod v4_login;

use super::kind::Kind;

/// Every kind, in the order in which people meet them.
pub const KINDS: &[Kind] = &[
    basicauth::KIND,
    static_credential::KIND,
    ccm_token::KIND,
    v4_login::KIND,
    ameyo_session::KIND,
    ameyo_jwt::KIND,
    integrations_token::KIND,
    oauth2::KIND,
    recipe::KIND,
];

/// The kind that is called `name`.
pub fn named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use toml::de::DeTable;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_an_example_of_its_own_options() {
        let mut names = HashSet::new();
        for kind in KINDS {
            assert!(names.insert(kind.name), "{}", kind.name);
            assert!(named(kind.name).is_some());
            let example = DeTable::parse(kind.example).expect(kind.name).into_inner();
            let credentials = example["credential"].get_ref().as_table().unwrap();
            for options in credentials.values() {
                let options = options.get_ref().as_table().unwrap();
                assert_eq!(options["kind"].get_ref().as_str(), Some(kind.name));
                for (option, value) in options.iter() {
                    let option = option.get_ref().as_ref();
                    let known = |path: &str| kind.keys.iter().any(|key| key.path == path);
                    let inner = value.get_ref().as_table();
                    let known = option == "kind"
                        || known(option)
                        || inner.is_some_and(|inner| {
                            inner
                                .keys()
                                .all(|under| known(&format!("{option}.{}", under.get_ref())))
                        });
                    assert!(known, "{}: {option}", kind.name);
                }
            }
        }
        assert!(named("basic_auth").is_none());
    }
}
