//! One binary for all behaviours, so that servers are started once; a module per behaviour.

mod certificates;
mod command_line;
mod conninfo;
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
mod password_command;
mod psql;
mod readme;
mod review;
mod scope;
mod sessions;
mod shop;
mod slow;
mod tables;
mod tls;
