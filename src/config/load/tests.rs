//! What loading promises, over whole configurations: here what holds for all of them, in
//! the rooms below what belongs to one theme.

mod between;
mod hostile;
mod secrets;
mod sources;
mod texts;
mod values;

use std::path::Path;

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
    load_by(
        text,
        Sources {
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            flags: flags
                .iter()
                .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned()))
                .collect(),
            ..Sources::default()
        },
    )
}

fn load_by(text: &str, sources: Sources) -> Result<Config, Vec<Problem>> {
    let (layer, syntax) = file::parse(Path::new("h.toml"), text);
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
mode = "sideways"
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
        ("h.toml:4:1: listener.app.mode", "is not a choice here"),
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
fn keys_of_later_stages_are_unknown_for_now() {
    let later = "[route.contacts]\ntrace = true\ntenant = { header = \"x\" }";
    let shown = problems_of("[route.contacts]", later);
    assert_eq!(shown.len(), 2, "{shown:#?}");
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
