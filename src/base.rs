//! The ground floor: what every other floor may use.

pub mod causes;
pub mod closed_set;
pub mod file;
pub mod lazy_timer;
pub mod log_limiter;
pub mod name;
pub mod one_by_one;
pub mod panic;
pub mod permits;
pub mod problem;
pub mod spelled_out;
pub mod task;
#[cfg(test)]
pub(crate) mod temp_folder;
pub mod time;
pub mod trace;
pub mod worker;
