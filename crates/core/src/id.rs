//! Typed resource ids: `Id<Instance>` is `i-0123456789abcdef0`, and not a `Id<Subnet>`.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rng::Rng;

/// A kind of resource that has ids of the form `PREFIX-17 hex`.
pub trait Kind: 'static {
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($name:ident $prefix:literal),* $(,)?) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;
        impl Kind for $name { const PREFIX: &'static str = $prefix; }
    )*};
}

kinds! {
    Instance "i", Vpc "vpc", Subnet "subnet", InternetGateway "igw", RouteTable "rtb", RouteTableAssociation "rtbassoc",
    SecurityGroup "sg", SecurityGroupRule "sgr", KeyPair "key", LaunchTemplate "lt", Image "ami", Reservation "r",
    NetworkInterface "eni", NetworkInterfaceAttachment "eni-attach", NetworkAcl "acl",
    NetworkAclAssociation "aclassoc", DhcpOptions "dopt", Volume "vol", Snapshot "snap", Allocation "eipalloc",
    Association "eipassoc", NatGateway "nat", VpcEndpoint "vpce", VpcPeering "pcx",
    PrefixList "pl", PlacementGroup "pg", SpotInstanceRequest "sir",
}

/// The id of a resource of kind `K`. Cheap to clone.
pub struct Id<K> {
    text: Arc<str>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Id<K> {
    /// A new id: the prefix and 17 hexadecimal digits.
    pub fn new(rng: &Rng) -> Self {
        Self::from_text(&format!("{}-{}", K::PREFIX, rng.hex(17)))
    }

    /// Reads an id as a caller wrote it; `None` unless it is the prefix, a dash and 8 or 17 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(K::PREFIX)?.strip_prefix('-')?;
        let hex = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (hex && matches!(digits.len(), 8 | 17)).then(|| Self::from_text(text))
    }
}

impl<K> Id<K> {
    /// An id from text that is known to be one (a record's key, a snapshot).
    pub fn from_text(text: &str) -> Self {
        Self { text: text.into(), kind: PhantomData }
    }

    /// The same, without a copy of the text.
    pub fn from_shared(text: Arc<str>) -> Self {
        Self { text, kind: PhantomData }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), kind: PhantomData }
    }
}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
impl<K> Borrow<str> for Id<K> {
    fn borrow(&self) -> &str {
        &self.text
    }
}
impl<K> std::ops::Deref for Id<K> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}
impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl<K> From<Id<K>> for String {
    fn from(id: Id<K>) -> String {
        id.text.to_string()
    }
}
impl<K> From<&Id<K>> for String {
    fn from(id: &Id<K>) -> String {
        id.text.to_string()
    }
}
impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}
impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from_text(&std::borrow::Cow::<'de, str>::deserialize(d)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_only_when_well_formed() {
        let id = Id::<Instance>::new(&Rng::seeded(1));
        assert_eq!(Id::<Instance>::parse(&id).as_ref(), Some(&id));
        for bad in ["", "i-", "i-123", "vpc-0123456789abcdef0", "i-0123456789ABCDEF0", "i-0123456789abcdefg"] {
            assert_eq!(Id::<Instance>::parse(bad), None, "{bad}");
        }
    }
}
