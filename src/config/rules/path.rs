//! Path prefixes that a route may match. One that could never match is refused, with the
//! one that was probably meant.

use crate::config::fault::{Verdict, fault};
use crate::config::values::Value;

/// What other tools take for a pattern, shown as it stands: a wildcard, a parameter, a
/// regular expression.
fn pattern_in(text: &str) -> Option<&str> {
    let is_pattern = |part: &&str| {
        part.contains(['*', '{', '}', '<', '>', '[', ']', '|'])
            || part.starts_with([':', '^'])
            || part.len() > 1 && part.ends_with('$')
    };
    text.split('/').find(is_pattern)
}

/// A path prefix as routes compare it: normalised and decoded (design §6).
pub fn path_prefix(value: &Value) -> Verdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    if !text.starts_with('/') && pattern_in(text).is_none() {
        return fault(
            "a path to match begins with a slash",
            format!("write \"/{}\"", text.trim_start_matches("./")),
        );
    }
    if text.contains(['?', '#']) {
        return fault(
            "only the path is matched, never a query or fragment",
            "remove everything from the ? or # on",
        );
    }
    if let Some(pattern) = pattern_in(text) {
        let plain = text.split('/').skip(1);
        let plain: Vec<&str> = plain
            .take_while(|part| pattern_in(part).is_none())
            .collect();
        return fault(
            format!("{pattern} is a pattern, and a route matches a plain path and all below it"),
            format!("write \"/{}\"", plain.join("/")),
        );
    }
    if text.contains('%') {
        return fault(
            "paths are compared decoded, so an escape here would never match",
            "write the character itself",
        );
    }
    if text.contains([';', '\\']) {
        return fault(
            "a call with ; or \\ in its path is never matched by it",
            "remove it",
        );
    }
    if text.contains("//") {
        return fault(
            "doubled slashes are collapsed before a path is compared",
            "write single slashes",
        );
    }
    if text
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return fault(
            "it has a dot segment, which a normalised path never has",
            "write the path without . and ..",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_never_match_is_refused() {
        let verdict = |text: &str| path_prefix(&Value::Text(text.into()));
        for good in ["/", "/v1/cc-list", "/v1/", "/é", "/a.b/..c"] {
            assert!(verdict(good).is_ok(), "{good}");
        }
        for bad in [
            "v1", "", "/a/../b", "/.", "/a?b", "/a#b", "/a%2fb", "/a//b", "/a;b", "/a\\b",
        ] {
            assert!(verdict(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_in_a_path_is_refused_with_the_plain_path_to_write() {
        for (bad, pattern, write) in [
            ("/v1/*", "*", "/v1"),
            ("/v1/**", "**", "/v1"),
            ("*", "*", "/"),
            ("/*", "*", "/"),
            ("/:id", ":id", "/"),
            ("/users/:id/calls", ":id", "/users"),
            ("/v1/{id}/x", "{id}", "/v1"),
            ("/v1/{rest...}", "{rest...}", "/v1"),
            ("/v1/<int:id>", "<int:id>", "/v1"),
            ("/v1/(.*)", "(.*)", "/v1"),
            ("/v1/.*$", ".*$", "/v1"),
            ("/v1/[0-9]+", "[0-9]+", "/v1"),
        ] {
            let (why, fix) = path_prefix(&Value::Text(bad.into())).expect_err(bad);
            assert_eq!(
                why,
                format!(
                    "{pattern} is a pattern, and a route matches a plain path and all below it"
                )
            );
            assert_eq!(fix, format!("write \"{write}\""), "{bad}");
        }
        for good in [
            "/odata/$metadata",
            "/v1/Contacts(1)",
            "/v1/a:b",
            "/v1/a+b",
            "/v1/~x",
        ] {
            assert!(path_prefix(&Value::Text(good.into())).is_ok(), "{good}");
        }
    }
}
