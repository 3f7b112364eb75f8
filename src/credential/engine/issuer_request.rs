//! How to ask: a method, a path, fields and a body, with names for what is secret.
//!
//! A body of JSON is parsed before any value is put in, so no value can change its
//! shape; a form is encoded after it. Nothing is sent that does not stand here: no
//! field of an application's call, no credential of an earlier answer unless named.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::template::{Scope, Template};
use crate::credential::render::sensitive;

/// `application/x-www-form-urlencoded` as the URL standard serialises it, but with
/// `%20` for a space, which every reader takes.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// One request.
#[derive(Clone, Debug)]
pub struct IssuerRequest {
    /// Its method.
    pub method: Method,
    /// Its path, on the one origin of the credential.
    pub path: String,
    /// Its fields beyond `accept`, `content-type`, `host` and `user-agent`.
    pub headers: Vec<(HeaderName, Template)>,
    /// Its body.
    pub body: BodyTemplate,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub enum BodyTemplate {
    /// None.
    Empty,
    /// JSON, whose texts may name values.
    Json(JsonTemplate),
    /// A form.
    Form(Vec<(String, Template)>),
}

/// JSON with templates for texts.
#[derive(Clone, Debug)]
pub enum JsonTemplate {
    /// A number, a truth value or `null`.
    Plain(Value),
    /// A text.
    Text(Template),
    /// A list.
    List(Vec<JsonTemplate>),
    /// An object.
    Object(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    /// JSON whose texts may name values.
    ///
    /// # Errors
    /// Why a text's braces will not do.
    pub fn of(value: Value) -> Result<JsonTemplate, String> {
        Ok(match value {
            Value::String(text) => JsonTemplate::Text(Template::parse(&text)?),
            Value::Array(items) => JsonTemplate::List(
                items
                    .into_iter()
                    .map(JsonTemplate::of)
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(members) => JsonTemplate::Object(
                members
                    .into_iter()
                    .map(|(key, value)| Ok((key, JsonTemplate::of(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            plain => JsonTemplate::Plain(plain),
        })
    }

    fn room(&self, scope: &Scope<'_>) -> usize {
        // Six bytes for one that is escaped as `\u00xx`.
        match self {
            JsonTemplate::Plain(_) => 32,
            JsonTemplate::Text(text) => 6 * text.room(scope) + 3,
            JsonTemplate::List(items) => {
                items.iter().map(|item| item.room(scope) + 1).sum::<usize>() + 2
            }
            JsonTemplate::Object(members) => {
                let room =
                    |(key, value): &(String, JsonTemplate)| 6 * key.len() + 4 + value.room(scope);
                members.iter().map(room).sum::<usize>() + 2
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>, scope: &Scope<'_>) -> Option<()> {
        match self {
            JsonTemplate::Plain(value) => serde_json::to_writer(&mut *out, value).ok()?,
            JsonTemplate::Text(text) => {
                serde_json::to_writer(&mut *out, text.render(scope)?.as_str()).ok()?
            }
            JsonTemplate::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out, scope)?;
                }
                out.push(b']');
            }
            JsonTemplate::Object(members) => {
                out.push(b'{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    serde_json::to_writer(&mut *out, key).ok()?;
                    out.push(b':');
                    value.write(out, scope)?;
                }
                out.push(b'}');
            }
        }
        Some(())
    }

    fn names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            JsonTemplate::Plain(_) => {}
            JsonTemplate::Text(text) => names.extend(text.names()),
            JsonTemplate::List(items) => items.iter().for_each(|item| item.names(names)),
            JsonTemplate::Object(members) => {
                members.iter().for_each(|(_, value)| value.names(names))
            }
        }
    }
}

impl Default for IssuerRequest {
    /// A POST of nothing.
    fn default() -> IssuerRequest {
        IssuerRequest {
            method: Method::POST,
            path: String::new(),
            headers: Vec::new(),
            body: BodyTemplate::Empty,
        }
    }
}

impl IssuerRequest {
    /// A POST of JSON of this source, whose texts may name values.
    pub fn json(body: Value) -> IssuerRequest {
        let tree = JsonTemplate::of(body).unwrap_or_else(|why| unreachable!("{why}"));
        IssuerRequest {
            body: BodyTemplate::Json(tree),
            ..IssuerRequest::default()
        }
    }

    /// A POST of a form.
    pub fn form(fields: Vec<(String, Template)>) -> IssuerRequest {
        IssuerRequest {
            body: BodyTemplate::Form(fields),
            ..IssuerRequest::default()
        }
    }

    /// Every name that it uses.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .headers
            .iter()
            .flat_map(|(_, template)| template.names())
            .collect();
        match &self.body {
            BodyTemplate::Empty => {}
            BodyTemplate::Json(tree) => tree.names(&mut names),
            BodyTemplate::Form(fields) => {
                names.extend(fields.iter().flat_map(|(_, value)| value.names()))
            }
        }
        names
    }

    /// The request with its values; `None` where one is missing, or cannot stand in
    /// a field.
    pub fn request(&self, scope: &Scope<'_>) -> Option<Request<Bytes>> {
        let (body, media) = match &self.body {
            BodyTemplate::Empty => (Bytes::new(), None),
            BodyTemplate::Json(tree) => {
                let mut out = Zeroizing::new(Vec::with_capacity(tree.room(scope)));
                tree.write(&mut out, scope)?;
                (octets(out), Some("application/json"))
            }
            BodyTemplate::Form(fields) => (
                form(fields, scope)?,
                Some("application/x-www-form-urlencoded"),
            ),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().ok()?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(media) = media {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        }
        for (name, template) in &self.headers {
            headers.insert(name, sensitive(template.render(scope)?)?);
        }
        Some(request)
    }
}

/// `text` as a value of `application/x-www-form-urlencoded`.
pub fn form_encoded(text: &str) -> Zeroizing<String> {
    // Growing would leave copies behind that nobody zeroes.
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    encoded.extend(utf8_percent_encode(text, FORM));
    encoded
}

fn form(fields: &[(String, Template)], scope: &Scope<'_>) -> Option<Bytes> {
    let room = |(name, value): &(String, Template)| 3 * (name.len() + value.room(scope)) + 2;
    let room = fields.iter().map(room).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        let value = value.render(scope)?;
        for piece in utf8_percent_encode(name, FORM) {
            out.extend_from_slice(piece.as_bytes());
        }
        out.push(b'=');
        for piece in utf8_percent_encode(&value, FORM) {
            out.extend_from_slice(piece.as_bytes());
        }
    }
    Some(octets(out))
}

/// A body that is zeroed when hyper lets go of it.
fn octets(held: Zeroizing<Vec<u8>>) -> Bytes {
    struct ZeroedBody(Zeroizing<Vec<u8>>);
    impl AsRef<[u8]> for ZeroedBody {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(ZeroedBody(held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::engine::template::TemplateValues;

    fn asked(body: BodyTemplate) -> Request<Bytes> {
        let mut given = TemplateValues::default();
        given.set("password", Zeroizing::new("a\"b&c=\\ é".into()));
        let found = TemplateValues::default();
        let ask = IssuerRequest {
            method: Method::POST,
            path: "/login".into(),
            headers: vec![(
                http::header::AUTHORIZATION,
                Template::parse("Basic {password}").unwrap(),
            )],
            body,
        };
        ask.request(&Scope {
            given: &given,
            found: &found,
        })
        .unwrap()
    }

    #[test]
    fn a_value_cannot_change_the_shape_of_a_json_body() {
        let value: Value =
            serde_json::from_str(r#"{"z":"{password}","a":[true,1,null,{"p":"x{password}"}]}"#)
                .unwrap();
        let request = asked(BodyTemplate::Json(JsonTemplate::of(value).unwrap()));
        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
        assert!(request.headers()["authorization"].is_sensitive());
        let sent: Value = serde_json::from_slice(request.body()).unwrap();
        let password = "a\"b&c=\\ é";
        assert_eq!(
            sent,
            serde_json::json!({
                "z": password, "a": [true, 1, null, {"p": format!("x{password}")}],
            })
        );
    }

    #[test]
    fn a_value_cannot_change_the_shape_of_a_form() {
        let fields = vec![
            ("user".to_owned(), Template::parse("a b").unwrap()),
            ("token".to_owned(), Template::parse("{password}").unwrap()),
        ];
        let request = asked(BodyTemplate::Form(fields));
        assert_eq!(
            request.body().as_ref(),
            b"user=a%20b&token=a%22b%26c%3D%5C%20%C3%A9"
        );
    }
}
