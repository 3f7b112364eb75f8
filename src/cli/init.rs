//! `headset init`: a first configuration file, from flags and, on a terminal, from answers.
//!
//! What is asked and what the flags say are the shortcuts of the one-route case, so an
//! answer is judged by the rules of its key the moment it is given, and the whole is judged
//! as `headset check` judges a file before anything is written. Nothing is overwritten
//! unless it is asked for, and no secret is asked for: only where it is kept.

mod written;

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::app::build::{PlanDraft, kind_keys};
use crate::base::problem::{Place, Problem};
use crate::base::time::Clock;
use crate::cli::quick::Shortcuts;
use crate::cli::{exit, report};
use crate::config::load::{self, Sources};
use crate::config::quick::SHORTCUTS;

/// Writes a checked configuration for one contact center, from flags and, on a terminal,
/// from answers to what the flags leave open.
#[derive(clap::Args, Clone, Debug)]
#[command(help_template = super::HELP, before_help = EXAMPLES)]
pub struct InitArgs {
    /// The file to write; `-` is stdout.
    #[arg(default_value = "headset.toml")]
    pub file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    pub force: bool,
    /// What it is to say.
    #[command(flatten)]
    pub shortcuts: Shortcuts,
}

const EXAMPLES: &str = "\
Examples:
  headset init                          ask, then write headset.toml
  headset init /etc/headset/headset.toml --upstream https://cms.example.com:8443 \\
      --register-url https://cms.example.com:8443/configuration/basicauth \\
      --username crm_sync --password-file /run/secrets/headset/password \\
      --context-id 1 --admin-bearer-file /run/secrets/headset/admin-bearer";

/// What a flag says: the key's path, the text, and what the flag is called.
type Flag = (String, String, String);

/// What is asked where no flag says it: the shortcut, the question, and what Enter means.
struct Question {
    flag: &'static str,
    /// Another flag that answers it as well.
    or: Option<&'static str>,
    text: &'static str,
    enter: fn(&[Flag]) -> Option<String>,
}

/// The role that headset takes where none is said.
const USUAL_ROLE: &str = "Administrator";

const QUESTIONS: &[Question] = &[
    Question {
        flag: "upstream",
        or: None,
        text: "Base URL of the contact center, with its port",
        enter: |_| None,
    },
    Question {
        flag: "register-url",
        or: None,
        text: "URL that registers credentials",
        enter: |flags| {
            let upstream = said(flags, "upstream")?;
            Some(format!(
                "{}/configuration/basicauth",
                upstream.trim_end_matches('/')
            ))
        },
    },
    Question {
        flag: "username",
        or: None,
        text: "User name to register; one that nobody else uses",
        enter: |_| None,
    },
    Question {
        flag: "context-id",
        or: None,
        text: "Id of the context (the contact center's own id)",
        enter: |_| None,
    },
    Question {
        flag: "user-role",
        or: None,
        text: "Role of that user; the least that works",
        enter: |_| Some(USUAL_ROLE.into()),
    },
    Question {
        flag: "password-file",
        or: Some("password-env"),
        text: "File that holds, or will hold, the password to register",
        enter: |_| Some("./password".into()),
    },
    Question {
        flag: "admin-bearer-file",
        or: Some("admin-bearer-env"),
        text: "File that holds, or will hold, the administrator's bearer",
        enter: |_| Some("./admin-bearer".into()),
    },
];

