//! Rust source without its comments and without what stands in its literals, so that a search finds code only.
//!
//! It knows as much of Rust's lexer as that takes, and keeps every line break, so that lines keep their numbers.

/// The code, with comments and the insides of literals left out.
pub fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            'r' | 'b' if !ends_in_word(&out) => prefixed_literal(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            let (gone, left) = rest.split_at(skipped);
            out.push(' ');
            out.extend(gone.chars().filter(|letter| *letter == '\n'));
            rest = left;
        }
    }
    out
}

fn ends_in_word(out: &str) -> bool {
    out.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

/// The length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a literal that starts with a quotation mark.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a literal like `r#"..."#` or `b"..."`, 0 when this is a name.
fn prefixed_literal(rest: &str) -> usize {
    let prefix = rest.len() - rest.trim_start_matches(['b', 'r']).len();
    let raw = rest[..prefix].contains('r');
    let hashes = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
    let open = prefix + hashes;
    if prefix > 2 || !rest[open..].starts_with('"') {
        return 0;
    }
    if !raw {
        return prefix + quoted(&rest[prefix..]);
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = open + 1;
    rest[body..].find(&close).map_or(rest.len(), |at| body + at + close.len())
}

/// The length of a character literal, 0 when this is a lifetime.
fn character(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => {
            letters.next();
            letters.find(|(_, letter)| *letter == '\'').map_or(rest.len(), |(at, _)| at + 1)
        }
        Some(_) => match letters.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn comments_and_literals_are_left_out() {
        let table = [
            ("a // b", "a  "),
            ("a /* b /* c */ d */ e", "a   e"),
            (r#"f("a \" b", c)"#, "f( , c)"),
            (r##"r#"a " b"# + c"##, "  + c"),
            ("for \"x\\\n y\" z", "for  \n z"),
            ("'\"' b '\\'' c", "  b   c"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("bar\"x\"", "bar "),
            ("b'x' br\"y\"", "b   "),
        ];
        for (text, expected) in table {
            assert_eq!(code(text), expected, "for {text}");
        }
    }
}
