//! One binary for all behaviours, so that servers are started once; a module per behaviour.

mod command_line;
mod damage;
mod figures;
mod harness;
mod house;
mod keys;
mod least_privilege;
mod lines;
mod oracle;
mod readme;
mod shop;
mod tables;
