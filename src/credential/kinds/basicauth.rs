//! `kind = "basicauth"`: the mission. Registers a user name and password at the
//! contact center until `dateExpiry` and renders the Basic pair for calls.
//!
//! Known registrations are renewed by PUT, else one is POSTed; a name that is taken
//! is looked up, and taken over only where it is provably ours (or `adopt` allows
//! it), since overwriting somebody's registration locks them out. A restart finds
//! its own registration that way and reuses it while it has enough life left.
//!
//! Contract: `POST /configuration/basicauth` and the vendor's generated schema for
//! the rest; no success code is documented, so any 2xx is one, whatever its body.
//! This file holds the options and what to do when; `basicauth/calls.rs` the calls.

pub(super) mod bearer;
mod calls;
mod list;
pub(super) mod quote;
#[cfg(test)]
mod tests;
mod text;

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, Method};

use self::calls::{Calls, Failed, Proof, Registered};
use super::{
    Building, Kind, basic_value, bearer_value, fetch, fit, username_fault, username_rule,
    without_scheme,
};
use crate::base::problem::Problem;
use crate::base::time::{Clock, Deadline, Moment};
use crate::config::keys::{Fallback, Key, Type};
use crate::config::url::HttpUrl;
use crate::credential::chain::{self, Bearer};
use crate::credential::login::{Answer, Login};
use crate::credential::{Change, Fresh, Mint, MintError, schedule};
use crate::net::connect::Connector;
use crate::secret::{Secret, Source};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "basicauth",
    summary: "registers a user name and password at the contact center until dateExpiry",
    example: EXAMPLE,
    keys: KEYS,
    build,
};

const EXAMPLE: &str = r#"[credential.cms_key]
kind = "basicauth"
url = "https://cms.example.com:8443/configuration/basicauth"
username = "crm_sync"
password = { file = "/run/secrets/headset/password" }
context_id = "1"
admin_bearer = { file = "/run/secrets/headset/admin-bearer" }
"#;

const KEYS: &[Key] = &[
    Key {
        path: "url",
        ty: Type::Url,
        default: Fallback::Required,
        doc: "Where names are registered, as a whole URL; nothing is derived from a host name.",
        example: r#""https://cms.example.com:8443/configuration/basicauth""#,
        check: None,
    },
    Key {
        path: "username",
        ty: Type::Text,
        default: Fallback::Required,
        doc: "The name to register, without a `:`; give each installation a name of its own.",
        example: r#""crm_sync""#,
        check: Some(username_rule),
    },
    Key {
        path: "password",
        ty: Type::Secret,
        default: Fallback::Required,
        doc: "The password to register. A changed one is registered at once.",
        example: r#"{ file = "/run/secrets/headset/password" }"#,
        check: None,
    },
    Key {
        path: "context",
        ty: Type::Text,
        default: Fallback::Text("ContactCenter"),
        doc: "The vendor's `context`.",
        example: r#""ContactCenter""#,
        check: None,
    },
    Key {
        path: "context_id",
        ty: Type::Text,
        default: Fallback::Required,
        doc: "The vendor's `contextId`: the number of the contact center, as text.",
        example: r#""1""#,
        check: None,
    },
    Key {
        path: "user_role",
        ty: Type::Text,
        default: Fallback::Text("Administrator"),
        doc: "The vendor's `userRole`; choose the least role that works.",
        example: r#""Administrator""#,
        check: None,
    },
    Key {
        path: "lifetime",
        ty: Type::Duration,
        default: Fallback::Text("30d"),
        doc: "How long each registration is to live, from 1s to 3650d. Where the bearer is another credential, the default is 12h.",
        example: r#""30d""#,
        check: None,
    },
    Key {
        path: "admin_bearer",
        ty: Type::Bearer,
        default: Fallback::Required,
        doc: "The bearer of a contact-center admin, from a login in the browser. A fresh one extends the registration. Or `{ credential = \"…\" }`: another credential of a kind that logs in for a token.",
        example: r#"{ file = "/run/secrets/headset/admin-bearer" }"#,
        check: None,
    },
    Key {
        path: "adopt",
        ty: Type::Bool,
        default: Fallback::Text("false"),
        doc: "Whether a registration of this name that cannot be shown to be ours may be overwritten, which locks its owner out.",
        example: "false",
        check: None,
    },
];

