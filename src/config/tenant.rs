//! Tenants: which field of a call names one, which there may be, and where their
//! names stand in a credential.
//!
//! A tenant's name comes from a caller and goes into what is sent to an issuer, so
//! it is made of unreserved characters alone (RFC 3986 §2.3): it means the same in a
//! JSON text, a form, a field value and a user name, and ends none of them. It never
//! stands in a URL or in a reference to a secret: nobody who calls may choose where
//! a password goes or which file is read.

use http::HeaderName;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST};
use http::header::{CONNECTION, EXPECT, PROXY_AUTHORIZATION, TE, TRAILER};
use http::header::{TRANSFER_ENCODING, UPGRADE};
use regex_lite::Regex;

use crate::base::problem::Place;
use crate::config::CredentialConfig;
use crate::config::cross::Findings;
use crate::config::keys::{Value, Values};
use crate::config::lower::Section;

/// What stands for the tenant's name in the texts of a credential.
pub const MARK: &str = "{tenant}";

/// No tenant's name is longer, in bytes.
pub const LONGEST: usize = 64;

/// The key under which a credential made for one tenant holds its name; no file can
/// write it.
const NAME: &str = "{tenant}";

/// `route.NAME.tenant`: the field that names a call's tenant, and who may be named.
#[derive(Clone, Debug)]
pub struct TenantRule {
    /// The field, lower case; it must be there exactly once.
    pub header: HeaderName,
    /// Tenants by name.
    pub allow: Vec<String>,
    /// Tenants by pattern, which the whole name must match.
    pub pattern: Option<Regex>,
}

impl TenantRule {
    /// Whether calls may name the tenant `name`.
    pub fn allows(&self, name: &str) -> bool {
        is_name(name)
            && (self.allow.iter().any(|allowed| allowed == name)
                || self.pattern.as_ref().is_some_and(|p| p.is_match(name)))
    }
}

/// Whether `text` can be a tenant's name: 1 to 64 letters, digits, `-`, `.`, `_` and
/// `~`, but not a dot segment.
pub fn is_name(text: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(unreserved)
        && !matches!(text, "." | "..")
}

/// `text` as a pattern for whole names.
pub(super) fn pattern(text: &str) -> Result<Regex, regex_lite::Error> {
    // Judged alone first: `a)(b` would mend itself within the group.
    Regex::new(text)?;
    Regex::new(&format!("^(?:{text})$"))
}

impl CredentialConfig {
    /// Whether `{tenant}` stands in one of its texts, so that each tenant has a
    /// credential of its own.
    pub fn is_per_tenant(&self) -> bool {
        holds_mark(&self.values)
    }

    /// The same with `{tenant}` in its texts replaced by `name`.
    pub fn for_tenant(&self, name: &str) -> CredentialConfig {
        let mut own = self.clone();
        for (value, _) in own.values.0.values_mut() {
            match value {
                Value::Text(text) => *text = text.replace(MARK, name),
                Value::List(items) => {
                    for item in items {
                        *item = item.replace(MARK, name);
                    }
                }
                _ => {}
            }
        }
        let name = Value::Text(name.to_owned());
        own.values.0.insert(NAME, (name, Place::Default));
        own
    }

    /// The tenant that it was made for by [`CredentialConfig::for_tenant`]: whatever keeps
    /// credentials by name must keep them by this too.
    pub fn tenant(&self) -> Option<&str> {
        self.values.text(NAME)
    }
}

fn holds_mark(values: &Values) -> bool {
    values.0.values().any(|(value, _)| match value {
        Value::Text(text) => text.contains(MARK),
        Value::List(items) => items.iter().any(|item| item.contains(MARK)),
        _ => false,
    })
}

type TenantVerdict = Result<(), (String, String)>;

/// A rule of the table of keys: a field that may name a tenant.
pub(super) fn header(value: &Value) -> TenantVerdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        return Err((
            "this is not the name of a header".into(),
            "write letters, digits and dashes, such as \"x-context-id\"".into(),
        ));
    };
    let taken = [
        AUTHORIZATION,
        CONNECTION,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        COOKIE,
        EXPECT,
        HOST,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    let ours = ["sessionid", "keep-alive", "proxy-connection"].contains(&name.as_str())
        || name.as_str().starts_with("headset-");
    if ours || taken.contains(&name) {
        return Err((
            format!("{name} has another meaning, or does not reach the upstream as it came"),
            "name a header of the application's own, such as \"x-context-id\"".into(),
        ));
    }
    Ok(())
}

