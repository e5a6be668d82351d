//! Which metric: a scope, a namespace, a name and dimensions, as bytes to look up by.
//!
//! The fields are separated by NUL, which none of them may hold; dimensions are sorted by name, so that their order in a
//! request does not matter.

use standfast_core::Scope;

const SEPARATOR: u8 = 0;

/// The key of a metric. One can be reused for many, which saves allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// A metric's name in its scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricName {
    pub namespace: String,
    pub name: String,
    /// Sorted by name.
    pub dimensions: Vec<(String, String)>,
}

impl Key {
    /// What the keys of a scope begin with.
    pub fn prefix(scope: &Scope) -> Vec<u8> {
        let mut key = Key::default();
        key.push(&scope.account);
        key.push(&scope.region);
        key.0
    }

    pub fn new<'a>(
        scope: &Scope,
        namespace: &str,
        name: &str,
        dimensions: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut key = Self::default();
        key.set(scope, namespace, name, &mut dimensions.into_iter().collect::<Vec<_>>());
        key
    }

    /// Makes this the key of another metric. The dimensions may come in any order.
    pub fn set(&mut self, scope: &Scope, namespace: &str, name: &str, dimensions: &mut [(&str, &str)]) {
        self.0.clear();
        dimensions.sort_unstable();
        for field in [&scope.account, &scope.region, namespace, name] {
            self.push(field);
        }
        for (name, value) in dimensions {
            self.push(name);
            self.push(value);
        }
    }

    /// The scope of a key's bytes, and what follows it.
    pub(super) fn scope_of(bytes: &[u8]) -> Option<(Scope, &[u8])> {
        let mut fields = bytes.splitn(3, |byte| *byte == SEPARATOR);
        let (account, region) = (fields.next()?, fields.next()?);
        let scope = Scope::new(std::str::from_utf8(account).ok()?, std::str::from_utf8(region).ok()?);
        Some((scope, fields.next()?))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Which of `parts` it belongs to, now and after every start.
    pub fn part(&self, parts: u16) -> u16 {
        // FNV-1a: the parts are in the log, so the hash must never change.
        let hash = self
            .0
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        ((hash >> 32) % u64::from(parts)) as u16
    }

    fn push(&mut self, field: &str) {
        self.0.extend_from_slice(field.as_bytes());
        self.0.push(SEPARATOR);
    }
}

impl MetricName {
    pub fn key(&self, scope: &Scope) -> Key {
        let dimensions = self.dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Key::new(scope, &self.namespace, &self.name, dimensions)
    }

    /// Reads what follows the prefix of a scope in a key.
    pub(super) fn of(rest: &[u8]) -> Self {
        let mut fields = rest.split(|byte| *byte == SEPARATOR).map(|field| String::from_utf8_lossy(field).into_owned());
        let mut next = || fields.next().unwrap_or_default();
        let (namespace, name) = (next(), next());
        let mut dimensions = Vec::new();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            dimensions.push((name, value));
        }
        Self { namespace, name, dimensions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_which_metric_whatever_the_order_of_dimensions() {
        let scope = Scope::new("000000000000", "eu-west-1");
        let key = |dimensions: &[(&'static str, &'static str)]| Key::new(&scope, "N", "m", dimensions.iter().copied());
        assert_eq!(key(&[("a", "1"), ("b", "2")]), key(&[("b", "2"), ("a", "1")]));
        assert_ne!(key(&[("a", "1")]), key(&[("a", "2")]));
        let key = key(&[("b", "2"), ("a", "1")]);
        let name = MetricName::of(&key.bytes()[Key::prefix(&scope).len()..]);
        let dimensions = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
        assert_eq!(name, MetricName { namespace: "N".into(), name: "m".into(), dimensions });
    }

    #[test]
    fn a_metric_stays_in_its_part() {
        let scope = Scope::new("000000000000", "eu-west-1");
        let part = |name| Key::new(&scope, "N", name, []).part(16);
        assert_eq!(["m", "CPUUtilization", "RequestCount", "x"].map(part), [3, 9, 7, 3]);
    }
}
