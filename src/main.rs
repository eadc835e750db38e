//! The `tollgate` program.

use std::process::ExitCode;

use clap::Parser;
use tollgate::{app, args::Cli};

fn main() -> ExitCode {
    match app::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tollgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
