//! Who may log in: names, passwords, bad tries and locks.
//!
//! Bad tries are counted for each name over all kinds of its realm; the n-th in a row
//! (`max_bad_logins`) locks the name, and from then on a good password is refused
//! too, until somebody unlocks it. A good login before that begins the count anew.
//! Unknown names are refused like bad passwords and not remembered.

use zeroize::Zeroizing;

use super::kind::Realm;

/// Whom the simulator knows from the start. Each value is a default that is good for
/// tests and no secret at all.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountOptions {
    /// The `{sid}` of `/v2/accounts/{sid}` and `/v4/accounts/{sid}`. Default `acct`.
    pub sid: String,
    /// The account's API key and token: Basic on the account API and on the call that
    /// issues a `ccm_token`, `username` and `password` of a `v4_login`. Default
    /// `sim_api_key`, `sim_api_token`.
    pub api_key: (String, String),
    /// The users of the contact center with their passwords, for `ameyo_session` and
    /// `ameyo_jwt`. Default `supervisor01` with `supervisor@123$` and `doc_admin` with
    /// `doc_admin`.
    pub users: Vec<(String, String)>,
    /// The `accountId` that a login with JWT tells and `/data-engine` wants back as
    /// the header `accountid`. Default `acct-sim-1`.
    pub account_id: String,
    /// `Id` and `Secret` of an `integrations_token`. Default `sim_integration`,
    /// `sim_integration_secret`.
    pub integration: (String, String),
    /// The id and secret of an OAuth client. Default `sim_client`, `sim+client/secret%:1`,
    /// which is another text once it is encoded.
    pub client: (String, String),
    /// The headers `hash-key`, `policy-name` and `requesting-host` of
    /// `/ameyowebaccess/command`. Default `sim-hash-key`,
    /// `token-based-authorization-policy` (the vendor's own), `crm.example.com`.
    pub web_access: [String; 3],
    /// The raw `Authorization` of `POST /ameyorestapi/tickets`, 16 hexadecimal digits.
    /// Default `0123456789abcdef`.
    pub ticket_token: String,
    /// `login` and `secret` of the made-up second vendor. Default `acme_login`,
    /// `acme_secret`.
    pub acme: (String, String),
}

impl Default for AccountOptions {
    fn default() -> AccountOptions {
        let pair = |name: &str, password: &str| (name.to_owned(), password.to_owned());
        AccountOptions {
            sid: "acct".into(),
            api_key: pair("sim_api_key", "sim_api_token"),
            users: vec![
                pair("supervisor01", "supervisor@123$"),
                pair("doc_admin", "doc_admin"),
            ],
            account_id: "acct-sim-1".into(),
            integration: pair("sim_integration", "sim_integration_secret"),
            client: pair("sim_client", "sim+client/secret%:1"),
            web_access: [
                "sim-hash-key".into(),
                "token-based-authorization-policy".into(),
                "crm.example.com".into(),
            ],
            ticket_token: "0123456789abcdef".into(),
            acme: pair("acme_login", "acme_secret"),
        }
    }
}

impl std::fmt::Debug for AccountOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountOptions")
            .field("sid", &self.sid)
            .finish_non_exhaustive()
    }
}

/// Why a name and password do not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// They are wrong; `locks` where this very try locked the name.
    Bad { locks: bool },
    /// The name is locked, whatever the password.
    Locked,
}

struct Login {
    realm: Realm,
    name: String,
    password: Zeroizing<String>,
    bad: u32,
    locked: bool,
}

/// The names known now.
pub(super) struct Accounts(Vec<Login>);

impl Accounts {
    pub(super) fn new(options: &AccountOptions) -> Accounts {
        let login = |realm, (name, password): &(String, String)| Login {
            realm,
            name: name.clone(),
            password: Zeroizing::new(password.clone()),
            bad: 0,
            locked: false,
        };
        let users = options.users.iter().map(|user| login(Realm::Ameyo, user));
        let others = [
            login(Realm::Account, &options.api_key),
            login(Realm::Integrations, &options.integration),
            login(Realm::Oauth2, &options.client),
            login(Realm::Acme, &options.acme),
        ];
        Accounts(users.chain(others).collect())
    }

