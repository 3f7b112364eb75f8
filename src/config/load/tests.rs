//! What loading promises, over whole configurations.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::key::{Fallback, ValueType, key};
use crate::config::values::Value;
use crate::config::{Effect, LogFormat, Roots};
use crate::secret::{Program, SecretSource};

fn no_colon(value: &Value) -> Result<(), (String, String)> {
    match value {
        Value::Text(text) if text.contains(':') => {
            Err(("a username has no colon".into(), "remove it".into()))
        }
        _ => Ok(()),
    }
}

use Fallback::{Absent, Required, Text};

/// Kinds that look like the real ones, which this floor does not know.
#[rustfmt::skip]
pub(crate) const KINDS: &[KindKeys] = &[
    KindKeys {
        kind: "basicauth",
        summary: "registers a user name and password at the contact center until dateExpiry",
        keys: &[
            key("url", ValueType::Url, Required, "\"https://cms.example.com:8443/configuration/basicauth\"",
                "Where names are registered, as a whole URL; nothing is derived from a host name."),
            key("username", ValueType::Text, Required, "\"crm_sync\"",
                "The name to register, without a `:`; give each installation a name of its own.")
                .checked(no_colon),
            key("password", ValueType::OwnSecret, Required, "{ file = \"/run/secrets/headset/password\" }",
                "The password to register. A changed one is registered at once."),
            key("context", ValueType::Text, Text("ContactCenter"), "\"ContactCenter\"",
                "The vendor's `context`."),
            key("context_id", ValueType::Text, Required, "\"1\"",
                "The vendor's `contextId`: the number of the contact center, as text."),
            key("user_role", ValueType::Text, Text("Administrator"), "\"Administrator\"",
                "The vendor's `userRole`; choose the least role that works."),
            key("lifetime", ValueType::Duration, Text("30d"), "\"30d\"",
                "How long each registration is to live."),
            key("admin_bearer", ValueType::Secret, Required, "{ file = \"/run/secrets/headset/admin-bearer\" }",
                "The bearer of a contact-center admin, from a login in the browser."),
        ],
        example: "",
    },
    KindKeys {
        kind: "static",
        summary: "a user name and password, a bearer, or headers, as they stand in secrets",
        keys: &[
            key("basic.username", ValueType::Text, Absent, "\"api_key\"",
                "The user name of a Basic pair, without a `:`."),
            key("basic.password", ValueType::Secret, Absent, "{ file = \"/run/secrets/headset/api-token\" }",
                "The password of that pair."),
            key("bearer", ValueType::Secret, Absent, "{ env = \"API_TOKEN\" }",
                "A token that is sent as `Authorization: Bearer …`."),
            key("headers", ValueType::SecretHeaders, Absent, "{ \"hash-key\" = { file = \"/run/secrets/headset/hash-key\" } }",
                "Header names, each with the secret that is its value, sent as it stands."),
        ],
        example: "[credential.api_key]\nkind = \"static\"\n\
                  basic = { username = \"a\", password = { env = \"B\" } }\n",
    },
];

/// Loads `text` as if it were the file `h.toml`.
pub(crate) fn load_text(text: &str) -> Result<Config, Vec<Problem>> {
    load_with(text, &[], &[])
}

fn load_with(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str, &str)],
) -> Result<Config, Vec<Problem>> {
    let (layer, syntax) = file::parse(Path::new("h.toml"), text);
    let sources = Sources {
        file: None,
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        flags: flags
            .iter()
            .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned()))
            .collect(),
    };
    judge(&layer, syntax, &sources, KINDS)
}

const GOOD: &str = r#"
[listener.app]
bind = "127.0.0.1:8080"
[route.contacts]
match = { path = "/v1/cc-list", host = "CMS.Local" }
upstream = "https://cms.example.com:8443"
credential = "cms_key"
[credential.cms_key]
kind = "basicauth"
url = "https://cms.example.com:8443/configuration/basicauth"
username = "crm_sync"
password = { file = "/p" }
context_id = "00912"
admin_bearer = { env = "BEARER" }
"#;

/// The problems of `GOOD` with `from` written as `to`, as people see them.
fn problems_of(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    shown(load_text(&GOOD.replace(from, to)))
}

fn shown(outcome: Result<Config, Vec<Problem>>) -> Vec<String> {
    let problems = outcome.expect_err("it has problems");
    problems.iter().map(Problem::to_string).collect()
}

