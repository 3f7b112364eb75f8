//! What goes wrong, in one place: `/_sim/faults`, `--faults`, or [`Faults`] in code.
//!
//! Flat keys, so that one JSON object serves all three. A key that ends in `_next`
//! counts down, one for each call, registration or login that it spoils; every other key
//! stands until it is changed. An unknown key is refused with the list of valid ones.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::kind::Kind;

pub use super::choices::{
    BrokenAs, Duplicate, ExpiryAs, ListPasswords, ResetAt, SessionDeadAs, TokenAs, WebAccessFailsAs,
};

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
    /// The status of the revocations (DELETE of a key) that `revocation_status_next`
    /// spoils.
    pub revocation_status: u16,
    /// So many next revocations are answered `revocation_status`, without effect.
    pub revocation_status_next: u32,

    /// The `login_…` faults strike this kind only; `null` is every kind.
    pub login_only: Option<Kind>,
    /// A login is looked at only after so many ms.
    pub login_delay_ms: u64,
    /// The status of the logins that `login_status_next` spoils.
    pub login_status: u16,
    /// The `errorCode` in such an answer, for the kinds that have one: 20203 wrong
    /// password, 20207 blocked, 70020 and 70021 blocked for a time and for good.
    pub login_error_code: i64,
    /// So many next logins are answered `login_status`, without effect and without a
    /// look at the password.
    pub login_status_next: u32,
    /// So many next logins are answered the contact center's transient 512.
    pub login_512_next: u32,
    /// So many next logins get a broken answer.
    pub login_broken_next: u32,
    /// What a broken answer to a login or refresh looks like.
    pub login_broken_as: BrokenAs,
    /// The pause between two bytes of an answer broken as `drip`, in ms.
    pub drip_ms: u64,
    /// So many next logins take effect, but their connection is reset before the
    /// answer.
    pub login_lost_next: u32,
    /// The status of a login with a wrong password, a locked user or no `forceLogin`,
    /// whatever the envelope says (200 and 512 are seen); `null` is the kind's own.
    pub login_refusal_status: Option<u16>,
    /// So many bad tries in a row lock a user; 0 enforces no lock.
    pub max_bad_logins: u32,
    /// So many sessions may a user have at once.
    pub max_allowed_logins: usize,
    /// A login answers, but its session is unusable until the password is changed.
    pub password_change_due: bool,
    /// A new token of a kind revokes the earlier ones of the same user.
    pub login_revokes_earlier: bool,

    /// The status of the refreshes that `refresh_status_next` spoils.
    pub refresh_status: u16,
    /// So many next refreshes are answered `refresh_status`, without effect.
    pub refresh_status_next: u32,
    /// So many next refreshes get an answer broken as `login_broken_as`.
    pub refresh_broken_next: u32,
    /// The status of the keep-alives that `keep_alive_status_next` spoils.
    pub keep_alive_status: u16,
    /// So many next keep-alives are answered `keep_alive_status`, without effect.
    pub keep_alive_status_next: u32,
    /// The status of the logouts that `logout_status_next` spoils.
    pub logout_status: u16,
    /// So many next logouts are answered `logout_status`, without effect.
    pub logout_status_next: u32,

    /// How long a `ccm_token` lives, in ms.
    pub ccm_token_life_ms: u64,
    /// How long a `v4_login` lives, in ms.
    pub v4_login_life_ms: u64,
    /// How long the JWT of an `ameyo_jwt` lives, in ms.
    pub ameyo_jwt_life_ms: u64,
    /// How long an `integrations_token` lives, in ms.
    pub integrations_token_life_ms: u64,
    /// How long an `oauth2` token lives, in ms.
    pub oauth2_life_ms: u64,
    /// How long a token of the second vendor lives, in ms.
    pub acme_life_ms: u64,
    /// How long a session lives that nobody keeps alive, in ms.
    pub session_idle_ms: u64,
    /// Calls keep a session alive too, not only keep-alives.
    pub traffic_extends: bool,
    /// What new tokens look like.
    pub token_as: TokenAs,
    /// What a login tells about the end of its token.
    pub expiry_as: ExpiryAs,
    /// How a call in a dead session is refused.
    pub session_dead_as: SessionDeadAs,
    /// Under `/ameyorestapi` a session opened together with a JWT needs it on every
    /// call; elsewhere it always does.
    pub secure_mode: bool,
    /// How `/ameyowebaccess` refuses.
    pub web_access_fails_as: WebAccessFailsAs,
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
            revocation_status: 500,
            revocation_status_next: 0,
            login_only: None,
            login_delay_ms: 0,
            login_status: 500,
            login_error_code: 0,
            login_status_next: 0,
            login_512_next: 0,
            login_broken_next: 0,
            login_broken_as: BrokenAs::default(),
            drip_ms: 1_000,
            login_lost_next: 0,
            login_refusal_status: None,
            max_bad_logins: 3,
            max_allowed_logins: 1,
            password_change_due: false,
            login_revokes_earlier: false,
            refresh_status: 401,
            refresh_status_next: 0,
            refresh_broken_next: 0,
            keep_alive_status: 401,
            keep_alive_status_next: 0,
            logout_status: 512,
            logout_status_next: 0,
            ccm_token_life_ms: 86_400_000,
            v4_login_life_ms: 86_400_000,
            ameyo_jwt_life_ms: 900_000,
            integrations_token_life_ms: 90 * 86_400_000,
            oauth2_life_ms: 3_600_000,
            acme_life_ms: 3_600_000,
            session_idle_ms: 1_800_000,
            traffic_extends: false,
            token_as: TokenAs::default(),
            expiry_as: ExpiryAs::default(),
            session_dead_as: SessionDeadAs::default(),
            secure_mode: true,
            web_access_fails_as: WebAccessFailsAs::default(),
        }
    }
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
        for (name, status) in [
            ("registration_status", faults.registration_status),
            ("revocation_status", faults.revocation_status),
            ("login_status", faults.login_status),
            (
                "login_refusal_status",
                faults.login_refusal_status.unwrap_or(401),
            ),
            ("refresh_status", faults.refresh_status),
            ("keep_alive_status", faults.keep_alive_status),
            ("logout_status", faults.logout_status),
        ] {
            if !(200..=999).contains(&status) {
                let why = format!("{name} must be a status from 200 to 999");
                return Err(FaultsError(serde::de::Error::custom(why)));
            }
        }
        Ok(faults)
    }
}

impl Faults {
    /// How long a token of this kind lives; a session without one idles out.
    pub(super) fn life_ms(&self, kind: Kind) -> u64 {
        match kind {
            Kind::CcmToken => self.ccm_token_life_ms,
            Kind::V4Login => self.v4_login_life_ms,
            Kind::AmeyoSession => self.session_idle_ms,
            Kind::AmeyoJwt => self.ameyo_jwt_life_ms,
            Kind::IntegrationsToken => self.integrations_token_life_ms,
            Kind::Oauth2 => self.oauth2_life_ms,
            Kind::Acme => self.acme_life_ms,
        }
    }
}

/// A status among the faults; one that is none acts as 500.
pub(super) fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number)
        .ok()
        .filter(|status| !status.is_informational())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
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
            r#"{"logout_status": 1000}"#,
            r#"{"login_refusal_status": 0}"#,
            r#"{"login_only": "basicauth"}"#,
        ] {
            assert!(Faults::default().merged(bad).is_err(), "{bad}");
        }
    }
}