    /// One try to log in. `most` bad tries in a row lock; 0 enforces no lock.
    pub(super) fn prove(
        &mut self,
        realm: Realm,
        name: &str,
        password: &str,
        most: u32,
    ) -> Result<(), Refused> {
        let login = self
            .0
            .iter_mut()
            .find(|login| login.realm == realm && login.name == name)
            .ok_or(Refused::Bad { locks: false })?;
        if login.locked && most > 0 {
            return Err(Refused::Locked);
        }
        if *login.password == password {
            login.bad = 0;
            return Ok(());
        }
        login.bad = login.bad.saturating_add(1);
        let locks = most > 0 && login.bad >= most;
        login.locked |= locks;
        Err(Refused::Bad { locks })
    }

    /// Whether the pair is right, without counting a try.
    pub(super) fn knows(&self, realm: Realm, name: &str, password: &str) -> bool {
        self.0
            .iter()
            .any(|login| login.realm == realm && login.name == name && *login.password == password)
    }

    pub(super) fn knows_name(&self, name: &str) -> bool {
        self.0.iter().any(|login| login.name == name)
    }

    /// Changes the password of `name`; tells whether it is known. A lock stays.
    pub(super) fn set_password(&mut self, name: &str, password: &str) -> bool {
        self.change(name, |login| {
            login.password = Zeroizing::new(password.to_owned());
        })
    }

    /// Locks or unlocks `name`, the latter with a fresh count; tells whether it is
    /// known.
    pub(super) fn set_locked(&mut self, name: &str, locked: bool) -> bool {
        self.change(name, |login| {
            login.locked = locked;
            login.bad = 0;
        })
    }

    pub(super) fn locked(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(|login| login.locked)
            .map(|login| login.name.as_str())
    }

    fn change(&mut self, name: &str, mut change: impl FnMut(&mut Login)) -> bool {
        let mut known = false;
        for login in self.0.iter_mut().filter(|login| login.name == name) {
            change(login);
            known = true;
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts::new(&AccountOptions::default())
    }

    fn try_with(accounts: &mut Accounts, password: &str) -> Result<(), Refused> {
        accounts.prove(Realm::Ameyo, "doc_admin", password, 3)
    }

    #[test]
    fn the_third_bad_try_locks_and_a_good_password_does_not_unlock() {
        let mut accounts = accounts();
        let bad = |locks| Err(Refused::Bad { locks });
        assert_eq!(try_with(&mut accounts, "a"), bad(false));
        assert_eq!(try_with(&mut accounts, "b"), bad(false));
        assert_eq!(try_with(&mut accounts, "c"), bad(true));
        assert_eq!(try_with(&mut accounts, "doc_admin"), Err(Refused::Locked));
        assert_eq!(accounts.locked().collect::<Vec<_>>(), ["doc_admin"]);
        assert!(accounts.set_password("doc_admin", "new"));
        assert_eq!(try_with(&mut accounts, "new"), Err(Refused::Locked));
        assert!(accounts.set_locked("doc_admin", false));
        assert_eq!(try_with(&mut accounts, "new"), Ok(()));
    }

    #[test]
    fn a_good_login_begins_the_count_anew() {
        let mut accounts = accounts();
        for _ in 0..4 {
            assert_ne!(try_with(&mut accounts, "a"), Ok(()));
            assert_ne!(try_with(&mut accounts, "b"), Ok(()));
            assert_eq!(try_with(&mut accounts, "doc_admin"), Ok(()));
        }
    }

    #[test]
    fn a_name_is_good_in_its_realm_only_and_an_unknown_one_is_not_remembered() {
        let mut accounts = accounts();
        let elsewhere = accounts.prove(Realm::Acme, "doc_admin", "doc_admin", 1);
        assert_eq!(elsewhere, Err(Refused::Bad { locks: false }));
        assert_eq!(accounts.locked().count(), 0);
        assert!(!accounts.set_password("nobody", "x"));
    }

    #[test]
    fn options_print_no_password() {
        let printed = format!("{:?}", AccountOptions::default());
        assert_eq!(printed, r#"AccountOptions { sid: "acct", .. }"#);
    }
}
