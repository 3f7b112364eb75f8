//! What logins do to the shared part: prove, hand out, open, evict, refresh, end.
//!
//! Every function is one step under the one lock, so that of two logins at once only
//! one can have the last session of a user.

use serde_json::{Value, json};

use super::accounts::Refused;
use super::center::{Center, Inner};
use super::faults::{ExpiryAs, TokenAs};
use super::kind::Kind;
use super::tokens::{Token, jwt, letters, opaque};

/// A token as it was handed out.
pub(super) struct Minted {
    pub(super) token: String,
    /// When, by the server's clock.
    pub(super) now_ms: i64,
    /// How long it lives.
    pub(super) life_ms: i64,
    /// What is told about that.
    pub(super) expiry_as: ExpiryAs,
}

/// A session as it was opened.
pub(super) struct Opened {
    pub(super) session: String,
    pub(super) now_ms: i64,
    /// Whether the password must be changed before it is of use.
    pub(super) password_change_due: bool,
    /// The JWT that a login of that kind brings.
    pub(super) jwt: Option<Minted>,
}

/// Why a login does not open a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOpened {
    Refused(Refused),
    /// There are as many sessions as the user may have; `forceLogin` would help.
    AlreadyLoggedIn,
}

impl Center {
    /// One try to prove a name; counts the lock that it may cause.
    pub(super) fn prove(&self, kind: Kind, name: &str, password: &str) -> Result<(), Refused> {
        prove(&mut self.lock(), kind, name, password)
    }

    /// Hands out a token to `who`, who has proved to be it, and counts the login.
    pub(super) fn mint(&self, kind: Kind, who: &str) -> Minted {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        inner.counted.kind(kind).logins += 1;
        mint(&mut inner, kind, who, None, now_ms)
    }

    /// Proves `user` and opens a session, with a JWT if the kind has one.
    pub(super) fn open_session(
        &self,
        kind: Kind,
        user: &str,
        password: &str,
        force: bool,
    ) -> Result<Opened, NotOpened> {
        let now_ms = self.now_ms();
        let mut guard = self.lock();
        let inner = &mut *guard;
        prove(inner, kind, user, password).map_err(NotOpened::Refused)?;
        let idle_ms = inner.faults.session_idle_ms;
        let open = inner.sessions.of(user, now_ms, idle_ms);
        // There is always room for the one that is opened now.
        let room = inner.faults.max_allowed_logins.max(1) - 1;
        if open.len() > room {
            if !force {
                return Err(NotOpened::AlreadyLoggedIn);
            }
            for id in &open[..open.len() - room] {
                end(inner, id);
                inner.counted.kind(kind).evictions += 1;
            }
        }
        let due = inner.faults.password_change_due;
        let session = inner.sessions.open(kind, user, !due, now_ms);
        inner.counted.kind(kind).logins += 1;
        let jwt = (kind == Kind::AmeyoJwt)
            .then(|| mint(inner, kind, user, Some(session.clone()), now_ms));
        if let (Some(jwt), Some(open)) = (&jwt, inner.sessions.live(&session, now_ms, idle_ms)) {
            open.jwt = Some(jwt.token.clone());
        }
        Ok(Opened {
            session,
            now_ms,
            password_change_due: due,
            jwt,
        })
    }

    /// A new JWT for the live session `id` of `user`, whose newest JWT (dead or alive)
    /// is `current`.
    pub(super) fn refresh(&self, id: &str, user: &str, current: &str) -> Option<String> {
        let now_ms = self.now_ms();
        let mut guard = self.lock();
        let inner = &mut *guard;
        let idle_ms = inner.faults.session_idle_ms;
        let session = inner.sessions.live(id, now_ms, idle_ms)?;
        if session.user != user || session.jwt.as_deref() != Some(current) {
            return None;
        }
        let minted = mint(inner, Kind::AmeyoJwt, user, Some(id.to_owned()), now_ms);
        inner.sessions.live(id, now_ms, idle_ms)?.jwt = Some(minted.token.clone());
        inner.counted.kind(Kind::AmeyoJwt).refreshes += 1;
        Some(minted.token)
    }

    /// Keeps the session `id` alive; tells whether it lives. `newest` is a JWT that
    /// came along, which must then be the newest.
    pub(super) fn keep_alive(&self, id: &str, newest: Option<&str>) -> bool {
        let now_ms = self.now_ms();
        let mut guard = self.lock();
        let inner = &mut *guard;
        let idle_ms = inner.faults.session_idle_ms;
        let Some(session) = inner.sessions.live(id, now_ms, idle_ms) else {
            return false;
        };
        if newest.is_some() && newest != session.jwt.as_deref() {
            return false;
        }
        session.touch(now_ms);
        let kind = session.kind;
        inner.counted.kind(kind).keep_alives += 1;
        true
    }

