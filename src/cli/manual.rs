//! `tallyd completions` and `tallyd man`: the command line, for shells and for `man`.

use std::process::ExitCode;

use clap::Args;

use super::{command_line, fail_if_any, print};

#[derive(Args, Debug)]
pub(super) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(super) struct Man {
    /// The command, like `count` or `store ls` [default: tallyd itself]
    command: Vec<String>,
}

impl Completions {
    pub(super) fn run(&self) -> ExitCode {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command_line(), "tallyd", &mut text);
        print(&text);
        ExitCode::SUCCESS
    }
}

impl Man {
    pub(super) fn run(&self) -> ExitCode {
        let mut page = command_line();
        // Gives each command its whole name: `tallyd store ls`.
        page.build();
        for name in &self.command {
            let Some(found) = page.find_subcommand(name) else {
                let command = self.command.join(" ");
                return fail_if_any(&[format!(
                    "tallyd has no command `{command}`; `tallyd help` lists the commands"
                )]);
            };
            page = found.clone();
        }
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = clap_mangen::Man::new(page)
            .source(concat!("tallyd ", env!("CARGO_PKG_VERSION")))
            .render(&mut text);
        print(&text);
        ExitCode::SUCCESS
    }
}
