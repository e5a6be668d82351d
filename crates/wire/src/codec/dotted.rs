//! Form-encoded parameters, and looking into them by dotted names.
//!
//! Parameters are kept sorted, so what is under a name is a slice and an index costs no memory, however large it is.

use std::borrow::Cow;
use std::cmp::Ordering;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::bad::Bad;
use super::budget::Budget;
use super::limits::{INDEX_MAX, KEY_BYTES_MAX};
use crate::form::raw_pairs;

/// What RFC 3986 leaves as it is.
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

type Pair<'t> = (Cow<'t, str>, Cow<'t, str>);

/// Parameters in the order of their names; those of one name in the order in which they came.
pub(super) struct Form<'t>(Vec<Pair<'t>>);

impl<'t> Form<'t> {
    /// Reads the parts of a request that hold parameters: its query string and its body.
    pub fn read(texts: [&'t str; 2], budget: &Budget) -> Result<Self, Bad> {
        let mut pairs = Vec::new();
        for text in texts {
            pairs.extend(read_pairs(text, budget)?);
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self(pairs))
    }

    pub fn top(&self) -> Scope<'_> {
        Scope { pairs: &self.0, at: 0 }
    }
}

/// The parameters of a query string or form, decoded, in their order.
pub(super) fn read_pairs<'t>(text: &'t str, budget: &Budget) -> Result<Vec<Pair<'t>>, Bad> {
    raw_pairs(text)
        .map(|(key, value)| {
            budget.part()?;
            let key = decode(key)?;
            if key.len() > KEY_BYTES_MAX {
                return Err(Bad::limit("a parameter's name is too long"));
            }
            Ok((key, decode(value)?))
        })
        .collect()
}

/// Decodes `%XX` and `+`. Unlike a lenient reader it refuses what is not text: a replacement character would end up in a
/// name or a password.
fn decode(text: &str) -> Result<Cow<'_, str>, Bad> {
    let not_text = |_| Bad::syntax("The query string is not valid UTF-8");
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8().map_err(not_text);
    }
    let spaced = text.replace('+', " ");
    Ok(Cow::Owned(percent_decode_str(&spaced).decode_utf8().map_err(not_text)?.into_owned()))
}

/// Appends `key=value&`, both escaped.
pub(super) fn push_pair(out: &mut String, key: &str, value: &str) {
    out.extend(utf8_percent_encode(key, UNRESERVED));
    out.push('=');
    out.extend(utf8_percent_encode(value, UNRESERVED));
    out.push('&');
}

/// The parameters whose names start alike; `at` is where the names begin to differ.
#[derive(Clone, Copy)]
pub(super) struct Scope<'f> {
    pairs: &'f [Pair<'f>],
    at: usize,
}

/// What stands under one name: `name=text` and `name.…`.
#[derive(Clone, Copy)]
pub(super) struct Node<'f> {
    pub text: Option<&'f str>,
    pub below: Scope<'f>,
}

impl Node<'_> {
    pub fn is_absent(self) -> bool {
        self.text.is_none() && self.below.is_empty()
    }
}

impl<'f> Scope<'f> {
    pub fn is_empty(self) -> bool {
        self.pairs.is_empty()
    }

    pub fn node(self, name: &str) -> Node<'f> {
        let (at, name) = (self.at, name.as_bytes());
        let exact = self.pairs.partition_point(|pair| rest(pair, at) < name);
        let text = self.pairs.get(exact).filter(|pair| rest(pair, at) == name).map(|pair| &*pair.1);
        let start = self.pairs.partition_point(|pair| against(rest(pair, at), name) == Ordering::Less);
        let end = self.pairs.partition_point(|pair| against(rest(pair, at), name) != Ordering::Greater);
        Node { text, below: Scope { pairs: &self.pairs[start..end], at: at + name.len() + 1 } }
    }

    /// What stands under numbers, in their order. Gaps do not matter.
    pub fn items(self) -> Result<Vec<Node<'f>>, Bad> {
        let mut indexes: Vec<(u32, &str)> = Vec::new();
        for pair in self.pairs {
            let rest = &pair.0[self.at..];
            let segment = rest.split_once('.').map_or(rest, |(segment, _)| segment);
            if indexes.last().is_some_and(|(_, last)| *last == segment) || !is_number(segment) {
                continue;
            }
            match segment.parse() {
                Ok(index) if index <= INDEX_MAX => indexes.push((index, segment)),
                _ => return Err(Bad::limit("a list's index is too high")),
            }
        }
        indexes.sort_unstable();
        indexes.dedup();
        Ok(indexes.into_iter().map(|(_, segment)| self.node(segment)).collect())
    }
}

/// A parameter's name from `at` on.
fn rest<'p>(pair: &'p Pair<'_>, at: usize) -> &'p [u8] {
    &pair.0.as_bytes()[at..]
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit())
}

/// Where `key` stands relative to the keys that begin with `name.`; equal when it is one of them.
fn against(key: &[u8], name: &[u8]) -> Ordering {
    let head = &key[..name.len().min(key.len())];
    head.cmp(name).then_with(|| key.get(name.len()).map_or(Ordering::Less, |next| next.cmp(&b'.')))
}