    /// Ends the session `id`; tells whether it lived.
    pub(super) fn log_out(&self, id: &str) -> bool {
        let now_ms = self.now_ms();
        let mut guard = self.lock();
        let inner = &mut *guard;
        let idle_ms = inner.faults.session_idle_ms;
        let Some(kind) = inner.sessions.live(id, now_ms, idle_ms).map(|one| one.kind) else {
            return false;
        };
        end(inner, id);
        inner.counted.kind(kind).logouts += 1;
        true
    }

    /// Drops everything that `who` holds: tokens of every kind, and sessions.
    pub(super) fn end_all_of(&self, who: &str) -> u64 {
        let now_ms = self.now_ms();
        let mut guard = self.lock();
        let inner = &mut *guard;
        let sessions = inner.sessions.of(who, now_ms, inner.faults.session_idle_ms);
        for id in &sessions {
            end(inner, id);
        }
        sessions.len() as u64 + inner.tokens.revoke(|token| token.who == who)
    }

    /// Drops every token or session of `kind`.
    pub(super) fn end_all(&self, kind: Kind) {
        let mut inner = self.lock();
        inner.sessions.end_all(kind);
        inner.tokens.revoke(|token| token.kind == kind);
    }
}

fn prove(inner: &mut Inner, kind: Kind, name: &str, password: &str) -> Result<(), Refused> {
    let most = inner.faults.max_bad_logins;
    let proved = inner.accounts.prove(kind.realm(), name, password, most);
    if proved == Err(Refused::Bad { locks: true }) {
        inner.counted.kind(kind).lockouts += 1;
    }
    proved
}

fn end(inner: &mut Inner, id: &str) {
    inner.sessions.end(id);
    inner
        .tokens
        .revoke(|token| token.session.as_deref() == Some(id));
}

fn mint(inner: &mut Inner, kind: Kind, who: &str, session: Option<String>, now_ms: i64) -> Minted {
    let faults = &inner.faults;
    let life_ms = i64::try_from(faults.life_ms(kind)).unwrap_or(i64::MAX);
    let expires_ms = now_ms.saturating_add(life_ms);
    let token_as = match (kind, faults.token_as) {
        (Kind::CcmToken | Kind::AmeyoJwt, TokenAs::Sample) => TokenAs::Jwt,
        (_, TokenAs::Sample) => TokenAs::Opaque,
        (_, chosen) => chosen,
    };
    let token = match (kind, token_as) {
        (Kind::V4Login, _) => format!("sess_{}", letters(40)),
        (_, TokenAs::Jwt | TokenAs::JwtWithoutExp) => {
            let algorithm = if kind == Kind::AmeyoJwt {
                "RS512"
            } else {
                "HS256"
            };
            let mut claims = json!({
                "iss": "simulator", "sub": who, "iat": now_ms.div_euclid(1000),
                "jti": letters(16),
            });
            if token_as == TokenAs::Jwt {
                // Whole seconds, as RFC 7519 dates mostly are; never later than true.
                claims["exp"] = expires_ms.div_euclid(1000).into();
            }
            jwt(algorithm, &claims)
        }
        _ => opaque(),
    };
    if faults.login_revokes_earlier && session.is_none() {
        inner
            .tokens
            .revoke(|token| token.kind == kind && token.who == who);
    }
    let minted = Minted {
        token: token.clone(),
        now_ms,
        life_ms,
        expiry_as: inner.faults.expiry_as,
    };
    let remembered = Token {
        kind,
        who: who.into(),
        expires_ms,
        session,
    };
    inner.tokens.add(token, remembered);
    minted
}

impl Minted {
    /// Writes into `object` what is told about the token's end. `value` makes it of
    /// the time of minting and of the life, both in ms.
    pub(super) fn tell_expiry(
        &self,
        object: &mut Value,
        name: &str,
        value: impl FnOnce(i64, i64) -> Value,
    ) {
        let of = |life_ms| value(self.now_ms, life_ms);
        object[name] = match self.expiry_as {
            ExpiryAs::Absent => return,
            ExpiryAs::Truth => of(self.life_ms),
            ExpiryAs::Zero => of(0),
            ExpiryAs::Past => of(-60_000),
            ExpiryAs::Late => of(self.life_ms.saturating_mul(10)),
            ExpiryAs::Null => Value::Null,
            ExpiryAs::Words => "soon".into(),
            ExpiryAs::EpochMs => self.now_ms.saturating_add(self.life_ms).into(),
        };
    }
}
