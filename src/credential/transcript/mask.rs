//! What of a login may be shown: names, and the values of a closed list of them. Pure.
//!
//! A value is shown where its name says that it is harmless, as long as it is short,
//! printable and holds none of the secrets that the credential is made of; a name, where
//! it looks like one.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::config::url::HttpOrigin;
use crate::credential::quote::looks_like_a_name;
use crate::credential::zeroed_json::ZeroedJson;
use crate::secret::Secret;
use crate::secret::spelling::Finder;

/// What stands for a value.
pub const MASK: &str = "***";

/// No value that is shown is longer, in bytes.
const LONGEST: usize = 64;

/// Items of a list that are shown.
const ITEMS: usize = 3;

/// Fields whose values say nothing about a credential.
const PLAIN_FIELDS: &[&str] = &[
    "accept",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "host",
    "retry-after",
    "server",
    "transfer-encoding",
    "user-agent",
];

/// JSON keys, form fields and query parameters of that kind; lower case, without
/// `_` and `-`.
const PLAIN_KEYS: &[&str] = &[
    "accountsid",
    "code",
    "context",
    "contextid",
    "count",
    "dateadded",
    "dateexpiry",
    "datemodified",
    "domain",
    "entity",
    "errorcode",
    "exp",
    "expires",
    "expiresat",
    "expiresin",
    "expiry",
    "forcelogin",
    "granttype",
    "iat",
    "jwttokenexpiryms",
    "limit",
    "offset",
    "status",
    "statuscode",
    "success",
    "tokentype",
    "total",
    "username",
    "userrole",
];

/// The secrets that nothing shown may hold, whatever it is called.
#[derive(Default)]
pub(super) struct Masker(Vec<(Zeroizing<String>, Finder)>);

impl Masker {
    /// Hides `secret` besides, in whatever spelling.
    pub(super) fn hide(&mut self, secret: &Secret<String>) {
        let text = secret.expose().trim();
        if !text.is_empty() {
            self.0
                .push((Zeroizing::new(text.to_owned()), Finder::new([text])));
        }
    }

    /// Whether `text` holds one of them.
    fn hides(&self, text: &str) -> bool {
        let mut secrets = self.0.iter();
        secrets
            .any(|(secret, finder)| text.contains(secret.as_str()) || finder.finds(text.as_bytes()))
    }

    /// `text` as it may be shown, where its name says that it is harmless.
    fn plain(&self, text: &str) -> String {
        let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        match text.len() <= LONGEST && printable && !self.hides(text) {
            true => text.to_owned(),
            false => MASK.to_owned(),
        }
    }

    /// What somebody called a value, as it may be shown.
    pub(super) fn name(&self, name: &str) -> String {
        match looks_like_a_name(name) && !self.hides(name) {
            true => name.to_owned(),
            false => MASK.to_owned(),
        }
    }

    /// A JSON Pointer as it may be shown; `None` where one of its keys may not.
    pub(super) fn pointer<'a>(&self, pointer: &'a str) -> Option<&'a str> {
        let mut names = pointer.split('/').skip(1).map(|name| self.name(name));
        let shown = !pointer.is_empty() && names.all(|name| name != MASK) && !self.hides(pointer);
        shown.then_some(pointer)
    }

    /// The URL of a request target at `origin`.
    pub(super) fn url(&self, origin: &HttpOrigin, target: &Uri) -> String {
        let path = match target.path() {
            path if self.hides(path) => "/***",
            path => path,
        };
        match target.query().map(|query| self.pairs(query)) {
            Some(query) => origin.url(&format!("{path}?{query}")),
            None => origin.url(path),
        }
    }

    /// The fields of a request or an answer.
    pub(super) fn fields(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            let text = value.to_str().unwrap_or("");
            let shown = match name.as_str() {
                name if PLAIN_FIELDS.contains(&name) => self.plain(text),
                "authorization" | "www-authenticate" => match text.split_once(' ') {
                    Some((scheme, _)) => format!("{} {MASK}", self.plain(scheme)),
                    None => MASK.into(),
                },
                "set-cookie" => match text.split_once('=') {
                    Some((cookie, _)) => format!("{}={MASK}", self.name(cookie)),
                    None => MASK.into(),
                },
                _ => MASK.into(),
            };
            (name.to_string(), shown)
        };
        headers.iter().map(field).collect()
    }

    /// A body in one line; `None` where it is empty.
    pub(super) fn body(&self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        if body.is_empty() {
            return None;
        }
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            let text = std::str::from_utf8(body).unwrap_or("");
            return Some(self.pairs(text));
        }
        Some(match ZeroedJson::parse(body) {
            Some(value) => self.json("", &value).to_string(),
            None => format!("({} bytes that are not JSON)", body.len()),
        })
    }

    /// `a=1&b=2`.
    fn pairs(&self, text: &str) -> String {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) if is_plain_key(name) => {
                format!("{}={}", self.name(name), self.plain(value))
            }
            Some((name, _)) => format!("{}={MASK}", self.name(name)),
            None => MASK.into(),
        };
        text.split('&').map(pair).collect::<Vec<_>>().join("&")
    }

    fn json(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value.clone(),
            Value::Number(number) if is_plain_key(key) && !self.hides(&number.to_string()) => {
                value.clone()
            }
            Value::Number(_) => "(a number)".into(),
            Value::String(text) if text.is_empty() => value.clone(),
            Value::String(text) if is_plain_key(key) => self.plain(text).into(),
            Value::String(_) => MASK.into(),
            Value::Array(items) => {
                let mut shown: Vec<Value> = items
                    .iter()
                    .take(ITEMS)
                    .map(|item| self.json(key, item))
                    .collect();
                if items.len() > ITEMS {
                    shown.push(format!("and {} more", items.len() - ITEMS).into());
                }
                Value::Array(shown)
            }
            Value::Object(fields) => {
                let mut shown = Map::new();
                for (name, value) in fields {
                    shown.insert(self.name(name), self.json(name, value));
                }
                Value::Object(shown)
            }
        }
    }
}

