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

use crate::config::fault::{Verdict, fault};
use crate::config::values::{Value, Values};

/// What stands for the tenant's name in the texts of a credential.
pub const MARK: &str = "{tenant}";

/// No tenant's name is longer, in bytes.
pub const LONGEST: usize = 64;

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

/// Whether `{tenant}` stands in one of the texts of `values`.
pub(super) fn holds_mark(values: &Values) -> bool {
    values.0.values().any(|(value, _)| match value {
        Value::Text(text) => text.contains(MARK),
        Value::List(items) => items.iter().any(|item| item.contains(MARK)),
        _ => false,
    })
}

/// A rule of the table of keys: a field that may name a tenant.
pub(super) fn header(value: &Value) -> Verdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        return fault(
            "this is not the name of a header",
            "write letters, digits and dashes, such as \"x-context-id\"",
        );
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
        return fault(
            format!("{name} has another meaning, or does not reach the upstream as it came"),
            "name a header of the application's own, such as \"x-context-id\"",
        );
    }
    Ok(())
}

/// A rule of the table of keys: names of tenants.
pub(super) fn names(value: &Value) -> Verdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    match items.iter().find(|item| !is_name(item)) {
        Some(bad) => fault(
            format!("{bad:?} cannot be a tenant's name"),
            format!("write 1 to {LONGEST} letters, digits, `-`, `.`, `_` and `~`"),
        ),
        None => Ok(()),
    }
}

/// A rule of the table of keys: a pattern.
pub(super) fn a_pattern(value: &Value) -> Verdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    match pattern(text) {
        Ok(_) => Ok(()),
        Err(error) => fault(
            format!("this is not a regular expression ({error})"),
            "write one for the whole name, such as \"[0-9]{1,6}\"",
        ),
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
