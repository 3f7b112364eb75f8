//! (skeleton)
pub mod check;
pub mod quick;
pub mod simulate;