/// Nobody has to tend it, so it need not outlive a few days of neglect.
const LIFETIME_CHAINED: Duration = Duration::from_secs(12 * 3600);
const LIFETIME_LEAST: Duration = Duration::from_secs(1);
const LIFETIME_MOST: Duration = Duration::from_secs(3650 * 86_400);

struct BasicAuth {
    names: [HeaderName; 1],
    url: HttpUrl,
    calls: Calls,
    lifetime: Duration,
    password: Source,
    admin_bearer: Bearer,
    adopt: bool,
    clock: Clock,
    prints: RandomState,
    known: Mutex<Known>,
}

/// What earlier attempts of this process have learnt.
#[derive(Default)]
struct Known {
    /// The registration's id, for PUT.
    id: Option<String>,
    /// A registration by this process succeeded: the name is ours.
    registered: bool,
    /// The issuer's wall clock, in ms, at our boot time.
    issuer: Option<(i64, Duration)>,
    /// Salted prints of the password and bearer that the last attempt used.
    used: Option<(u64, u64)>,
}

fn build(building: &Building<'_>) -> Result<Arc<dyn Mint>, Vec<Problem>> {
    let mut problems = Vec::new();
    for key in ["url", "username", "password", "context_id", "admin_bearer"] {
        if building.value(key).is_none() {
            problems.push(building.missing(key));
        }
    }
    if let Some((why, fix)) = building.text("username").and_then(username_fault) {
        problems.push(building.problem("username", why, fix));
    }
    let bearer = building.bearer("admin_bearer");
    let chained = bearer.as_ref().is_some_and(Bearer::is_chained);
    let lifetime = match building.duration("lifetime") {
        Some(_) if chained && !building.credential.values.is_set("lifetime") => LIFETIME_CHAINED,
        lifetime => lifetime.unwrap_or(Duration::from_secs(30 * 86_400)),
    };
    if !(LIFETIME_LEAST..=LIFETIME_MOST).contains(&lifetime) {
        problems.push(building.problem(
            "lifetime",
            "a registration must live at least a second and at most 3650 days",
            "write something like \"30d\"",
        ));
    }
    let connector = building.url("url").and_then(|url| {
        let tls = &building.credential.tls;
        let limit = building.mint_limit;
        Connector::new(url.origin.clone(), tls, limit, building.own.clone())
            .map_err(|error| {
                let fix = "mend the file, or remove the key to use the machine's authorities";
                problems.push(building.problem("tls", error.to_string(), fix));
            })
            .ok()
    });
    let made = (|| {
        let url = building.url("url")?;
        let text = |key, default: &str| building.text(key).unwrap_or(default).to_owned();
        Some(BasicAuth {
            names: [AUTHORIZATION],
            url: url.clone(),
            calls: Calls {
                login: Login::new(connector?, building.clock.clone(), building.mint_limit),
                path: url.path.clone(),
                username: building.text("username")?.to_owned(),
                context: text("context", "ContactCenter"),
                context_id: building.text("context_id")?.to_owned(),
                user_role: text("user_role", "Administrator"),
            },
            lifetime,
            password: building.secret("password")?.clone(),
            admin_bearer: bearer?,
            adopt: building.flag("adopt").unwrap_or(false),
            clock: building.clock.clone(),
            prints: RandomState::new(),
            known: Mutex::default(),
        })
    })();
    match made {
        Some(made) if problems.is_empty() => Ok(Arc::new(made)),
        _ => Err(problems),
    }
}

impl Mint for BasicAuth {
    fn header_names(&self) -> &[HeaderName] {
        &self.names
    }

