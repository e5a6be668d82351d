//! Where an HTTP/1.1 body ends.
//!
//! A `Framing` is fed the bytes as they pass and says how many of them belong to the body; the bytes themselves are
//! relayed as they are, chunk marks included, so nothing is copied. Invariant: the outcome does not depend on how the
//! bytes were cut into reads.

/// Longest chunk-size line, extensions included, and longest trailer section.
const LINE_SIZE_MAX: u32 = 4 * 1024;
const TRAILERS_SIZE_MAX: u32 = 16 * 1024;
/// A chunk size of 16 hexadecimal digits could overflow; nobody sends 15.
const CHUNK_DIGITS_MAX: u32 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// This many bytes are still to come.
    Length(u64),
    Chunked(Chunk),
    /// All until the connection closes.
    UntilClose,
}

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    Size {
        size: u64,
        digits: u32,
    },
    /// Behind the size: an extension, or the CR.
    Extension {
        size: u64,
        seen: u32,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart {
        seen: u32,
    },
    Trailer {
        seen: u32,
    },
    TrailerLf {
        seen: u32,
    },
    EndLf,
    Done,
}

/// The bytes are not a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

impl Framing {
    pub const NONE: Framing = Framing::Length(0);
    pub const CHUNKED: Framing = Framing::Chunked(Chunk::Size { size: 0, digits: 0 });

    pub fn is_done(&self) -> bool {
        matches!(self, Framing::Length(0) | Framing::Chunked(Chunk::Done))
    }

    /// How many of the first bytes of `data` belong to the body. Payload, without chunk marks, goes to `payload`.
    pub fn scan(&mut self, data: &[u8], payload: impl FnMut(&[u8])) -> Result<usize, BadChunk> {
        match self {
            Framing::Length(left) => Ok(take(left, data, payload)),
            Framing::UntilClose => Ok({
                let mut endless = u64::MAX;
                take(&mut endless, data, payload)
            }),
            Framing::Chunked(chunk) => scan_chunks(chunk, data, payload),
        }
    }
}

fn take(left: &mut u64, data: &[u8], mut payload: impl FnMut(&[u8])) -> usize {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
    *left -= count as u64;
    if count > 0 {
        payload(&data[..count]);
    }
    count
}

fn scan_chunks(chunk: &mut Chunk, data: &[u8], mut payload: impl FnMut(&[u8])) -> Result<usize, BadChunk> {
    let mut at = 0;
    while at < data.len() && *chunk != Chunk::Done {
        if let Chunk::Data { left } = chunk {
            at += take(left, &data[at..], &mut payload);
            if *left == 0 {
                *chunk = Chunk::DataCr;
            }
            continue;
        }
        *chunk = next(*chunk, data[at])?;
        at += 1;
    }
    Ok(at)
}

/// One byte outside of chunk data.
fn next(chunk: Chunk, byte: u8) -> Result<Chunk, BadChunk> {
    Ok(match (chunk, byte) {
        (Chunk::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
            let digit = (byte as char).to_digit(16).ok_or(BadChunk)?;
            within(digits, CHUNK_DIGITS_MAX)?;
            Chunk::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
        }
        (Chunk::Size { digits: 0, .. }, _) => return Err(BadChunk),
        (Chunk::Size { size, .. }, b'\r') => Chunk::SizeLf { size },
        (Chunk::Size { size, .. }, b';' | b' ' | b'\t') => Chunk::Extension { size, seen: 0 },
        (Chunk::Extension { size, .. }, b'\r') => Chunk::SizeLf { size },
        // A bare LF in an extension is how requests are smuggled past proxies.
        (Chunk::Extension { size, seen }, byte) if byte != b'\n' => {
            Chunk::Extension { size, seen: within(seen, LINE_SIZE_MAX)? }
        }
        (Chunk::SizeLf { size: 0 }, b'\n') => Chunk::TrailerStart { seen: 0 },
        (Chunk::SizeLf { size }, b'\n') => Chunk::Data { left: size },
        (Chunk::DataCr, b'\r') => Chunk::DataLf,
        (Chunk::DataLf, b'\n') => Chunk::Size { size: 0, digits: 0 },
        (Chunk::TrailerStart { .. }, b'\r') => Chunk::EndLf,
        (Chunk::Trailer { seen }, b'\r') => Chunk::TrailerLf { seen },
        (Chunk::TrailerStart { seen } | Chunk::Trailer { seen }, byte) if byte != b'\n' => {
            Chunk::Trailer { seen: within(seen, TRAILERS_SIZE_MAX)? }
        }
        (Chunk::TrailerLf { seen }, b'\n') => Chunk::TrailerStart { seen },
        (Chunk::EndLf, b'\n') => Chunk::Done,
        _ => return Err(BadChunk),
    })
}

fn within(seen: u32, max: u32) -> Result<u32, BadChunk> {
    if seen < max { Ok(seen + 1) } else { Err(BadChunk) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `data` in pieces of `cut` bytes: how many bytes belong to the body, its payload, whether it ended.
    fn run(mut framing: Framing, data: &[u8], cut: usize) -> Result<(usize, Vec<u8>, bool), BadChunk> {
        let (mut used, mut payload) = (0, Vec::new());
        for piece in data.chunks(cut) {
            let count = framing.scan(piece, |bytes| payload.extend_from_slice(bytes))?;
            used += count;
            if count < piece.len() {
                break;
            }
        }
        Ok((used, payload, framing.is_done()))
    }

    #[test]
    fn bodies_end_where_they_say_however_they_are_cut() {
        let chunked = b"5;ext=\"a\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\nGET / HTTP/1.1";
        let end = chunked.len() - b"GET / HTTP/1.1".len();
        for cut in 1..=chunked.len() {
            let (used, payload, done) = run(Framing::CHUNKED, chunked, cut).expect("well formed");
            assert_eq!((used, payload.as_slice(), done), (end, &b"hello0123456789"[..], true), "cut {cut}");
            assert_eq!(run(Framing::Length(4), b"abcdef", cut), Ok((4, b"abcd".to_vec(), true)));
            assert_eq!(run(Framing::UntilClose, b"abc", cut), Ok((3, b"abc".to_vec(), false)));
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let long = format!("1;{}", "x".repeat(LINE_SIZE_MAX as usize + 1));
        for bad in
            ["\r\n", "g\r\n", "5\nhello", "2\r\nabc", "2\r\nab\n", "ffffffffffffffff\r\n", ";\r\n", "0\r\n\n", &long]
        {
            assert_eq!(run(Framing::CHUNKED, bad.as_bytes(), 3), Err(BadChunk), "{bad}");
        }
    }

    #[test]
    fn nothing_follows_an_empty_body() {
        assert!(Framing::NONE.is_done());
        assert_eq!(run(Framing::CHUNKED, b"0\r\n\r\nrest", 4), Ok((5, vec![], true)));
    }
}
