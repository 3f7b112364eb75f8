//! Single values: what each type and rule takes, refuses and makes of it.

use super::*;

#[test]
fn a_number_is_text_only_where_nothing_is_lost() {
    let good = load_text(&GOOD.replace("\"00912\"", "912")).unwrap();
    assert_eq!(good.credentials[0].values.need_text("context_id"), "912");
    for lossy in ["0x10", "1_000", "+1", "1.0", "true", "1979-05-27"] {
        only(
            &problems_of("\"00912\"", lossy),
            &["context_id", "in quotes"],
        );
    }
    let environment = [("HEADSET_CREDENTIAL__CMS_KEY__CONTEXT_ID", "007")];
    let config = load_with(GOOD, &environment, &[]).unwrap();
    assert_eq!(config.credentials[0].values.need_text("context_id"), "007");
}

#[test]
fn curly_quotes_and_control_characters_are_refused_with_their_offset() {
    only(
        &problems_of("crm_sync", "crm\u{2019}s"),
        &["username", "character 4"],
    );
    only(
        &problems_of("crm_sync", "crm\\u0007"),
        &["control character", "character 4"],
    );
    only(&problems_of("crm_sync", ""), &["it is empty"]);
}

#[test]
fn a_missing_kind_names_the_kinds_there_are() {
    let shown = problems_of("kind = \"basicauth\"", "");
    let missing: Vec<String> = shown
        .into_iter()
        .filter(|l| l.contains("missing"))
        .collect();
    only(
        &missing,
        &[
            "credential.cms_key.kind",
            "expected one of basicauth, static",
        ],
    );
}

#[test]
fn a_rule_of_a_kind_is_asked() {
    only(
        &problems_of("crm_sync", "crm:sync"),
        &["h.toml:11:1", "no colon"],
    );
}

#[test]
fn origins_of_applications_are_kept_as_browsers_send_them() {
    let origins =
        "origins = [\"https://CRM.example.com:443\", \"capacitor://localhost\", \"null\"]";
    let text = GOOD.replacen("[listener.app]", &format!("[listener.app]\n{origins}"), 1);
    let config = load_text(&text).unwrap();
    assert_eq!(
        config.listeners[0].origins,
        ["https://crm.example.com", "capacitor://localhost", "null"]
    );
}

#[test]
fn any_host_is_an_empty_list_and_stands_alone() {
    let with = |hosts: &str| {
        GOOD.replace(
            "[route.contacts]",
            &format!("hosts = {hosts}\n[route.contacts]"),
        )
    };
    let config = load_text(&with("[\"*\"]")).unwrap();
    assert!(config.listeners[0].hosts.is_empty());
    only(&shown(load_text(&with("[\"*\", \"a\"]"))), &["alone"]);
    only(&shown(load_text(&with("[]"))), &["nobody"]);
    only(
        &shown(load_text(&with("[\"a\", 1]"))),
        &["a number in a list of texts"],
    );
    only(&shown(load_text(&with("\"a\""))), &["brackets"]);
}

#[test]
fn a_path_that_can_never_match_is_refused() {
    for bad in ["v1", "/a/../b", "/a?x=1", "/a%2fb"] {
        only(
            &problems_of("/v1/cc-list", bad),
            &["route.contacts.match.path"],
        );
    }
    only(
        &problems_of(
            "{ path = \"/v1/cc-list\", host = \"CMS.Local\" }",
            "\"/v1\"",
        ),
        &["match.path ="],
    );
}

#[test]
fn nested_keys_of_a_kind_are_read_whichever_way_they_are_written() {
    let base = GOOD.split("[credential").next().unwrap();
    for text in [
        "[credential.cms_key]\nkind = \"static\"\nbasic = { username = \"u\", password.env = \"P\" }\nheaders = { \"Hash-Key\" = { env = \"K\" } }",
        "[credential.cms_key]\nkind = \"static\"\n[credential.cms_key.basic]\nusername = \"u\"\n[credential.cms_key.basic.password]\nenv = \"P\"\n[credential.cms_key.headers]\nhash-key.env = \"K\"",
    ] {
        let config = load_text(&format!("{base}{text}")).unwrap();
        let values = &config.credentials[0].values;
        assert_eq!(values.text("basic.username"), Some("u"));
        assert_eq!(
            values.secret("basic.password"),
            Some(&SecretSource::Env("P".into()))
        );
        assert_eq!(
            values.secret_headers("headers"),
            Some([("hash-key".to_owned(), SecretSource::Env("K".into()))].as_slice())
        );
        assert_eq!(values.secrets().len(), 2);
    }
}

#[test]
fn words_are_taken_in_any_case() {
    let text = format!("{GOOD}[log]\nlevel = \"WARN\"\nformat = \"Json\"\n");
    let config = load_text(&text).unwrap();
    assert_eq!(config.log.level, tracing::Level::WARN);
    assert_eq!(config.log.format, LogFormat::Json);
    let config = load_with(GOOD, &[("HEADSET_LOG_LEVEL", "Debug")], &[]).unwrap();
    assert_eq!(config.log.level, tracing::Level::DEBUG);
}

#[test]
fn every_default_fits_its_type_and_every_table_is_known() {
    for key in crate::config::keys::KEYS {
        let has = matches!(key.default, Fallback::Text(_));
        assert_eq!(
            crate::config::read::default(key).is_some(),
            has,
            "{}",
            key.path
        );
    }
    for row in crate::config::quick::SHORTCUTS {
        let (table, named, rest) = crate::config::keys::split(row.path);
        assert!(
            !named && !table.is_empty() && !rest.is_empty(),
            "{}",
            row.path
        );
        let known = crate::config::keys::tables();
        assert!(known.iter().any(|(name, _)| *name == table), "{}", row.path);
    }
}
