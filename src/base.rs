//! The ground floor: what every other floor may use.

pub mod crowd;
pub mod file;
pub mod name;
pub mod panic;
pub mod problem;
pub mod time;
