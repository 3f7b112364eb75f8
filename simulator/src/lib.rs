//! A contact center to practise on: strict, faithful, and broken on demand.
//!
//! It speaks the vendor's contract for registered Basic keys (register, list, read,
//! replace, revoke, each checked field by field) and for every login of the platform
//! ([`Kind`], with refresh, keep-alive, logout, locks and single login), answers the
//! business calls only to a credential that is alive by its own clock, streams
//! uploads, recordings and pushes, counts what reached it, and has one place for
//! faults. Tests, the demo and `headset simulate` all use this one.
//!
//! - `POST|GET|DELETE /_sim/faults`: what goes wrong ([`Faults`]).
//! - `GET /_sim/state`: what was counted ([`State`]).
//! - `POST /_sim/users`: new passwords, locks, and ends for who logs in.
//! - `/_sim/echo`, any method: what arrived, `Authorization` included.
//!
//! It knows nothing of headset, keeps everything in memory, and is no security
//! boundary: whoever reaches its port may change its faults.

mod accounts;
mod acme;
mod admits;
mod auth;
mod bearer;
mod broken;
mod business;
mod call_middleware;
mod ccm;
mod center;
mod choices;
mod clock;
mod control;
mod envelope;
mod faults;
mod fields;
mod integrations;
mod issuer;
mod key;
mod kind;
mod login_middleware;
mod logins;
mod oauth2;
mod registry;
mod router;
mod server;
mod session;
mod session_api;
mod sessions;
mod state;
mod streams;
mod telephony;
mod tls;
mod tokens;
mod upload;
mod webaccess;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use center::Center;

pub use accounts::AccountOptions;
pub use clock::Clock;
pub use faults::{
    BrokenAs, Duplicate, ExpiryAs, Faults, FaultsError, ListPasswords, ResetAt, SessionDeadAs,
    TokenAs, WebAccessFailsAs,
};
pub use kind::Kind;
pub use state::{KeyView, KindCount, State};
pub use streams::recorded;

/// How a simulator is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one. Default `127.0.0.1:0`.
    pub bind: SocketAddr,
    /// Whether it speaks TLS, with a certificate that it makes itself. Default no.
    pub tls: bool,
    /// Its clock before any `clock_skew_ms`. Default the machine's.
    pub clock: Clock,
    /// How long a key lives that was registered without a `dateExpiry` (the vendor's
    /// "default session timeout"). Default 30 minutes.
    pub default_life: Duration,
    /// The pause between two pushes where the call names none. Default 1 s.
    pub push_interval: Duration,
    /// How many pushes a stream has where the call names no number; `None` is
    /// without end. Default `None`.
    pub push_count: Option<u64>,
    /// Who may log in, and with what. Default [`AccountOptions::default`].
    pub accounts: AccountOptions,
    /// The faults it starts with. Default none.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: false,
            clock: Clock::system(),
            default_life: Duration::from_secs(30 * 60),
            push_interval: Duration::from_secs(1),
            push_count: None,
            accounts: AccountOptions::default(),
            faults: Faults::default(),
        }
    }
}

/// A running contact center. Dropping it stops it and cuts its connections.
#[derive(Debug)]
pub struct Simulator {
    center: Arc<Center>,
    address: SocketAddr,
    ca_pem: Option<String>,
    serving: JoinHandle<()>,
}

impl Simulator {
    /// Binds and begins to serve in tasks of the current tokio runtime. Fails where
    /// the address cannot be bound or no certificate can be made.
    pub async fn start(options: Options) -> io::Result<Simulator> {
        let listener = server::bind(options.bind)?;
        let address = listener.local_addr()?;
        let identity = if options.tls {
            Some(tls::Identity::make().map_err(io::Error::other)?)
        } else {
            None
        };
        let (ca_pem, acceptor) = match identity {
            Some(identity) => (Some(identity.ca_pem), Some(identity.acceptor)),
            None => (None, None),
        };
        let center = Arc::new(Center::new(options));
        let router = router::build(center.clone());
        let serving = tokio::spawn(server::serve(listener, acceptor, router, center.clone()));
        Ok(Simulator {
            center,
            address,
            ca_pem,
            serving,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT` or `https://…`, without a slash at the end.
    pub fn base_url(&self) -> String {
        let scheme = if self.ca_pem.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// The authority that signed its certificate (for `localhost`, `127.0.0.1` and
    /// `::1`), as PEM; `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// A fresh administrator's bearer that this simulator knows, good for `life` by
    /// its clock, cut down to a whole second as JWT dates are: a `life` of zero is
    /// dead on arrival.
    pub fn admin_bearer(&self, life: Duration) -> String {
        self.center.admin_bearer(life)
    }

    /// What was counted so far.
    pub fn state(&self) -> State {
        self.center.state()
    }

    /// Sets *all* faults; `POST /_sim/faults` changes only the keys it names.
    pub fn faults(&self, faults: Faults) {
        self.center.set_faults(faults);
    }

    /// The faults in force, their counters as far as they have been used up.
    pub fn current_faults(&self) -> Faults {
        self.center.faults()
    }

    /// No administrator's bearer handed out so far is accepted any longer.
    pub fn revoke_all_bearers(&self) {
        self.center.revoke_all_bearers();
    }

    /// Drops every key of `username`, so that calls with it are answered 401. Tells
    /// whether there was one.
    pub fn forget(&self, username: &str) -> bool {
        self.center.forget(username)
    }

    /// Registers a key that somebody else owns, good for a year.
    pub fn register_foreign(&self, username: &str, password: &str) {
        self.center.register_foreign(username, password);
    }

    /// Gives whoever logs in as `name` (a user, an API key, an integration's id, a login
    /// of the second vendor) a new password. What was handed out lives on, and a lock
    /// stays. Tells whether the name is known.
    pub fn set_password(&self, name: &str, password: &str) -> bool {
        self.center.lock().accounts.set_password(name, password)
    }

    /// Locks `name`, as too many bad tries do. Tells whether the name is known.
    pub fn lock(&self, name: &str) -> bool {
        self.center.lock().accounts.set_locked(name, true)
    }

    /// Lifts the lock of `name` and begins the count of its bad tries anew. Tells
    /// whether the name is known.
    pub fn unlock(&self, name: &str) -> bool {
        self.center.lock().accounts.set_locked(name, false)
    }

    /// Ends every session and token of `name`, as an administrator would. Says how
    /// many; a session and its JWT are one.
    pub fn end_all_of(&self, name: &str) -> u64 {
        self.center.end_all_of(name)
    }

    /// Ends every session or token of `kind`.
    pub fn end_all(&self, kind: Kind) {
        self.center.end_all(kind);
    }

    /// Stops listening and cuts every connection. When it returns, the port is free.
    pub async fn shutdown(mut self) {
        self.serving.abort();
        // The only possible error is the cancellation just asked for.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