/// A rule of the table of keys: names of tenants.
pub(super) fn names(value: &Value) -> TenantVerdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    match items.iter().find(|item| !is_name(item)) {
        Some(bad) => Err((
            format!("{bad:?} cannot be a tenant's name"),
            format!("write 1 to {LONGEST} letters, digits, `-`, `.`, `_` and `~`"),
        )),
        None => Ok(()),
    }
}

/// A rule of the table of keys: a pattern.
pub(super) fn a_pattern(value: &Value) -> TenantVerdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    match pattern(text) {
        Ok(_) => Ok(()),
        Err(error) => Err((
            format!("this is not a regular expression ({error})"),
            "write one for the whole name, such as \"[0-9]{1,6}\"".into(),
        )),
    }
}

/// What tenants, routes and credentials owe each other.
pub(super) fn check(
    found: &mut Findings,
    routes: &[&Section],
    credentials: &[&Section],
    limits: Option<&Section>,
) {
    for route in routes {
        rule(found, route, credentials, limits);
    }
    for credential in credentials {
        marks(found, credential, routes);
    }
}

fn rule(found: &mut Findings, route: &Section, credentials: &[&Section], limits: Option<&Section>) {
    let at = format!("{}.tenant", route.at);
    let set = |key: &str| route.values.is_set(&format!("tenant.{key}"));
    let place = |key: &str| route.values.place(&format!("tenant.{key}"));
    if !set("header") {
        for key in ["allow", "allow_pattern"] {
            if set(key) {
                found.problem(
                    place(key),
                    format!("{at}.{key}"),
                    "no header says which tenant a call is for".into(),
                    format!("add {at}.header = \"x-context-id\", or remove it"),
                );
            }
        }
        return;
    }
    if !set("allow") && !set("allow_pattern") {
        found.problem(
            place("header"),
            at.clone(),
            "it allows no tenant, so each call would be refused".into(),
            "list them in allow, or write an allow_pattern".into(),
        );
    }
    let Some(name) = route.values.text("credential") else {
        found.problem(
            place("header"),
            at,
            "the route has no credential that could depend on a tenant".into(),
            "name one in credential, or remove tenant".into(),
        );
        return;
    };
    let allowed = route.values.list("tenant.allow").map_or(0, <[_]>::len) as u64;
    let most = limits.and_then(|limits| limits.values.integer("tenants"));
    if let Some(most) = most.filter(|most| **most < allowed) {
        found.warn(
            place("allow"),
            format!("{at}.allow"),
            format!("it allows {allowed} tenants and limits.tenants keeps {most}, so those least used are obtained again and again"),
            format!("set limits.tenants = {allowed} or more"),
        );
    }
    let credential = credentials
        .iter()
        .find(|c| c.name.as_ref().is_some_and(|n| n.as_str() == name));
    if let Some((_, values)) = credential.and_then(|c| c.kind.as_ref())
        && !holds_mark(values)
    {
        found.warn(
            place("header"),
            at,
            format!("{MARK} stands nowhere in credential {name}, so all tenants share one and this only decides who may call"),
            format!("write {MARK} where its texts differ by tenant, or remove tenant"),
        );
    }
}

