//! The command `greenroutine`: arguments and dispatch. `bench` measures this runtime in both migration modes, `stress` loads it with
//! everything at once, `doctor` says what the kernel and its limits allow.
//!
//! Public API of the library only. Exit codes: 0, 1 if something failed while it ran, 2 for bad arguments.

#![deny(unsafe_code)]

mod bench;
mod doctor;
mod memory;
mod stress;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Goroutines for Rust: measure them, and see what this system allows.
#[derive(Debug, Parser)]
#[command(name = "greenroutine", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure this runtime in both migration modes.
    Bench(bench::Arguments),
    /// Everything at once, with invariants, for as long as you like.
    Stress(stress::Arguments),
    /// Say what this kernel and its limits allow, with the fix for each limit.
    Doctor,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Stress(arguments) => stress::run(&arguments),
        Command::Doctor => doctor::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads us has read enough: `greenroutine doctor | head -1`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is gone too.
            let _ = writeln!(io::stderr(), "greenroutine: {error}");
            // A setting that the library refuses, such as `--workers 0`, is an argument like the others.
            if error.kind() == io::ErrorKind::InvalidInput { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
