//! Loading: defaults < file < `HEADSET_` environment < flags, in one call.
//!
//! Either a whole [`Config`] comes out, or every [`Problem`] at once. The only thing
//! touched on the way is the configuration file itself: no secret is read here, only
//! said where it is.

use std::path::{Path, PathBuf};

use crate::base::problem::{Place, Problem};
use crate::config::fault::near;
use crate::config::file::FileRead;
use crate::config::key::{Fallback, KindKeys};
use crate::config::places::Places;
use crate::config::section::Section;
use crate::config::tree::{ConfigLayer, Node};
use crate::config::{Config, build, cross, environment, file, lower, quick, shared_store, tree};
use crate::secret::{SecretSource, exposed};

/// What a configuration is read from, weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one; `-` is standard input.
    pub file: Option<PathBuf>,
    /// Whether it may be standard input: for who reads the configuration once.
    pub reads_stdin: bool,
    /// Environment variables, name and value; those that are not ours are ignored.
    pub environment: Vec<(String, String)>,
    /// What holds where nothing else says otherwise, in the form of flags.
    pub beneath: Vec<(String, String, String)>,
    /// What makes a listener where none is configured and there are routes, in the form of
    /// flags: for who judges what `headset run -- COMMAND` would serve.
    pub without_listener: Vec<(String, String, String)>,
    /// Flags: the key's full path, the text, and the flag's spelling (`--upstream`).
    pub flags: Vec<(String, String, String)>,
}

