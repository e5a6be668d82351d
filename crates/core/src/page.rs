//! Pages of a listing: at most `limit` items after a token; the token is left out at the end.

use crate::error::{Error, Result};

/// A page and the token of the next one.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// Cuts the page that follows `token` out of `items`, which are sorted by `key`.
///
/// The token is the key of the last item of the page before, so items that come and go between two calls neither
/// repeat nor hide others. `bad_token` is the service's error code for a token it did not give.
pub fn page<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    token: Option<&str>,
    limit: usize,
    bad_token: &'static str,
) -> Result<Page<T>> {
    let after = token
        .map(|token| {
            decode(token).ok_or_else(|| Error::client(bad_token, format!("The token '{token}' is not valid.")))
        })
        .transpose()?;
    let mut rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    let page: Vec<T> = rest.by_ref().take(limit).collect();
    let next = rest.next().and(page.last()).map(|last| encode(&key(last)));
    Ok(Page { items: page, next })
}

fn encode(key: &str) -> String {
    key.bytes().map(|b| format!("{b:02x}")).collect()
}

fn decode(token: &str) -> Option<String> {
    if !token.len().is_multiple_of(2) || !token.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..token.len()).step_by(2).map(|i| u8::from_str_radix(&token[i..i + 2], 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_everything_once() {
        let all: Vec<String> = (0..7).map(|i| format!("k{i}")).collect();
        let (mut seen, mut token) = (Vec::new(), None);
        for _ in 0..4 {
            let page = page(all.clone(), String::clone, token.as_deref(), 3, "InvalidNextToken").expect("good token");
            seen.extend(page.items);
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
        assert!(page(all, String::clone, Some("zz"), 3, "InvalidNextToken").is_err_and(|e| e.is("InvalidNextToken")));
    }
}
