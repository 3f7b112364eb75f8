//! What all connections share: the keys, the bearers, the faults, the counters and
//! the clock, behind one lock that is never held across an await.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::accounts::{AccountOptions, Accounts};
use super::bearer::{BearerError, Bearers};
use super::clock::Clock;
use super::faults::Faults;
use super::key::{Registration, date};
use super::kind::Kind;
use super::registry::{Key, Registry, Stamp, Taken};
use super::sessions::Sessions;
use super::state::{KeyView, State};
use super::tokens::{TokenError, Tokens};
use super::{Duplicate, Options};

pub(super) struct Center {
    clock: Clock,
    pub(super) default_life: Duration,
    pub(super) push_interval: Duration,
    pub(super) push_count: Option<u64>,
    /// The names that are fixed; the passwords may have changed since.
    pub(super) known: AccountOptions,
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    pub(super) faults: Faults,
    /// Its `now`, `now_ms`, `keys`, `locked` and each kind's `open` stay empty in
    /// here; [`Center::state`] fills them.
    pub(super) counted: State,
    pub(super) registry: Registry,
    pub(super) accounts: Accounts,
    pub(super) tokens: Tokens,
    pub(super) sessions: Sessions,
    bearers: Bearers,
    /// The campaigns whose dialer runs.
    pub(super) dialing: HashSet<String>,
    /// How many request ids and task ids were given.
    last_number: u64,
    /// The ids of the uploads taken.
    pub(super) tasks: HashSet<String>,
    /// The contacts in each upload that the account API took, by its id.
    pub(super) contacts: HashMap<String, u64>,
}

/// Why a pair does not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PairError {
    #[error("the username and password are not registered")]
    Unknown,
    #[error("the registration is not known here yet")]
    Propagating,
    #[error("the registration has expired")]
    Expired,
}

impl std::fmt::Debug for Center {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Center").finish_non_exhaustive()
    }
}

impl Center {
    pub(super) fn new(options: Options) -> Center {
        Center {
            clock: options.clock,
            default_life: options.default_life,
            push_interval: options.push_interval,
            push_count: options.push_count,
            known: options.accounts.clone(),
            inner: Mutex::new(Inner {
                faults: options.faults,
                counted: State::fresh(),
                registry: Registry::default(),
                accounts: Accounts::new(&options.accounts),
                tokens: Tokens::default(),
                sessions: Sessions::default(),
                bearers: Bearers::default(),
                dialing: HashSet::new(),
                last_number: 0,
                tasks: HashSet::new(),
                contacts: HashMap::new(),
            }),
        }
    }

    /// The shared part. A panic elsewhere left it whole: every change is one step.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine's clock, without skew, in ms since the epoch.
    pub(super) fn machine_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The server's clock, in ms since the epoch.
    pub(super) fn now_ms(&self) -> i64 {
        let skew = self.lock().faults.clock_skew_ms;
        self.clock.now_ms().saturating_add(skew)
    }

    /// A number never given before, for ids.
    pub(super) fn number(&self) -> u64 {
        let mut inner = self.lock();
        inner.last_number += 1;
        inner.last_number
    }

    pub(super) fn admin_bearer(&self, life: Duration) -> String {
        let now_ms = self.now_ms();
        let life = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        let exp = now_ms.saturating_add(life).div_euclid(1000);
        self.lock().bearers.issue(now_ms, exp)
    }

    /// Whether `token` is an administrator's bearer: one handed out by this
    /// simulator, or the JWT of a live session.
    pub(super) fn check_bearer(&self, token: &str) -> Result<(), BearerError> {
        let now_ms = self.now_ms();
        let mut guard = self.lock();
        let inner = &mut *guard;
        match inner.tokens.check(&[Kind::AmeyoJwt], token, now_ms) {
            Err(TokenError::Unknown) => inner.bearers.check(token, now_ms),
            Err(TokenError::Expired) => Err(BearerError::Expired),
            Ok(jwt) => {
                let idle_ms = inner.faults.session_idle_ms;
                jwt.session
                    .as_deref()
                    .and_then(|id| inner.sessions.live(id, now_ms, idle_ms))
                    .filter(|session| session.usable)
                    .map(drop)
                    .ok_or(BearerError::Unknown)
            }
        }
    }

