//! The kinds of login, one name for each: in the counters, in the faults, in tests.
//!
//! The registered Basic key is none of them: it is written, not logged in to.

use serde::{Deserialize, Serialize};

/// What is logged in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `POST /v2/accounts/{sid}/configuration/basicauth`: a Bearer for the account API.
    CcmToken,
    /// `POST /v4/accounts/{sid}/login`: a Bearer for the account API, too.
    V4Login,
    /// `POST /ameyorestapi/session/userLogin`: a `sessionId`.
    AmeyoSession,
    /// `POST /ameyorestapi/userLogin/login`: a JWT and a `sessionId`.
    AmeyoJwt,
    /// `POST /v2/integrations/token`: a token sent raw.
    IntegrationsToken,
    /// `POST /oauth2/token`: a Bearer by the client credentials grant.
    Oauth2,
    /// `POST /acme/session`: the made-up second vendor, a token in a header.
    Acme,
}

/// Which part of a credential's life a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Login,
    Refresh,
    KeepAlive,
    Logout,
}

/// Whose names and passwords a kind is logged in to with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Realm {
    Account,
    Ameyo,
    Integrations,
    Oauth2,
    Acme,
}

impl Kind {
    /// Every kind, in the order of their names' declaration.
    pub const ALL: [Kind; 7] = [
        Kind::CcmToken,
        Kind::V4Login,
        Kind::AmeyoSession,
        Kind::AmeyoJwt,
        Kind::IntegrationsToken,
        Kind::Oauth2,
        Kind::Acme,
    ];

    pub(super) fn realm(self) -> Realm {
        match self {
            Kind::CcmToken | Kind::V4Login => Realm::Account,
            Kind::AmeyoSession | Kind::AmeyoJwt => Realm::Ameyo,
            Kind::IntegrationsToken => Realm::Integrations,
            Kind::Oauth2 => Realm::Oauth2,
            Kind::Acme => Realm::Acme,
        }
    }
}
