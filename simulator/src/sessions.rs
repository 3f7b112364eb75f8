//! Sessions of the contact center's users: they idle out, they end, and a user has
//! only so many of them at once.
//!
//! Only a keep-alive keeps a session from idling out, unless the fault
//! `traffic_extends` says that calls do so too: the vendor does not say, and this is
//! the stricter reading.

use super::kind::Kind;
use super::tokens::letters;

/// One session. It has no `Debug`: its id lets in.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) user: String,
    /// Which of the two logins opened it.
    pub(super) kind: Kind,
    /// No where the password must be changed first.
    pub(super) usable: bool,
    /// The newest JWT, for a session that has one.
    pub(super) jwt: Option<String>,
    /// When it was last kept alive, by the server's clock in ms.
    last_ms: i64,
}

/// All sessions opened and not ended, those that idled out included.
#[derive(Default)]
pub(super) struct Sessions {
    all: Vec<Session>,
    opened: u64,
}

impl Sessions {
    /// Opens a session; says its id, which is about as long as the vendor's and, as
    /// theirs, has the user in it.
    pub(super) fn open(&mut self, kind: Kind, user: &str, usable: bool, now_ms: i64) -> String {
        self.opened += 1;
        let id = format!(
            "d898-{:08x}-ses-{user}-{}-{}",
            fastrand::u32(..),
            letters(128),
            1372 + self.opened
        );
        self.all.push(Session {
            id: id.clone(),
            user: user.into(),
            kind,
            usable,
            jwt: None,
            last_ms: now_ms,
        });
        id
    }

    /// The session `id`, if it lives.
    pub(super) fn live(&mut self, id: &str, now_ms: i64, idle_ms: u64) -> Option<&mut Session> {
        self.all
            .iter_mut()
            .find(|session| session.id == id && session.lives(now_ms, idle_ms))
    }

    /// The ids of a user's live sessions, the oldest first.
    pub(super) fn of(&self, user: &str, now_ms: i64, idle_ms: u64) -> Vec<String> {
        self.all
            .iter()
            .filter(|session| session.user == user && session.lives(now_ms, idle_ms))
            .map(|session| session.id.clone())
            .collect()
    }

    /// How many sessions of `kind` live.
    pub(super) fn open_now(&self, kind: Kind, now_ms: i64, idle_ms: u64) -> u64 {
        self.all
            .iter()
            .filter(|session| session.kind == kind && session.lives(now_ms, idle_ms))
            .count() as u64
    }

    /// Ends the session `id`.
    pub(super) fn end(&mut self, id: &str) {
        self.all.retain(|session| session.id != id);
    }

    /// Ends every session of `kind`.
    pub(super) fn end_all(&mut self, kind: Kind) {
        self.all.retain(|session| session.kind != kind);
    }
}

impl Session {
    pub(super) fn touch(&mut self, now_ms: i64) {
        self.last_ms = now_ms;
    }

    fn lives(&self, now_ms: i64, idle_ms: u64) -> bool {
        now_ms < self.last_ms.saturating_add_unsigned(idle_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_idles_out_unless_it_is_touched() {
        let mut sessions = Sessions::default();
        let id = sessions.open(Kind::AmeyoSession, "sup@example.in", true, 0);
        assert!(id.contains("-ses-sup@example.in-"), "{id}");
        assert!((150..200).contains(&id.len()), "{id}");
        sessions.live(&id, 999, 1_000).expect("alive").touch(999);
        assert!(sessions.live(&id, 1_998, 1_000).is_some());
        assert!(sessions.live(&id, 1_999, 1_000).is_none());
        assert_eq!(sessions.open_now(Kind::AmeyoSession, 1_998, 1_000), 1);
        assert_eq!(sessions.of("sup@example.in", 1_998, 1_000), [id]);
        assert!(sessions.of("sup@example.in", 1_999, 1_000).is_empty());
    }

    #[test]
    fn an_ended_session_is_gone_and_the_others_stay() {
        let mut sessions = Sessions::default();
        let one = sessions.open(Kind::AmeyoSession, "a", true, 0);
        let other = sessions.open(Kind::AmeyoJwt, "a", true, 0);
        sessions.end(&one);
        assert!(sessions.live(&one, 0, 1).is_none());
        assert!(sessions.live(&other, 0, 1).is_some());
        sessions.end_all(Kind::AmeyoJwt);
        assert_eq!(sessions.of("a", 0, 1), Vec::<String>::new());
    }
}
