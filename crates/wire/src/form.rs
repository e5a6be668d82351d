//! The `name=value` pairs of query strings and form bodies.
//!
//! Invariant: pairs come in the order in which they were written, and a pair without `=` has an empty value, as AWS
//! reads it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The pairs as they were written, still encoded.
pub fn raw_pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The pairs, decoded; bytes that are not UTF-8 become replacement characters.
pub fn pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    raw_pairs(text).map(|(name, value)| (decode(name), decode(value)))
}

/// The value of the first pair with this name.
pub fn value<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    raw_pairs(text).find(|(raw, _)| decode(raw) == name).map(|(_, value)| decode(value))
}

/// Decodes `%XX` and `+`.
pub fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_in_order_and_may_lack_a_value() {
        let read: Vec<_> = pairs("b=1%202&a&&c=x+y=%E2%82%AC").map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        let want = [("b", "1 2"), ("a", ""), ("c", "x y=€")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(read, want);
        assert_eq!(value("x=1&%41=2&A=3", "A").as_deref(), Some("2"));
    }
}
