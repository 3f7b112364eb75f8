//! Room on a listener that must always let one more in: the oldest connection that waits for
//! nothing but a call makes way.
//!
//! The admin listener has few connections, and whoever holds them all and says nothing would
//! keep the kubelet's probe out, which then ends the pod. Calls that are being answered stay.

use std::rc::{Rc, Weak};

use tokio::task::{AbortHandle, JoinSet};

use crate::base::permits::{Permit, Permits};
use crate::modes::note;
use crate::net::caller::ConnState;

/// The open connections of such a listener, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Crowd(Vec<(Weak<ConnState>, AbortHandle)>);

impl Crowd {
    /// A connection was accepted, of which these are the `notes`; `task` serves it.
    pub(super) fn join(&mut self, notes: &Rc<ConnState>, task: AbortHandle) {
        self.0.retain(|(notes, _)| notes.strong_count() > 0);
        self.0.push((Rc::downgrade(notes), task));
    }

    /// Closes the oldest connection without a call and takes its place; `None` where all of
    /// them have one.
    pub(super) async fn make_room(
        &mut self,
        tasks: &mut JoinSet<()>,
        permits: &std::sync::Arc<Permits>,
    ) -> Option<Permit> {
        let rests = |(notes, _): &(Weak<ConnState>, _)| {
            let notes = notes.upgrade();
            notes.is_some_and(|notes| notes.calls.get() == 0)
        };
        let oldest = self.0.iter().position(rests)?;
        let (_, task) = self.0.remove(oldest);
        task.abort();
        loop {
            if let Some(permit) = permits.take() {
                return Some(permit);
            }
            note(tasks.join_next().await?);
        }
    }
}
