//! Credentials: what a kind must be able to do, and what it yields.
//!
//! A kind implements [`Mint`]: one way to ask for a credential. A [`slot::Slot`]
//! keeps the life of one credential, from the first attempt over its renewals to
//! what is done after a rejection. Callers meet only the slot. [`kinds::KINDS`] is
//! the list of kinds.

pub mod attempt;
pub mod chain;
pub mod engine;
pub mod error;
pub mod fleet;
pub mod human;
pub mod identity;
pub mod issuer_client;
pub mod issuer_response;
mod jwt;
pub mod kind;
pub mod kinds;
mod login_secret;
pub mod metrics;
mod mint;
mod minted;
pub mod minter_factory;
mod quote;
mod render;
pub mod schedule;
pub mod secret_parts;
pub mod shared_view;
pub mod slot;
pub mod slot_opener;
pub mod slots;
pub mod store;
pub mod tenants;
#[cfg(test)]
pub(crate) mod testing;
mod text;
pub mod transcript;
mod zeroed_json;

pub use error::{Cause, MintError, RefusalReason, Unavailable, UnavailableReason};
pub use mint::{Change, Facts, KeepAlive, Mint, MintFuture, Rejection, Revocation, too_slow};
pub use minted::{CredentialOrigin, Fresh, Minted};
