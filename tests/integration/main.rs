//! One binary for all behaviours, so that servers are started once; a module per behaviour.

mod command_line;
mod harness;
mod house;
mod review;
mod shop;
