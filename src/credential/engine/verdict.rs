//! What an issuer's answer means: success, a failure to wait out, or a refusal.
//!
//! A 200 can lie: the body may repeat another status, or say that it failed. A
//! refusal stops the asking, since accounts are locked after a few; a lock stops it
//! until a person has changed something.

use super::answer::{ReadAnswer, ValuePlace};
use super::template::TemplateValues;
use crate::credential::{MintError, RefusalReason, UnavailableReason};

/// What counts as success.
#[derive(Clone, Debug)]
pub struct Success {
    /// Statuses, from and to.
    pub statuses: Vec<(u16, u16)>,
    /// Values that the answer must have.
    pub equal: Vec<(ValuePlace, String)>,
    /// Where the body repeats the status; 400 and above counts instead of it.
    pub status_at: Vec<ValuePlace>,
}

impl Default for Success {
    /// Any 2xx.
    fn default() -> Success {
        Success {
            statuses: vec![(200, 299)],
            equal: Vec::new(),
            status_at: Vec::new(),
        }
    }
}

impl Success {
    /// Any 2xx, unless the body repeats a status from 400 on at one of these pointers.
    pub fn unless_repeated_at(pointers: &[&str]) -> Success {
        Success {
            status_at: pointers.iter().copied().map(ValuePlace::pointer).collect(),
            ..Success::default()
        }
    }
}

