//! What an issuer's answer holds: where a value is found in it, and what may be told
//! of it.
//!
//! JSON is looked into by JSON Pointer (RFC 6901), since real keys contain dots.
//! Numbers and truth values count as texts, since vendors write one for the other.
//! What is told names keys, a code and a message; never a value that we looked for.

use std::collections::BTreeSet;
use std::fmt;

use http::HeaderName;
use http::header::SET_COOKIE;
use serde_json::Value;
use zeroize::Zeroizing;

use super::template::TemplateValues;
use crate::credential::issuer_response::IssuerResponse;
use crate::credential::quote;
use crate::credential::zeroed_json::ZeroedJson;

/// Where a value stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePlace {
    /// In the JSON body, by pointer.
    Pointer(String),
    /// In a field.
    Header(HeaderName),
    /// In a cookie of that name.
    Cookie(String),
}

impl ValuePlace {
    /// The place in the JSON body that `pointer` names.
    pub fn pointer(pointer: &str) -> ValuePlace {
        ValuePlace::Pointer(pointer.to_owned())
    }

    /// Reads `/pointer`, `header:NAME` or `cookie:NAME`.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn parse(text: &str) -> Result<ValuePlace, String> {
        if text.starts_with('/') {
            return Ok(ValuePlace::Pointer(text.to_owned()));
        }
        match text.split_once(':') {
            Some(("header", name)) => HeaderName::from_bytes(name.trim().as_bytes())
                .map(ValuePlace::Header)
                .map_err(|_| format!("`{}` is not a header name", name.escape_debug())),
            Some(("cookie", name)) if !name.trim().is_empty() => {
                Ok(ValuePlace::Cookie(name.trim().to_owned()))
            }
            _ => Err(
                "a place in an answer is a JSON Pointer such as `/data/token`, \
                 `header:NAME` or `cookie:NAME`"
                    .into(),
            ),
        }
    }
}

impl fmt::Display for ValuePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValuePlace::Pointer(pointer) => write!(f, "JSON value at {pointer}"),
            ValuePlace::Header(name) => write!(f, "header {name}"),
            ValuePlace::Cookie(name) => write!(f, "cookie {name}"),
        }
    }
}

/// JSON whose texts are zeroed when it is dropped.
#[derive(Default)]
pub struct Json(ZeroedJson);

impl Json {
    fn parse(body: &[u8]) -> Option<Json> {
        ZeroedJson::parse(body).map(Json)
    }

    /// The text at `pointer`; `None` where it is absent, empty, `null` or a whole.
    pub fn text(&self, pointer: &str) -> Option<Zeroizing<String>> {
        let text = match self.0.pointer(pointer)? {
            Value::String(text) if !text.is_empty() => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            _ => return None,
        };
        Some(Zeroizing::new(text))
    }

    /// Whether the truth value (or its text) `true` stands under `key`, wherever.
    pub fn says(&self, key: &str) -> bool {
        fn says(value: &Value, key: &str) -> bool {
            match value {
                Value::Object(members) => members.iter().any(|(name, value)| {
                    (name == key && (value == &Value::Bool(true) || value == "true"))
                        || says(value, key)
                }),
                Value::Array(items) => items.iter().any(|item| says(item, key)),
                _ => false,
            }
        }
        says(&self.0, key)
    }

    fn keys(&self) -> BTreeSet<String> {
        fn walk(value: &Value, path: &str, depth: usize, keys: &mut BTreeSet<String>) {
            let Value::Object(members) = value else {
                return;
            };
            for (key, value) in members {
                if keys.len() >= 40 {
                    return;
                }
                let path = format!("{path}/{}", key_for_people(key));
                if depth < 6 && value.as_object().is_some_and(|inner| !inner.is_empty()) {
                    walk(value, &path, depth + 1, keys);
                } else {
                    keys.insert(path);
                }
            }
        }
        let mut keys = BTreeSet::new();
        walk(&self.0, "", 0, &mut keys);
        keys
    }
}

/// A key that is no name may be data, such as a user or a token.
fn key_for_people(key: &str) -> &str {
    if quote::looks_like_a_name(key) {
        key
    } else {
        "…"
    }
}

/// An answer that was read.
pub struct ReadAnswer<'a> {
    /// As it came.
    pub answer: &'a IssuerResponse,
    /// Its body, where it is JSON and says something (`null` does not).
    pub json: Option<Json>,
}

