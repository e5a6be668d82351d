//! The bytes of a journal file, and the judgement of what a reader finds there. Pure: no I/O.
//!
//! A file is a header, frames, and zeros up to a length that is a multiple of [`CHUNK_BYTES_MIN`]. A frame is what one
//! sync made durable: the writes of one or many transactions. Frames are numbered without gaps, header and payload have
//! a checksum each, and a frame begins and ends with a byte that is not zero.
//!
//! Invariant, and why a torn tail can be told from damage: a frame is written only after the one before it is durable,
//! and only into space that the file already has. So a crash can leave at most one incomplete frame, at the end, and what
//! it did not get to write still reads as zeros for whole sectors. Anything else is damage: a bad frame before a good
//! one, a complete frame with a bad checksum, a gap in the numbers, a file of another length.

use std::collections::HashMap;
use std::sync::Arc;

use crate::key::Key;

/// File lengths are multiples of this.
pub(crate) const CHUNK_BYTES_MIN: u64 = 256 * 1024;

/// The version of this layout.
pub(super) const LAYOUT: u32 = 1;

pub(crate) const FILE_HEADER_BYTES: usize = 40;
const FRAME_HEADER_BYTES: usize = 24;
const FILE_MAGIC: &[u8; 8] = b"STANDFST";
/// Not valid UTF-8, so that no key or JSON holds it.
const FRAME_MAGIC: [u8; 4] = [0xF5, b'f', b'r', 0xFA];
const FRAME_END: u8 = 0xF7;
/// The least that a disk writes as a whole.
const SECTOR_BYTES: usize = 512;
/// Marks a deletion where a value's length would be.
const DELETED: u32 = u32::MAX;
/// What a pair takes up beyond its bytes.
pub(super) const PAIR_BYTES: u64 = 8;

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) generation: u64,
    /// The number of the frame before the first.
    pub(crate) base: u64,
    /// How many frames the file had when it came into being.
    pub(crate) snapshot_frames: u64,
}

/// What a whole and sound file holds.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) header: FileHeader,
    pub(super) pairs: HashMap<Key, Arc<[u8]>>,
    /// The number of the last frame.
    pub(super) last: u64,
    /// Where the next frame goes.
    pub(super) end: usize,
    /// Where the remains of an incomplete frame end, if there are any.
    pub(super) torn_end: Option<usize>,
}

/// What was found in a whole and sound file, beside its payloads.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) header: FileHeader,
    /// The number of the last frame.
    pub(crate) last: u64,
    /// Where the next frame goes.
    pub(crate) end: usize,
    /// Where the remains of an incomplete frame end, if there are any.
    pub(crate) torn_end: Option<usize>,
}

/// Where and how a file is damaged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// The bytes of a file's header.
pub(crate) fn file_header(header: FileHeader) -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..8].copy_from_slice(FILE_MAGIC);
    bytes[8..12].copy_from_slice(&LAYOUT.to_le_bytes());
    bytes[12..20].copy_from_slice(&header.generation.to_le_bytes());
    bytes[20..28].copy_from_slice(&header.base.to_le_bytes());
    bytes[28..36].copy_from_slice(&header.snapshot_frames.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..36]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A frame under construction.
pub(crate) struct FrameWriter {
    bytes: Vec<u8>,
}

impl FrameWriter {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; FRAME_HEADER_BYTES] }
    }

    pub(super) fn push(&mut self, key: &str, value: Option<&[u8]>) {
        self.bytes.extend_from_slice(&length(key.len()));
        self.bytes.extend_from_slice(&value.map_or(DELETED.to_le_bytes(), |value| length(value.len())));
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }

    /// Adds bytes as they are.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == FRAME_HEADER_BYTES
    }

    /// The frame with this number, ready to be written.
    pub(crate) fn finish(mut self, number: u64) -> Vec<u8> {
        let payload = &self.bytes[FRAME_HEADER_BYTES..];
        let (len, crc) = (length(payload.len()), crc32fast::hash(payload));
        self.bytes[..4].copy_from_slice(&FRAME_MAGIC);
        self.bytes[4..8].copy_from_slice(&len);
        self.bytes[8..16].copy_from_slice(&number.to_le_bytes());
        self.bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        let header_crc = crc32fast::hash(&self.bytes[..20]);
        self.bytes[20..24].copy_from_slice(&header_crc.to_le_bytes());
        self.bytes.push(FRAME_END);
        self.bytes
    }
}