/// Asks what is missing, judges all of it, and writes the file.
///
/// # Errors
/// Where the terminal cannot be read. A file that cannot be written is exit code 64, and one
/// that is there stays as it is. What headset would not take is exit code 78, with every problem.
pub fn run(args: InitArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::stderr().lock();
    let to_stdout = args.file == Path::new("-");
    if !to_stdout && !args.force && args.file.exists() {
        writeln!(
            out,
            "headset: {} is there already and stays as it is; give another name, or --force to \
             replace it",
            args.file.display()
        )?;
        return Ok(ExitCode::from(exit::EX_USAGE));
    }
    let mut flags = args.shortcuts.flags;
    for row in SHORTCUTS {
        if let Some(text) = std::env::var(row.variable)
            .ok()
            .filter(|text| !text.is_empty())
            && said(&flags, row.flag).is_none()
        {
            flags.push(flag(row.flag, text));
        }
    }
    if io::stdin().is_terminal() {
        ask(&mut flags, &mut io::stdin().lock(), &mut out)?;
    }
    let mut problems = unanswered(&flags);
    let is_all = problems.is_empty();
    // Of half a configuration only what somebody wrote can be judged.
    let said = judge(&flags).into_iter();
    let written = |key: &str| flags.iter().any(|(path, ..)| path == key);
    problems.extend(said.filter(|fault| is_all || written(&fault.key)));
    if !problems.is_empty() {
        report::problems(&problems, &mut out)?;
        return Ok(ExitCode::from(exit::EX_CONFIG));
    }
    let text = written::file(&flags);
    if to_stdout {
        io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut options = OpenOptions::new();
    match args.force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let written = options.write(true).open(&args.file);
    if let Err(error) = written.and_then(|mut file| file.write_all(text.as_bytes())) {
        writeln!(
            out,
            "headset: {} cannot be written ({error}); see whether its folder is there and who may \
             write into it, or give another name",
            args.file.display()
        )?;
        return Ok(ExitCode::from(exit::EX_USAGE));
    }
    next_steps(&args.file, &flags, &mut out)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks each question that no flag answers, until its answer will do, or the terminal closes.
fn ask(flags: &mut Vec<Flag>, input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<()> {
    while let Some(question) = QUESTIONS.iter().find(|question| question.is_open(flags)) {
        let enter = (question.enter)(flags);
        match &enter {
            Some(enter) => write!(out, "{} [{enter}]: ", question.text)?,
            None => write!(out, "{}: ", question.text)?,
        }
        out.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let answer = match line.trim() {
            "" => enter,
            answer => Some(answer.to_owned()),
        };
        let Some(answer) = answer else {
            writeln!(
                out,
                "  nothing can be guessed here; write an answer, or end with Ctrl-C"
            )?;
            continue;
        };
        if let Some(why) = question.misunderstood(&answer, flags) {
            writeln!(out, "  {why}")?;
            continue;
        }
        flags.push(flag(question.flag, answer));
        // Some rules show only when all is there, and then perhaps at an earlier answer.
        for fault in judge(flags) {
            let at_fault = |(path, _, spelling): &Flag| {
                let asked = |asked: &Question| *spelling == format!("--{}", asked.flag);
                *path == fault.key && QUESTIONS.iter().any(asked)
            };
            if flags.iter().any(at_fault) {
                writeln!(out, "  {}; {}", fault.why, fault.fix)?;
                flags.retain(|flag| !at_fault(flag));
            }
        }
    }
    Ok(())
}

impl Question {
    fn is_open(&self, flags: &[Flag]) -> bool {
        let or = self.or.and_then(|or| said(flags, or));
        said(flags, self.flag).or(or).is_none()
    }

    /// Why `answer`, which is to name a file, cannot be meant so. It is not repeated: it may be
    /// the secret itself.
    fn misunderstood(&self, answer: &str, flags: &[Flag]) -> Option<&'static str> {
        if !FILES.contains(&self.flag) {
            return None;
        }
        let scheme = answer.split_once(' ').map(|(scheme, _)| scheme);
        let is_header = scheme.is_some_and(|word| {
            let words = ["bearer", "basic", "authorization:"];
            words.iter().any(|known| word.eq_ignore_ascii_case(known))
        });
        // Three parts in base64 (RFC 7519 §3.1): all that a bearer of a contact center is.
        let is_token = answer.starts_with("eyJ") && answer.matches('.').count() == 2;
        if is_header || is_token {
            return Some(
                "this looks like the secret itself, which stands in no configuration; write it \
                 into a file, and name that file",
            );
        }
        let same = |other: &&str| *other != self.flag && said(flags, other) == Some(answer);
        FILES.iter().any(same).then_some(
            "the password and the bearer are two secrets, and a file holds one; name another file",
        )
    }
}

/// The questions whose answers are files of secrets.
const FILES: [&str; 2] = ["password-file", "admin-bearer-file"];

/// A problem for each question that is still open.
fn unanswered(flags: &[Flag]) -> Vec<Problem> {
    // The role has a usual one, which headset knows.
    let open = QUESTIONS.iter().filter(|question| question.is_open(flags));
    let open = open.filter(|question| question.flag != "user-role");
    open.map(|question| {
        let or = question
            .or
            .map_or_else(String::new, |or| format!(" or --{or}"));
        let fix = format!("give --{}{or}, or answer on a terminal", question.flag);
        let why = format!("it is not said: {}", question.text);
        Problem::new(Place::Default, "", why, fix)
    })
    .collect()
}

/// What `name` was given as.
fn said<'a>(flags: &'a [Flag], name: &str) -> Option<&'a str> {
    let spelling = format!("--{name}");
    let mut all = flags.iter();
    all.find(|(.., given)| *given == spelling)
        .map(|(_, text, _)| text.as_str())
}

fn flag(name: &str, text: String) -> Flag {
    let row = SHORTCUTS.iter().find(|row| row.flag == name);
    let path = row.map_or_else(String::new, |row| row.path.to_owned());
    (path, text, format!("--{name}"))
}

/// Every problem that headset has with `flags` alone; no secret is read.
fn judge(flags: &[Flag]) -> Vec<Problem> {
    let sources = Sources {
        flags: flags.to_vec(),
        ..Sources::default()
    };
    match load::load(&sources, &kind_keys()) {
        Ok(config) => {
            let mut problems = PlanDraft::judge(&config, &Clock::system());
            config.places.settle(&mut problems);
            problems
        }
        Err(problems) => problems,
    }
}

/// What there is still to do.
fn next_steps(file: &Path, flags: &[Flag], out: &mut dyn Write) -> io::Result<()> {
    let file = file.display();
    writeln!(out, "{file} is written. Next:")?;
    for (name, what) in [
        ("password-file", "the password"),
        ("admin-bearer-file", "the administrator's bearer"),
    ] {
        if let Some(path) = said(flags, name).filter(|path| !Path::new(path).exists()) {
            writeln!(
                out,
                "  write {what} into {path}, which only headset should be able to read (mode 0600)"
            )?;
        }
    }
    writeln!(out, "  headset check --config {file}")?;
    writeln!(out, "  headset run --config {file}")
}

#[cfg(test)]
mod tests;
