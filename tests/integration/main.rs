//! One binary for all behaviours, so that servers are started once; a module per behaviour.

mod command_line;
mod damage;
mod drill;
mod figures;
mod gate;
mod harness;
mod house;
mod keys;
mod least_privilege;
mod lines;
mod majors;
mod operations;
mod oracle;
mod preflight;
mod readme;
mod restore_point;
mod review;
mod roles;
mod scope;
mod sessions;
mod shop;
mod slow;
mod tables;
