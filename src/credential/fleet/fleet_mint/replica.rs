//! What one replica has of a credential, and what it makes of what the fleet shows: pure.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::super::FleetNews;
use super::super::published::PublishedCredential;
use super::seen::RecordSeen;
use crate::base::time::{Deadline, Moment};
use crate::credential::schedule;
use crate::credential::store::Fingerprint;

/// What is shared by minters that follow one another in a slot.
pub(super) struct ReplicaMemory {
    pub(super) state: Mutex<ReplicaState>,
    pub(super) feed: watch::Receiver<FleetNews>,
}

impl ReplicaMemory {
    /// One that has nothing yet, and is told by `feed`.
    pub(super) fn listening(feed: watch::Receiver<FleetNews>) -> ReplicaMemory {
        ReplicaMemory {
            state: Mutex::default(),
            feed,
        }
    }
}

/// What a replica has, and what happened to it.
#[derive(Default)]
pub(super) struct ReplicaState {
    /// What calls carry.
    pub(super) held: Option<HeldCredential>,
    /// The highest generation that was ever seen.
    pub(super) had: u64,
    /// An upstream rejected what is held, and nothing newer came yet.
    pub(super) rejected: bool,
    /// A person or a changed secret wants a new one, whatever is published.
    pub(super) wanted: bool,
    /// The attempt that comes is made because of news alone.
    by_news: bool,
    /// The news that last caused an attempt.
    acted: FleetNews,
    /// What the log was told last.
    pub(super) told: Option<String>,
    /// When this replica mints for itself while the store is down.
    pub(super) alone_at: Option<Deadline>,
    /// When it last did.
    pub(super) was_alone: Option<Moment>,
    /// What people are shown.
    pub(super) seen: RecordSeen,
}

/// A credential that this replica has.
pub(super) struct HeldCredential {
    pub(super) generation: u64,
    pub(super) credential: Arc<PublishedCredential>,
    pub(super) expires: Deadline,
    /// Whether the fleet has it from the store, as far as is known here.
    pub(super) is_published: bool,
}

impl HeldCredential {
    pub(super) fn is_live(&self, now: Moment) -> bool {
        !schedule::servable(&self.expires, now).is_zero()
    }
}

/// What is published, opened.
pub(super) struct Opened {
    pub(super) generation: u64,
    pub(super) credential: Arc<PublishedCredential>,
    /// `None` where it has ended.
    pub(super) expires: Option<Deadline>,
    /// Whether some replica reported that an upstream rejected it.
    pub(super) is_rejected: bool,
}

/// What to do about what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FleetVerdict {
    /// Calls carry it from now on.
    Use,
    /// What this replica has is good, and the store has lost it.
    Restore,
    /// It was minted with other login secrets than this replica has: one by its own is
    /// better, and this one else.
    Prefer,
    /// A new one is needed; `forced` where an upstream rejected what is published.
    Want {
        /// Because of a rejection.
        forced: bool,
    },
}

impl ReplicaState {
    /// Whether `news` call for an attempt of this replica, and whether the store was away.
    /// Each news does so once.
    pub(super) fn notice(&mut self, news: FleetNews, is_keeper: bool) -> Option<bool> {
        if news == self.acted {
            return None;
        }
        self.seen.published = news.generation;
        self.seen.rejected = news.rejected;
        let generation = self.held.as_ref().map_or(0, |held| held.generation);
        let is_newer = news.generation > generation;
        let was_rejected =
            generation > 0 && news.rejected >= generation && self.acted.rejected < news.rejected;
        let came_back = news.back != self.acted.back;
        let is_behind = self.held.as_ref().is_some_and(|held| {
            news.generation < held.generation || (came_back && !held.is_published)
        });
        let calls = is_newer
            || (is_keeper && (was_rejected || is_behind))
            || (came_back && generation == 0);
        if !calls {
            self.acted = news;
            return None;
        }
        Some(came_back && !is_newer)
    }

    /// The attempt for `news` is about to be made.
    pub(super) fn acted(&mut self, news: FleetNews) {
        self.acted = news;
        self.by_news = true;
    }

