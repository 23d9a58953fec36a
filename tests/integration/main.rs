//! One binary for all behaviours, so that servers are started once; a module per behaviour.

mod audit;
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
mod live;
mod majors;
mod operations;
mod oracle;
mod privileges_live;
mod proxy;
mod readme;
mod referee;
mod review;
mod scope;
mod sessions;
mod shop;
mod slow;
mod staged;
mod tables;
