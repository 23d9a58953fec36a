//! What servers say about their health: settings, capacity, slots, subscriptions, transactions, privileges of the role.
//!
//! [`read`] asks; nothing here judges. A question that a server refuses is [`Probe::Refused`] with what it said, so that
//! one refusal hides nothing else.

mod model;
mod publisher;
mod queries;
mod server;
mod subscriber;
mod tables;

pub use model::*;
pub use publisher::{read_position_of_primary, try_slot};

use super::read::Request;
use super::relations::Relations;
use super::select::Selection;
use super::versions::Major;
use crate::connect::Session;
use crate::error::Result;
use crate::side::Side;

/// Reads the health of the publisher and, if there is one, of the subscriber.
///
/// # Errors
///
/// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) where a server's version is not supported or a pattern matches
/// nothing; whatever a session reports that has ended.
pub async fn read(publisher: &Session, subscriber: Option<&Session>, request: &Request) -> Result<Health> {
    let major = Major::of(publisher.version_num());
    major.check(Side::Publisher)?;
    let relations = Relations::read(publisher, major).await?;
    let selection = Selection::resolve(publisher, &request.tables, &request.exclude_tables).await?;
    let on_publisher = publisher::read(publisher, major, &relations, &selection).await?;
    let on_subscriber = match subscriber {
        Some(session) => {
            let major = Major::of(session.version_num());
            major.check(Side::Subscriber)?;
            Some(subscriber::read(session, major, &relations, &selection).await?)
        }
        None => None,
    };
    Ok(Health { publisher: on_publisher, subscriber: on_subscriber })
}
