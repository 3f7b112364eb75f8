//! A registration as it must be written: six fields, each checked.
//!
//! Rules and names are the vendor's (`POST /configuration/basicauth`); where the
//! vendor is silent the stricter reading is taken, so that a client which pleases
//! this one pleases the real one. `dateExpiry` alone may be left out.

use jiff::Timestamp;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// A registration that passed every check.
pub(super) struct Registration {
    pub(super) username: String,
    pub(super) password: Zeroizing<String>,
    pub(super) context: String,
    pub(super) context_id: String,
    pub(super) user_role: String,
    /// When it is to die, in ms since the epoch; `None` takes the default life.
    pub(super) expires_ms: Option<i64>,
}

const FIELDS: [&str; 6] = [
    "username",
    "password",
    "context",
    "contextId",
    "dateExpiry",
    "userRole",
];
const CONTEXTS: [&str; 3] = ["ContactCenter", "Process", "Campaign"];

impl Registration {
    /// Reads a request body at `now_ms` by this server's clock. The error is one
    /// sentence for the caller that names every faulty field and no value.
    pub(super) fn parse(body: &[u8], now_ms: i64) -> Result<Registration, String> {
        let fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| not_json(body, &error))?;
        let mut faults = Vec::new();
        for name in fields.keys() {
            if !FIELDS.contains(&name.as_str()) {
                faults.push(format!(
                    "{name}: unknown field, expected {}",
                    FIELDS.join(", ")
                ));
            }
        }
        let mut text = |name: &str, rule: fn(&str) -> Option<&'static str>| match fields.get(name) {
            Some(Value::String(value)) => match rule(value) {
                None => value.clone(),
                Some(fault) => {
                    faults.push(format!("{name}: {fault}"));
                    String::new()
                }
            },
            Some(_) => {
                faults.push(format!("{name}: must be a string"));
                String::new()
            }
            None => {
                faults.push(format!("{name}: is missing"));
                String::new()
            }
        };
        let registration = Registration {
            username: text("username", |name| match name {
                "" => Some("must not be empty"),
                name if name.contains(':') => Some("must not contain ':' (RFC 7617)"),
                name => control(name),
            }),
            password: Zeroizing::new(text("password", |password| match password {
                "" => Some("must not be empty"),
                password => control(password),
            })),
            context: text("context", |context| {
                (!CONTEXTS.contains(&context))
                    .then_some("must be ContactCenter, Process or Campaign")
            }),
            context_id: text("contextId", |id| {
                let digits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
                (!digits).then_some("must be the id of a contact center, in digits")
            }),
            user_role: text("userRole", |role| match role {
                "" => Some("must not be empty"),
                role => control(role),
            }),
            expires_ms: None,
        };
        let expires_ms = match fields.get("dateExpiry") {
            None => None,
            Some(Value::String(date)) => match parse_date(date) {
                Some(expires) if expires > now_ms => Some(expires),
                Some(_) => {
                    faults.push("dateExpiry: lies in the past".into());
                    None
                }
                None => {
                    faults.push("dateExpiry: must read YYYY-MM-DDThh:mm:ss.SSSZ".into());
                    None
                }
            },
            Some(_) => {
                faults.push("dateExpiry: must be a string".into());
                None
            }
        };
        if faults.is_empty() {
            Ok(Registration {
                expires_ms,
                ..registration
            })
        } else {
            Err(faults.join("; "))
        }
    }
}

/// ISO 8601 in UTC with exactly three decimals and `Z`, as the vendor writes dates.
pub(super) fn date(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(at) => format!("{at:.3}"),
        Err(_) => "9999-12-30T22:00:00.000Z".into(),
    }
}

/// Reads what [`date`] writes and nothing else.
fn parse_date(text: &str) -> Option<i64> {
    let pattern = b"dddd-dd-ddTdd:dd:dd.dddZ";
    let shaped = text.len() == pattern.len()
        && text.bytes().zip(pattern).all(|(is, must)| match must {
            b'd' => is.is_ascii_digit(),
            must => is == *must,
        });
    let at: Timestamp = shaped.then(|| text.parse().ok()).flatten()?;
    Some(at.as_millisecond())
}

