//! The keys that engines see.
//!
//! `/t/TABLE/ACCOUNT/REGION/ID` holds a record, `/u/TABLE/ACCOUNT/REGION/INDEX/VALUE` the id of the one record with that
//! unique value, `/i/TABLE/ACCOUNT/REGION/INDEX/VALUE/ID` nothing: it says that the record has the value. Every part but
//! the last is escaped, so that parts never run into each other; the last is plain, so that ids keep their order.

use standfast_core::Scope;

/// A key of an engine.
pub type Key = String;

/// What a key says.
#[derive(Debug, PartialEq)]
pub(crate) enum Parsed {
    Row { table: String, scope: Scope, id: String },
    Unique { table: String, scope: Scope, index: String, value: String },
    Index { table: String, scope: Scope, index: String, value: String, id: String },
}

pub(crate) fn row(table: &str, scope: &Scope, id: &str) -> Key {
    start('t', table, scope, id.len()) + id
}

pub(crate) fn unique(table: &str, scope: &Scope, index: &str, value: &str) -> Key {
    let mut key = start('u', table, scope, index.len() + value.len() + 1);
    part(&mut key, index);
    key + value
}

pub(crate) fn index(table: &str, scope: &Scope, index: &str, value: &str, id: &str) -> Key {
    index_prefix(table, scope, index, value) + id
}

/// All entries of one value of an index begin with this.
pub(crate) fn index_prefix(table: &str, scope: &Scope, index: &str, value: &str) -> Key {
    let mut key = start('i', table, scope, index.len() + value.len() + 24);
    part(&mut key, index);
    part(&mut key, value);
    key
}

/// All records of a table, in every scope, begin with this.
pub(crate) fn table_prefix(table: &str) -> Key {
    let mut key = String::from("/t/");
    part(&mut key, table);
    key
}

/// The parts of a key; `None` when it is not one of ours.
pub(crate) fn parse(key: &str) -> Option<Parsed> {
    let (kind, rest) = key.strip_prefix('/')?.split_once('/')?;
    let mut rest = rest.splitn(if kind == "t" { 4 } else { 6 }, '/');
    let table = unescape(rest.next()?)?;
    let scope = Scope::new(&unescape(rest.next()?)?, &unescape(rest.next()?)?);
    // What is left is plain text that may hold slashes itself, so it is put together again.
    match kind {
        "t" => Some(Parsed::Row { table, scope, id: rest.next()?.to_owned() }),
        "u" => {
            let index = unescape(rest.next()?)?;
            let value = rest.collect::<Vec<_>>();
            (!value.is_empty()).then(|| Parsed::Unique { table, scope, index, value: value.join("/") })
        }
        "i" => {
            let (index, value) = (unescape(rest.next()?)?, unescape(rest.next()?)?);
            Some(Parsed::Index { table, scope, index, value, id: rest.next()?.to_owned() })
        }
        _ => None,
    }
}

fn start(kind: char, table: &str, scope: &Scope, more: usize) -> Key {
    let mut key = String::with_capacity(table.len() + scope.account.len() + scope.region.len() + more + 6);
    key.push('/');
    key.push(kind);
    key.push('/');
    part(&mut key, table);
    part(&mut key, &scope.account);
    part(&mut key, &scope.region);
    key
}

fn part(key: &mut Key, text: &str) {
    for c in text.chars() {
        match c {
            '/' => key.push_str("%2F"),
            '%' => key.push_str("%25"),
            c => key.push(c),
        }
    }
    key.push('/');
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        plain.push(match rest.get(at..at + 3)? {
            "%2F" => '/',
            "%25" => '%',
            _ => return None,
        });
        rest = &rest[at + 3..];
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_whatever_their_parts_hold() {
        let scope = Scope::new("000000000000", "eu/we%st");
        for text in ["", "a", "/aws/service/x", "a%2Fb", "é/%", "//"] {
            let (table, id, value) = ("t/%".to_owned(), text.to_owned(), text.to_owned());
            assert_eq!(
                parse(&row("t/%", &scope, text)),
                Some(Parsed::Row { table: table.clone(), scope: scope.clone(), id: id.clone() })
            );
            let index = "name/".to_owned();
            assert_eq!(
                parse(&unique("t/%", &scope, "name/", text)),
                Some(Parsed::Unique {
                    table: table.clone(),
                    scope: scope.clone(),
                    index: index.clone(),
                    value: text.into()
                })
            );
            assert_eq!(
                parse(&super::index("t/%", &scope, "name/", text, text)),
                Some(Parsed::Index { table, scope: scope.clone(), index, value, id })
            );
        }
        for foreign in ["", "/", "/t/a", "/x/a/b/c/d", "t/a/b/c/d", "/t/a/b%/c/d", "/u/a/b/c/d", "/i/a/b/c/d/e"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