    fn mint(&self) -> Pin<Box<dyn Future<Output = Result<Fresh, MintError>> + Send + '_>> {
        Box::pin(self.attempt())
    }

    fn sources(&self) -> Vec<Source> {
        let bearer = self.admin_bearer.secret();
        std::iter::once(&self.password)
            .chain(bearer)
            .cloned()
            .collect()
    }

    fn change(&self) -> Change {
        if self.admin_bearer.stopped_us() {
            return Change::Replaces;
        }
        let bearer = self.admin_bearer.secret().map(Source::fetch).transpose();
        let (Ok(password), Ok(bearer)) = (self.password.fetch(), bearer) else {
            return Change::Nothing;
        };
        let now = self.print(&password, bearer.as_ref());
        match self.known().used {
            Some(used) if used == now => Change::Nothing,
            Some((password, _)) if password == now.0 => Change::Extends,
            _ => Change::Replaces,
        }
    }

    fn person_renews(&self) -> Option<Duration> {
        (!self.admin_bearer.is_chained()).then_some(self.lifetime)
    }

    fn person_does(&self) -> String {
        if self.admin_bearer.is_chained() {
            return format!("see to the {}, which proves this one", self.admin_bearer);
        }
        format!(
            "log in to the contact center in the browser as its admin and put a fresh bearer into {}",
            self.admin_bearer
        )
    }

    fn issuer_urls(&self) -> Vec<HttpUrl> {
        vec![self.url.clone()]
    }
}

impl BasicAuth {
    async fn attempt(&self) -> Result<Fresh, MintError> {
        let bearer = self.admin_bearer.read().await?;
        let (outcome, refused) = self.attempt_with(&bearer).await;
        if refused && self.admin_bearer.reject(&bearer).await {
            // The source had a better one all along, or has logged in anew.
            let bearer = self.admin_bearer.read().await?;
            return self.attempt_with(&bearer).await.0;
        }
        outcome
    }

    /// The outcome, and whether the issuer refused the bearer.
    async fn attempt_with(&self, bearer: &chain::Held) -> (Result<Fresh, MintError>, bool) {
        let outcome = self.register_with(bearer).await;
        let refused = match &outcome {
            Err(error) => matches!(error.labels().1, "refused" | "bearer_expired"),
            Ok(_) => false,
        };
        (outcome, refused)
    }

    async fn register_with(&self, bearer: &chain::Held) -> Result<Fresh, MintError> {
        let (proof, bearer_ends) = self.proof(&bearer.token)?;
        let mut outcome = self.register(&proof).await;
        let was_past = match &outcome {
            Ok(registered) => registered.left() <= schedule::LEEWAY,
            Err(failed) => failed.was_past,
        };
        if was_past {
            // By now the issuer's clock is known, and dateExpiry is written by it.
            outcome = self.register(&proof).await;
        }
        let registered = outcome.map_err(|failed| failed.error)?;
        self.known().registered = true;
        Ok(Fresh {
            headers: Box::new([(AUTHORIZATION, proof.pair)]),
            expires: Deadline::new(registered.sent, registered.left().min(self.lifetime)),
            source_ends: bearer_ends,
            skew_ms: registered.skew_ms,
        })
    }

    /// Reads what proves us, and when the bearer ends where that is known.
    fn proof(&self, bearer: &Secret<String>) -> Result<(Proof, Option<Moment>), MintError> {
        let password = fetch(&self.password)?;
        let bearer = Secret::new(bearer.expose().clone(), bearer.source());
        let tended = (!self.admin_bearer.is_chained()).then_some(&bearer);
        self.known().used = Some(self.print(&password, tended));

        let now = self.clock.now();
        let token = without_scheme(bearer.expose());
        let ahead = bearer::ends_ms(token).map(|ends| ends.saturating_sub(self.issuer_ms(now)));
        if ahead.is_some_and(|ahead| ahead <= 0) {
            return Err(MintError::Refused {
                reason: "bearer_expired",
                detail: format!(
                    "the admin bearer has expired; log in to the contact center in the browser \
                     as its admin and put a fresh bearer into {}",
                    bearer.source()
                ),
            });
        }
        let ends = ahead
            .and_then(|ahead| u64::try_from(ahead).ok())
            .map(|ahead| now.plus(Duration::from_millis(ahead)));
        let pair = basic_value(&self.calls.username, password.expose());
        let pair = fit(&password, pair)?;
        let bearer_value = fit(&bearer, bearer_value(token))?;
        let proof = Proof {
            pair,
            bearer_value,
            password,
            bearer,
        };
        // One that renews itself is there for the next renewal too.
        Ok((proof, ends.filter(|_| !self.admin_bearer.is_chained())))
    }

