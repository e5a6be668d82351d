//! Enums whose variants have names in an API.

/// Defines an enum for records whose variants have names: `ALL` of them, the `name` of one, and which is `named` so.
///
/// The crate that uses it needs `serde`; records hold the variants' own names, so those of the API may be corrected.
#[macro_export]
macro_rules! names {
    ($(#[$meta:meta])* $enum:ident { $($variant:ident $name:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $enum { $($variant),* }
        impl $enum {
            pub const ALL: &'static [$enum] = &[$($enum::$variant),*];
            pub fn name(self) -> &'static str {
                match self { $($enum::$variant => $name),* }
            }
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}