    /// What to do, at `now`, about what is published; `fingerprints` are those of a keeper's
    /// login secrets.
    pub(super) fn judge(
        &mut self,
        opened: Option<&Opened>,
        fingerprints: Option<&[Fingerprint]>,
        is_keeper: bool,
        now: Moment,
    ) -> FleetVerdict {
        let by_news = self.by_news;
        self.had = self.had.max(opened.map_or(0, |opened| opened.generation));
        let held = self.held.as_ref();
        let held_generation = held.map_or(0, |held| held.generation);
        let is_good = !self.rejected && held.is_some_and(|held| held.is_live(now));
        let restores = is_keeper && is_good && by_news && !self.wanted;
        let Some(opened) = opened else {
            return match restores {
                true => FleetVerdict::Restore,
                false => FleetVerdict::Want {
                    forced: self.rejected,
                },
            };
        };
        let is_live = opened
            .expires
            .is_some_and(|expires| !schedule::servable(&expires, now).is_zero());
        if opened.generation > held_generation {
            let is_usable = is_live && !opened.is_rejected;
            let by_others = fingerprints.is_some_and(|own| own != opened.credential.fingerprints);
            let wants_own = self.wanted || (held.is_none() && !by_news);
            return match is_usable {
                true if wants_own && by_others => FleetVerdict::Prefer,
                true => FleetVerdict::Use,
                false => FleetVerdict::Want {
                    forced: is_live && opened.is_rejected,
                },
            };
        }
        let is_own = held.is_some_and(|held| !held.is_published);
        if opened.generation < held_generation || (restores && is_own) {
            return match restores {
                true => FleetVerdict::Restore,
                false => FleetVerdict::Want {
                    forced: self.rejected,
                },
            };
        }
        let forced = self.rejected || opened.is_rejected;
        match is_live && by_news && !forced && !self.wanted {
            true => FleetVerdict::Use,
            false => FleetVerdict::Want { forced },
        }
    }

    /// Calls carry `credential` from now on.
    pub(super) fn hold(
        &mut self,
        generation: u64,
        credential: Arc<PublishedCredential>,
        expires: Deadline,
        is_published: bool,
    ) {
        self.had = self.had.max(generation);
        self.held = Some(HeldCredential {
            generation,
            credential,
            expires,
            is_published,
        });
        self.rejected = false;
        self.wanted = false;
        self.told = None;
    }

    /// An attempt has ended, whatever came of it.
    pub(super) fn rest(&mut self) {
        self.by_news = false;
    }

