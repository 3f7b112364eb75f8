//! A slot as the probes see it. The admin floor knows no slot, so `app` lends it one.

use std::sync::Arc;

use crate::admin::health::ReadinessCheck;
use crate::credential::slot::Slot;

/// See the module.
#[derive(Debug)]
pub struct SlotReadiness(Arc<Slot>);

impl SlotReadiness {
    /// Looks at `slot`.
    pub fn new(slot: Arc<Slot>) -> SlotReadiness {
        SlotReadiness(slot)
    }
}

impl ReadinessCheck for SlotReadiness {
    fn name(&self) -> &str {
        self.0.name().as_str()
    }

    fn is_live(&self) -> bool {
        self.0.peek().is_some()
    }

    fn was_minted(&self) -> bool {
        self.0.snapshot().generation > 0
    }
}