    pub(super) fn revoke_all_bearers(&self) {
        self.lock().bearers.revoke_all();
    }

    /// Whether a live key carries this pair.
    pub(super) fn check_pair(&self, username: &str, password: &str) -> Result<(), PairError> {
        let now_ms = self.now_ms();
        let machine_ms = self.clock.now_ms();
        let inner = self.lock();
        let propagation_ms = i64::try_from(inner.faults.propagation_ms).unwrap_or(i64::MAX);
        let mut refusal = PairError::Unknown;
        for key in inner.registry.by_pair(username, password) {
            if now_ms >= key.expires_ms {
                refusal = PairError::Expired;
            } else if machine_ms.saturating_sub(key.written_ms) < propagation_ms {
                refusal = PairError::Propagating;
            } else {
                return Ok(());
            }
        }
        Err(refusal)
    }

    /// What is stamped on a key written now that asks to live until `asked_ms`.
    pub(super) fn stamp(&self, asked_ms: Option<i64>) -> Stamp {
        let now_ms = self.now_ms();
        let after = |life: u128| now_ms.saturating_add(i64::try_from(life).unwrap_or(i64::MAX));
        let asked_ms = asked_ms.unwrap_or_else(|| after(self.default_life.as_millis()));
        let expires_ms = match self.lock().faults.max_life_ms {
            Some(most) => asked_ms.min(after(most.into())),
            None => asked_ms,
        };
        Stamp {
            now_ms,
            written_ms: self.clock.now_ms(),
            expires_ms,
        }
    }

    /// Adds a key; the duplicate policy is the one in force.
    pub(super) fn register(&self, new: Registration) -> Result<(), (Taken, Duplicate)> {
        let stamp = self.stamp(new.expires_ms);
        let mut inner = self.lock();
        let duplicate = inner.faults.duplicate;
        inner
            .registry
            .add(new, stamp, duplicate)
            .map_err(|taken| (taken, duplicate))?;
        inner.counted.registrations += 1;
        Ok(())
    }

    /// Replaces the key `id`; `None` where there is none.
    pub(super) fn replace(&self, id: u64, new: Registration) -> Option<Result<Key, Taken>> {
        let stamp = self.stamp(new.expires_ms);
        let mut inner = self.lock();
        let replaced = inner.registry.replace(id, new, stamp)?;
        if replaced.is_ok() {
            inner.counted.replacements += 1;
        }
        Some(replaced)
    }

    pub(super) fn forget(&self, username: &str) -> bool {
        self.lock().registry.remove_name(username)
    }

    pub(super) fn register_foreign(&self, username: &str, password: &str) {
        const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
        let new = Registration {
            username: username.into(),
            password: String::from(password).into(),
            context: "ContactCenter".into(),
            context_id: "1".into(),
            user_role: "Administrator".into(),
            expires_ms: None,
        };
        let stamp = self.stamp(Some(self.now_ms().saturating_add(YEAR_MS)));
        // Overwriting cannot meet a taken name.
        let _ = self.lock().registry.add(new, stamp, Duplicate::Overwrite);
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    pub(super) fn faults(&self) -> Faults {
        self.lock().faults.clone()
    }

    /// A call changed something here.
    pub(super) fn took_effect(&self) {
        self.lock().counted.effects += 1;
    }

    pub(super) fn state(&self) -> State {
        let now_ms = self.now_ms();
        let inner = self.lock();
        let keys = inner.registry.all().iter().map(|key| KeyView {
            id: key.id,
            username: key.username.clone(),
            context_id: key.context_id.clone(),
            date_expiry: date(key.expires_ms),
        });
        let mut state = State {
            now: date(now_ms),
            now_ms,
            keys: keys.collect(),
            locked: inner.accounts.locked().map(String::from).collect(),
            ..inner.counted.clone()
        };
        let idle_ms = inner.faults.session_idle_ms;
        for kind in Kind::ALL {
            state.kind(kind).open = match kind {
                Kind::AmeyoSession | Kind::AmeyoJwt => {
                    inner.sessions.open_now(kind, now_ms, idle_ms)
                }
                _ => inner.tokens.live(kind, now_ms),
            };
        }
        state
    }
}
