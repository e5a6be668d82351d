//! Records in a frame's payload: a part, a length, bytes. Pure.

const HEAD_BYTES: usize = 6;

/// Adds a record, whose bytes `write` appends.
pub(super) fn append(out: &mut Vec<u8>, part: u16, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&part.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let start = out.len();
    write(out);
    let len = u32::try_from(out.len() - start).expect("a record comes from a request, whose size is limited far below");
    out[start - 4..start].copy_from_slice(&len.to_le_bytes());
}

/// Gives every record to `each`; `None` when these are none, or `each` says so.
pub(super) fn read(mut payload: &[u8], mut each: impl FnMut(u16, &[u8]) -> Option<()>) -> Option<()> {
    while !payload.is_empty() {
        let (head, rest) = payload.split_at_checked(HEAD_BYTES)?;
        let part = u16::from_le_bytes(head[..2].try_into().expect("two bytes"));
        let len = u32::from_le_bytes(head[2..].try_into().expect("four bytes"));
        let (record, rest) = rest.split_at_checked(len as usize)?;
        each(part, record)?;
        payload = rest;
    }
    Some(())
}

/// What a dump's frame holds before the part's bytes: which part, and the last frame of the log that it includes.
pub(super) fn dump_head(part: u16, floor: u64) -> [u8; 10] {
    let mut head = [0; 10];
    head[..2].copy_from_slice(&part.to_le_bytes());
    head[2..].copy_from_slice(&floor.to_le_bytes());
    head
}

/// Part, floor and bytes.
pub(super) fn read_dump(payload: &[u8]) -> Option<(u16, u64, &[u8])> {
    let (head, dump) = payload.split_at_checked(10)?;
    let floor = u64::from_le_bytes(head[2..].try_into().expect("eight bytes"));
    Some((u16::from_le_bytes(head[..2].try_into().expect("two bytes")), floor, dump))
}
