//! What was opened for a configuration that is not used after all.

use std::sync::{Arc, Mutex, PoisonError};

use crate::credential::slot::Slot;

/// Slots that were opened for a configuration which is not used: all that they obtained
/// is to be given back. Filled wherever such a configuration is dropped.
#[derive(Clone, Debug, Default)]
pub struct Abandoned(Arc<Mutex<Vec<Arc<Slot>>>>);

impl Abandoned {
    /// `slots` are not used after all.
    pub fn add(&self, slots: Vec<Arc<Slot>>) {
        self.slots().extend(slots);
    }

    /// Takes them out, to give back what they have.
    pub fn take(&self) -> Vec<Arc<Slot>> {
        std::mem::take(&mut *self.slots())
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
