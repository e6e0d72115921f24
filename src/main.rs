//! Parses the command line, starts telemetry, and calls the command.

// a release build lays out the futures of all that a request may ask within each other
#![recursion_limit = "256"]

use std::ffi::OsString;
use std::process::ExitCode;

use homepot_analytics::{allocator, cli, config::Cli, telemetry};

/// The command line. `help --help` asks for the help of `help`, which the library does not take.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if let [_, help, flag] = arguments.as_mut_slice()
        && help == "help"
        && (flag == "--help" || flag == "-h")
    {
        help.clone_into(flag);
    }
    arguments
}

fn main() -> ExitCode {
    let arguments = match Cli::read(&arguments()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    if let Err(error) = telemetry::start(&arguments.log, arguments.log_format) {
        cli::complain(&error);
        return ExitCode::from(2);
    }
    allocator::decline_huge_pages();
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