/// Asserts that there is exactly one problem and that it holds every part.
#[track_caller]
fn only(shown: &[String], parts: &[&str]) {
    assert_eq!(shown.len(), 1, "{shown:#?}");
    for part in parts {
        assert!(shown[0].contains(part), "{part:?} in {shown:#?}");
    }
}

#[test]
fn a_good_file_becomes_typed_values_with_defaults() {
    let config = load_text(GOOD).unwrap();
    let route = &config.routes[0];
    assert_eq!(route.path, "/v1/cc-list");
    assert_eq!(route.host.as_deref(), Some("cms.local"));
    assert_eq!(route.timeouts.connect.as_secs(), 3);
    assert!(route.rewrite_location && !route.pass_cookies && route.effect.is_none());
    assert_eq!(route.tls.roots, Roots::System);
    assert_eq!(
        config.listeners[0].hosts,
        ["localhost", "127.0.0.1", "[::1]", "cms.local"]
    );
    assert_eq!(config.admin.bind.to_string(), "127.0.0.1:9464");
    assert_eq!(config.limits.header_bytes, 65536);
    assert_eq!(config.log.format, LogFormat::Auto);
    assert_eq!(config.workers, 1);
    let credential = &config.credentials[0];
    assert_eq!(credential.kind, "basicauth");
    assert_eq!(credential.values.need_text("context_id"), "00912");
    assert_eq!(
        credential.values.need_duration("lifetime").as_secs(),
        30 * 86400
    );
    assert_eq!(
        credential.values.secret("admin_bearer"),
        Some(&SecretSource::Env("BEARER".into()))
    );
    assert_eq!(
        credential.values.place("username").to_string(),
        "h.toml:11:1"
    );
    assert_eq!(config.digest.len(), 12);
    assert_eq!(config.warnings, []);
}

#[test]
fn all_problems_come_at_once_each_with_its_place() {
    let text = r#"
[listener.app]
bind = "localhost:8080"
mode = "forward"
[rout.x]
y = 1
[route.Bad-Name]
upstream = "https://a"
[route.contacts]
upstrem = "https://a"
strip_prefix = "yes"
credential = "cms"
effect = "wrte"
[credential.cms_key]
kind = "basicaut"
[limits]
connections = 0
header_bytes = "1KiB"
[timeouts]
connect = "0"
idle = 30
[log]
level = 3
"#;
    let shown = shown(load_text(text));
    for (place, parts) in [
        ("h.toml:3:1: listener.app.bind", "127.0.0.1:8080"),
        ("h.toml:4:1: listener.app.mode", "the only choice"),
        ("h.toml:5:2: rout:", "did you mean route?"),
        ("h.toml:7:8: route.Bad-Name", "write \"bad_name\""),
        (
            "h.toml:10:1: route.contacts.upstrem",
            "did you mean route.contacts.upstream?",
        ),
        ("h.toml:11:1: route.contacts.strip_prefix", "true or false"),
        (
            "h.toml:12:1: route.contacts.credential",
            "name one of cms_key",
        ),
        (
            "h.toml:13:1: route.contacts.effect",
            "did you mean \"write\"?",
        ),
        (
            "h.toml:15:1: credential.cms_key.kind",
            "one of basicauth, static",
        ),
        ("h.toml:17:1: limits.connections", "from 1 to"),
        ("h.toml:18:1: limits.header_bytes", "8KiB"),
        ("h.toml:20:1: timeouts.connect", "cannot be switched off"),
        ("h.toml:21:1: timeouts.idle", "\"30s\""),
        ("h.toml:23:1: log.level", ""),
    ] {
        let hit = shown
            .iter()
            .any(|line| line.starts_with(place) && line.contains(parts));
        assert!(hit, "{place} … {parts}: {shown:#?}");
    }
    assert_eq!(shown.len(), 14, "{shown:#?}");
}

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
fn flags_beat_the_environment_which_beats_the_file() {
    let path = "route.contacts.upstream";
    let variable = [("HEADSET_ROUTE__CONTACTS__UPSTREAM", "https://env.example")];
    let flag = [(path, "https://flag.example", "--upstream")];
    let upstream = |config: Config| config.routes[0].upstream.origin.host.to_string();
    assert_eq!(upstream(load_text(GOOD).unwrap()), "cms.example.com");
    assert_eq!(
        upstream(load_with(GOOD, &variable, &[]).unwrap()),
        "env.example"
    );
    assert_eq!(
        upstream(load_with(GOOD, &variable, &flag).unwrap()),
        "flag.example"
    );
}