impl<'a> ReadAnswer<'a> {
    /// Reads `answer`.
    pub fn of(answer: &'a IssuerResponse) -> ReadAnswer<'a> {
        let json = Json::parse(&answer.body).filter(|json| !json.0.is_null());
        ReadAnswer { answer, json }
    }

    /// The value at `find`; `None` where it is absent or empty.
    pub fn find(&self, find: &ValuePlace) -> Option<Zeroizing<String>> {
        match find {
            ValuePlace::Pointer(pointer) => self.json.as_ref()?.text(pointer),
            ValuePlace::Header(name) => {
                let text = self.answer.headers.get(name)?.to_str().ok()?;
                (!text.is_empty()).then(|| Zeroizing::new(text.to_owned()))
            }
            ValuePlace::Cookie(name) => {
                let fields = self.answer.headers.get_all(SET_COOKIE);
                fields.iter().find_map(|field| {
                    // RFC 6265 §5.2: the pair ends at the first `;`.
                    let pair = field.to_str().ok()?.split(';').next()?;
                    let (key, value) = pair.split_once('=')?;
                    (key.trim() == name && !value.trim().is_empty())
                        .then(|| Zeroizing::new(value.trim().to_owned()))
                })
            }
        }
    }

    /// The same for a value that is to be used: a truth value, or nothing but white
    /// space, is none, whatever stands in the place of a token.
    pub fn value(&self, find: &ValuePlace) -> Option<Zeroizing<String>> {
        if let ValuePlace::Pointer(pointer) = find
            && self.json.as_ref()?.0.pointer(pointer)?.is_boolean()
        {
            return None;
        }
        self.find(find).filter(|text| !text.trim().is_empty())
    }

    /// What is in the body, without values: for an error about what is not.
    pub fn shape(&self, secrets: &TemplateValues) -> String {
        let Some(json) = &self.json else {
            return match self.answer.body.first() {
                None => "its body is empty".into(),
                Some(b'<') => "its body is HTML, not JSON".into(),
                Some(_) if self.answer.body.trim_ascii() == b"null" => "its body is null".into(),
                Some(_) => "its body is not JSON".into(),
            };
        };
        let keys = json.keys();
        if keys.is_empty() {
            return "its body is JSON without keys".into();
        }
        let list: Vec<&str> = keys.iter().map(String::as_str).collect();
        let secrets: Vec<&str> = secrets.all().collect();
        format!(
            "it has the JSON keys {}",
            quote::clean(&list.join(", "), &secrets)
        )
    }

    /// The vendor's error code, wherever its envelopes (E1 to E6) put it.
    pub fn code(&self) -> Option<String> {
        let json = self.json.as_ref()?;
        CODES
            .iter()
            .filter_map(|pointer| json.text(pointer))
            .find(|code| {
                let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
                code.len() <= 40 && code.bytes().all(plain)
            })
            .map(|code| code.to_string())
    }

    /// ` (code: message)`, without our secrets; empty where it says nothing.
    pub fn said(&self, secrets: &TemplateValues) -> String {
        let Some(json) = &self.json else {
            return String::new();
        };
        let secrets: Vec<&str> = secrets.all().collect();
        let message = MESSAGES.iter().find_map(|pointer| json.text(pointer));
        let parts: Vec<String> = [self.code(), message.map(|text| text.to_string())]
            .iter()
            .flatten()
            .map(|text| quote::clean(text, &secrets))
            .filter(|text| !text.is_empty())
            .collect();
        if parts.is_empty() {
            return String::new();
        }
        format!(" ({})", parts.join(": "))
    }

    /// Whether `words` stand in the vendor's message or the text beside it.
    pub fn mentions(&self, words: &str) -> bool {
        let json = self.json.as_ref();
        json.is_some_and(|json| {
            MESSAGES
                .iter()
                .filter_map(|pointer| json.text(pointer))
                .any(|text| text.contains(words))
        })
    }
}

/// E2 on a login, E2, E4, E3, E5, E6, RFC 6749 §5.2; E1 and E2 share the first.
const CODES: &[&str] = &[
    "/errorCode",
    "/code",
    "/response/error_data/code",
    "/response/error_data/error_code",
    "/RestException/Code",
    "/Code",
    "/error",
];

/// E1, E2 (message and info are met swapped), E4 and E3, E5, E6, RFC 6749 §5.2.
const MESSAGES: &[&str] = &[
    "/errorMessage",
    "/message",
    "/info",
    "/response/error_data/message",
    "/response/error_data/description",
    "/RestException/Message",
    "/Error",
    "/error_description",
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::time::Moment;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use std::time::Duration;

    /// An answer with `body`, sent and received at the millisecond `at`.
    pub(crate) fn answered(
        at: i64,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> IssuerResponse {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let at = Moment {
            wall_ms: at,
            boot: Duration::from_secs(1),
        };
        IssuerResponse {
            status: StatusCode::OK,
            headers: map,
            body: Zeroizing::new(body.as_bytes().to_vec()),
            sent: at,
            received: at,
        }
    }

    fn found(find: &str, headers: &[(&'static str, &str)], body: &str) -> Option<String> {
        let answer = answered(0, headers, body);
        let find = ValuePlace::parse(find).unwrap();
        ReadAnswer::of(&answer)
            .find(&find)
            .map(|text| text.to_string())
    }

    #[test]
    fn a_value_is_found_by_pointer_also_under_keys_with_dots_and_slashes() {
        let body = r#"{"a":{"auth.type.passwd":{"jwt":"x"},"b/c":["y",{"~":7}]},"t":true,"n":null,"e":""}"#;
        let at = |pointer: &str| found(pointer, &[], body);
        assert_eq!(at("/a/auth.type.passwd/jwt").unwrap(), "x");
        assert_eq!(at("/a/b~1c/0").unwrap(), "y");
        assert_eq!(at("/a/b~1c/1/~0").unwrap(), "7");
        assert_eq!(at("/t").unwrap(), "true");
        for absent in ["/n", "/e", "/a", "/x", "/a/auth/type"] {
            assert_eq!(at(absent), None, "{absent}");
        }
        assert_eq!(found("/a", &[], "null"), None);
        assert_eq!(found("/a", &[], "<html>"), None);
    }

    #[test]
    fn a_value_is_found_in_a_field_or_a_cookie() {
        let headers = [
            ("x-token", "abc"),
            ("set-cookie", "OTHER=1; Path=/"),
            ("set-cookie", "SESSION=s=1; HttpOnly; Path=/"),
        ];
        assert_eq!(found("header:X-Token", &headers, "").unwrap(), "abc");
        assert_eq!(found("cookie:SESSION", &headers, "").unwrap(), "s=1");
        assert_eq!(found("cookie:session", &headers, ""), None);
        assert_eq!(found("header:x-none", &headers, ""), None);
        for bad in ["token", "header:a b", "cookie:", "query:x", ""] {
            assert!(ValuePlace::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_truth_value_or_white_space_is_no_token_but_may_be_compared() {
        let used = |find: &str, body: &str| {
            let answer = answered(0, &[], body);
            let find = ValuePlace::parse(find).unwrap();
            ReadAnswer::of(&answer)
                .value(&find)
                .map(|text| text.to_string())
        };
        for body in [
            r#"{"t":false}"#,
            r#"{"t":true}"#,
            r#"{"t":"  "}"#,
            r#"{"t":[]}"#,
        ] {
            assert_eq!(used("/t", body), None, "{body}");
        }
        assert_eq!(used("/t", r#"{"t":17}"#).unwrap(), "17");
        assert_eq!(used("/t", r#"{"t":"false"}"#).unwrap(), "false");
        assert_eq!(found("/ok", &[], r#"{"ok":true}"#).unwrap(), "true");
    }

    #[test]
    fn an_error_names_keys_and_never_values() {
        let body =
            r#"{"data":{"AccessToken":"eyJ-very-secret","ttl":3,"user@example.com":1},"ok":true}"#;
        let answer = answered(0, &[], body);
        let shape = ReadAnswer::of(&answer).shape(&TemplateValues::default());
        assert_eq!(
            shape,
            "it has the JSON keys /data/AccessToken, /data/ttl, /data/…, /ok"
        );
        let shape = |body: &str| {
            let answer = answered(0, &[], body);
            ReadAnswer::of(&answer).shape(&TemplateValues::default())
        };
        assert_eq!(shape(""), "its body is empty");
        assert_eq!(shape("null"), "its body is null");
        assert_eq!(shape("<html>token</html>"), "its body is HTML, not JSON");
        assert_eq!(shape("token"), "its body is not JSON");
    }

    #[test]
    fn code_and_message_are_told_from_every_envelope_without_our_secrets() {
        let said = |body: &str| {
            let answer = answered(0, &[], body);
            let mut secrets = TemplateValues::default();
            secrets.set("password", Zeroizing::new("hunter2".into()));
            ReadAnswer::of(&answer).said(&secrets)
        };
        assert_eq!(
            said(r#"{"message":"bad hunter2","info":"x","status":401,"errorCode":20203}"#),
            " (20203: bad [secret])"
        );
        assert_eq!(
            said(r#"{"response":{"error_data":{"code":1010,"message":"no"}}}"#),
            " (1010: no)"
        );
        assert_eq!(
            said(r#"{"Status":"Failed","Code":401,"Error":"no"}"#),
            " (401: no)"
        );
        assert_eq!(said("<html>"), "");
    }
}
