//! Who answered, as far as an answer tells.
//!
//! Headers say it best. Without them an instance's id and a zone's name are looked for at the beginning of the body: a
//! page for people to test with says who it comes from.

use standfast_core::place::Zone;

use super::record::Who;

/// Headers that name the instance, and its zone.
pub const INSTANCE_HEADER: &str = "x-instance-id";
pub const ZONE_HEADER: &str = "x-availability-zone";
/// How much of a body is looked at.
const BODY_BYTES_MAX: usize = 2048;
/// The digits of an instance's id.
const ID_DIGITS: usize = 17;

/// Reads who answered from two headers' values and the body.
pub fn who(instance: Option<&str>, zone: Option<&str>, body: &[u8]) -> Option<Who> {
    let body = &body[..body.len().min(BODY_BYTES_MAX)];
    let target = instance.map(str::to_owned).or_else(|| instance_in(body)).unwrap_or_default();
    let zone = zone.map(str::to_owned).or_else(|| zone_in(body)).unwrap_or_default();
    (!target.is_empty() || !zone.is_empty()).then_some(Who { target, zone })
}

fn instance_in(body: &[u8]) -> Option<String> {
    let starts = body.windows(2).enumerate().filter(|(_, two)| *two == b"i-").map(|(at, _)| at);
    starts.filter_map(|at| body.get(at..at + 2 + ID_DIGITS)).find_map(|id| {
        let is_id = id[2..].iter().all(u8::is_ascii_hexdigit);
        is_id.then(|| String::from_utf8_lossy(id).into_owned())
    })
}

/// A zone's name ends in a number and a letter.
fn zone_in(body: &[u8]) -> Option<String> {
    let words = body.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
    let names = words.filter(|word| {
        matches!(word, [.., digit, letter] if digit.is_ascii_digit() && letter.is_ascii_lowercase())
            && word.contains(&b'-')
    });
    names.filter_map(|name| std::str::from_utf8(name).ok()).find(|name| Zone::named(name).is_some()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_who_it_comes_from() {
        let found = |body: &str| who(None, None, body.as_bytes()).map(|who| (who.target, who.zone));
        let pair = |target: &str, zone: &str| Some((target.to_owned(), zone.to_owned()));
        assert_eq!(
            found("2026-11-21 00:36:35 UTC from i-2201be39743f93bbc in eu-west-1c\n"),
            pair("i-2201be39743f93bbc", "eu-west-1c")
        );
        assert_eq!(found("<b>eu-west-1b</b>"), pair("", "eu-west-1b"));
        for nobody in ["", "hi-there", "i-22 in utf-8b", "2026-11-2a"] {
            assert_eq!(found(nobody), None, "{nobody}");
        }
        let by_header = who(Some("web-3"), Some("z"), b"from i-2201be39743f93bbc in eu-west-1c");
        assert_eq!(by_header, Some(Who { target: "web-3".into(), zone: "z".into() }));
    }
}
