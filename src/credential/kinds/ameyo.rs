//! What the two Ameyo kinds share: the vendor's login codes, the calls beside the
//! login, and the options for them. No kind of its own.
//!
//! Sources: the vendor's session pages and what its own clients do; the codes are
//! those of the error body E2 (`errorCode` on a login, `code` elsewhere).

use std::time::Duration;

use http::HeaderName;
use serde_json::json;

use super::login_kind::{self, template};
use crate::base::problem::Problem;
use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::config::url::HttpUrl;
use crate::credential::KeepAlive;
use crate::credential::engine::answer::ReadAnswer;
use crate::credential::engine::issuer_request::IssuerRequest;
use crate::credential::engine::recipe::Recipe;
use crate::credential::engine::verdict::Meaning;
use crate::credential::kind::KindContext;

/// The login; `example` is a whole URL as TOML.
pub(super) const fn url(example: &'static str) -> ConfigKey {
    login_kind::url(example, "The login, as a whole URL.")
}

pub(super) const USERNAME: ConfigKey = login_kind::username(
    r#""headset""#,
    "The vendor's `userId`; a user that nobody else logs in as.",
);

pub(super) const PASSWORD: ConfigKey = login_kind::password(
    r#"{ file = "/run/secrets/headset/password" }"#,
    "Its password, which the vendor calls `token`.",
);

pub(super) const FORCE_LOGIN: ConfigKey = key(
    "force_login",
    ValueType::Bool,
    Fallback::Text("false"),
    "false",
    "Whether a login may end another session of the same user. Give headset a user of its own first.",
);

pub(super) const MAX_AGE: ConfigKey = key(
    "max_age",
    ValueType::Duration,
    Fallback::Text("12h"),
    "\"12h\"",
    "When to log in anew at the latest; the vendor does not say how long a session lives.",
)
.in_place();

pub(super) const KEEP_ALIVE: ConfigKey = key(
    "keep_alive",
    ValueType::Choice(&["off", "traffic", "always"]),
    Fallback::Text("traffic"),
    "\"traffic\"",
    "When to send keep-alive requests: while calls use the session (`traffic`), `always`, or never (`off`).",
)
.in_place();

pub(super) const KEEP_ALIVE_INTERVAL: ConfigKey = key(
    "keep_alive_interval",
    ValueType::Duration,
    Fallback::Text("20s"),
    "\"20s\"",
    "The interval of keep-alive requests, from 1s.",
)
.in_place();

pub(super) const ON_SHUTDOWN: ConfigKey = key(
    "on_shutdown",
    ValueType::Choice(&["keep", "revoke"]),
    Fallback::Text("revoke"),
    "\"revoke\"",
    "Whether to log out when headset stops. A session that is kept may block the next login.",
)
.in_place();

pub(super) const SESSION_URL: ConfigKey = key(
    "session_url",
    ValueType::Url,
    Fallback::Absent,
    "\"https://ameyo.example.com:8443/ameyorestapi/session\"",
    "The URL below which keep-alive, refresh and logout are, on the same origin. Default: `session` beside the folder of `url`.",
);

/// A forced change of password lets a login answer, with a session that does nothing.
const USELESS: (&str, &str) = (
    "shouldChangePassword",
    "the contact center wants a new password for this user; log in in the browser, set one, \
     and put it where this credential reads its password",
);

/// In a 403 (E2 code 99999; message and info are met swapped): the session is unknown.
const DEAD_SESSION: &str = "invalid.session.id";

/// The calls beside the login, by their path.
pub(super) struct Siblings {
    base: HttpUrl,
}

impl Siblings {
    /// As configured, or `session` beside the folder of the login.
    pub(super) fn of(building: &KindContext<'_>, problems: &mut Vec<Problem>) -> Option<Siblings> {
        let url = building.url("url")?;
        let base = match building.url("session_url") {
            Some(base) if base.origin != url.origin => {
                problems.push(building.problem(
                    "session_url",
                    "it is on another origin than url, and a session goes to its issuer only",
                    "write the URL on the origin of url",
                ));
                return None;
            }
            Some(base) => HttpUrl {
                origin: base.origin.clone(),
                path: base.path.trim_end_matches('/').into(),
            },
            None => {
                let folder = url.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
                HttpUrl {
                    origin: url.origin.clone(),
                    path: format!("{parent}/session").into(),
                }
            }
        };
        Some(Siblings { base })
    }

    /// A POST of `body` that carries `headers`.
    pub(super) fn ask(
        &self,
        last: &str,
        headers: &[(HeaderName, &str)],
        body: serde_json::Value,
    ) -> IssuerRequest {
        IssuerRequest {
            path: format!("{}/{last}", self.base.path),
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone(), template(value)))
                .collect(),
            ..IssuerRequest::json(body)
        }
    }

    /// How the session is kept alive, as configured.
    fn keep_alive(
        &self,
        building: &KindContext<'_>,
        headers: &[(HeaderName, &str)],
    ) -> Option<(KeepAlive, IssuerRequest)> {
        let always = match building.text("keep_alive").unwrap_or("traffic") {
            "off" => return None,
            word => word == "always",
        };
        let every = building.duration("keep_alive_interval");
        let how = KeepAlive {
            every: every.unwrap_or(Duration::from_secs(20)),
            always,
        };
        let body = json!({ "sessionId": "{session}" });
        Some((how, self.ask("keepAliveWithPingPush", headers, body)))
    }

    /// The logout.
    fn logout(&self, headers: &[(HeaderName, &str)]) -> IssuerRequest {
        let body = json!({ "sessionId": "{session}", "reason": "headset logs out" });
        self.ask("userLogout", headers, body)
    }
}

