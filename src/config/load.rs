//! Loading: defaults < file < `HEADSET_` environment < flags, in one call.
//!
//! Either a whole [`Config`] comes out, or every [`Problem`] at once. The only thing
//! touched on the way is the configuration file itself: no secret is read here, only
//! said where it is.

use std::path::PathBuf;

use crate::base::problem::{Place, Problem};
use crate::config::keys::KindKeys;
use crate::config::tree::{Layer, Node};
use crate::config::{Config, build, cross, environment, file, lower, quick, tree};
use crate::secret::Source;

/// What a configuration is read from, weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables, name and value; those that are not ours are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags: the key's full path, the text, and the flag's spelling (`--upstream`).
    pub flags: Vec<(String, String, String)>,
}

/// The `HEADSET_` variables of this process. What is not UTF-8 in a value becomes
/// U+FFFD, which no key accepts; a name that is not UTF-8 cannot be ours.
pub fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let ours = name.starts_with(environment::PREFIX);
            ours.then(|| (name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Reads and judges everything. `kinds` are the credential kinds there are.
///
/// # Errors
/// All problems, in the order of their places; never an empty list.
pub fn load(sources: &Sources, kinds: &[KindKeys]) -> Result<Config, Vec<Problem>> {
    let (file, syntax) = layer(sources);
    judge(&file, syntax, sources, kinds)
}

/// Every secret that the same sources name, whatever else is wrong with them: its key,
/// where it is kept, and where that was written. A file that was changed since is read
/// as it is now.
pub fn secrets(sources: &Sources, kinds: &[KindKeys]) -> Vec<(String, Source, Place)> {
    let (file, _) = layer(sources);
    let (variables, _) = environment::variables(&sources.environment);
    let (flags, _) = environment::flags(&sources.flags);
    let implied = quick::fallback(&file.root, &[&variables, &flags]);
    let root = tree::merge(&[&file, &variables, &flags], implied.as_ref());
    let mut found = Vec::new();
    for section in lower::lower(&root, kinds).sections {
        let own = section.kind.as_ref().map(|(_, values)| values);
        for values in std::iter::once(&section.values).chain(own) {
            for (path, source, place) in values.secrets() {
                found.push((
                    format!("{}.{path}", section.at),
                    source.clone(),
                    place.clone(),
                ));
            }
        }
    }
    found
}

fn layer(sources: &Sources) -> (Layer, Vec<Problem>) {
    match &sources.file {
        Some(path) => file::read(path),
        None => (
            Layer {
                name: "file",
                root: Node::table(Place::Default),
            },
            Vec::new(),
        ),
    }
}

fn judge(
    file: &Layer,
    syntax: Vec<Problem>,
    sources: &Sources,
    kinds: &[KindKeys],
) -> Result<Config, Vec<Problem>> {
    let (variables, mut outside) = environment::variables(&sources.environment);
    let (flags, mut from_flags) = environment::flags(&sources.flags);
    let implied = quick::fallback(&file.root, &[&variables, &flags]);
    let root = tree::merge(&[file, &variables, &flags], implied.as_ref());

    let lowered = lower::lower(&root, kinds);
    let mut problems = lowered.problems;
    let mut warnings = Vec::new();
    if syntax.is_empty() {
        problems.extend(lowered.missing);
        let found = cross::check(&lowered.sections);
        problems.extend(found.problems);
        warnings = found.warnings;
    } else {
        // What could not be parsed is neither missing nor a second problem of its line.
        let broken: Vec<Option<usize>> = syntax.iter().map(|p| file::line_of(&p.place)).collect();
        problems.retain(|problem| {
            let line = file::line_of(&problem.place);
            line.is_none() || !broken.contains(&line)
        });
    }
    problems.extend(syntax);
    problems.append(&mut outside);
    problems.append(&mut from_flags);
    if problems.is_empty() {
        return Ok(build::build(&lowered.sections, warnings));
    }
    problems.sort();
    problems.dedup();
    Err(problems)
}

#[cfg(test)]
#[path = "load_tests.rs"]
pub(crate) mod tests;
