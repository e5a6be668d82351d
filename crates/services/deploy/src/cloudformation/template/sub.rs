//! The little language inside `Fn::Sub`: text, `${Name}`, `${Resource.Attribute}` and the literal `${!Name}`.
//!
//! Invariant: joining the pieces of a text gives the text back, but for the `!` of literals.

use standfast_core::Result;

use super::invalid;

/// A piece of the text of `Fn::Sub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    /// What stands between `${!` and `}`: it comes out as `${...}`.
    Literal(&'a str),
    Variable(&'a str),
}

/// Cuts a text into pieces. An opening `${` that nothing closes is plain text, as shells want it.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inside, behind)) = after.split_once('}') else { break };
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(match inside.strip_prefix('!') {
            Some(literal) => Piece::Literal(literal),
            None => Piece::Variable(checked(inside)?),
        });
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// The variables that a text names, leaving a malformed text to whoever evaluates it.
pub fn variables(text: &str) -> Vec<&str> {
    let pieces = pieces(text).unwrap_or_default();
    let variable = |piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Text(_) | Piece::Literal(_) => None,
    };
    pieces.into_iter().filter_map(variable).collect()
}

fn checked(name: &str) -> Result<&str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':');
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(invalid(
            "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, \
             periods, and colons",
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_variables_and_literals() {
        use Piece::{Literal, Text, Variable};
        let table: &[(&str, &[Piece])] = &[
            ("", &[]),
            ("plain", &[Text("plain")]),
            ("${A}", &[Variable("A")]),
            ("a${B.C}d${AWS::Region}", &[Text("a"), Variable("B.C"), Text("d"), Variable("AWS::Region")]),
            ("${!HOME}/x", &[Literal("HOME"), Text("/x")]),
            ("$A $${B} ${", &[Text("$A $"), Variable("B"), Text(" ${")]),
        ];
        for (text, want) in table {
            assert_eq!(pieces(text).unwrap(), *want, "{text}");
        }
        for bad in ["${}", "${A B}", "${A-B}", "${ A }"] {
            assert!(pieces(bad).unwrap_err().message.contains("variable names in Fn::Sub"), "{bad}");
        }
    }
}
