//! What is rendered from the grammar of the command line: `docs/commands.md`, and the man
//! pages of packages in `deploy/man/`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
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

/// The page of the commands: what `headset COMMAND --help` prints, each under its name.
fn page() -> String {
    let mut page = String::from(
        "# Commands\n\n\
         What `headset --help` and `headset COMMAND --help` print; rendered from the program, and a\n\
         test compares. Data goes to stdout, all else to stderr.\n",
    );
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
        .map(|command| {
            let name = format!("headset-{}", command.get_name());
            render(name, command.clone())
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