/// What a vendor's own code or words mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Stop asking until a secret or the configuration changes, or a cool-down ends.
    Refused(&'static str),
    /// The same: the user name or the login secret is wrong.
    WrongLogin(&'static str),
    /// The same: a field of the credential is wrong.
    WrongField(&'static str),
    /// Stop asking until a secret or the configuration changes.
    Locked(&'static str),
    /// Ask again later.
    Transient(&'static str),
    /// Another session of this user is in the way: a refusal, unless it is ours.
    Occupied(&'static str),
}

/// Reads a vendor's own codes; `None` leaves it to the status.
pub type Codes = fn(&ReadAnswer<'_>) -> Option<Meaning>;

/// Leaves everything to the status.
pub fn no_codes(_: &ReadAnswer<'_>) -> Option<Meaning> {
    None
}

/// An answer to be judged, and what may be said of it.
pub struct JudgedAnswer<'a> {
    /// The answer.
    pub read: &'a ReadAnswer<'a>,
    /// What was asked, for a person: `login`.
    pub doing: &'a str,
    /// Where it was asked.
    pub url: &'a str,
    /// What must not be repeated.
    pub secrets: &'a TemplateValues,
    /// The secrets that prove us, for a person.
    pub sources: &'a str,
}

impl JudgedAnswer<'_> {
    /// Nothing, if it is a success.
    ///
    /// # Errors
    /// With what it is instead.
    pub fn judge(&self, success: &Success, codes: Codes) -> Result<(), MintError> {
        let status = self.read.answer.status.as_u16();
        let said = self.read.said(self.secrets);
        let (doing, sources) = (self.doing, self.sources);
        match codes(self.read) {
            Some(Meaning::Refused(why)) => {
                return Err(self.refused(RefusalReason::Refused, format!("{status}{said}: {why}")));
            }
            Some(Meaning::WrongLogin(why)) => {
                let text = format!("{status}{said}: {why}; see {sources}");
                return Err(self.refused(RefusalReason::NotAccepted, text));
            }
            Some(Meaning::WrongField(why)) => {
                return Err(
                    self.refused(RefusalReason::BadRequest, format!("{status}{said}: {why}"))
                );
            }
            Some(Meaning::Occupied(why)) => {
                return Err(self.refused(RefusalReason::Occupied, format!("{status}{said}: {why}")));
            }
            Some(Meaning::Locked(why)) => {
                return Err(self.refused(
                    RefusalReason::Locked,
                    format!(
                        "{status}{said}: {why}; headset does not ask again until {sources} \
                         or the configuration changes, or headset restarts"
                    ),
                ));
            }
            Some(Meaning::Transient(why)) => {
                return Err(self.unavailable(
                    UnavailableReason::Status,
                    format!("the issuer answered the {doing} with {status}{said}: {why}"),
                ));
            }
            None => {}
        }
        let fits = |status: u16| {
            let mut ranges = success.statuses.iter();
            ranges.any(|(from, to)| (*from..=*to).contains(&status))
        };
        let hidden = success
            .status_at
            .iter()
            .filter_map(|find| self.read.find(find)?.parse::<u16>().ok())
            .find(|hidden| *hidden >= 400);
        let told = match hidden.filter(|hidden| fits(status) && *hidden != status) {
            Some(hidden) => format!("{status}, whose body says {hidden}{said}"),
            None => format!("{status}{said}"),
        };
        match hidden.filter(|_| fits(status)).unwrap_or(status) {
            status if fits(status) => {}
            400 => {
                return Err(self.refused(
                    RefusalReason::BadRequest,
                    format!("{told}: check the configuration of this credential against that"),
                ));
            }
            401 => {
                return Err(self.refused(
                    RefusalReason::NotAccepted,
                    format!("{told}: check the user name and {sources}, and the host or region in the URL"),
                ));
            }
            403 => {
                return Err(self.refused(
                    RefusalReason::Forbidden,
                    format!(
                        "{told}: this account may not do that, or this machine's address is \
                         not on the allow-list there"
                    ),
                ));
            }
            status => {
                let hint = match status {
                    300..400 => {
                        "; a redirect is never followed: set `url` to where it leads".into()
                    }
                    404 | 405 => format!(" at {}: check `url`", self.url),
                    _ => String::new(),
                };
                return Err(self.unavailable(
                    UnavailableReason::Status,
                    format!("the issuer answered the {doing} with {told}{hint}"),
                ));
            }
        }
        for (find, wanted) in &success.equal {
            let is = self.read.find(find);
            if is.as_deref() != Some(wanted) {
                let how = match is {
                    Some(_) => format!("another {find} than a success has{said}"),
                    None => format!("no {find}; {}", self.read.shape(self.secrets)),
                };
                return Err(self.unavailable(
                    UnavailableReason::Body,
                    format!("the issuer answered the {doing} with {status} and {how}"),
                ));
            }
        }
        Ok(())
    }

    /// That the answer lacks what was to be taken from it.
    pub fn lacks(&self, find: &ValuePlace) -> MintError {
        let shape = self.read.shape(self.secrets);
        let doing = self.doing;
        self.unavailable(
            UnavailableReason::Body,
            format!("the issuer's answer to the {doing} has no {find}; {shape}"),
        )
    }

    /// That it cannot be used, for this reason.
    pub fn unavailable(&self, reason: UnavailableReason, detail: String) -> MintError {
        MintError::Unavailable {
            reason,
            detail,
            retry_after: self.read.answer.retry_after(),
        }
    }

    /// That the issuer refuses us.
    pub fn refused(&self, reason: RefusalReason, how: String) -> MintError {
        MintError::Refused {
            reason,
            detail: format!("the issuer refused the {} with {how}", self.doing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::engine::answer::tests::answered;
    use http::StatusCode;

    fn judged(status: u16, body: &str, success: &Success) -> Result<(), MintError> {
        let mut answer = answered(0, &[("retry-after", "7")], body);
        answer.status = StatusCode::from_u16(status).unwrap();
        let read = ReadAnswer::of(&answer);
        JudgedAnswer {
            read: &read,
            doing: "login",
            url: "https://cms.example.com/login",
            secrets: &TemplateValues::default(),
            sources: "file /p",
        }
        .judge(success, no_codes)
    }

    fn reason(outcome: Result<(), MintError>) -> &'static str {
        outcome.err().map_or("success", |error| error.labels().1)
    }

    fn strict() -> Success {
        Success {
            equal: vec![(ValuePlace::Pointer("/Status".into()), "Success".into())],
            status_at: vec![ValuePlace::Pointer("/Code".into())],
            ..Success::default()
        }
    }

    #[test]
    fn a_status_is_a_success_a_wait_or_a_refusal() {
        let any = Success::default();
        for (status, expected) in [
            (200, "success"),
            (204, "success"),
            (302, "status"),
            (400, "bad_request"),
            (401, "not_accepted"),
            (403, "forbidden"),
            (404, "status"),
            (429, "status"),
            (500, "status"),
            (512, "status"),
        ] {
            assert_eq!(reason(judged(status, "", &any)), expected, "{status}");
        }
        for status in [404, 405] {
            let text = judged(status, "", &any).unwrap_err().to_string();
            let wanted = format!("{status} at https://cms.example.com/login: check `url`");
            assert!(text.ends_with(&wanted), "{text}");
        }
        let error = judged(429, "", &any).unwrap_err();
        assert!(matches!(
            error,
            MintError::Unavailable { retry_after: Some(after), .. } if after.as_secs() == 7
        ));
    }

    #[test]
    fn a_two_hundred_that_lies_is_seen_through() {
        let cases = [
            (r#"{"Status":"Success","Code":200}"#, "success"),
            (r#"{"Status":"Success","Code":401}"#, "not_accepted"),
            (
                r#"{"Status":"Failed","Code":"401","Error":"x"}"#,
                "not_accepted",
            ),
            (r#"{"Status":"Failed","Code":429}"#, "status"),
            (r#"{"Status":"Failed","Code":200}"#, "body"),
            ("null", "body"),
            ("", "body"),
            ("<html>Sign in</html>", "body"),
        ];
        for (body, expected) in cases {
            assert_eq!(reason(judged(200, body, &strict())), expected, "{body}");
        }
        let error = judged(200, r#"{"Code":401,"Error":"bad id"}"#, &strict()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("200, whose body says 401 (401: bad id)"),
            "{text}"
        );
        assert!(text.contains("file /p"), "{text}");
    }
}