/// What the two kinds share of a recipe; `headers` are those of a call in the session.
pub(super) fn recipe(
    building: &KindContext<'_>,
    headers: &[(HeaderName, &str)],
    problems: &mut Vec<Problem>,
) -> Option<Recipe> {
    judge_times(building, problems);
    let siblings = Siblings::of(building, problems)?;
    Some(Recipe {
        codes,
        useless: Some(USELESS),
        dead_session: Some(DEAD_SESSION),
        keep_alive: siblings.keep_alive(building, headers),
        end: Some(siblings.logout(headers)),
        ends_on_shutdown: building.text("on_shutdown") != Some("keep"),
        forces: building.flag("force_login").unwrap_or(false),
        ..Recipe::default()
    })
}

/// The problems of the times that the two kinds share.
fn judge_times(building: &KindContext<'_>, problems: &mut Vec<Problem>) {
    let least = Duration::from_secs(1);
    for key in ["max_age", "keep_alive_interval"] {
        if building.duration(key).is_some_and(|time| time < least) {
            problems.push(building.problem(
                key,
                "this is less than a second",
                "write a time such as \"20s\"",
            ));
        }
    }
}

pub(super) fn session_header() -> HeaderName {
    HeaderName::from_static("sessionid")
}

/// The vendor's codes, and the one failure that is known to pass.
fn codes(read: &ReadAnswer<'_>) -> Option<Meaning> {
    let code = read.code();
    let code = code.as_deref().and_then(|code| code.parse::<u32>().ok());
    let known = match code.unwrap_or(0) {
        20201 => Meaning::Occupied(
            "the user is logged in elsewhere: give headset a user of its own, or set \
             force_login = true, which ends the other session",
        ),
        20202 | 90001 => Meaning::Refused("a user of this type or role may not log in this way"),
        20203 | 303_030 => Meaning::WrongLogin(
            "the user name or the password is wrong; correct it before headset asks again, \
             since the account is locked after a few tries",
        ),
        20205 | 20206 => Meaning::Refused(
            "the contact center asks for a captcha: log in once in the browser as this user",
        ),
        20207 => Meaning::Locked("the account is blocked after too many tries: have it unblocked"),
        20209 | 20210 => Meaning::Refused("its directory (LDAP) does not let this user in"),
        70020 | 70021 => Meaning::Locked("the account is blocked: have it unblocked"),
        70022 => Meaning::Refused("this user may log in by single sign-on only: use another user"),
        70041..=70047 | 70051..=70056 | 70061..=70063 => {
            Meaning::Refused("the password does not meet the policy there: set another")
        }
        80001 => Meaning::Refused("too many one-time passwords were asked for"),
        99099 => Meaning::Transient("it has no licence left for another login"),
        _ => {
            let says_512 = read.answer.status.as_u16() == 512
                || read
                    .json
                    .as_ref()
                    .and_then(|json| json.text("/status"))
                    .is_some_and(|status| status.as_str() == "512");
            if !says_512 {
                return None;
            }
            if read.mentions("not.able.to.fetch.user.info") {
                Meaning::Transient("it could not look the user up, which passes")
            } else {
                Meaning::Refused("it cannot log this user in, and asking again does not mend that")
            }
        }
    };
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::engine::answer::tests::answered;

    fn meant(status: u16, body: &str) -> Option<Meaning> {
        let mut answer = answered(0, &[], body);
        answer.status = http::StatusCode::from_u16(status).unwrap();
        codes(&ReadAnswer::of(&answer))
    }

    #[test]
    fn the_vendors_codes_are_told_apart_in_either_spelling() {
        let is = |code: u32, spelt: &str| meant(401, &format!("{{\"{spelt}\":{code}}}"));
        for spelt in ["errorCode", "code"] {
            for locked in [20207, 70020, 70021] {
                assert!(
                    matches!(is(locked, spelt), Some(Meaning::Locked(_))),
                    "{locked}"
                );
            }
            for wrong in [20203, 303_030] {
                assert!(
                    matches!(is(wrong, spelt), Some(Meaning::WrongLogin(_))),
                    "{wrong}"
                );
            }
            for refused in [20205, 70022, 70041, 70063] {
                assert!(
                    matches!(is(refused, spelt), Some(Meaning::Refused(_))),
                    "{refused}"
                );
            }
            assert!(matches!(is(20201, spelt), Some(Meaning::Occupied(_))));
            assert_eq!(is(909_090, spelt), None);
            assert_eq!(is(0, spelt), None);
        }
        let text = meant(401, r#"{"errorCode":"20207"}"#);
        assert!(matches!(text, Some(Meaning::Locked(_))));
    }

    #[test]
    fn a_512_passes_only_where_it_is_known_to() {
        let passes = r#"{"message":"SessionService.login.failed.not.able.to.fetch.user.info"}"#;
        assert!(matches!(meant(512, passes), Some(Meaning::Transient(_))));
        assert!(matches!(meant(512, "{}"), Some(Meaning::Refused(_))));
        assert!(matches!(
            meant(200, r#"{"status":512}"#),
            Some(Meaning::Refused(_))
        ));
        assert_eq!(meant(500, "{}"), None);
        assert_eq!(meant(200, r#"{"sessionId":"x"}"#), None);
    }
}
