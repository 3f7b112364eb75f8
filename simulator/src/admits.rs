//! Whom each resource lets in, and by which fields of the request.

use axum::http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use super::auth::{AUTHORIZATION, AuthError, Caller, identify, one, optional, pair, scheme};
use super::center::Center;
use super::kind::{Kind, Realm};

/// Whom a resource lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admits {
    /// A registered key, by Basic.
    Key,
    /// A registered key or the administrator.
    KeyOrAdmin,
    /// The account in the path, by its API key (Basic), by a `ccm_token` or a
    /// `v4_login` (Bearer); or a registered key.
    Account,
    /// A session, by the header `sessionId` or, in a GET's query, `sessionId=`; with
    /// its JWT as a raw `Authorization` where it has one and `secure_mode` is on.
    Session,
    /// The same, or a registered key.
    SessionOrKey,
    /// A session that has a JWT, by both headers.
    SessionWithJwt,
    /// An `integrations_token`, as a raw `Authorization`.
    Integration,
    /// The three fixed headers.
    WebAccess,
    /// The fixed ticket token, as a raw `Authorization`.
    Ticket,
    /// A token of the `oauth2` kind, by Bearer.
    Oauth2,
    /// A token of the second vendor, by `X-Acme-Auth`.
    Acme,
    /// Everybody.
    Anyone,
}

impl Admits {
    /// The scheme of the challenge in a 401, where there is one.
    pub(super) fn challenge(self) -> Option<&'static str> {
        match self {
            Admits::KeyOrAdmin | Admits::Account | Admits::Oauth2 => Some("Bearer"),
            Admits::Key | Admits::Anyone => Some("Basic"),
            _ => None,
        }
    }

    /// Who calls, if it is one of those.
    pub(super) fn identify(
        self,
        center: &Center,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Caller, AuthError> {
        match self {
            Admits::Anyone | Admits::KeyOrAdmin => identify(center, headers),
            Admits::Key => match identify(center, headers)? {
                Caller::Admin => Err(AuthError::NoBearer),
                caller => Ok(caller),
            },
            Admits::Account => account(center, headers, uri.path()),
            Admits::Session => session(center, headers, uri, false),
            Admits::SessionWithJwt => session(center, headers, uri, true),
            Admits::SessionOrKey => match session_id(headers, uri) {
                Err(AuthError::Missing(_)) => Admits::Key.identify(center, headers, uri),
                _ => session(center, headers, uri, false),
            },
            Admits::Integration => {
                let token = one(headers, AUTHORIZATION)?;
                login(center, &[Kind::IntegrationsToken], token)
            }
            Admits::WebAccess => {
                const NAMES: [&str; 3] = ["hash-key", "policy-name", "requesting-host"];
                for (name, must) in NAMES.into_iter().zip(&center.known.web_access) {
                    if one(headers, name)? != must {
                        return Err(AuthError::Wrong(name));
                    }
                }
                Ok(Caller::Fixed)
            }
            Admits::Ticket => {
                if one(headers, AUTHORIZATION)? != center.known.ticket_token {
                    return Err(AuthError::Wrong(AUTHORIZATION));
                }
                Ok(Caller::Fixed)
            }
            Admits::Oauth2 => match scheme(headers)? {
                (scheme, token) if scheme.eq_ignore_ascii_case("bearer") => {
                    login(center, &[Kind::Oauth2], token)
                }
                _ => Err(AuthError::Malformed),
            },
            Admits::Acme => login(center, &[Kind::Acme], one(headers, "X-Acme-Auth")?),
        }
    }
}

fn login(center: &Center, kinds: &[Kind], token: &str) -> Result<Caller, AuthError> {
    let now_ms = center.now_ms();
    let inner = center.lock();
    let token = inner.tokens.check(kinds, token, now_ms)?;
    Ok(Caller::Login(token.who.clone()))
}

fn account(center: &Center, headers: &HeaderMap, path: &str) -> Result<Caller, AuthError> {
    let (scheme, rest) = scheme(headers)?;
    let caller = if scheme.eq_ignore_ascii_case("bearer") {
        login(center, &[Kind::CcmToken, Kind::V4Login], rest)?
    } else if scheme.eq_ignore_ascii_case("basic") {
        let (name, password) = pair(rest)?;
        let ours = center
            .lock()
            .accounts
            .knows(Realm::Account, &name, &password);
        if !ours {
            // Registered for the contact center, hence for no account in particular.
            center.check_pair(&name, &password)?;
            return Ok(Caller::Key(name));
        }
        Caller::Login(name)
    } else {
        return Err(AuthError::Malformed);
    };
    // /v1/Accounts/{sid}/…
    if path.split('/').nth(3) != Some(&center.known.sid) {
        return Err(AuthError::OtherAccount);
    }
    Ok(caller)
}

fn session(
    center: &Center,
    headers: &HeaderMap,
    uri: &Uri,
    jwt_always: bool,
) -> Result<Caller, AuthError> {
    let id = session_id(headers, uri)?;
    let authorization = optional(headers, AUTHORIZATION)?;
    let now_ms = center.now_ms();
    let mut guard = center.lock();
    let inner = &mut *guard;
    let faults = &inner.faults;
    let session = inner
        .sessions
        .live(&id, now_ms, faults.session_idle_ms)
        .ok_or(AuthError::DeadSession)?;
    if !session.usable {
        return Err(AuthError::UnusableSession);
    }
    if session.jwt.is_some() {
        if jwt_always || faults.secure_mode {
            let raw = authorization.ok_or(AuthError::Missing(AUTHORIZATION))?;
            let jwt = inner.tokens.check(&[Kind::AmeyoJwt], raw, now_ms)?;
            if jwt.session.as_deref() != Some(&id) {
                return Err(AuthError::Wrong(AUTHORIZATION));
            }
        }
    } else if jwt_always {
        return Err(AuthError::Missing(AUTHORIZATION));
    } else if authorization.is_some() {
        return Err(AuthError::NotWanted);
    }
    if faults.traffic_extends {
        session.touch(now_ms);
    }
    Ok(Caller::Login(session.user.clone()))
}

/// The session id of the header or, if there is none, of the query.
pub(super) fn session_id(headers: &HeaderMap, uri: &Uri) -> Result<String, AuthError> {
    const NAME: &str = "sessionId";
    let in_query = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.strip_prefix("sessionId="))
        .map(|value| percent_decode_str(value).decode_utf8_lossy().into_owned())
        .next();
    match (optional(headers, NAME)?, in_query) {
        (Some(header), Some(query)) if header != query => Err(AuthError::Repeated(NAME, 2)),
        (Some(id), _) => Ok(id.into()),
        (None, Some(id)) => Ok(id),
        (None, None) => Err(AuthError::Missing(NAME)),
    }
}
