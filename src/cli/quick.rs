//! The flags that `run` and `check` share: the configuration file and the shortcuts
//! of the one-route case.
//!
//! They are made from the table in `config/quick.rs`, which drives the variables too,
//! so a flag, its variable and its key cannot drift apart. Here they are only taken
//! in; the loader judges them beside everything else.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};

use crate::cli::command_listener;
use crate::config::load::{Sources, process_environment};
use crate::config::quick::SHORTCUTS;

/// The variable beside `--config`.
pub const CONFIG_VARIABLE: &str = "HEADSET_CONFIG";

/// `--config` and the shortcuts; flatten it into a command's arguments.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Quick {
    /// The configuration file (TOML) [env: HEADSET_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The one-route case.
    #[command(flatten)]
    pub shortcuts: Shortcuts,
}

impl Quick {
    /// What to load from: these flags, the environment of this process, and the file
    /// of `--config` or else of `HEADSET_CONFIG` (an empty one is none).
    pub fn sources(self) -> Sources {
        let variable = || std::env::var_os(CONFIG_VARIABLE).filter(|value| !value.is_empty());
        Sources {
            file: self.config.or_else(|| variable().map(PathBuf::from)),
            reads_stdin: false,
            environment: process_environment(),
            beneath: Vec::new(),
            without_listener: Vec::new(),
            flags: self.shortcuts.flags,
        }
    }

    /// The same for a command that judges and serves nothing: what has no listener of its own
    /// is judged as `headset run -- COMMAND` serves it.
    pub fn sources_to_judge(self) -> Sources {
        let mut sources = self.sources();
        sources.reads_stdin = true;
        sources.without_listener = command_listener::own();
        sources.without_listener.extend(command_listener::usual());
        sources
    }
}

/// The flags of the one-route case.
#[derive(Clone, Debug, Default)]
pub struct Shortcuts {
    /// The key's path, the text and the flag's spelling.
    pub flags: Vec<(String, String, String)>,
}

impl clap::Args for Shortcuts {
    fn augment_args(command: Command) -> Command {
        let rows = SHORTCUTS.iter().map(|row| {
            Arg::new(row.flag)
                .long(row.flag)
                .value_name(row.value)
                .value_parser(clap::value_parser!(OsString))
                .help(format!("{} [env: {}]", row.help, row.variable))
                .help_heading("One route without a file")
        });
        command.args(rows)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Shortcuts {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Shortcuts, clap::Error> {
        let mut shortcuts = Shortcuts::default();
        shortcuts.update_from_arg_matches(matches)?;
        Ok(shortcuts)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.flags = SHORTCUTS
            .iter()
            .filter_map(|row| {
                // What is not UTF-8 becomes U+FFFD, which no key accepts.
                let text = matches.get_one::<OsString>(row.flag)?.to_string_lossy();
                let spelling = format!("--{}", row.flag);
                Some((row.path.to_owned(), text.into_owned(), spelling))
            })
            .collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct ShortcutLine {
        #[command(flatten)]
        quick: Quick,
    }

    #[test]
    fn every_shortcut_is_a_flag_that_carries_its_key() {
        let mut line = vec!["headset".to_owned(), "--config=h.toml".to_owned()];
        line.extend(SHORTCUTS.iter().map(|row| format!("--{}=007", row.flag)));
        let quick = ShortcutLine::try_parse_from(line).unwrap().quick;
        assert_eq!(quick.config, Some("h.toml".into()));
        let expected: Vec<(String, String, String)> = SHORTCUTS
            .iter()
            .map(|row| (row.path.into(), "007".into(), format!("--{}", row.flag)))
            .collect();
        assert_eq!(quick.shortcuts.flags, expected);
        assert_eq!(quick.sources().file, Some("h.toml".into()));
    }

    #[test]
    fn an_unknown_flag_is_refused_and_none_is_needed() {
        assert!(ShortcutLine::try_parse_from(["headset", "--password=x"]).is_err());
        assert!(
            ShortcutLine::try_parse_from(["headset"])
                .unwrap()
                .quick
                .shortcuts
                .flags
                .is_empty()
        );
    }
}
