//! Where each key of the merged configuration was written.
//!
//! Some faults show only when the configuration is used: a file that is missing, a kind
//! that cannot take its options. Whoever finds one knows the key and not the line.
//! [`Places::settle`] puts the line in: that of the key, or else of the nearest table
//! around it that somebody wrote.

use std::collections::BTreeMap;

use crate::base::problem::{Place, Problem};
use crate::config::section::Section;

/// Places by the dotted path of the key or table that stands there; defaults have none.
#[derive(Clone, Debug, Default)]
pub struct Places(BTreeMap<String, Place>);

impl Places {
    /// The places of `sections`; `whole` is that of what holds them all, the file.
    pub fn of(sections: &[Section], whole: &Place) -> Places {
        let mut places = BTreeMap::new();
        let mut put = |path: String, place: &Place| {
            if *place != Place::Default {
                places.insert(path, place.clone());
            }
        };
        put(String::new(), whole);
        for section in sections {
            put(section.at.clone(), &section.place);
            let own = section.kind.as_ref().map(|(_, values)| values);
            for values in std::iter::once(&section.values).chain(own) {
                for (path, (_, place)) in &values.0 {
                    put(format!("{}.{path}", section.at), place);
                }
            }
        }
        Places(places)
    }

    /// Whether somebody wrote the key at `path` itself.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Where `path` was written, or the nearest table around it.
    pub fn place(&self, mut path: &str) -> Place {
        loop {
            if let Some(place) = self.0.get(path) {
                return place.clone();
            }
            match path.rsplit_once('.') {
                Some((around, _)) => path = around,
                None if path.is_empty() => return Place::Default,
                None => path = "",
            }
        }
    }

    /// Gives each of `problems` that has no place the one of its key.
    pub fn settle(&self, problems: &mut [Problem]) {
        for problem in problems {
            if problem.place == Place::Default {
                problem.place = self.place(&problem.key);
            }
        }
    }
}
