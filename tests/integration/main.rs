//! One binary for all behaviours, so that servers are started once; a module per behaviour.

mod command_line;
mod damage;
mod drill;
mod figures;
mod gate;
mod harness;
mod house;
mod keys;
mod lag;
mod least_privilege;
mod lines;
mod majors;
mod operations;
mod oracle;
mod readme;
mod review;
mod scope;
mod sequences;
mod sessions;
mod shop;
mod slow;
mod tables;
