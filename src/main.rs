//! Parses the command line, starts telemetry, and calls the command.

use std::process::ExitCode;

use clap::Parser;
use homepot_analytics::{cli, config::Cli, telemetry};

fn main() -> ExitCode {
    let arguments = Cli::parse();
    if let Err(error) = telemetry::start(&arguments.log, arguments.log_format) {
        cli::complain(&error);
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(cli::run(arguments.command)),
        Err(error) => Err(anyhow::Error::new(error).context("cannot start the runtime")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}