/// Reads a whole journal, or says where it is damaged.
pub(super) fn scan(bytes: &[u8]) -> Result<Scan, Damage> {
    let mut pairs = HashMap::new();
    let Walk { header, last, end, torn_end } = walk(bytes, |_, payload| apply(payload, &mut pairs))?;
    Ok(Scan { header, pairs, last, end, torn_end })
}

/// Reads a whole file of frames, or says where it is damaged. `each` gets the number and the payload of every frame in
/// turn and answers `None` when the payload is malformed.
pub(crate) fn walk(bytes: &[u8], mut each: impl FnMut(u64, &[u8]) -> Option<()>) -> Result<Walk, Damage> {
    let header = read_file_header(bytes)?;
    if !(bytes.len() as u64).is_multiple_of(CHUNK_BYTES_MIN) {
        return Err(Damage { at: bytes.len(), what: "the file was cut short or added to" });
    }
    let mut walk = Walk { header, last: header.base, end: FILE_HEADER_BYTES, torn_end: None };
    while let Ok(frame) = frame_at(bytes, walk.end) {
        if frame.number != walk.last + 1 {
            return Err(Damage { at: walk.end, what: "a frame is missing before this one" });
        }
        each(frame.number, frame.payload)
            .ok_or(Damage { at: walk.end, what: "a frame holds what no program of ours writes" })?;
        walk.last = frame.number;
        walk.end = frame.end;
    }
    walk.torn_end = written_end(&bytes[walk.end..]).map(|at| walk.end + at);
    if let Some(torn_end) = walk.torn_end {
        judge_tail(&bytes[..torn_end], walk.end, bytes.len())?;
    }
    if walk.last < header.base + header.snapshot_frames {
        return Err(Damage { at: walk.end, what: "frames are missing at the end" });
    }
    Ok(walk)
}

fn read_file_header(bytes: &[u8]) -> Result<FileHeader, Damage> {
    let header = bytes.get(..FILE_HEADER_BYTES).ok_or(Damage { at: 0, what: "the file was cut short" })?;
    let sound = header[..8] == *FILE_MAGIC && u32_at(header, 36) == crc32fast::hash(&header[..36]);
    if !sound || u32_at(header, 8) != LAYOUT {
        return Err(Damage { at: 0, what: "the file's header is not sound" });
    }
    Ok(FileHeader { generation: u64_at(header, 12), base: u64_at(header, 20), snapshot_frames: u64_at(header, 28) })
}

struct Frame<'a> {
    number: u64,
    payload: &'a [u8],
    end: usize,
}

/// Why there is no frame: its header is sound and says where it would end, or not even that.
struct NoFrame {
    end: Option<usize>,
}

fn frame_at(bytes: &[u8], at: usize) -> Result<Frame<'_>, NoFrame> {
    let header = bytes.get(at..at + FRAME_HEADER_BYTES).ok_or(NoFrame { end: None })?;
    if header[..4] != FRAME_MAGIC || u32_at(header, 20) != crc32fast::hash(&header[..20]) {
        return Err(NoFrame { end: None });
    }
    let start = at + FRAME_HEADER_BYTES;
    let end = start + u32_at(header, 4) as usize + 1;
    match bytes.get(start..end) {
        Some([payload @ .., FRAME_END]) if crc32fast::hash(payload) == u32_at(header, 16) => {
            Ok(Frame { number: u64_at(header, 8), payload, end })
        }
        _ => Err(NoFrame { end: Some(end) }),
    }
}

/// Where the last byte that is not zero ends; `None` when there is none.
fn written_end(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let zero = |chunk: &&[u8]| **chunk == ZEROS[..chunk.len()];
    let zeros: usize = bytes.rchunks(ZEROS.len()).take_while(zero).map(<[u8]>::len).sum();
    let last = bytes[..bytes.len() - zeros].iter().rposition(|byte| *byte != 0);
    last.map(|at| at + 1)
}

/// Whether what follows the last good frame, up to the last byte that is not zero, is what a crash leaves.
fn judge_tail(bytes: &[u8], at: usize, file_len: usize) -> Result<(), Damage> {
    let mut later = (at + 1..bytes.len()).filter(|i| bytes[*i] == FRAME_MAGIC[0]);
    if later.any(|i| frame_at(bytes, i).is_ok()) {
        return Err(Damage { at, what: "a frame in the middle is not sound" });
    }
    let known_end = frame_at(bytes, at).err().and_then(|no_frame| no_frame.end);
    let end = known_end.unwrap_or(at + FRAME_HEADER_BYTES);
    if end > file_len {
        return Err(Damage { at, what: "the file was cut short" });
    }
    // A frame ends with a byte that is not zero, so where the written bytes end before it, its end was never written.
    if never_written(bytes, at, end) {
        return Ok(());
    }
    Err(Damage { at, what: "the last frame is not sound" })
}

