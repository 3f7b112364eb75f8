//! References to secrets, as a configuration writes them.
//!
//! A secret itself is never written there. Where one is, the message shows nothing of
//! it: nor of what might be one, such as a variable's name that is none.

use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::config::fault::{fault, key_path};
use crate::config::text::{path, plain, unquoted};
use crate::config::tree::{Node, ScalarForm, Shape};
use crate::config::values::Value;
use crate::secret::{Program, SecretSource};

const WRITE: &str = "write { file = \"/path\" }, { env = \"VARIABLE\" } or { command = [\"program\", \"argument\"] }";

/// Reads a reference to a secret; `own` says whether headset may make it itself.
/// Nothing that was written is ever shown but the names of keys.
pub(super) fn secret(node: &Node, at: &str, own: bool) -> Result<SecretSource, Vec<Problem>> {
    let one = |place: &Place, key: String, why: String, fix: String| {
        Err(vec![Problem::new(place.clone(), key, why, fix)])
    };
    let Some(children) = node.children() else {
        let fix = match &node.place {
            Place::Variable(name) => {
                format!("set {name}__FILE to a path or {name}__ENV to a variable's name instead")
            }
            _ => format!("{WRITE} instead"),
        };
        let why = "a secret is written by reference only, and this is not one".into();
        return one(&node.place, at.into(), why, fix);
    };
    let sources: &[&str] = match own {
        true => &["file", "env", "command", "generate"],
        false => &["file", "env", "command"],
    };
    let mut problems = Vec::new();
    for (name, child) in children {
        if !sources.contains(&name.as_str()) {
            problems.push(Problem::new(
                child.place.clone(),
                format!("{at}.{}", key_path([name.as_str()].into_iter())),
                "a secret has no such source",
                WRITE,
            ));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // Beside a command, `env` names what it sees of the environment.
    let has_command = children.contains_key("command");
    let mut set = sources
        .iter()
        .filter(|name| !(has_command && **name == "env" && is_list(children.get("env"))))
        .filter_map(|name| Some((*name, children.get(*name)?)));
    match (set.next(), set.next()) {
        (Some((first, a)), Some((second, b))) => one(
            &b.place,
            at.into(),
            format!(
                "both {first} ({}) and {second} ({}) are set, and a secret has one source",
                a.place, b.place
            ),
            "remove one of the two".into(),
        ),
        (Some(("command", node)), None) => command(node, children.get("env"), at),
        (Some((name, node)), None) => source(name, node, &format!("{at}.{name}")),
        (None, _) => one(
            &node.place,
            at.into(),
            "it names no source".into(),
            WRITE.into(),
        ),
    }
}

/// A program, and the variables that it sees, of the secret at `at`.
fn command(node: &Node, env: Option<&Node>, at: &str) -> Result<SecretSource, Vec<Problem>> {
    let key = format!("{at}.command");
    let refuse = |why: &str, fix: &str| {
        let problem = Problem::new(node.place.clone(), key.as_str(), why, fix);
        Err(vec![problem])
    };
    let argv = argv(node, &key)?;
    let program = argv.first().map_or("", String::as_str);
    if program.is_empty() {
        return refuse("it names no program", "write [\"program\", \"argument\"]");
    }
    // An argument may be meant for a shell.
    if let Err((why, fix)) = path(program) {
        return refuse(&why, &fix);
    }
    let env = match env {
        Some(env) => variables(env, &format!("{at}.env"))?,
        None => Vec::new(),
    };
    Ok(SecretSource::Command(Program { argv, env }))
}

fn source(name: &str, node: &Node, at: &str) -> Result<SecretSource, Vec<Problem>> {
    let refuse = |why: &str, fix: &str| Err(vec![Problem::new(node.place.clone(), at, why, fix)]);
    match name {
        "file" => match path(reference(node, at)?) {
            Ok(path) => Ok(SecretSource::File(path.into())),
            Err((why, fix)) => refuse(&why, &fix),
        },
        "env" => {
            let name = reference(node, at)?;
            if !is_variable(name) {
                // It may well be the secret itself, so it stays unsaid.
                return refuse(
                    "this is not the name of a variable",
                    "write the variable's name, never its value",
                );
            }
            Ok(SecretSource::Env(name.to_owned()))
        }
        _ => match &node.shape {
            Shape::Scalar(text, ScalarForm::Loose | ScalarForm::Bool) if text == "true" => {
                Ok(SecretSource::Generate)
            }
            _ => refuse("this can only be true", "write { generate = true }"),
        },
    }
}

fn is_variable(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(word)
}

/// Whether `env` can only be meant for a command. From outside a file every list is text,
/// and a command has but one source.
fn is_list(env: Option<&Node>) -> bool {
    env.is_some_and(|env| {
        matches!(
            env.shape,
            Shape::List(_) | Shape::Scalar(_, ScalarForm::Loose)
        )
    })
}

/// Names of variables that a command sees besides the usual ones.
fn variables(node: &Node, at: &str) -> Result<Vec<String>, Vec<Problem>> {
    let names = argv(node, at)?;
    if names.iter().all(|name| is_variable(name)) {
        return Ok(names);
    }
    // It may well be a value, so it stays unsaid.
    Err(vec![Problem::new(
        node.place.clone(),
        at,
        "one of these is not the name of a variable",
        "write names of variables, such as [\"VAULT_ADDR\"], never their values",
    )])
}

/// A program and its arguments: a list, or text with commas from outside a file.
fn argv(node: &Node, at: &str) -> Result<Vec<String>, Vec<Problem>> {
    let fix = "write a list of texts, such as [\"program\", \"argument\"]";
    let problem = |place: &Place, why: String| Problem::new(place.clone(), at, why, fix);
    match &node.shape {
        Shape::Scalar(text, ScalarForm::Loose) => Ok(text.split(',').map(str::to_owned).collect()),
        Shape::List(items) => {
            let mut argv = Vec::new();
            let mut problems = Vec::new();
            for item in items {
                match &item.shape {
                    Shape::Scalar(text, ScalarForm::Text) if !text.contains('\0') => {
                        argv.push(text.clone());
                    }
                    _ => problems.push(problem(
                        &item.place,
                        format!("this is {} in a list of texts", item.what()),
                    )),
                }
            }
            if problems.is_empty() {
                Ok(argv)
            } else {
                Err(problems)
            }
        }
        _ => Err(vec![problem(
            &node.place,
            format!("this is {} where a list is expected", node.what()),
        )]),
    }
}

fn reference<'a>(node: &'a Node, at: &str) -> Result<&'a str, Vec<Problem>> {
    let read = match &node.shape {
        Shape::Scalar(text, ScalarForm::Loose) => unquoted(text).and_then(plain),
        Shape::Scalar(text, ScalarForm::Text) => plain(text),
        _ => fault(format!("this is {}", node.what()), "write it in quotes"),
    };
    read.map_err(|(why, fix)| vec![Problem::new(node.place.clone(), at, why, fix)])
}

