//! What a request may ask of the codecs. All of it is far above what clients send and far below what would hurt.

/// Levels of structures, lists and maps within each other.
pub const DEPTH_MAX: usize = 48;
/// The highest index of a list or map in a form. Items are kept by order, so an index costs nothing by itself.
pub const INDEX_MAX: u32 = 1_000_000;
/// Parameters in a form or query string, elements in an XML body, values in a CBOR body.
pub const PARTS_MAX: usize = 200_000;
/// Members, set or not, of all structures in a request.
pub const SLOTS_MAX: usize = 1_000_000;
/// Bytes of a parameter's name.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Broken constraints named in one error.
pub const VIOLATIONS_MAX: usize = 20;
/// Values of an enum that a message cites: ec2 has over a thousand instance types.
pub const ENUM_SHOWN_MAX: usize = 40;
/// Characters of a refused value that an error repeats.
pub const ECHO_CHARS_MAX: usize = 256;
/// Seconds since 1970 of the first and last time that can be written: the years 0 to 9999.
pub const TIME_SECONDS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_207_200;