fn is_plain_key(name: &str) -> bool {
    let bare = name.replace(['_', '-'], "").to_ascii_lowercase();
    PLAIN_KEYS.contains(&bare.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker() -> Masker {
        let mut masker = Masker::default();
        for secret in ["hunter2", "b3arer"] {
            masker.hide(&Secret::new(secret.to_owned(), "test"));
        }
        masker
    }

    #[test]
    fn a_form_is_masked_like_json() {
        let shown = masker().pairs("username=crm&password=hunter2&flag&user-name=hunter2");
        assert_eq!(shown, "username=crm&password=***&***&user-name=***");
    }

    #[test]
    fn a_harmless_value_is_shown_unless_it_is_long_or_holds_a_secret() {
        let masker = masker();
        assert_eq!(masker.plain("E7"), "E7");
        assert_eq!(masker.plain("is hunter2 wrong?"), MASK);
        assert_eq!(masker.plain("aHVudGVyMg=="), MASK, "hunter2 in Base64");
        assert_eq!(masker.plain(&"x".repeat(64)), "x".repeat(64));
        assert_eq!(masker.plain(&"x".repeat(65)), MASK);
        assert_eq!(masker.plain("two\nlines"), MASK);
    }

    #[test]
    fn a_pointer_is_shown_where_each_key_is_a_name() {
        let masker = masker();
        assert_eq!(masker.pointer("/data/a.b~1c"), Some("/data/a.b~1c"));
        assert_eq!(masker.pointer("/hunter2/token"), None);
        assert_eq!(
            masker.pointer("/0b9c8f0e-6d1e-4b47-9c53-1f3f4a1c9d10"),
            None
        );
        assert_eq!(masker.pointer(""), None, "the body is one text");
    }

    #[test]
    fn a_path_that_holds_a_secret_is_hidden_whole() {
        let origin = crate::config::url::HttpUrl::parse("https://cms.example.com/");
        let origin = origin.unwrap().origin;
        let url = |target: &'static str| masker().url(&origin, &Uri::from_static(target));
        assert_eq!(url("/a/hunter2/b"), format!("{origin}/***"));
        assert_eq!(
            url("/a?limit=2&key=x"),
            format!("{origin}/a?limit=2&key=***")
        );
    }

    #[test]
    fn a_body_that_is_no_json_is_counted_only() {
        let shown = |body: &str| masker().body(&HeaderMap::new(), body.as_bytes());
        assert_eq!(shown(""), None);
        let counted = "(14 bytes that are not JSON)";
        assert_eq!(shown("<html> no </p>").as_deref(), Some(counted));
        let listed = r#"{"codes":["***","***","***","and 1 more"],"id":"(a number)"}"#;
        let json = r#"{"id":7,"codes":["a","b","c","d"]}"#;
        assert_eq!(shown(json).as_deref(), Some(listed));
    }
}