/// Whether a sector's part of these bytes reads as zeros.
fn never_written(bytes: &[u8], at: usize, end: usize) -> bool {
    let mut from = at;
    while from < end {
        let to = ((from / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
        let written = bytes.get(from..to.min(bytes.len())).unwrap_or_default();
        if written.iter().all(|byte| *byte == 0) {
            return true;
        }
        from = to;
    }
    false
}

/// Applies the writes of a frame; `None` when they are malformed.
fn apply(mut payload: &[u8], pairs: &mut HashMap<Key, Arc<[u8]>>) -> Option<()> {
    while !payload.is_empty() {
        let (head, rest) = payload.split_at_checked(8)?;
        let (key, rest) = rest.split_at_checked(u32_at(head, 0) as usize)?;
        let key = std::str::from_utf8(key).ok()?;
        payload = match u32_at(head, 4) {
            DELETED => {
                pairs.remove(key);
                rest
            }
            len => {
                let (value, rest) = rest.split_at_checked(len as usize)?;
                pairs.insert(key.to_owned(), value.into());
                rest
            }
        };
    }
    Some(())
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a transaction's size is limited far below").to_le_bytes()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of three frames, and where each begins.
    fn file() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = file_header(FileHeader { generation: 1, base: 0, snapshot_frames: 0 }).to_vec();
        let mut starts = Vec::new();
        for number in 1..=3u64 {
            starts.push(bytes.len());
            let mut frame = FrameWriter::new();
            frame.push(&format!("k{number}"), Some(vec![b'x'; 1500].as_slice()));
            frame.push("gone", (number == 1).then_some(b"v".as_slice()));
            bytes.extend(frame.finish(number));
        }
        starts.push(bytes.len());
        bytes.resize(CHUNK_BYTES_MIN as usize, 0);
        (bytes, starts)
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, starts) = file();
        let scan = scan(&bytes).expect("sound");
        let mut keys: Vec<_> = scan.pairs.keys().cloned().collect();
        keys.sort();
        assert_eq!((keys, scan.last, scan.end), (vec!["k1".into(), "k2".into(), "k3".into()], 3, starts[3]));
        assert_eq!(scan.torn_end, None);
    }

    #[test]
    fn a_flipped_bit_in_any_byte_is_noticed() {
        let (bytes, starts) = file();
        for at in (0..starts[3]).chain([starts[3], starts[3] + 700, bytes.len() - 1]) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            let verdict = scan(&bad);
            if at < starts[3] {
                assert!(verdict.is_err(), "byte {at}");
            } else {
                // Beyond the last frame there is nothing to lose.
                assert!(verdict.map_or(true, |scan| scan.last == 3), "byte {at}");
            }
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let (bytes, starts) = file();
        for len in (0..starts[3] + 5).step_by(7).chain([bytes.len() - 1]) {
            assert!(scan(&bytes[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn an_incomplete_last_frame_is_dropped_and_nothing_else() {
        let (bytes, starts) = file();
        // What a write that stopped at a page boundary, or sectors that never reached the disk, leave behind.
        let sectors = starts[2].div_ceil(SECTOR_BYTES)..starts[3].div_ceil(SECTOR_BYTES);
        for sector in sectors.clone() {
            let (from, to) = (sector * SECTOR_BYTES, ((sector + 1) * SECTOR_BYTES).min(starts[3]));
            let mut cut = bytes.clone();
            cut[from..starts[3]].fill(0);
            let mut hole = bytes.clone();
            hole[from..to].fill(0);
            for torn in [cut, hole] {
                let scan = scan(&torn).expect("a crash, not damage");
                assert_eq!((scan.last, scan.end), (2, starts[2]));
                assert!(scan.torn_end.is_none_or(|end| end <= starts[3]));
            }
        }
        assert!(sectors.len() >= 3, "the frame covers several sectors");
        let mut middle = bytes.clone();
        middle[starts[1]..starts[2]].fill(0);
        assert_eq!(scan(&middle).expect_err("damage").at, starts[1]);
    }

    #[test]
    fn a_snapshot_that_lost_its_end_is_noticed() {
        let (mut bytes, starts) = file();
        let header = file_header(FileHeader { generation: 1, base: 0, snapshot_frames: 3 });
        bytes[..FILE_HEADER_BYTES].copy_from_slice(&header);
        assert!(scan(&bytes).is_ok());
        bytes[starts[2]..].fill(0);
        assert_eq!(scan(&bytes).expect_err("damage").at, starts[2]);
    }
}
