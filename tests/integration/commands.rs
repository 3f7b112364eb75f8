//! What is rendered from the grammar of the command line: `docs/commands.md`, and the man
//! pages of packages in `deploy/man/`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _, Parser as _};
use headset::cli::Cli;

const WIDTH: usize = 88;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn grammar() -> Command {
    let mut grammar = Cli::command()
        .term_width(WIDTH)
        .disable_help_subcommand(true);
    grammar.build();
    grammar
}

/// What a script may do about an outcome.
const EXITS: &str = "\
## Exit codes

| Exit code | sysexits | When |
|---|---|---|
| 0 | `EX_OK` | the command is done, or a signal stopped headset and it drained |
| 64 | `EX_USAGE` | the command line is wrong |
| 69 | `EX_UNAVAILABLE` | a port is in use, an address cannot be bound, an issuer cannot be reached, or no headset runs (`status`, `retry`, `log-level`, `shutdown`) |
| 70 | `EX_SOFTWARE` | headset itself failed: every worker ended, or the machine refused a thread; start it again |
| 75 | `EX_TEMPFAIL` | an issuer failed (`mint`, `retry`, `check --online`), or what was waited for did not come (`wait`, `shutdown`): try again later |
| 77 | `EX_NOPERM` | an issuer refused (`mint`, `retry`, `check --online`), or the running headset refused the command |
| 78 | `EX_CONFIG` | the configuration is wrong; headset lists all problems |

`headset health` ends with 0 or 1, as probes want it. `headset run -- COMMAND` ends with the exit code of
the command, 128 and the number where a signal ended it; 127 where it was not found, 126 where it
could not be started.
";

/// The page of the commands: what `headset COMMAND --help` prints, each under its name.
fn page() -> String {
    let mut page = String::from(
        "# Commands\n\n\
         What `headset --help` and `headset COMMAND --help` print; rendered from the program, and a\n\
         test compares. Data goes to stdout, all else to stderr.\n",
    );
    page.push('\n');
    page.push_str(EXITS);
    let mut grammar = grammar();
    let mut section = |title: &str, command: &mut Command| {
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        let _ = write!(page, "\n## {title}\n\n```text\n{}\n```\n", help.join("\n"));
    };
    section("headset", &mut grammar);
    for command in grammar
        .get_subcommands_mut()
        .filter(|one| !one.is_hide_set())
    {
        let title = format!("headset {}", command.get_name());
        section(&title, &mut command.clone());
        for below in command.get_subcommands_mut() {
            section(&format!("{title} {}", below.get_name()), &mut below.clone());
        }
    }
    page
}

/// The man pages: the name of each file, and its text.
fn man_pages() -> Vec<(String, String)> {
    let grammar = grammar();
    let render = |name: String, command: Command| {
        let mut text = Vec::new();
        let man = clap_mangen::Man::new(command).date("").manual("headset");
        man.render(&mut text).unwrap();
        (
            format!("deploy/man/{name}.1"),
            String::from_utf8(text).unwrap(),
        )
    };
    let commands = grammar.get_subcommands().filter(|one| !one.is_hide_set());
    let mut pages: Vec<(String, String)> = commands
        .flat_map(|command| {
            let name = format!("headset-{}", command.get_name());
            let below: Vec<(String, String)> = command
                .get_subcommands()
                .map(|below| render(format!("{name}-{}", below.get_name()), below.clone()))
                .collect();
            [render(name, command.clone())].into_iter().chain(below)
        })
        .collect();
    pages.push(render("headset".into(), grammar.clone()));
    pages
}

/// With `UPDATE=1` the files are written instead.
#[test]
fn the_page_and_the_man_pages_are_what_the_program_says() {
    let mut files = man_pages();
    files.push(("docs/commands.md".into(), page()));
    let update = std::env::var_os("UPDATE").is_some();
    let folder = root().join("deploy/man");
    if update {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
    }
    for (name, text) in &files {
        let path = root().join(name);
        if update {
            std::fs::write(&path, text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == *text,
            "{name} is stale: run UPDATE=1 cargo test --test integration commands"
        );
    }
    let there = std::fs::read_dir(&folder).unwrap();
    let there: BTreeSet<String> = there
        .map(|entry| format!("deploy/man/{}", entry.unwrap().file_name().display()))
        .collect();
    let rendered: BTreeSet<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let left: Vec<&String> = there.difference(&rendered).collect();
    assert!(left.is_empty(), "{left:?} are of commands that are gone");
}

/// The pages that people read: the README, and the book.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "docs/howto"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        pages.extend(entries.map(|entry| entry.unwrap().path()));
    }
    pages.retain(|path| path.extension().is_some_and(|ext| ext == "md"));
    let read = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).unwrap());
    pages.into_iter().map(read).collect()
}

/// The commands of the blocks of `page` that are for a shell, each as its words.
fn shell_commands(page: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for block in page.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap().replace("\\\n", " ");
        for line in block.lines() {
            let line = line.trim();
            let line = line.split(" #").next().unwrap();
            for command in line.split(['|', ';', '&', '>', '<']) {
                let words = command
                    .split_whitespace()
                    .map(|word| word.trim_matches('"').to_owned());
                commands.push(words.collect());
            }
        }
    }
    commands
}

#[test]
fn every_headset_command_that_a_page_shows_is_in_the_grammar() {
    let mut shown = 0;
    for (path, text) in pages() {
        for words in shell_commands(&text) {
            if words.first().is_none_or(|word| word != "headset") {
                continue;
            }
            shown += 1;
            if let Err(error) = Cli::try_parse_from(&words)
                && !matches!(
                    error.kind(),
                    ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
                )
            {
                panic!("{}: {}\n{error}", path.display(), words.join(" "));
            }
        }
    }
    assert!(shown > 15, "only {shown}");
}