    /// Whether `text` is to be logged: once, until something goes well.
    pub(super) fn is_untold(&mut self, text: &str) -> bool {
        if self.told.as_deref() == Some(text) {
            return false;
        }
        self.told = Some(text.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credential::{CredentialOrigin, Fresh};

    fn at(seconds: u64) -> Moment {
        Moment {
            wall_ms: 1_800_000_000_000 + seconds as i64 * 1000,
            boot: Duration::from_secs(seconds),
        }
    }

    fn credential(print: u8) -> Arc<PublishedCredential> {
        let fresh = Fresh {
            headers: Box::default(),
            secrets: Default::default(),
            expires: Deadline::new(at(0), Duration::from_secs(3600)),
            source_ends: None,
            skew_ms: None,
            origin: CredentialOrigin::Issued,
            assumed_life: None,
            session: None,
        };
        Arc::new(PublishedCredential::of(&fresh, vec![[print; 32]]))
    }

    fn opened(generation: u64, is_rejected: bool) -> Opened {
        Opened {
            generation,
            credential: credential(1),
            expires: Some(Deadline::new(at(0), Duration::from_secs(3600))),
            is_rejected,
        }
    }

    fn holding(generation: u64) -> ReplicaState {
        let mut state = ReplicaState::default();
        let expires = Deadline::new(at(0), Duration::from_secs(3600));
        state.hold(generation, credential(1), expires, true);
        state
    }

    const WANT: FleetVerdict = FleetVerdict::Want { forced: false };
    const FORCED: FleetVerdict = FleetVerdict::Want { forced: true };

    fn news(generation: u64, rejected: u64, back: u64) -> FleetNews {
        FleetNews {
            generation,
            rejected,
            back,
        }
    }

    #[test]
    fn whatever_is_newer_is_used_unless_it_ended_was_rejected_or_comes_of_other_secrets() {
        let judge = |state: &mut ReplicaState, opened: &Opened, print: u8| {
            state.judge(Some(opened), Some(&[[print; 32]]), true, at(10))
        };
        let mut new = ReplicaState::default();
        assert_eq!(judge(&mut new, &opened(5, false), 1), FleetVerdict::Use);
        assert_eq!(judge(&mut new, &opened(5, true), 1), FORCED);
        assert_eq!(
            judge(&mut new, &opened(5, false), 2),
            FleetVerdict::Prefer,
            "a new password"
        );
        assert_eq!(
            judge(&mut holding(4), &opened(5, false), 2),
            FleetVerdict::Use
        );
        let ended = Opened {
            expires: None,
            ..opened(5, true)
        };
        assert_eq!(judge(&mut new, &ended, 1), WANT);
        assert_eq!(new.judge(None, None, true, at(10)), WANT);
        // A holder has no secrets to compare.
        assert_eq!(
            ReplicaState::default().judge(Some(&opened(5, false)), None, false, at(10)),
            FleetVerdict::Use
        );
    }

    #[test]
    fn a_rejection_is_answered_by_anything_newer_and_else_by_a_new_one() {
        let mut state = holding(5);
        state.rejected = true;
        assert_eq!(
            state.judge(Some(&opened(5, false)), None, true, at(10)),
            FORCED
        );
        assert_eq!(
            state.judge(Some(&opened(6, false)), None, true, at(10)),
            FleetVerdict::Use
        );
        let mut told = holding(5);
        assert_eq!(told.notice(news(5, 5, 0), true), Some(false));
        told.acted(news(5, 5, 0));
        assert_eq!(
            told.judge(Some(&opened(5, true)), None, true, at(10)),
            FORCED
        );
        assert_eq!(
            holding(5).notice(news(5, 5, 0), false),
            None,
            "a holder does not mint"
        );
        assert_eq!(
            holding(5).notice(news(5, 4, 0), true),
            None,
            "a late report"
        );
    }

    #[test]
    fn what_the_store_lost_is_restored_by_a_keeper_and_never_taken_back() {
        for shown in [None, Some(opened(3, false))] {
            let generation = shown.as_ref().map_or(0, |opened| opened.generation);
            let mut state = holding(5);
            assert_eq!(state.notice(news(5, 0, 0), true), None);
            assert_eq!(state.notice(news(generation, 0, 0), true), Some(false));
            state.acted(news(generation, 0, 0));
            assert_eq!(
                state.judge(shown.as_ref(), None, true, at(10)),
                FleetVerdict::Restore
            );
            // Once it has ended there is nothing to restore.
            assert_eq!(state.judge(shown.as_ref(), None, true, at(3600)), WANT);
            assert_eq!(holding(5).notice(news(generation, 0, 0), false), None);
        }
    }

    #[test]
    fn each_news_calls_for_one_attempt_and_a_renewal_that_is_due_asks_for_more() {
        let mut state = holding(5);
        assert_eq!(state.notice(news(6, 0, 0), true), Some(false));
        state.acted(news(6, 0, 0));
        assert_eq!(state.notice(news(6, 0, 0), true), None);
        // It was taken up meanwhile: nothing is due.
        assert_eq!(
            state.judge(Some(&opened(5, false)), None, true, at(10)),
            FleetVerdict::Use
        );
        state.rest();
        assert_eq!(
            state.judge(Some(&opened(5, false)), None, true, at(10)),
            WANT
        );
        assert_eq!(
            holding(5).notice(news(6, 0, 1), true),
            Some(false),
            "what is newer does not wait"
        );
        let mut alone = holding(5);
        if let Some(held) = &mut alone.held {
            held.is_published = false;
        }
        assert_eq!(alone.notice(news(5, 0, 1), true), Some(true), "it spreads");
    }
}
