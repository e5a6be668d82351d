//! Who instances' users are on the machine: user N of an instance is user `SHIFT + N` here, which owns nothing else.
//!
//! Invariant: every user namespace and every idmapped mount of an instance maps exactly these ids.

/// The machine's id of an instance's root.
pub const SHIFT: u32 = 0x7000_0000;

/// How many ids an instance has; what lies past them is `NOBODY`.
pub const COUNT: u32 = 65_536;

/// Who owns, inside an instance, what no id of the instance can own.
pub const NOBODY: u32 = COUNT - 2;

/// The machine's id of an instance's id.
pub fn shifted(id: u32) -> u32 {
    SHIFT + if id < COUNT { id } else { NOBODY }
}
