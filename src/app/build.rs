//! *Build*: from a configuration to what will run.
//!
//! [`PlanDraft`] resolves a configuration: every problem found, nothing running.
//! [`OpenedPlan`] opens its credentials, whose first mints begin at once; a reload can
//! still stop there. [`OpenedPlan::lay_out`] makes of it a [`Plan`], which does not
//! change. A later configuration goes the same way and keeps what is as it was.

pub mod abandoned;
pub mod authorities;
mod blueprints;
pub mod descriptors;
mod draft;
mod explained;
mod issuers;
mod layout;
pub mod listener_auth;
mod opened;
mod plan;
mod process_state;
mod resolve;
mod spec;
mod stores;
pub mod succession;
#[cfg(test)]
pub(crate) mod testing;

use prometheus::Registry;

pub use self::draft::PlanDraft;
pub use self::opened::OpenedPlan;
pub use self::plan::{Plan, PlannedCredential, PlannedListener};
pub use self::process_state::ProcessState;
pub use self::stores::open_stores;

use crate::config::key::KindKeys;
use crate::credential::kinds::KINDS;
use crate::gateway::observe::Observers;

/// The credential kinds as the loader wants them.
pub fn kind_keys() -> Vec<KindKeys> {
    KINDS
        .iter()
        .map(|kind| KindKeys {
            kind: kind.name,
            summary: kind.summary,
            keys: kind.keys,
            example: kind.example,
        })
        .collect()
}

/// Registers the metrics and opens all that `draft` needs. Mints begin at once on
/// `runtime`; `observers` are told of each call.
///
/// # Errors
/// Where two metrics share a name, which would be a bug.
pub fn start(
    draft: PlanDraft,
    registry: &Registry,
    runtime: tokio::runtime::Handle,
    observers: Observers,
) -> Result<(Plan, ProcessState), prometheus::Error> {
    let process_state =
        ProcessState::register(registry, draft.factory.clone(), runtime, observers)?;
    let plan = OpenedPlan::open(draft, &process_state, None).lay_out(&process_state, None);
    Ok((plan, process_state))
}
