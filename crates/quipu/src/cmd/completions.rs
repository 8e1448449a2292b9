//! `quipu completions`.

use crate::cli::Cli;
use crate::output::{Ending, Outcome, print};
use clap::CommandFactory;
use clap_complete::Shell;

/// Print the completions of a shell
///
/// Example, for bash:
///   quipu completions bash > ~/.local/share/bash-completion/completions/quipu
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quipu", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Ending::Done)
}
