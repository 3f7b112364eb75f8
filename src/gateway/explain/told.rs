//! What is told of a call.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

use crate::base::name::Name;
use crate::config::Effect;
use crate::gateway::error::Error;
use crate::gateway::metrics::ConnectOutcome;
use crate::gateway::stack::respond::error_response::error_response;

/// What would become of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Its method.
    pub method: String,
    /// Its path; a query decides nothing and is not repeated.
    pub path: String,
    /// The listeners that would take it, and whether each wants a proof of who calls.
    pub listeners: Vec<(Name, bool)>,
    /// On a forward listener, what becomes of the CONNECT that it is or begins with.
    pub connect: Option<ConnectOutcome>,
    /// What is worth knowing about it besides.
    pub note: Option<String>,
    /// Its route; `None` where it takes none of those that are configured.
    pub route: Option<Name>,
    /// Why headset would answer it itself; `None` where it would be sent on.
    pub refused: Option<ExplainedRefusal>,
    /// Where it would be sent.
    pub sent_to: Option<String>,
    /// Where that is dialled, where the configuration says it; else the resolver does.
    pub dialled: Vec<SocketAddr>,
    /// Name and kind of its credential.
    pub credential: Option<(Name, &'static str)>,
    /// The field that must name its tenant.
    pub tenant: Option<String>,
    /// Fields of the call that are removed.
    pub removed: Vec<String>,
    /// Fields that are set in it.
    pub set: Vec<String>,
    /// Fields of the response that are removed.
    pub kept_back: Vec<String>,
    /// What it does at the upstream.
    pub effect: Effect,
    /// Whether the route says so; else the method does.
    pub effect_is_configured: bool,
    /// Whether it may be sent once more, by how the first attempt ended.
    pub replay: Vec<(&'static str, bool)>,
    /// How long it may take, by the keys of `[timeouts]`; zero is no limit.
    pub timeouts: Vec<(&'static str, Duration)>,
    /// What bounds it, by the keys of `[limits]`; zero of `body_rate` is no bound.
    pub limits: Vec<(&'static str, usize)>,
}

impl Explanation {
    /// Adds to what is worth knowing besides.
    pub(super) fn remark(&mut self, more: String) {
        self.note = Some(match self.note.take() {
            Some(note) => format!("{note}; {more}"),
            None => more,
        });
    }
}

/// A response that headset would generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedRefusal {
    /// Its status.
    pub status: StatusCode,
    /// Its code.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
    /// What to do.
    pub hint: &'static str,
}

impl ExplainedRefusal {
    pub(super) fn of(error: impl Into<Error>) -> ExplainedRefusal {
        let error = error.into();
        let seen = error_response(&error);
        ExplainedRefusal {
            status: seen.status,
            code: seen.code,
            detail: error.to_string(),
            hint: seen.hint,
        }
    }
}
