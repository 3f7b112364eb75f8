//! The ground floor: what every other floor may use. Three rooms and no more.

pub mod name;
pub mod problem;
pub mod time;
