//! The life of one credential: peek, obtain, reject; single flight.

use super::{Minted, Unavailable};
use crate::base::name::Name;
use http::HeaderName;
use std::sync::Arc;

/// One credential.
pub struct Slot {}

/// What to do after the upstream rejected a credential.
#[derive(Debug)]
pub enum Rejected {
    /// Send the call once more, with this one (it may be the same).
    Again(Arc<Minted>),
    /// Nothing better is to be had; the upstream's answer stands.
    Stands,
}

impl Slot {
    /// Its name.
    pub fn name(&self) -> &Name {
        unimplemented!()
    }
    /// The fields its credentials set.
    pub fn header_names(&self) -> &[HeaderName] {
        unimplemented!()
    }
    /// The live credential, if there is one: the hot path, no wait, no lock.
    pub fn peek(&self) -> Option<Arc<Minted>> {
        unimplemented!()
    }
    /// The live credential, or the outcome of the flight that obtains it.
    pub async fn obtain(&self) -> Result<Arc<Minted>, Unavailable> {
        unimplemented!()
    }
    /// The upstream rejected `used`.
    pub async fn reject(&self, used: &Arc<Minted>) -> Rejected {
        let _ = used;
        unimplemented!()
    }
}
