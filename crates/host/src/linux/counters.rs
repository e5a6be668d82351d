//! The kernel's counters of interfaces and block devices.

use std::time::Duration;

use standfast_core::host::{DiskUse, Traffic};

/// What `/proc/PID/net/dev` says of all interfaces but the loopback.
pub fn traffic(text: &str) -> Traffic {
    let mut sum = Traffic::default();
    for (name, counts) in text.lines().filter_map(|line| line.split_once(':')) {
        let counts: Vec<u64> = counts.split_whitespace().filter_map(|count| count.parse().ok()).collect();
        // Received: bytes, packets, and six more; sent: the same.
        if let ([bytes_in, packets_in, _, _, _, _, _, _, bytes_out, packets_out, ..], true) =
            (counts.as_slice(), name.trim() != "lo")
        {
            sum.bytes_in += bytes_in;
            sum.packets_in += packets_in;
            sum.bytes_out += bytes_out;
            sum.packets_out += packets_out;
        }
    }
    sum
}

/// What `/sys/dev/block/MAJOR:MINOR/stat` says.
pub fn disk(text: &str) -> Option<DiskUse> {
    const SECTOR_BYTES: u64 = 512;
    let counts: Vec<u64> = text.split_whitespace().filter_map(|count| count.parse().ok()).collect();
    let [reads, _, sectors_read, read_ms, writes, _, sectors_written, write_ms, _, busy_ms, ..] = *counts.as_slice()
    else {
        return None;
    };
    Some(DiskUse {
        reads,
        read_bytes: sectors_read * SECTOR_BYTES,
        writes,
        write_bytes: sectors_written * SECTOR_BYTES,
        busy: Duration::from_millis(busy_ms),
        waited: Duration::from_millis(read_ms + write_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_summed_without_the_loopback() {
        let text = "Inter-|   Receive                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes\n    \
                    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  eth0:     100   2 0 0 0 0 0 0 300 4 0 0 0 0 0 0\n  eth1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), Traffic { bytes_in: 101, bytes_out: 301, packets_in: 3, packets_out: 5 });
    }

    #[test]
    fn a_device_counts_in_sectors_and_milliseconds() {
        let found = disk("  10 0 16 5 20 0 32 7 0 9 12 0 0 0 0 0 0").expect("enough fields");
        assert_eq!((found.reads, found.read_bytes, found.writes, found.write_bytes), (10, 8192, 20, 16384));
        assert_eq!((found.busy.as_millis(), found.waited.as_millis()), (9, 12));
        assert_eq!(disk("1 2 3"), None);
    }
}
