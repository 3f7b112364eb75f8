//! The list of registrations, which may hold everybody's passwords.
//!
//! It is read where it lies, looked through for one exact name or for its numbered
//! generations, and dropped; what leaves this file is those entries, and of passwords
//! only whether one is ours.

use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::ledger::number_of;
use crate::credential::text::Text;

/// Which name to look for.
#[derive(Clone, Copy, Debug)]
pub(super) enum NameQuery<'a> {
    /// This one.
    Exactly(&'a str),
    /// This one with a generation behind it.
    Numbered(&'a str),
}

/// Whom to look for.
pub(super) struct WantedName<'a> {
    pub(super) name: NameQuery<'a>,
    pub(super) context: &'a str,
    pub(super) context_id: &'a str,
    pub(super) user_role: &'a str,
    /// With which listed ones are compared.
    pub(super) password: Option<&'a str>,
}

/// A registration under a wanted name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) username: String,
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
    /// The wanted ones.
    pub(super) found: Vec<Listing>,
}

/// Of several under one name, one with our password if there is one.
pub(super) fn best(found: Vec<Listing>) -> Option<Listing> {
    found
        .into_iter()
        .max_by_key(|listing| (listing.same_password, listing.expires_ms))
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
pub(super) fn read(body: &[u8], wanted: &WantedName<'_>) -> Option<Page> {
    let bare = body.trim_ascii_start().starts_with(b"[");
    let (listed, total) = if bare {
        (serde_json::from_slice::<Vec<Listed<'_>>>(body).ok()?, None)
    } else {
        let wrapper: Wrapper<'_> = serde_json::from_slice(body).ok()?;
        let total = wrapper.metadata.and_then(|metadata| metadata.total);
        let total = total.and_then(|total| total.as_str().parse().ok());
        (wrapper.response, total)
    };
    let found = listed
        .iter()
        .filter(|listed| listed.is(wanted))
        .map(|listed| listed.listing(wanted))
        .collect();
    Some(Page {
        count: listed.len(),
        total,
        found,
    })
}

impl Listed<'_> {
    fn is(&self, wanted: &WantedName<'_>) -> bool {
        let username = said(&self.username);
        let named = match wanted.name {
            NameQuery::Exactly(name) => username == name,
            NameQuery::Numbered(base) => number_of(base, username).is_some(),
        };
        named
            && said(&self.context) == wanted.context
            && said(&self.context_id) == wanted.context_id
    }

    fn listing(&self, wanted: &WantedName<'_>) -> Listing {
        let password = said(&self.password).as_bytes();
        let role = said(&self.user_role);
        let same = |ours: &str| bool::from(password.ct_eq(ours.as_bytes()));
        Listing {
            username: said(&self.username).to_owned(),
            id: Some(said(&self.id).to_owned()).filter(|id| !id.is_empty()),
            expires_ms: time_ms(said(&self.date_expiry)),
            same_password: wanted.password.is_some_and(same),
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
    struct ListedKey<'a> {
        #[serde(borrow)]
        id: Text<'a>,
    }
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        response: ListedKey<'a>,
    }
    // Two looks, because an untagged enum would copy the answer, passwords and all.
    let bare = serde_json::from_slice::<ListedKey<'_>>(body).ok();
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

    const WANTED: WantedName<'_> = WantedName {
        name: NameQuery::Exactly("crm"),
        context: "ContactCenter",
        context_id: "1",
        user_role: "Agent",
        password: Some("p\"w"),
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
        let listing = Listing {
            username: "crm".into(),
            id: Some("9".into()),
            expires_ms: Some(1_905_423_657_310),
            same_password: true,
            same_role: false,
        };
        assert_eq!(page.found, [listing]);
    }

    #[test]
    fn of_several_with_the_name_ours_is_taken() {
        let body = br#"[
            {"id":"1","username":"crm","password":"x","context":"ContactCenter","contextId":"1","dateExpiry":"2040-01-01T00:00:00Z"},
            {"id":"2","username":"crm","password":"p\"w","context":"ContactCenter","contextId":"1"}]"#;
        let page = read(body, &WANTED).unwrap();
        assert_eq!((page.count, page.total), (2, None));
        assert_eq!(best(page.found).unwrap().id.unwrap(), "2");
    }

    #[test]
    fn generations_of_a_name_are_told_from_names_that_only_begin_alike() {
        let listed = |name: &str| {
            format!(r#"{{"username":"{name}","context":"ContactCenter","contextId":"1"}}"#)
        };
        let all = ["crm", "crm-2", "crm-10", "crm-x", "crm_sync-1", "crm-2b"].map(listed);
        let body = format!("[{}]", all.join(","));
        let wanted = WantedName {
            name: NameQuery::Numbered("crm"),
            password: None,
            ..WANTED
        };
        let found = read(body.as_bytes(), &wanted).unwrap().found;
        let names: Vec<_> = found.iter().map(|found| found.username.as_str()).collect();
        assert_eq!(names, ["crm-2", "crm-10"]);
        assert!(!found.iter().any(|found| found.same_password));
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
