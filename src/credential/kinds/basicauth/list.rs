//! The list of registrations, which may hold everybody's passwords.
//!
//! It is read where it lies, looked through for one exact name, and dropped; what
//! leaves this file is our own entry, and of passwords only whether that one is ours.

use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::text::Text;

/// Whom to look for, exactly.
pub(super) struct Wanted<'a> {
    pub(super) username: &'a str,
    pub(super) context: &'a str,
    pub(super) context_id: &'a str,
    pub(super) user_role: &'a str,
    pub(super) password: &'a str,
}

/// A registration under the wanted name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: Option<String>,
    /// When it ends by the issuer's clock, in milliseconds since the epoch.
    pub(super) expires_ms: Option<i64>,
    /// Whether the list shows our own password for it.
    pub(super) same_password: bool,
    /// Whether it has the role we want; also where the list does not say.
    pub(super) same_role: bool,
}

/// One page of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// How many entries it has.
    pub(super) count: usize,
    /// How many there are in all, where it says so.
    pub(super) total: Option<usize>,
    /// The wanted one; of several, one with our password if there is one.
    pub(super) entry: Option<Entry>,
}

#[derive(Deserialize)]
struct Wrapper<'a> {
    #[serde(borrow)]
    response: Vec<Listed<'a>>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    total: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    username: Option<Text<'a>>,
    #[serde(borrow)]
    password: Option<Text<'a>>,
    #[serde(borrow)]
    context: Option<Text<'a>>,
    #[serde(borrow)]
    context_id: Option<Text<'a>>,
    #[serde(borrow)]
    date_expiry: Option<Text<'a>>,
    #[serde(borrow)]
    user_role: Option<Text<'a>>,
}

/// Reads one page: the documented wrapper, or a bare array. `None` where it is
/// neither.
pub(super) fn read(body: &[u8], wanted: &Wanted<'_>) -> Option<Page> {
    let bare = body.trim_ascii_start().starts_with(b"[");
    let (listed, total) = if bare {
        (serde_json::from_slice::<Vec<Listed<'_>>>(body).ok()?, None)
    } else {
        let wrapper: Wrapper<'_> = serde_json::from_slice(body).ok()?;
        let total = wrapper.metadata.and_then(|metadata| metadata.total);
        let total = total.and_then(|total| total.as_str().parse().ok());
        (wrapper.response, total)
    };
    let entry = listed
        .iter()
        .filter(|listed| listed.is(wanted))
        .map(|listed| listed.entry(wanted))
        .max_by_key(|entry| (entry.same_password, entry.expires_ms));
    Some(Page {
        count: listed.len(),
        total,
        entry,
    })
}

impl Listed<'_> {
    fn is(&self, wanted: &Wanted<'_>) -> bool {
        said(&self.username) == wanted.username
            && said(&self.context) == wanted.context
            && said(&self.context_id) == wanted.context_id
    }

    fn entry(&self, wanted: &Wanted<'_>) -> Entry {
        let password = said(&self.password).as_bytes();
        let role = said(&self.user_role);
        Entry {
            id: Some(said(&self.id).to_owned()).filter(|id| !id.is_empty()),
            expires_ms: time_ms(said(&self.date_expiry)),
            same_password: bool::from(password.ct_eq(wanted.password.as_bytes())),
            same_role: role.is_empty() || role == wanted.user_role,
        }
    }
}

fn said<'a>(text: &'a Option<Text<'_>>) -> &'a str {
    text.as_ref().map_or("", Text::as_str)
}

/// ISO 8601 with an offset, or a number: seconds, or from 10^11 on milliseconds.
fn time_ms(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_millisecond());
    }
    let number: i64 = text.parse().ok()?;
    Some(if number < 100_000_000_000 {
        number.checked_mul(1000)?
    } else {
        number
    })
}

/// The id in the answer to a registration, bare or in the documented envelope.
pub(super) fn id_of_answer(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Key<'a> {
        #[serde(borrow)]
        id: Text<'a>,
    }
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        response: Key<'a>,
    }
    // Two looks, because an untagged enum would copy the answer, passwords and all.
    let bare = serde_json::from_slice::<Key<'_>>(body).ok();
    let key = bare.or_else(|| {
        let envelope = serde_json::from_slice::<Envelope<'_>>(body).ok()?;
        Some(envelope.response)
    })?;
    let id = key.id.as_str();
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted<'_> = Wanted {
        username: "crm",
        context: "ContactCenter",
        context_id: "1",
        user_role: "Agent",
        password: "p\"w",
    };

    #[test]
    fn the_exact_name_is_found_among_those_that_begin_with_it() {
        let body = br#"{"http_code":200,"response":[
            {"id":"7","username":"crm_sync","password":"p\"w","context":"ContactCenter","contextId":"1"},
            {"id":"8","username":"crm","password":"p\"w","context":"ContactCenter","contextId":"2"},
            {"id":9,"username":"crm","password":"p\"w","context":"ContactCenter","contextId":1,
             "dateExpiry":"2030-05-19T12:20:57.310Z","userRole":"Administrator","version":3}],
            "metadata":{"total":"3","count":2,"offset":0,"limit":2}}"#;
        let page = read(body, &WANTED).unwrap();
        assert_eq!((page.count, page.total), (3, Some(3)));
        let entry = Entry {
            id: Some("9".into()),
            expires_ms: Some(1_905_423_657_310),
            same_password: true,
            same_role: false,
        };
        assert_eq!(page.entry, Some(entry));
    }

    #[test]
    fn of_several_with_the_name_ours_is_taken() {
        let body = br#"[
            {"id":"1","username":"crm","password":"x","context":"ContactCenter","contextId":"1","dateExpiry":"2040-01-01T00:00:00Z"},
            {"id":"2","username":"crm","password":"p\"w","context":"ContactCenter","contextId":"1"}]"#;
        let page = read(body, &WANTED).unwrap();
        assert_eq!((page.count, page.total), (2, None));
        assert_eq!(page.entry.unwrap().id.unwrap(), "2");
    }

    #[test]
    fn a_page_that_is_no_list_is_none() {
        for body in [
            "",
            "null",
            "{}",
            "<html>",
            r#"{"response":{"id":1}}"#,
            "[1]",
        ] {
            assert_eq!(read(body.as_bytes(), &WANTED), None, "{body}");
        }
        assert_eq!(read(b"[]", &WANTED).unwrap().count, 0);
    }

    #[test]
    fn an_id_is_taken_from_an_answer_in_any_envelope_or_none() {
        for (body, id) in [
            (r#"{"id":"a1","username":"crm"}"#, Some("a1")),
            (r#"{"response":{"id":17}}"#, Some("17")),
            (r#"{"response":[]}"#, None),
            (r#"{"id":null}"#, None),
            ("", None),
            ("null", None),
            ("<html>", None),
        ] {
            assert_eq!(id_of_answer(body.as_bytes()).as_deref(), id, "{body}");
        }
    }
}
