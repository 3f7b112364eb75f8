//! Secrets are named by reference, have one source and are never shown.

use super::*;
use crate::config::shared_store::FleetRole;

#[test]
fn an_inline_secret_is_refused_and_never_shown() {
    for inline in [
        "\"hunter2\"",
        "[\"hunter2\"]",
        "{ env = \"hunter2-x\" }",
        "{ value = \"hunter2\" }",
    ] {
        let shown = problems_of("{ file = \"/p\" }", inline);
        only(&shown, &["h.toml:12:", "credential.cms_key.password"]);
        assert!(!shown[0].contains("hunter2"), "{shown:?}");
    }
    let name = "HEADSET_CREDENTIAL__CMS_KEY__PASSWORD";
    let shown = shown(load_with(
        &GOOD.replace("password = { file = \"/p\" }", ""),
        &[(name, "hunter2")],
        &[],
    ));
    only(&shown, &[name, "__FILE", "by reference only"]);
    assert!(!shown[0].contains("hunter2"), "{shown:?}");
}

#[test]
fn a_secret_has_one_source_and_the_problem_names_both() {
    let shown = problems_of("{ file = \"/p\" }", "{ file = \"/p\", env = \"P\" }");
    only(&shown, &["file (h.toml:12:14)", "env (h.toml:12:27)"]);
    let shown = self::shown(load_with(
        GOOD,
        &[("HEADSET_CREDENTIAL__CMS_KEY__PASSWORD__ENV", "P")],
        &[],
    ));
    only(
        &shown,
        &[
            "file (h.toml:12:14)",
            "env (variable HEADSET_CREDENTIAL__CMS_KEY__PASSWORD__ENV)",
        ],
    );
}

#[test]
fn a_command_is_a_list_of_texts_without_a_shell() {
    let read = |text: &str| {
        let config = load_text(&GOOD.replace("{ file = \"/p\" }", text)).unwrap();
        let secret = config.credentials[0].values.secret("password").cloned();
        secret.unwrap()
    };
    let argv = ["pass", "show", "a, b"].map(String::from).to_vec();
    assert_eq!(
        read("{ command = [\"pass\", \"show\", \"a, b\"] }"),
        SecretSource::Command(argv.clone().into())
    );
    let seen = "{ command = [\"pass\", \"show\", \"a, b\"], env = [\"VAULT_ADDR\"] }";
    let env = vec!["VAULT_ADDR".to_owned()];
    assert_eq!(read(seen), SecretSource::Command(Program { argv, env }));
    for (written, part) in [
        ("{ command = \"pass show\" }", "where a list is expected"),
        ("{ command = [] }", "names no program"),
        (
            "{ command = [\"a\"], env = [\"A=hunter2\"] }",
            "not the name of a variable",
        ),
        (
            "{ command = [\"a\"], env = \"A\" }",
            "a secret has one source",
        ),
        ("{ command = [\"\"] }", "names no program"),
        ("{ command = [\"pass\", 1] }", "in a list of texts"),
        (
            "{ command = [\"pass\"], env = \"P\" }",
            "a secret has one source",
        ),
        ("{ vault = \"x\" }", "no such source"),
    ] {
        only(&problems_of("{ file = \"/p\" }", written), &[part]);
    }
}

const STORE: &str = "[store]\npath = \"/var/lib/headset\"\nkey = { env = \"K\" }\n";

#[test]
fn only_some_secrets_may_be_made_by_headset() {
    let own = "{ generate = true }";
    let text = GOOD.replace("{ file = \"/p\" }", own);
    let config = load_text(&format!("{STORE}{text}")).unwrap();
    assert_eq!(
        config.credentials[0].values.secret("password"),
        Some(&SecretSource::Generate)
    );
    only(
        &problems_of("{ file = \"/p\" }", "{ generate = false }"),
        &["this can only be true"],
    );
    only(
        &problems_of("{ env = \"BEARER\" }", own),
        &["admin_bearer.generate", "no such source"],
    );
}

