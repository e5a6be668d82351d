//! What reading one message may cost. Counted, because a few bytes can ask for much: `[{},{},…]` makes a structure
//! with all its members out of every three bytes.

use std::cell::Cell;

use super::bad::Bad;
use super::limits::{DEPTH_MAX, PARTS_MAX, SLOTS_MAX};

/// What is left for a message.
pub(super) struct Budget {
    parts: Cell<usize>,
    slots: Cell<usize>,
}

impl Budget {
    /// For what strangers send.
    pub fn request() -> Self {
        Self { parts: Cell::new(PARTS_MAX), slots: Cell::new(SLOTS_MAX) }
    }

    /// For what the cloud that we asked answers. It may be long, and is as long as what was asked for; only depth is
    /// bounded.
    pub fn answer() -> Self {
        Self { parts: Cell::new(usize::MAX), slots: Cell::new(usize::MAX) }
    }

    /// The outermost level.
    pub fn top(&self) -> Depth<'_> {
        Depth { level: 0, budget: self }
    }

    /// Pays for an element, parameter or item.
    pub fn part(&self) -> Result<(), Bad> {
        pay(&self.parts, 1, "it has too many parts")
    }
}

fn pay(left: &Cell<usize>, amount: usize, refusal: &'static str) -> Result<(), Bad> {
    left.set(left.get().checked_sub(amount).ok_or_else(|| Bad::limit(refusal))?);
    Ok(())
}

/// A level within a message.
#[derive(Clone, Copy)]
pub(super) struct Depth<'b> {
    level: usize,
    budget: &'b Budget,
}

impl Depth<'_> {
    pub fn deeper(self) -> Result<Self, Bad> {
        if self.level >= DEPTH_MAX {
            return Err(Bad::limit("it is nested too deeply"));
        }
        Ok(Self { level: self.level + 1, budget: self.budget })
    }

    /// The level within a structure, which has this many members.
    pub fn structure(self, members: usize) -> Result<Self, Bad> {
        pay(&self.budget.slots, members + 1, "it has too many structures")?;
        self.deeper()
    }
}