#[test]
fn lists_are_comma_separated_in_the_environment() {
    let environment = [("HEADSET_LISTENER__APP__HOSTS", "a.example, B.example,")];
    let config = load_with(GOOD, &environment, &[]).unwrap();
    assert_eq!(
        config.listeners[0].hosts,
        ["a.example", "b.example", "cms.local"]
    );
}

#[test]
fn a_variable_that_matches_no_key_is_an_error_with_the_one_that_was_meant() {
    let environment = [
        ("HEADSET_ROUTE__CONTACTS__UPSTREEM", "x"),
        ("HEADSET_ROUT__CONTACTS__UPSTREAM", "x"),
        ("HEADSET_LIMITS__CONECTIONS", "5"),
        ("HEADSET_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    let shown = shown(load_with(GOOD, &environment, &[]));
    assert_eq!(shown.len(), 3, "{shown:#?}");
    for (name, meant) in [
        (
            "HEADSET_ROUTE__CONTACTS__UPSTREEM",
            "did you mean HEADSET_ROUTE__CONTACTS__UPSTREAM?",
        ),
        (
            "HEADSET_ROUT__CONTACTS__UPSTREAM",
            "did you mean HEADSET_ROUTE__CONTACTS__UPSTREAM?",
        ),
        (
            "HEADSET_LIMITS__CONECTIONS",
            "did you mean HEADSET_LIMITS__CONNECTIONS?",
        ),
    ] {
        let hit =
            |line: &String| line.starts_with(&format!("variable {name}: ")) && line.contains(meant);
        assert!(shown.iter().any(hit), "{name}: {shown:#?}");
    }
}

#[test]
fn keys_of_later_stages_are_unknown_for_now() {
    let later = "[route.contacts]\ntrace = true\ntenant = { header = \"x\" }";
    let shown = problems_of("[route.contacts]", later);
    assert_eq!(shown.len(), 2, "{shown:#?}");
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
    assert_eq!(store.path, Path::new("/var/lib/headset"));
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

const QUICK: &[(&str, &str)] = &[
    ("HEADSET_UPSTREAM", "https://cms.example.com:8443"),
    (
        "HEADSET_REGISTER_URL",
        "https://cms.example.com:8443/configuration/basicauth",
    ),
    ("HEADSET_USERNAME", "crm_sync"),
    ("HEADSET_PASSWORD_FILE", "/p"),
    ("HEADSET_CONTEXT_ID", "00912"),
    ("HEADSET_ADMIN_BEARER_FILE", "/b"),
];

#[test]
fn the_shortcuts_make_one_route_without_a_file() {
    let config = load_with("", QUICK, &[]).unwrap();
    assert_eq!(config.listeners[0].bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.listeners[0].name.as_str(), "app");
    assert_eq!(config.routes[0].name.as_str(), "default");
    assert_eq!(
        config.routes[0].credential.as_ref().unwrap().as_str(),
        "default"
    );
    let credential = &config.credentials[0];
    assert_eq!(credential.kind, "basicauth");
    assert_eq!(credential.values.need_text("context_id"), "00912");
    assert_eq!(config.warnings, []);

    let flags = [("listener.app.bind", "127.0.0.1:9999", "--bind")];
    let config = load_with("", QUICK, &flags).unwrap();
    assert_eq!(config.listeners[0].bind.to_string(), "127.0.0.1:9999");
}

#[test]
fn a_route_without_credential_needs_one_flag() {
    let flags = [("route.default.upstream", "http://127.0.0.1:9", "--upstream")];
    let config = load_with("", &[], &flags).unwrap();
    assert!(config.routes[0].credential.is_none() && config.credentials.is_empty());
}

#[test]
fn an_incomplete_shortcut_says_which_key_is_missing() {
    let shown = shown(load_with("", &QUICK[..5], &[]));
    only(&shown, &["credential.default.admin_bearer", "missing"]);
}

#[test]
fn nothing_at_all_says_what_to_write() {
    let shown = shown(load_with("", &[], &[]));
    assert_eq!(shown.len(), 2, "{shown:#?}");
    assert!(shown.join("\n").contains("--upstream"));
}

#[test]
fn off_loopback_someone_must_say_who_may_call() {
    let refused = problems_of("127.0.0.1:8080", "0.0.0.0:8080");
    only(
        &refused,
        &[
            "h.toml:3:1",
            "set listener.app.caller_token, listener.app.tls.client_ca or listener.app.dangerous_allow_any_caller = true",
        ],
    );
    let with = |keys: &str| {
        load_text(&GOOD.replace("127.0.0.1:8080\"", &format!("0.0.0.0:8080\"\n{keys} #\"")))
    };
    let warned = with("caller_token = { file = \"/t\" }").unwrap().warnings;
    assert!(
        warned.iter().any(|w| w.key == "listener.app.caller_token"),
        "{warned:?}"
    );
    let tls = "tls.cert = \"/c\"\ntls.key = \"/k\"\n";
    let secured = with(&format!("{tls}caller_token = {{ file = \"/t\" }}")).unwrap();
    assert!(
        secured
            .warnings
            .iter()
            .all(|w| !w.key.contains("caller_token"))
    );
    let mutual = with(&format!("{tls}tls.client_ca = \"/a\"")).unwrap();
    let files = mutual.listeners[0].tls.clone().unwrap();
    assert_eq!(files.client_ca.as_deref(), Some(std::path::Path::new("/a")));
    // TLS alone tells nothing about who calls.
    only(&shown(with(tls)), &["h.toml:3:1", "client_ca"]);
    let open = "0.0.0.0:8080\"\ndangerous_allow_any_caller = true #\"";
    let config = load_text(&GOOD.replace("127.0.0.1:8080\"", open)).unwrap();
    assert!(config.listeners[0].hosts.is_empty(), "any name");
    assert!(load_text(&GOOD.replace("127.0.0.1:8080", "unix:/run/h.sock")).is_ok());
    assert!(load_text(&GOOD.replace("127.0.0.1:8080", "[::1]:8080")).is_ok());
}

#[test]
fn the_tls_of_a_listener_is_whole_and_on_no_unix_socket() {
    let with = |bind: &str, keys: &str| {
        shown(load_text(&GOOD.replace(
            "127.0.0.1:8080\"",
            &format!("{bind}\"\n{keys} #\""),
        )))
    };
    let tcp = "127.0.0.1:8080";
    let cert = with(tcp, "tls.cert = \"/c\"");
    only(
        &cert,
        &["h.toml:4:5: listener.app.tls.key", "tls.cert is set"],
    );
    only(&with(tcp, "tls.key = \"/k\""), &["listener.app.tls.cert"]);
    assert_eq!(with(tcp, "tls.client_ca = \"/a\"").len(), 2);
    let unix = "unix:/run/h.sock";
    let both = with(unix, "tls.cert = \"/c\"\ntls.key = \"/k\"");
    only(&both, &["Unix socket"]);
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
fn two_routes_cannot_match_the_same() {
    let more = "[route.contacts]\nmatch = { path = \"/v1/cc-list/\", host = \"cms.LOCAL\" }\nupstream = \"https://b\"\n[route.other]";
    only(
        &problems_of("[route.contacts]", more),
        &["route.other.match", "route.contacts matches"],
    );
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
fn a_route_to_headset_itself_is_refused() {
    for own in ["http://127.0.0.1:8080", "http://localhost:9464/x"] {
        only(
            &problems_of(
                "upstream = \"https://cms.example.com:8443\"",
                &format!("upstream = \"{own}\""),
            ),
            &["headset itself"],
        );
    }
}

#[test]
fn a_credential_may_not_leave_its_origins() {
    let narrow = "kind = \"basicauth\"\norigins = [\"https://other.example\"]";
    only(
        &problems_of("kind = \"basicauth\"", narrow),
        &["route.contacts.upstream", "cms_key.origins"],
    );
    let wide = "kind = \"basicauth\"\norigins = [\"https://cms.example.com:8443\"]";
    assert!(load_text(&GOOD.replace("kind = \"basicauth\"", wide)).is_ok());
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let text = GOOD.replace("credential = \"cms_key\"", "replay_401 = true")
        + "[route.clear]\nmatch.path = \"/clear\"\nupstream = \"http://cms.example.com\"\ncredential = \"other\"\n\
           [credential.other]\nkind = \"static\"\nbearer.file = \"/b\"\n";
    let config = load_text(&text).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    let all = warnings.join("\n");
    for part in [
        "route.contacts.replay_401",
        "in clear",
        "credential.cms_key: no route",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
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
fn a_route_overrides_times_and_trust() {
    let text = GOOD.replace(
        "[route.contacts]",
        "[upstream_tls]\nca = \"/all.pem\"\nserver_name = \"all\"\n[timeouts]\nidle = \"0\"\n[route.contacts]\neffect = \"call\"\ntimeouts.connect = \"1s\"\nupstream_tls.roots = \"bundled\"",
    );
    let config = load_text(&text).unwrap();
    let route = &config.routes[0];
    assert_eq!(route.effect, Some(Effect::Call));
    assert_eq!(route.timeouts.connect.as_secs(), 1);
    assert!(route.timeouts.idle.is_zero());
    assert_eq!(
        (route.tls.roots, route.tls.ca.is_none()),
        (Roots::Bundled, true)
    );
    assert_eq!(route.tls.server_name.as_deref(), Some("all"));
    assert!(config.credentials[0].tls.ca.is_some());
}

#[test]
fn one_meaning_has_one_digest_and_another_has_another() {
    let digest = |config: Config| config.digest;
    let plain = digest(load_text(GOOD).unwrap());
    let moved = GOOD.replace("username = \"crm_sync\"\n", "");
    let from_variable = [("HEADSET_CREDENTIAL__CMS_KEY__USERNAME", "crm_sync")];
    assert_eq!(
        plain,
        digest(load_with(&moved, &from_variable, &[]).unwrap())
    );
    let spelled = GOOD.to_owned() + "lifetime = \"720h\"\n[workers]\ncount = 1\n";
    assert_eq!(plain, digest(load_text(&spelled).unwrap()));
    assert_ne!(
        plain,
        digest(load_text(&GOOD.replace("crm_sync", "crm")).unwrap())
    );
    assert_ne!(
        plain,
        digest(load_text(&GOOD.replace("\"/p\"", "\"/q\"")).unwrap())
    );
}

#[test]
fn a_broken_line_is_not_called_missing_too() {
    let shown = problems_of(
        "upstream = \"https://cms.example.com:8443\"",
        "upstream = https://cms",
    );
    assert!(
        shown.iter().all(|line| line.starts_with("h.toml:6:")),
        "{shown:#?}"
    );
    let shown = problems_of(
        "upstream = \"https://cms.example.com:8443\"",
        "upstream = = 1\nefect = \"read\"",
    );
    let all = shown.join("\n");
    assert!(
        all.contains("not TOML") && all.contains("did you mean route.contacts.effect"),
        "{all}"
    );
}

#[test]
fn tables_in_the_wrong_shape_are_explained() {
    let listed = GOOD.replace("[route.contacts]", "[[route]]");
    let all = shown(load_text(&listed)).join("\n");
    assert!(all.contains("h.toml:4:3: route: this is a list"), "{all}");
    let unnamed = GOOD.replace("[route.contacts]", "[route]");
    let all = shown(load_text(&unnamed)).join("\n");
    assert!(
        all.contains("h.toml:6:1: route.upstream") && all.contains("[route.NAME]"),
        "{all}"
    );
    only(
        &problems_of("[listener.app]", "log = 3\n[listener.app]"),
        &["h.toml:2:1: log", "write [log]"],
    );
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

/// `GOOD` with `from` written as `to`, read with variables and flags: one problem, which
/// is this text.
struct MutationCase {
    from: &'static str,
    to: &'static str,
    variables: &'static [(&'static str, &'static str)],
    flags: &'static [(&'static str, &'static str, &'static str)],
    text: &'static str,
}

const fn told(from: &'static str, to: &'static str, text: &'static str) -> MutationCase {
    MutationCase {
        from,
        to,
        variables: &[],
        flags: &[],
        text,
    }
}

const fn told_of(
    variables: &'static [(&'static str, &'static str)],
    text: &'static str,
) -> MutationCase {
    MutationCase {
        from: "",
        to: "",
        variables,
        flags: &[],
        text,
    }
}

#[test]
fn one_fault_is_one_problem_and_this_is_its_text() {
    const UPSTREAM: &str = "upstream = \"https://cms.example.com:8443\"";
    for case in [
        // A typing error is not also a missing key or table.
        told(
            "upstream =",
            "upstrem =",
            "h.toml:6:1: route.contacts.upstrem: there is no such key; did you mean route.contacts.upstream?",
        ),
        told(
            "[route.contacts]",
            "[rout.contacts]",
            "h.toml:4:2: rout: there is no such key; did you mean route?",
        ),
        told(
            "[listener.app]",
            "[listenr.app]",
            "h.toml:2:2: listenr: there is no such key; did you mean listener?",
        ),
        told(
            "kind = \"basicauth\"",
            "knd = \"basicauth\"",
            "h.toml:9:1: credential.cms_key.knd: there is no such key; did you mean credential.cms_key.kind?",
        ),
        told(
            "[route.contacts]",
            "[route.Contacts]",
            "h.toml:4:8: route.Contacts: this is not a name: lower-case letters and digits, a letter first, \
             words joined by single underscores; write \"contacts\"",
        ),
        // Nothing is expanded, and nothing is unquoted outside a file.
        told(
            "{ file = \"/p\" }",
            "{ file = \"~/p\" }",
            "h.toml:12:14: credential.cms_key.password.file: nothing in a path is expanded: a ~ is taken as \
             written; write the whole path, such as \"/etc/headset/password\"",
        ),
        told(
            "{ file = \"/p\" }",
            "{ file = \"${HOME}/p\" }",
            "h.toml:12:14: credential.cms_key.password.file: nothing in a path is expanded: a $ and the name \
             after it are taken as written; write the whole path, such as \"/etc/headset/password\"",
        ),
        told(
            "{ file = \"/p\" }",
            "{ command = [\"~/bin/p\"] }",
            "h.toml:12:14: credential.cms_key.password.command: nothing in a path is expanded: a ~ is taken as \
             written; write the whole path, such as \"/etc/headset/password\"",
        ),
        told(
            "[route.contacts]",
            "[upstream_tls]\nca = \"$CA/x.pem\"\n[route.contacts]",
            "h.toml:5:1: upstream_tls.ca: nothing in a path is expanded: a $ and the name after it are taken \
             as written; write the whole path, such as \"/etc/headset/password\"",
        ),
        told(
            "127.0.0.1:8080",
            "unix:~/h.sock",
            "h.toml:3:1: listener.app.bind: nothing in a path is expanded: a ~ is taken as written; write the \
             whole path, such as \"/etc/headset/password\"",
        ),
        told_of(
            &[(
                "HEADSET_ROUTE__CONTACTS__UPSTREAM",
                "\"https://cms.example.com\"",
            )],
            "variable HEADSET_ROUTE__CONTACTS__UPSTREAM: route.contacts.upstream: the quotes (\") around it are a \
             part of the value here; write it without quotes",
        ),
        told_of(
            &[("HEADSET_CREDENTIAL__CMS_KEY__PASSWORD__FILE", "'/p'")],
            "variable HEADSET_CREDENTIAL__CMS_KEY__PASSWORD__FILE: credential.cms_key.password.file: the quotes (') \
             around it are a part of the value here; write it without quotes",
        ),
        told_of(
            &[(
                "HEADSET_LISTENER__APP__HOSTS",
                "[\"a.example\", \"b.example\"]",
            )],
            "variable HEADSET_LISTENER__APP__HOSTS: listener.app.hosts: brackets and quotes are a part of the value \
             here; write the items with commas between them, without brackets and quotes",
        ),
        // A near miss takes the place of what it was to set.
        MutationCase {
            from: UPSTREAM,
            to: "",
            variables: &[("HEADSET_ROUTE_CONTACTS_UPSTREAM", "https://cms.example.com")],
            flags: &[],
            text: "variable HEADSET_ROUTE_CONTACTS_UPSTREAM: it sets nothing, since two underscores separate \
                   levels; did you mean HEADSET_ROUTE__CONTACTS__UPSTREAM?",
        },
        // Flags make tables of their own, and do not change those of the file.
        MutationCase {
            from: "",
            to: "",
            variables: &[],
            flags: &[("route.default.upstream", "https://b.example", "--upstream")],
            text: "flag --upstream: route.default.upstream: it would make route.default beside what the file has \
                   (contacts); write upstream below [route.contacts] in the file, or set \
                   HEADSET_ROUTE__CONTACTS__UPSTREAM",
        },
        told_of(
            &[
                ("HEADSET_REGISTER_URL", "https://b.example/x"),
                ("HEADSET_CONTEXT_ID", "1"),
            ],
            "variable HEADSET_REGISTER_URL: credential.default.url: it would make credential.default beside what \
             the file has (cms_key); write url below [credential.cms_key] in the file, or set \
             HEADSET_CREDENTIAL__CMS_KEY__URL",
        ),
        // A pattern, an exception that would never match.
        told(
            "path = \"/v1/cc-list\"",
            "path = \"/v1/*\"",
            "h.toml:5:11: route.contacts.match.path: * is a pattern, and a route matches a plain path and all below \
             it; write \"/v1\"",
        ),
        told(
            "[route.contacts]",
            "[egress]\nproxy = \"env\"\nno_proxy = [\"10.0.0.0/33\"]\n[route.contacts]",
            "h.toml:6:1: egress.no_proxy: \"10.0.0.0/33\" is not a network; write a host, .domain, address, \
             network such as \"10.0.0.0/8\", or \"*\"",
        ),
        // The place of a default is that of the nearest table that somebody wrote.
        told(
            "[listener.app]\nbind = \"127.0.0.1:8080\"",
            "[listener.app]\nbind = \"127.0.0.1:9464\"",
            "h.toml:1:1: admin.bind: 127.0.0.1:9464 is taken by listener.app.bind already; give one of the two \
             another port",
        ),
        told(
            "[listener.app]\nbind = \"127.0.0.1:8080\"",
            "",
            "h.toml:1:1: listener: there is none, so no application can call in; write [listener.app] with \
             bind = \"127.0.0.1:8080\" in a file for --config",
        ),
    ] {
        assert!(GOOD.contains(case.from), "{}", case.from);
        let text = GOOD.replacen(case.from, case.to, usize::from(!case.from.is_empty()));
        let outcome = load_with(&text, case.variables, case.flags);
        assert_eq!(shown(outcome), [case.text]);
    }
}

#[test]
fn without_a_file_what_is_missing_is_told_by_its_flag() {
    let flags = |names: &[&str]| -> Vec<(&str, &str, &str)> {
        let all = [
            (
                "route.default.upstream",
                "https://cms.example.com",
                "--upstream",
            ),
            (
                "credential.default.url",
                "https://cms.example.com/b",
                "--register-url",
            ),
            ("credential.default.username", "crm_sync", "--username"),
            ("credential.default.password.file", "/p", "--password-file"),
            ("credential.default.context_id", "1", "--context-id"),
            (
                "credential.default.admin_bearer.file",
                "/b",
                "--admin-bearer-file",
            ),
        ];
        let wanted = all.into_iter().filter(|(_, _, flag)| !names.contains(flag));
        wanted.collect()
    };
    for (without, text) in [
        (
            "--admin-bearer-file",
            "flag --register-url: credential.default.admin_bearer: it is missing and has no default; give \
             --admin-bearer-file FILE or --admin-bearer-env VARIABLE, or set HEADSET_ADMIN_BEARER_FILE or \
             HEADSET_ADMIN_BEARER_ENV",
        ),
        (
            "--context-id",
            "flag --register-url: credential.default.context_id: it is missing and has no default; give \
             --context-id ID, or set HEADSET_CONTEXT_ID",
        ),
    ] {
        assert_eq!(shown(load_with("", &[], &flags(&[without]))), [text]);
    }
    let alone = [("credential.default.context_id", "1", "--context-id")];
    let told = shown(load_with("", &[], &alone)).join("\n");
    assert!(told.contains("give --admin-bearer-file FILE"), "{told}");
    assert!(!told.contains("default:"), "{told}");
}

#[test]
fn a_variable_that_misses_its_key_by_a_hair_is_a_warning() {
    let warned = |names: &[&str], text: &str| -> Vec<String> {
        let environment: Vec<(&str, &str)> = names.iter().map(|name| (*name, "x")).collect();
        let config = load_with(text, &environment, &[]).unwrap();
        config.warnings.iter().map(Problem::to_string).collect()
    };
    for (name, meant) in [
        (
            "HEADSET_ROUTE_CONTACTS_MATCH_PATH",
            "HEADSET_ROUTE__CONTACTS__MATCH__PATH",
        ),
        (
            "HEADSET_ROUTE_MY_ROUTE_UPSTREAM",
            "HEADSET_ROUTE__MY_ROUTE__UPSTREAM",
        ),
        ("HEADSET_TIMEOUTS_DRAIN", "HEADSET_TIMEOUTS__DRAIN"),
        (
            "HEADSET_CREDENTIAL_CMS_KEY_USERNAME",
            "HEADSET_CREDENTIAL__CMS_KEY__USERNAME",
        ),
        (
            "HEADSET_CREDENTIAL_CMS_KEY_PASSWORD_FILE",
            "HEADSET_CREDENTIAL__CMS_KEY__PASSWORD__FILE",
        ),
    ] {
        let why = "it sets nothing, since two underscores separate levels";
        let text = format!("variable {name}: {why}; did you mean {meant}?");
        assert_eq!(warned(&[name], GOOD), [text]);
    }
    assert_eq!(
        warned(&["HEADSET_UPSTREM", "HEADSET_LOGLEVEL"], GOOD),
        [
            "variable HEADSET_LOGLEVEL: it sets nothing; did you mean HEADSET_LOG_LEVEL?",
            "variable HEADSET_UPSTREM: it sets nothing; did you mean HEADSET_UPSTREAM?",
        ]
    );
    // What Kubernetes sets, and what a secret is taken from.
    let ignored = [
        "HEADSET_PORT",
        "HEADSET_SERVICE_HOST",
        "HEADSET_SERVICE_PORT_HTTP",
        "HEADSET_PORT_8080_TCP_ADDR",
        "HEADSET_ADMIN_PORT_9464_TCP_ADDR",
        "HEADSET_ADMIN_SERVICE_PORT",
        "HEADSET_VERSION",
        "HEADSET_CONFIG",
        "HEADSET_ADMIN_TOKEN_FILE",
    ];
    let text = GOOD.replace("\"BEARER\"", "\"HEADSET_ADMIN_TOKEN_FILE\"");
    assert_eq!(warned(&ignored, &text), [] as [&str; 0]);
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
fn words_are_taken_in_any_case() {
    let text = format!("{GOOD}[log]\nlevel = \"WARN\"\nformat = \"Json\"\n");
    let config = load_text(&text).unwrap();
    assert_eq!(config.log.level, tracing::Level::WARN);
    assert_eq!(config.log.format, LogFormat::Json);
    let config = load_with(GOOD, &[("HEADSET_LOG_LEVEL", "Debug")], &[]).unwrap();
    assert_eq!(config.log.level, tracing::Level::DEBUG);
}

/// Text that is near enough to a configuration to get past the parser.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[listener.app]\n".to_owned()),
        Just("[route.a]\n".to_owned()),
        Just("[route]\n".to_owned()),
        Just("[[route]]\n".to_owned()),
        Just("[credential.a]\nkind = \"static\"\n".to_owned()),
        Just("[credential.b]\nkind = \"basicauth\"\n".to_owned()),
        Just("[timeouts]\n".to_owned()),
        Just("[limits]\n".to_owned()),
        ("[a-z_.]{1,12}", "[ -~]{0,16}").prop_map(|(key, text)| format!("{key} = {text:?}\n")),
        (
            prop::sample::select(crate::config::keys::KEYS),
            prop_oneof![
                "\\PC{0,12}".prop_map(|text| format!("{text:?}")),
                "[0-9]{1,22}[a-zµ.]{0,3}( [0-9]{1,21}ns)?".prop_map(|text| format!("{text:?}")),
                any::<i64>().prop_map(|n| n.to_string()),
                Just("[1, [\"x\"], {}]".to_owned()),
                Just("{ file = \"a\", env = 1 }".to_owned()),
                Just("true".to_owned()),
                "[\\x20-\\x7e\u{201c}é]{0,10}",
            ]
        )
            .prop_map(|(key, text)| {
                let (_, _, rest) = crate::config::keys::split(key.path);
                format!("{rest} = {text}\n")
            }),
        "\\PC{0,20}\n?",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_can_panic_the_loader(text in nearly(), value in "\\PC{0,20}", name in "[A-Z_]{0,20}") {
        let name = format!("HEADSET_{name}");
        let environment = [(name.as_str(), value.as_str()), ("HEADSET_TIMEOUTS__IDLE", value.as_str())];
        if let Err(problems) = load_with(&text, &environment, &[]) {
            prop_assert!(!problems.is_empty());
        }
    }
}