/// Reads a bearer: a secret, or the name of a credential that yields one.
pub(super) fn bearer(node: &Node, at: &str) -> Result<Value, Vec<Problem>> {
    let Some(name) = node.at(["credential"].into_iter()) else {
        return secret(node, at, false).map(Value::Secret);
    };
    let key = format!("{at}.credential");
    let one = |place: &Place, why: &str, fix: &str| {
        vec![Problem::new(place.clone(), key.clone(), why, fix)]
    };
    if node.children().is_some_and(|children| children.len() > 1) {
        return Err(one(
            &name.place,
            "a credential and a secret are set, and a bearer has one source",
            "remove one of the two",
        ));
    }
    let text = reference(name, &key)?;
    Name::parse(text).map(Value::Credential).ok_or_else(|| {
        one(
            &name.place,
            "this is not the name of a credential",
            "write the NAME of a table [credential.NAME]",
        )
    })
}

/// Reads a table of header names, each with a reference to a secret.
pub(super) fn secret_headers(
    node: &Node,
    at: &str,
) -> Result<Vec<(String, SecretSource)>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut headers: Vec<(String, SecretSource)> = Vec::new();
    let Some(children) = node.children().filter(|children| !children.is_empty()) else {
        return Err(vec![Problem::new(
            node.place.clone(),
            at,
            "a table of header names is expected here",
            "write { \"x-key\" = { file = \"/path\" } }",
        )]);
    };
    for (name, child) in children {
        let path = format!("{at}.{}", key_path([name.as_str()].into_iter()));
        let Ok(header) = http::HeaderName::from_bytes(name.as_bytes()) else {
            problems.push(Problem::new(
                child.place.clone(),
                path,
                "this is not the name of a header",
                "write letters, digits and dashes",
            ));
            continue;
        };
        if headers.iter().any(|(seen, _)| seen == header.as_str()) {
            problems.push(Problem::new(
                child.place.clone(),
                path,
                "this header is set twice, and case does not tell headers apart",
                "remove one of the two",
            ));
            continue;
        }
        match secret(child, &path, false) {
            Ok(source) => headers.push((header.as_str().to_owned(), source)),
            Err(mut found) => problems.append(&mut found),
        }
    }
    if problems.is_empty() {
        Ok(headers)
    } else {
        Err(problems)
    }
}
