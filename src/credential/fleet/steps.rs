//! The record of one credential, and the five steps on it: pure, and for tests.
//!
//! Time is handed in, and is the store's own. The scripts of `redis/scripts.rs` do the same
//! in Redis: one suite of tests runs over both, and `model.rs` checks the protocol over
//! this one.

use std::time::Duration;

use super::record::{
    FailureNote, FleetView, LEASE_SLACK, LeaseAnswer, LeaseRequest, PublishAnswer, YOUNG_MS,
};

/// The record of one credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FleetRecord {
    generation: u64,
    sealed: Vec<u8>,
    /// When what is published ends; `None` never.
    ends: Option<u64>,
    published: u64,
    handed_out: u64,
    lease: Option<(String, u64)>,
    failure: Option<FailureNote>,
    failed_until: u64,
    failures: u32,
    rejected: u64,
}

impl FleetRecord {
    /// What a replica sees of it at `now`.
    pub fn look(&self, now: u64) -> FleetView {
        let left = |until: u64| Duration::from_millis(until.saturating_sub(now));
        let failure = self.failure.as_ref().filter(|_| self.failed_until > now);
        FleetView {
            generation: self.generation,
            sealed: self.sealed.clone(),
            left: self.ends.map(left),
            rejected: self.rejected,
            lease: (self.lease.clone())
                .filter(|(_, until)| *until > now)
                .map(|(token, until)| (token, left(until))),
            failure: failure.map(|failure| (failure.clone(), left(self.failed_until))),
            is_foreign: false,
            others: Vec::new(),
        }
    }

    /// Gives the lease, or says why not.
    pub fn lease(&mut self, now: u64, request: &LeaseRequest) -> LeaseAnswer {
        let left = |until: u64| Duration::from_millis(until - now);
        if self.generation > request.seen {
            return LeaseAnswer::Newer;
        }
        if let Some((_, until)) = &self.lease
            && *until > now
            && *until - now <= millis(request.life + LEASE_SLACK)
        {
            return LeaseAnswer::Held(left(*until));
        }
        let young = self.published + YOUNG_MS;
        if request.forced && self.generation > 0 && young > now {
            return LeaseAnswer::Young(left(young));
        }
        if let Some(failure) = &self.failure
            && self.failed_until > now
            && failure.print == request.print
        {
            return LeaseAnswer::Failed(left(self.failed_until));
        }
        let generation = now
            .max(self.handed_out + 1)
            .max(self.generation + 1)
            .max(request.had + 1);
        self.handed_out = generation;
        self.lease = Some((request.token.clone(), now + millis(request.life)));
        LeaseAnswer::Granted {
            generation,
            failures: self.failures,
        }
    }

    /// Publishes `sealed`, if it is newer than what is published.
    pub fn publish(
        &mut self,
        now: u64,
        token: &str,
        generation: u64,
        sealed: &[u8],
        left: Option<Duration>,
    ) -> PublishAnswer {
        self.end_lease(token);
        if generation <= self.generation {
            return PublishAnswer::Late;
        }
        self.generation = generation;
        self.handed_out = self.handed_out.max(generation);
        self.sealed = sealed.to_vec();
        self.ends = left.map(|left| now + millis(left));
        self.published = now;
        self.failure = None;
        self.failed_until = 0;
        self.failures = 0;
        PublishAnswer::Accepted
    }

    /// Notes a failure of whoever has the lease.
    pub fn fail(&mut self, now: u64, token: &str, failure: &FailureNote) {
        if self.end_lease(token) {
            self.failed_until = now + millis(failure.wait);
            self.failure = Some(failure.clone());
            self.failures += 1;
        }
    }

    /// Notes a rejection.
    pub fn reject(&mut self, generation: u64) {
        if generation <= self.generation {
            self.rejected = self.rejected.max(generation);
        }
    }

    /// The published generation and the highest rejected one.
    pub fn marks(&self) -> (u64, u64) {
        (self.generation, self.rejected)
    }

    fn end_lease(&mut self, token: &str) -> bool {
        self.lease.take_if(|(holder, _)| holder == token).is_some()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
