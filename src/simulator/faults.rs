//! What goes wrong, by one door: `/_sim/faults`, `--faults`, or [`Faults`] in code.
//!
//! Flat keys, so that one JSON object serves all three. A key that ends in `_next`
//! counts down, one for each call or registration that it spoils; every other key
//! stands until it is changed. An unknown key is refused with the list of valid ones.

use serde::{Deserialize, Serialize};

/// Every fault and its value; the default is a contact center in good health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Each answer to a call comes so much later, in ms. What the call does is done
    /// before the wait.
    pub delay_ms: u64,
    /// So many next calls have their connection reset (a real RST).
    pub reset_next: u32,
    /// When in the call `reset_next` strikes.
    pub reset_at: ResetAt,
    /// So many next calls with a live credential are answered 401.
    pub unauthorized_next: u32,
    /// So many next calls are answered 403.
    pub forbidden_next: u32,
    /// So many next calls are answered 429 with `Retry-After` and `X-RateLimit-*`.
    pub too_many_next: u32,
    /// So many next calls are answered 500.
    pub server_error_next: u32,
    /// The `Retry-After` of 429 and 503, in seconds; the vendor says 30.
    pub retry_after_s: u64,
    /// A registration (POST or PUT) is looked at only after so many ms.
    pub registration_delay_ms: u64,
    /// The status of the registrations that `registration_status_next` spoils; one
    /// outside 200 to 999 acts as 500.
    pub registration_status: u16,
    /// So many next registrations are answered `registration_status`, without effect.
    pub registration_status_next: u32,
    /// So many next registrations get a broken answer.
    pub registration_broken_next: u32,
    /// What a broken answer looks like.
    pub registration_broken_as: BrokenAs,
    /// So many next registrations take effect, but their connection is reset before
    /// the answer.
    pub registration_lost_next: u32,
    /// A key younger than so many ms (since it was registered or replaced) is not
    /// known yet to the calls: 401.
    pub propagation_ms: u64,
    /// How far this clock is ahead (negative: behind), in ms; `Date` shows it too.
    pub clock_skew_ms: i64,
    /// A key lives at most so many ms, whatever `dateExpiry` asked for.
    pub max_life_ms: Option<u64>,
    /// What registering a username that exists does.
    pub duplicate: Duplicate,
    /// What the read model says about passwords.
    pub list_passwords: ListPasswords,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            delay_ms: 0,
            reset_next: 0,
            reset_at: ResetAt::default(),
            unauthorized_next: 0,
            forbidden_next: 0,
            too_many_next: 0,
            server_error_next: 0,
            retry_after_s: 30,
            registration_delay_ms: 0,
            registration_status: 500,
            registration_status_next: 0,
            registration_broken_next: 0,
            registration_broken_as: BrokenAs::default(),
            registration_lost_next: 0,
            propagation_ms: 0,
            clock_skew_ms: 0,
            max_life_ms: None,
            duplicate: Duplicate::default(),
            list_passwords: ListPasswords::default(),
        }
    }
}

/// When in a call the connection is reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetAt {
    /// The head was read, nothing was done.
    #[default]
    Head,
    /// The first piece of the body was read too, nothing was done.
    Body,
    /// The call took effect, no byte of the answer is sent.
    Effect,
    /// The call took effect, the head and a part of the answer are sent.
    Answer,
}

/// How a registration's answer is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokenAs {
    /// 200 with a sign-in page, as a balancer gives; nothing was registered.
    #[default]
    Garbage,
    /// It took effect, but the answer stops halfway and the connection is reset.
    Half,
}

/// What registering a username that exists does; the vendor does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicate {
    /// 409 with E1.
    #[default]
    Conflict,
    /// The key is replaced, as by PUT.
    Overwrite,
    /// There are two keys of that name then, and both let in.
    Silent,
    /// 400 with E1 saying that it exists.
    BadRequest,
}

/// What the read model's `password` holds; the vendor does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListPasswords {
    /// The password itself.
    #[default]
    Clear,
    /// Something that looks like a bcrypt hash.
    Hashed,
    /// The field is missing.
    Hidden,
}

/// Why some JSON is not a set of faults.
#[derive(Debug, thiserror::Error)]
#[error("these faults cannot be set: {0}")]
pub struct FaultsError(#[from] serde_json::Error);

impl Faults {
    /// These faults with the keys that the object `json` names set anew; all other
    /// keys stay. An unknown key is an error that lists the valid ones.
    pub fn merged(&self, json: &str) -> Result<Faults, FaultsError> {
        let named: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)?;
        let mut all = match serde_json::to_value(self)? {
            serde_json::Value::Object(all) => all,
            _ => serde_json::Map::new(),
        };
        all.extend(named);
        let faults: Faults = serde_json::from_value(all.into())?;
        // 1xx would not be an answer, above 999 there is no status.
        if !(200..=999).contains(&faults.registration_status) {
            return Err(FaultsError(serde::de::Error::custom(
                "registration_status must be a status from 200 to 999",
            )));
        }
        Ok(faults)
    }
}

/// Uses up one of `left`; tells whether there was one.
pub(super) fn take(left: &mut u32) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_faults_change() {
        let before = Faults {
            delay_ms: 7,
            ..Faults::default()
        };
        let after = before
            .merged(r#"{"reset_next": 2, "reset_at": "answer", "duplicate": "bad_request"}"#)
            .expect("valid");
        let expected = Faults {
            delay_ms: 7,
            reset_next: 2,
            reset_at: ResetAt::Answer,
            duplicate: Duplicate::BadRequest,
            ..Faults::default()
        };
        assert_eq!(after, expected);
    }

    #[test]
    fn an_unknown_fault_is_refused_with_the_valid_ones() {
        let said = Faults::default()
            .merged(r#"{"delay": 5}"#)
            .expect_err("unknown key")
            .to_string();
        for part in ["`delay`", "`delay_ms`", "`registration_lost_next`"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_fault_of_the_wrong_type_and_broken_json_are_refused() {
        for bad in [
            r#"{"delay_ms": "soon"}"#,
            "[]",
            "{",
            r#"{"reset_at": "noon"}"#,
            r#"{"registration_status": 100}"#,
        ] {
            assert!(Faults::default().merged(bad).is_err(), "{bad}");
        }
    }
}