fn control(text: &str) -> Option<&'static str> {
    text.chars()
        .any(char::is_control)
        .then_some("must not contain control characters")
}

fn not_json(body: &[u8], error: &serde_json::Error) -> String {
    // The vendor's page prints its examples with typographic quotes.
    let curly = std::str::from_utf8(body)
        .ok()
        .and_then(|text| text.find(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']));
    match curly {
        Some(at) => format!("the body is not JSON: typographic quote at byte {at}"),
        None => format!(
            "the body is not a JSON object: {} at line {} column {}",
            match error.classify() {
                serde_json::error::Category::Data => "another type",
                serde_json::error::Category::Eof => "it ends too early",
                _ => "wrong syntax",
            },
            error.line(),
            error.column()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000_000;

    fn sample() -> Value {
        json!({
            "username": "customer_manager", "password": "customer_manager@123",
            "context": "ContactCenter", "contextId": "1",
            "dateExpiry": "2030-05-19T12:20:57.310Z", "userRole": "Administrator",
        })
    }

    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut body = sample();
        change(&mut body);
        Registration::parse(body.to_string().as_bytes(), NOW)
            .err()
            .unwrap_or_else(|| panic!("accepted {body}"))
    }

    #[test]
    fn the_vendors_own_example_is_accepted() {
        let read = Registration::parse(sample().to_string().as_bytes(), NOW).expect("valid");
        assert_eq!(read.username, "customer_manager");
        assert_eq!(read.context_id, "1");
        assert_eq!(
            read.expires_ms.map(date).as_deref(),
            Some("2030-05-19T12:20:57.310Z")
        );
    }

    #[test]
    fn every_field_is_checked_and_named() {
        for name in ["username", "password", "context", "contextId", "userRole"] {
            let missing = refused(|body| {
                body.as_object_mut().expect("object").remove(name);
            });
            assert_eq!(missing, format!("{name}: is missing"));
            let number = refused(|body| body[name] = 1.into());
            assert_eq!(number, format!("{name}: must be a string"));
            let empty = refused(|body| body[name] = "".into());
            assert!(
                empty.starts_with(&format!("{name}: must ")) && !empty.contains(';'),
                "{empty}"
            );
        }
        assert!(refused(|body| body["username"] = "a:b".into()).contains("RFC 7617"));
        assert!(refused(|body| body["role"] = "x".into()).starts_with("role: unknown field"));
        let both = refused(|body| {
            body["username"] = "".into();
            body["dateExpiry"] = false.into();
        });
        assert_eq!(
            both,
            "username: must not be empty; dateExpiry: must be a string"
        );
    }

    #[test]
    fn a_date_has_milliseconds_and_z_and_lies_ahead() {
        for bad in [
            "2030-05-19T12:20:57Z",
            "2030-05-19T12:20:57.31Z",
            "2030-05-19T12:20:57.310+00:00",
            "2030-05-19 12:20:57.310Z",
            "2030-13-19T12:20:57.310Z",
            "2030-05-19T12:20:57.310z",
            "",
        ] {
            let said = refused(|body| body["dateExpiry"] = bad.into());
            assert!(
                said.starts_with("dateExpiry: must read"),
                "{bad:?} gave {said}"
            );
        }
        let past = refused(|body| body["dateExpiry"] = date(NOW).into());
        assert_eq!(past, "dateExpiry: lies in the past");
    }

    #[test]
    fn a_registration_may_leave_its_end_to_the_server() {
        let mut body = sample();
        body.as_object_mut().expect("object").remove("dateExpiry");
        let read = Registration::parse(body.to_string().as_bytes(), NOW).expect("valid");
        assert_eq!(read.expires_ms, None);
    }

    #[test]
    fn typographic_quotes_are_pointed_at() {
        let said = Registration::parse("{“username”:“a”}".as_bytes(), NOW)
            .err()
            .expect("refused");
        assert_eq!(said, "the body is not JSON: typographic quote at byte 1");
    }
}
