//! What is found while a configuration is judged as a whole.

use crate::base::problem::{Place, Problem};

/// Problems, and what is legal but probably not meant.
#[derive(Debug, Default)]
pub struct Findings {
    /// What must be mended.
    pub problems: Vec<Problem>,
    /// What should be looked at.
    pub warnings: Vec<Problem>,
}

impl Findings {
    pub(super) fn problem(&mut self, place: Place, key: String, why: String, fix: String) {
        self.problems.push(Problem::new(place, key, why, fix));
    }

    pub(super) fn warn(&mut self, place: Place, key: String, why: String, fix: String) {
        self.warnings.push(Problem::new(place, key, why, fix));
    }
}
