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
        Ok(runtime) => {
            let done = runtime.block_on(cli::run(arguments.command));
            // a thread that still reads standard input would hold up the end, and what is said of it
            runtime.shutdown_background();
            done
        }
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