#[test]
fn a_store_has_a_folder_and_a_key_or_is_not_there() {
    let config = load_text(&format!("{STORE}{GOOD}")).unwrap();
    let store = config.store.unwrap();
    assert_eq!(store.path.as_deref(), Some(Path::new("/var/lib/headset")));
    assert_eq!(store.shared, None);
    assert_eq!(store.key, SecretSource::Env("K".into()));
    assert!(load_text(GOOD).unwrap().store.is_none());
    for (text, key) in [
        ("[store]\npath = \"/s\"\n", "store.key"),
        ("[store]\nkey = { env = \"K\" }\n", "store.path"),
    ] {
        let problems = load_text(&format!("{text}{GOOD}")).unwrap_err();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        only(&shown, &[key]);
    }
}

#[test]
fn what_logs_in_does_not_cross_a_network_in_clear_unless_told_to() {
    let https = "url = \"https://cms.example.com:8443/configuration/basicauth\"";
    let why = "h.toml:10:1: credential.cms_key.url: what proves headset to the issuer goes to \
               http://cms.example.com in clear, and everyone on the way can read it";
    let plain = "url = \"http://cms.example.com/configuration/basicauth\"";
    assert_eq!(
        problems_of(https, plain),
        [format!(
            "{why}; use https, or set credential.cms_key.dangerous_plain_http = true"
        )]
    );
    let allowed = GOOD.replace(https, plain) + "dangerous_plain_http = true\n";
    let config = load_text(&allowed).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert_eq!(config.warnings[0].to_string(), format!("{why}; use https"));
    let loopback = GOOD.replace(
        https,
        "url = \"http://127.0.0.1:8090/configuration/basicauth\"",
    );
    assert_eq!(load_text(&loopback).unwrap().warnings, []);
}

#[test]
fn a_shared_store_is_told_where_and_a_holder_needs_no_login_secret() {
    const SHARED: &str = "[store]\nurl = \"redis://redis.example.com\"\nkey = { env = \"K\" }\n";
    let config = load_text(&format!("{SHARED}{GOOD}")).unwrap();
    let shared = config.shared_store().unwrap();
    assert_eq!(shared.role, FleetRole::Keeper);
    assert_eq!(
        (&*shared.origin.host, shared.origin.port),
        ("redis.example.com", 6379)
    );
    assert_eq!(config.store_folder(), None);

    let without: String = GOOD
        .lines()
        .filter(|line| !line.starts_with("password") && !line.starts_with("admin_bearer"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(
        load_text(&format!("{SHARED}{without}")).is_err(),
        "a keeper needs them"
    );
    let holder = format!("{SHARED}[fleet]\nrole = \"holder\"\n{without}");
    let config = load_text(&holder).unwrap();
    assert_eq!(config.shared_store().unwrap().role, FleetRole::Holder);

    for (text, key) in [
        ("[store]\nurl = \"redis://h\"\n", "store.key"),
        ("[fleet]\nrole = \"holder\"\n", "fleet.role"),
        ("[store]\nusername = \"u\"\n", "store.username"),
        (
            "[store]\nurl = \"redis://:hunter2@h\"\nkey = { env = \"K\" }\n",
            "store.url",
        ),
    ] {
        let problems = load_text(&format!("{text}{GOOD}")).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            problems.iter().any(|problem| problem.key == key),
            "{told:?}"
        );
        assert!(!told.join(" ").contains("hunter2"), "{told:?}");
    }
}

#[test]
fn a_login_secret_of_a_holder_is_never_used_and_told_so() {
    let fleet = |role: &str| {
        format!(
            "{GOOD}[store]\nurl = \"redis://127.0.0.1:6379\"\nkey = {{ file = \"/k\" }}\n\
             [fleet]\nrole = \"{role}\"\n"
        )
    };
    let told = |text: &str| -> Vec<String> {
        let config = load_text(text).unwrap();
        config.warnings.iter().map(ToString::to_string).collect()
    };
    let warnings = told(&fleet("holder"));
    for key in [
        "credential.cms_key.admin_bearer",
        "credential.cms_key.password",
    ] {
        let hit = |line: &&String| line.contains(key) && line.contains("never used");
        assert_eq!(
            warnings.iter().filter(hit).count(),
            1,
            "{key}: {warnings:?}"
        );
    }
    assert_eq!(told(&fleet("keeper")), Vec::<String>::new());
    let without = "password = { file = \"/p\" }\n";
    let bearer = "admin_bearer = { env = \"BEARER\" }\n";
    let holder = fleet("holder").replace(without, "").replace(bearer, "");
    assert_eq!(told(&holder), Vec::<String>::new());
}
