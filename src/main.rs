//! The `triplecheck` command; see [`triplecheck::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    triplecheck::cli::run(std::env::args_os())
}
