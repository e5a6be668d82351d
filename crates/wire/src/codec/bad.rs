//! Why an input could not be read, before it is put into a service's words.

use crate::schema::Member;

/// A step from a structure, list or map to something in it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Member(&'static Member),
    /// Counted from 1, as AWS does.
    Item(usize),
    Key(String),
}

#[derive(Debug)]
pub(super) enum What {
    /// The body is not in the protocol's language.
    Syntax(String),
    /// A value is not of its member's kind.
    Kind { found: String, expected: &'static str },
    /// One of `limits` is passed.
    Limit(&'static str),
}

/// What is wrong and where.
#[derive(Debug)]
pub(super) struct Bad {
    pub what: What,
    /// From the value outwards: steps are added while the error travels up, so that success costs nothing.
    pub path: Vec<Step>,
}

impl Bad {
    #[cold]
    pub fn syntax(message: impl Into<String>) -> Self {
        Self { what: What::Syntax(message.into()), path: Vec::new() }
    }

    #[cold]
    pub fn kind(found: impl Into<String>, expected: &'static str) -> Self {
        Self { what: What::Kind { found: found.into(), expected }, path: Vec::new() }
    }

    #[cold]
    pub fn limit(what: &'static str) -> Self {
        Self { what: What::Limit(what), path: Vec::new() }
    }

    #[cold]
    pub fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

/// Adds where it happened to what happened.
pub(super) trait Within {
    fn within(self, step: impl FnOnce() -> Step) -> Self;
}

impl<T> Within for Result<T, Bad> {
    fn within(self, step: impl FnOnce() -> Step) -> Self {
        self.map_err(|bad| bad.within(step()))
    }
}
