//! (skeleton)
pub mod simulate;