fn marks(found: &mut Findings, credential: &Section, routes: &[&Section]) {
    let Some((_, values)) = &credential.kind else {
        return;
    };
    for (path, (value, place)) in &values.0 {
        let is_text = matches!(value, Value::Text(_) | Value::List(_));
        if !is_text && value.canonical().contains(MARK) {
            found.problem(
                place.clone(),
                format!("{}.{path}", credential.at),
                format!("{MARK} may stand in texts alone: a caller must not choose where secrets are sent or read"),
                "write it out, or use one credential for each tenant".into(),
            );
        }
    }
    if !holds_mark(values) {
        return;
    }
    let name = credential.name.as_ref().map(|name| name.as_str());
    let naming = routes
        .iter()
        .filter(|route| route.values.text("credential") == name);
    let mut named = false;
    for route in naming {
        named = true;
        if !route.values.is_set("tenant.header") {
            found.problem(
                route.values.place("credential"),
                format!("{}.credential", route.at),
                format!("{} has {MARK} in it, and this route says no tenant", credential.at),
                format!("add tenant = {{ header = \"…\", allow = [\"…\"] }} to {}, or another credential", route.at),
            );
        }
    }
    if !named {
        found.problem(
            credential.place.clone(),
            credential.at.clone(),
            format!("it has {MARK} in it, and no route says which tenants there are"),
            "name it in a route with tenant, or write the text out".into(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::tests::load_text;

    fn loaded(route: &str, credential: &str) -> Result<crate::config::Config, String> {
        let text = format!(
            "[listener.app]\nbind = \"127.0.0.1:8080\"\n\
             [limits]\ntenants = 3\n\
             [route.contacts]\nupstream = \"https://cms.example.com\"\ncredential = \"cms\"\n{route}\n\
             [credential.cms]\nkind = \"basicauth\"\n\
             password = {{ file = \"/p\" }}\nadmin_bearer = {{ file = \"/b\" }}\n{credential}\n"
        );
        load_text(&text).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })
    }

    const PLAIN: &str =
        "url = \"https://cms.example.com/b\"\nusername = \"crm\"\ncontext_id = \"1\"";
    const MARKED: &str = "url = \"https://cms.example.com/b\"\nusername = \"crm_{tenant}\"\ncontext_id = \"{tenant}\"";

    #[test]
    fn a_name_is_of_characters_that_mean_the_same_everywhere() {
        for good in ["1", "00912", "acme-EU_1.b~", "...", &"a".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "a:b",
            "a\"b",
            "a%2f",
            "1,2",
            "é",
            "a\n",
            "{tenant}",
            &"a".repeat(65),
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_is_for_the_whole_name() {
        let rule = |allow: &[&str], text: Option<&str>| TenantRule {
            header: HeaderName::from_static("x-context-id"),
            allow: allow.iter().map(|a| (*a).to_owned()).collect(),
            pattern: text.map(|text| pattern(text).unwrap()),
        };
        let numbers = rule(&["lab"], Some("1|[0-9]{2,3}"));
        for good in ["1", "12", "123", "lab"] {
            assert!(numbers.allows(good), "{good}");
        }
        for bad in ["2", "1234", "12a", "a12", "Lab", "12\n", ""] {
            assert!(!numbers.allows(bad), "{bad:?}");
        }
        assert!(!rule(&[], Some(".*")).allows("a/../b"));
        assert!(pattern("a)(b").is_err());
    }

    #[test]
    fn the_name_takes_its_place_in_texts_and_nothing_else_changes() {
        let tenant = "tenant = { header = \"X-Context-Id\", allow = [\"1\", \"2\"] }";
        let config = loaded(tenant, MARKED).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let rule = config.routes[0].tenant.as_ref().unwrap();
        assert_eq!(rule.header, "x-context-id");
        assert_eq!(config.limits.tenants, 3);
        let credential = &config.credentials[0];
        assert!(credential.is_per_tenant());
        assert_eq!(credential.tenant(), None);
        let own = credential.for_tenant("7");
        assert_eq!(own.values.need_text("username"), "crm_7");
        assert_eq!(own.values.need_text("context_id"), "7");
        assert_eq!(own.values.need_text("context"), "ContactCenter");
        assert_eq!(own.tenant(), Some("7"));
        assert!(!own.is_per_tenant());
    }

    #[test]
    fn what_a_rule_and_a_credential_owe_each_other_is_said() {
        let header = "tenant.header = \"x-context-id\"";
        for (route, credential, told) in [
            (header, MARKED, "it allows no tenant"),
            (
                "tenant.allow = [\"1\"]",
                PLAIN,
                "no header says which tenant",
            ),
            ("", MARKED, "this route says no tenant"),
            (
                "tenant = { header = \"x y\", allow = [\"1\"] }",
                MARKED,
                "not the name of a header",
            ),
            (
                "tenant = { header = \"authorization\", allow = [\"1\"] }",
                MARKED,
                "another meaning",
            ),
            (
                "tenant = { header = \"x-t\", allow = [\"a/b\"] }",
                MARKED,
                "cannot be a tenant's name",
            ),
            (
                "tenant = { header = \"x-t\", allow_pattern = \"(\" }",
                MARKED,
                "not a regular expression",
            ),
            (
                "tenant = { header = \"x-t\", allow = [\"1\"] }",
                "url = \"https://h/{tenant}/b\"\nusername = \"u{tenant}\"\ncontext_id = \"1\"",
                "may stand in texts alone",
            ),
        ] {
            let said = loaded(route, credential).expect_err(told);
            assert!(said.contains(told), "{told}:\n{said}");
        }
    }

    #[test]
    fn what_is_probably_not_meant_is_a_warning() {
        let warned = |route: &str, credential: &str| {
            let config = loaded(route, credential).unwrap();
            let lines: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
            lines.join("\n")
        };
        let one = "tenant = { header = \"x-t\", allow = [\"1\"] }";
        assert!(warned(one, PLAIN).contains("all tenants share one"));
        let four = "tenant = { header = \"x-t\", allow = [\"1\", \"2\", \"3\", \"4\"] }";
        assert!(warned(four, MARKED).contains("limits.tenants = 4"));
    }
}