    /// One registration, by whatever calls it takes.
    async fn register(&self, proof: &Proof) -> Result<Registered, Failed> {
        let id = self.known().id.clone();
        if let Some(id) = id {
            let (answer, registered) = self.write(Method::PUT, Some(&id), proof).await?;
            match answer.status.as_u16() {
                200..300 => return Ok(registered),
                // Somebody deleted it, or there is no PUT here after all.
                404 | 405 => self.known().id = None,
                _ => return Err(self.calls.failed("renewal", &answer, &registered, proof)),
            }
        }
        let (answer, registered) = self.write(Method::POST, None, proof).await?;
        if answer.status.is_success() {
            self.known().id = list::id_of_answer(&answer.body);
            return Ok(registered);
        }
        let failed = self
            .calls
            .failed("registration", &answer, &registered, proof);
        if failed.was_past || !calls::says_taken(&answer) {
            return Err(failed);
        }
        let found = self.calls.look_up(proof).await?;
        self.note_clock(&found.last);
        match found.entry {
            Some(entry) => self.take_over(entry, &found.last, proof).await,
            // A 400 that merely sounded like it.
            None if answer.status != http::StatusCode::CONFLICT => Err(failed),
            None => Err(self.calls.foreign("but lists none of this context").into()),
        }
    }

    /// The name is taken; is it ours?
    async fn take_over(
        &self,
        entry: list::Entry,
        listed: &Answer,
        proof: &Proof,
    ) -> Result<Registered, Failed> {
        let registered = self.known().registered;
        let proven =
            entry.same_password || (!registered && self.calls.accepts_our_pair(proof).await?);
        if !(proven || registered || self.adopt) {
            return Err(self
                .calls
                .foreign("and nothing shows that it is ours")
                .into());
        }
        if let Some(expires_ms) = entry.expires_ms.filter(|_| proven && !registered) {
            let reused = Registered::new(listed, expires_ms);
            if entry.same_role && reused.left() > schedule::margin(self.lifetime) {
                self.known().id = entry.id;
                return Ok(reused);
            }
        }
        let Some(id) = entry.id else {
            return Err(self.calls.foreign("and gives no id to renew it by").into());
        };
        let (answer, registered) = self.write(Method::PUT, Some(&id), proof).await?;
        if !answer.status.is_success() {
            return Err(self.calls.failed("renewal", &answer, &registered, proof));
        }
        self.known().id = Some(id);
        Ok(registered)
    }

    /// POST or PUT until one lifetime from now, by the issuer's clock.
    async fn write(
        &self,
        method: Method,
        id: Option<&str>,
        proof: &Proof,
    ) -> Result<(Answer, Registered), MintError> {
        let life = i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX);
        let expires_ms = self.issuer_ms(self.clock.now()).saturating_add(life);
        let answer = self.calls.write(method, id, expires_ms, proof).await?;
        self.note_clock(&answer);
        let registered = Registered::new(&answer, expires_ms);
        Ok((answer, registered))
    }

    /// The issuer's clock as last seen, carried on by our boot time, which no one
    /// sets; ours where it has not been seen.
    fn issuer_ms(&self, now: Moment) -> i64 {
        let Some((seen_ms, at)) = self.known().issuer else {
            return now.wall_ms;
        };
        let since = now.boot.saturating_sub(at).as_millis();
        seen_ms.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }

    fn note_clock(&self, answer: &Answer) {
        if let Some(skew) = answer.skew_ms() {
            let seen_ms = answer.sent.wall_ms.saturating_add(skew);
            self.known().issuer = Some((seen_ms, answer.sent.boot));
        }
    }

    /// Salted prints; that of a bearer which renews itself is always the same.
    fn print(&self, password: &Secret<String>, bearer: Option<&Secret<String>>) -> (u64, u64) {
        let print = |secret: &Secret<String>| self.prints.hash_one(secret.expose());
        (print(password), bearer.map_or(0, print))
    }

    /// Never held across an await; every use leaves it whole.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
