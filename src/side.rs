//! The two sides of a comparison.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The server whose data are the reference.
    Publisher,
    /// The server that must hold the same data.
    Subscriber,
}

impl Side {
    /// Both sides, publisher first.
    pub const BOTH: [Self; 2] = [Self::Publisher, Self::Subscriber];

    /// The name as users know it: `publisher` or `subscriber`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value for each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Sides<T> {
    /// The publisher's.
    pub publisher: T,
    /// The subscriber's.
    pub subscriber: T,
}

impl<T> Sides<T> {
    /// Both values, publisher first.
    pub fn new(publisher: T, subscriber: T) -> Self {
        Self { publisher, subscriber }
    }

    /// Makes each side's value from the side.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> Self {
        let publisher = make(Side::Publisher);
        let subscriber = make(Side::Subscriber);
        Self { publisher, subscriber }
    }

    /// The value of a side.
    pub fn get(&self, side: Side) -> &T {
        match side {
            Side::Publisher => &self.publisher,
            Side::Subscriber => &self.subscriber,
        }
    }

    /// The value of a side, to change it.
    pub fn get_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Publisher => &mut self.publisher,
            Side::Subscriber => &mut self.subscriber,
        }
    }

    /// Applies a function to both values.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Sides<U> {
        let publisher = f(self.publisher);
        let subscriber = f(self.subscriber);
        Sides { publisher, subscriber }
    }

    /// References to both values.
    pub fn as_ref(&self) -> Sides<&T> {
        Sides { publisher: &self.publisher, subscriber: &self.subscriber }
    }
}

impl<T: PartialEq> Sides<T> {
    /// Whether both sides hold the same value.
    pub fn agree(&self) -> bool {
        self.publisher == self.subscriber
    }
}
