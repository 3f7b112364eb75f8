//! `headset schema`: the shape of a configuration file, for an editor.

use std::io::Write as _;
use std::process::ExitCode;

use crate::app::build::kind_keys;
use crate::config::schema::schema;

/// Prints the JSON Schema (draft 7) of a configuration file to stdout.
#[derive(clap::Args, Clone, Debug)]
#[command(help_template = super::HELP, before_help = EXAMPLES)]
pub struct SchemaArgs {}

const EXAMPLES: &str = "\
Examples:
  headset schema > headset.schema.json
  then, as the first line of headset.toml, for an editor that knows TOML (Taplo, Tombi,
  Even Better TOML):
      #:schema ./headset.schema.json";

/// Prints it.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(_args: SchemaArgs) -> anyhow::Result<ExitCode> {
    let schema = schema(&kind_keys());
    writeln!(std::io::stdout(), "{schema:#}")?;
    Ok(ExitCode::SUCCESS)
}
