//! (skeleton)
pub mod telemetry;