/// The `HEADSET_` variables of this process, also where small letters make them none of ours,
/// which is told. What is not UTF-8 in a value becomes U+FFFD, which no key accepts; a name
/// that is not UTF-8 cannot be ours.
pub fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let begins = environment::rest_of(&name).is_some();
            begins.then(|| (name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Reads and judges everything. `kinds` are the credential kinds there are.
///
/// # Errors
/// All problems, in the order of their places; never an empty list.
pub fn load(sources: &Sources, kinds: &[KindKeys]) -> Result<Config, Vec<Problem>> {
    let file = read_file(sources);
    judge(&file.layer, file.problems, sources, kinds)
}

/// All that one reading of the sources yields.
#[derive(Debug)]
pub struct ConfigReading {
    /// Every secret that they name, whatever else is wrong with them: its key, where it is
    /// kept, and where that was written.
    pub secrets: Vec<(String, SecretSource, Place)>,
    /// As [`load`] has it.
    pub outcome: Result<Config, Vec<Problem>>,
    /// The text of the file; `None` where there is none, or it cannot be read.
    pub text: Option<String>,
}

/// Reads and judges everything as [`load`] does, and keeps what else there is to tell.
pub fn read(sources: &Sources, kinds: &[KindKeys]) -> ConfigReading {
    let file = read_file(sources);
    ConfigReading {
        secrets: secrets(&file.layer, sources, kinds),
        outcome: judge(&file.layer, file.problems, sources, kinds),
        text: file.text,
    }
}

fn secrets(
    file: &ConfigLayer,
    sources: &Sources,
    kinds: &[KindKeys],
) -> Vec<(String, SecretSource, Place)> {
    let (variables, _) = environment::variables(&sources.environment);
    let (flags, _) = environment::flags(&sources.flags);
    let (root, _) = merged(file, &variables, &flags, sources);
    let mut found = Vec::new();
    let sections = lower::lower(&root, kinds).sections;
    let is_holder = is_holder(&sections);
    for section in &sections {
        let own = section.kind.as_ref().map(|(_, values)| values);
        for values in std::iter::once(&section.values).chain(own) {
            for (path, source, place) in values.secrets() {
                if is_holder && is_login_secret(section, &path, kinds) {
                    continue;
                }
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

/// Everything as one tree, and whether the listener in it is the one that a command is given.
fn merged(
    file: &ConfigLayer,
    variables: &ConfigLayer,
    flags: &ConfigLayer,
    sources: &Sources,
) -> (Node, bool) {
    let (beneath, _) = environment::flags(&sources.beneath);
    let implied = quick::fallback(&file.root, &[variables, flags]);
    let root = tree::merge(&[&beneath, file, variables, flags], implied.as_ref());
    if sources.without_listener.is_empty() || !lacks_a_listener(&root) {
        return (root, false);
    }
    let (given, _) = environment::flags(&sources.without_listener);
    let layers = [&given, &beneath, file, variables, flags];
    (tree::merge(&layers, implied.as_ref()), true)
}

/// Whether there are routes, and no listener but what is said of the one that a command is
/// given, which says itself where it listens.
fn lacks_a_listener(root: &Node) -> bool {
    let named = |table: &str| root.at([table].into_iter()).and_then(Node::children);
    let has_bind = |listener: &Node| listener.at(["bind"].into_iter()).is_some();
    named("route").is_some_and(|routes| !routes.is_empty())
        && named("listener").is_none_or(|all| all.values().all(|one| !has_bind(one)))
}

fn is_holder(sections: &[Section]) -> bool {
    let mut fleet = sections.iter().filter(|section| section.table == "fleet");
    fleet.any(|fleet| shared_store::is_holder(&fleet.values))
}

/// Each login secret that a holder has and never uses.
fn unused_login_secrets(sections: &[Section], kinds: &[KindKeys]) -> Vec<Problem> {
    let mut found = Vec::new();
    for section in sections.iter().filter(|_| is_holder(sections)) {
        let Some((_, own)) = &section.kind else {
            continue;
        };
        let secrets = own.secrets().into_iter();
        for (path, _, place) in secrets.filter(|(path, ..)| is_login_secret(section, path, kinds)) {
            found.push(Problem::new(
                place.clone(),
                format!("{}.{path}", section.at),
                "it is never used: a holder of a fleet reads what keepers mint",
                "remove it here, so that there is one place less to keep it secret; keepers need it",
            ));
        }
    }
    found
}

/// Whether `path` is a secret that a credential is minted with, and a holder has no use for.
fn is_login_secret(section: &Section, path: &str, kinds: &[KindKeys]) -> bool {
    let kind = section.kind.as_ref().map(|(kind, _)| *kind);
    let kind = kinds.iter().find(|one| Some(one.kind) == kind);
    let mut keys = kind.into_iter().flat_map(|kind| kind.keys);
    keys.any(|key| key.path == path && key.default == Fallback::Required)
}

/// Each secret file and the store's folder of `config` that others on this machine can
/// read or change: legal, and probably not meant. Opens nothing.
pub fn exposed(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut told = Vec::new();
    let mut warn = |key: &str, path: &std::path::Path, seen: Option<exposed::Exposed>| {
        let Some(seen) = seen.filter(|_| !told.contains(&path.to_owned())) else {
            return;
        };
        told.push(path.to_owned());
        found.push(Problem::new(
            config.places.place(key),
            key,
            format!(
                "{} has mode {:04o}: {}",
                path.display(),
                seen.mode,
                seen.who
            ),
            seen.fix,
        ));
    };
    for (key, source) in config.secrets() {
        if let SecretSource::File(path) = source {
            warn(&key, path, exposed::file(path));
        }
    }
    for listener in &config.listeners {
        if let Some(tls) = &listener.tls {
            let key = format!("listener.{}.tls.key", listener.name);
            warn(&key, &tls.key, exposed::file(&tls.key));
        }
    }
    if let Some(path) = config.store_folder() {
        warn("store.path", path, exposed::folder(path));
    }
    found
}

fn read_file(sources: &Sources) -> FileRead {
    match &sources.file {
        Some(path) if path == Path::new(file::STDIN) => file::standard_input(!sources.reads_stdin),
        Some(path) => file::read(path),
        None => FileRead {
            layer: ConfigLayer {
                name: "file",
                root: Node::table(Place::Default),
            },
            problems: Vec::new(),
            text: None,
        },
    }
}

fn judge(
    file: &ConfigLayer,
    syntax: Vec<Problem>,
    sources: &Sources,
    kinds: &[KindKeys],
) -> Result<Config, Vec<Problem>> {
    let (variables, mut outside) = environment::variables(&sources.environment);
    let (flags, mut from_flags) = environment::flags(&sources.flags);
    let (root, for_a_command) = merged(file, &variables, &flags, sources);

    let mut lowered = lower::lower(&root, kinds);
    let places = Places::of(&lowered.sections, &file.root.place);
    let mut problems = std::mem::take(&mut lowered.problems);
    let near = environment::near_misses(&sources.environment, kinds, &variables_of(&lowered));
    let mut warnings = Vec::new();
    if syntax.is_empty() {
        let found = cross::check(&lowered.sections);
        warnings = found.warnings;
        warnings.extend(unused_login_secrets(&lowered.sections, kinds));
        if for_a_command {
            warnings.push(Problem::new(
                Place::Default,
                "listener",
                "there is none, so this is judged with the one that `headset run -- COMMAND` opens",
                "start it so, or write [listener.app] with bind = \"127.0.0.1:8080\"",
            ));
        }
        let is_news = |p: &Problem| !is_told(&p.key, &problems, &lowered.meant);
        let missing = lowered.missing.into_iter().filter(is_news);
        let missing = missing.map(|problem| meant_for_another(problem, &root));
        let absent = missing.chain(found.problems.into_iter().filter(is_news));
        let mut absent: Vec<Problem> = absent.collect();
        for miss in near {
            // What it was to set is not missing too.
            let before = absent.len();
            absent.retain(|problem| !is_at_or_below(&miss.path, &problem.key));
            match absent.len() == before {
                true => warnings.push(miss.problem),
                false => problems.push(miss.problem),
            }
        }
        problems.extend(absent);
    } else {
        // What could not be parsed is neither missing nor a second problem of its line.
        let broken: Vec<Option<usize>> = syntax.iter().map(|p| file::line_of(&p.place)).collect();
        problems.retain(|problem| {
            let line = file::line_of(&problem.place);
            line.is_none() || !broken.contains(&line)
        });
    }
    for stranger in environment::strangers(&file.root, &variables) {
        let before = problems.len();
        problems.retain(|problem| !is_at_or_below(&problem.key, &stranger.path));
        match before == problems.len() {
            true => warnings.push(stranger.problem),
            false => problems.push(stranger.problem),
        }
    }
    for beside in [&variables, &flags]
        .iter()
        .flat_map(|layer| quick::beside(&file.root, layer))
    {
        let table = format!("{}.{}", beside.table, beside.name);
        problems.retain(|problem| !is_at_or_below(&problem.key, &table));
        problems.push(beside_a_file(&beside));
    }
    problems.extend(syntax);
    problems.append(&mut outside);
    problems.append(&mut from_flags);
    places.settle(&mut problems);
    places.settle(&mut warnings);
    if problems.is_empty() {
        return Ok(build::build(&lowered.sections, warnings, places));
    }
    if sources.file.is_none() && Path::new(USUAL_FILE).is_file() {
        point_to_the_file(&mut problems);
    }
    problems.sort_unstable();
    problems.dedup();
    Err(problems)
}

/// The file that `headset init` writes, in the folder where a command is called.
const USUAL_FILE: &str = "headset.toml";

/// What is missing may well stand in the file that was not named: it is never read by
/// itself, since whoever can write into a folder would choose where credentials go.
fn point_to_the_file(problems: &mut [Problem]) {
    let missing = problems.iter_mut().filter(|p| p.place == Place::Default);
    for problem in missing.filter(|p| ["listener", "route"].contains(&&*p.key)) {
        problem.fix = format!(
            "there is a {USUAL_FILE} in this folder: give --config {USUAL_FILE}; or {}",
            problem.fix
        );
    }
}

/// Whether what is wrong at `key` follows from one of `problems`, or from a key that was
/// `meant` by another word.
fn is_told(key: &str, problems: &[Problem], meant: &[String]) -> bool {
    meant.iter().any(|meant| match meant.contains('.') {
        true => is_at_or_below(key, meant),
        false => key == meant,
    })
        // A table that is not there, where one was written that is none.
        || (matches!(key, "listener" | "route") && problems.iter().any(|p| is_at_or_below(&p.key, key)))
}

/// Whether `key` is `table`, or stands below it.
fn is_at_or_below(key: &str, table: &str) -> bool {
    let rest = key.strip_prefix(table);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// That a key is missing, or where that is the address of a listener which has nearly the name
/// of one with an address, as the one that a command is given: what was probably meant.
fn meant_for_another(problem: Problem, root: &Node) -> Problem {
    let named = problem.key.strip_prefix("listener.");
    let Some(name) = named.and_then(|rest| rest.strip_suffix(".bind")) else {
        return problem;
    };
    let listeners = root.at(["listener"].into_iter()).and_then(Node::children);
    let bound = listeners.into_iter().flatten();
    let bound = bound.filter(|(_, one)| one.at(["bind"].into_iter()).is_some());
    let Some(meant) = near(name, bound.map(|(name, _)| name.as_str())) else {
        return problem;
    };
    let (at, meant) = (format!("listener.{name}"), format!("listener.{meant}"));
    let meant = match &problem.place {
        Place::Variable(variable) => {
            let [begins, other] = [&at, &meant].map(|path| environment::variable_of(path));
            variable.replacen(&begins, &other, 1)
        }
        _ => meant,
    };
    Problem::new(
        problem.place,
        at,
        "this makes a listener of its own, which has no address to listen on",
        format!("did you mean {meant}? Or {}", problem.fix),
    )
}

/// The variables that secrets are taken from.
fn variables_of(lowered: &lower::Lowered) -> Vec<String> {
    let own = |section: &Section| section.kind.as_ref().map(|(_, own)| own.clone());
    let all = lowered.sections.iter();
    let all = all.flat_map(|section| std::iter::once(section.values.clone()).chain(own(section)));
    let mut names = Vec::new();
    for values in all {
        for (_, source, _) in values.secrets() {
            if let SecretSource::Env(name) = source {
                names.push(name.clone());
            }
        }
    }
    names
}

/// That a shortcut, which makes a table of its own, does not change those of the file.
fn beside_a_file(beside: &quick::ShortcutConflict<'_>) -> Problem {
    let quick::ShortcutConflict {
        place,
        table,
        name,
        rest,
        names,
    } = beside;
    let first = names.first().copied().unwrap_or("NAME");
    Problem::new(
        (*place).clone(),
        format!("{table}.{name}.{rest}"),
        format!(
            "it would make {table}.{name} beside what the file has ({})",
            names.join(", ")
        ),
        format!(
            "write {rest} below [{table}.{first}] in the file, or set {}",
            environment::variable_of(&format!("{table}.{first}.{rest}"))
        ),
    )
}

#[cfg(test)]
pub(crate) mod tests;
