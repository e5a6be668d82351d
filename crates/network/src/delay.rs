//! Links that take longer, or damage what they carry: a TAP device through which late frames leave the kernel, and come back
//! when they are due.
//!
//! A device has one delay, so what comes first leaves first; with jitter, which is even around the delay, a frame may overtake
//! another, as in the kernel's own netem. Which frames go to the device, and where they go on from it, is nftables' business
//! (see `rules::detours`); here a frame is bytes. Times are the machine's own: frames are of real programs.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use rustix::pipe::{PipeFlags, pipe_with};
use standfast_core::Rng;

use crate::links::{self, Links};
use crate::namespace::{self, in_namespace};
use crate::netlink::Messages;
use crate::nft::Nft;
use crate::rules::{self, Detour};

/// How many frames a link holds; what comes when it is full is lost, as on a link. 50 ms of 2.4 Gbit/s.
const FRAMES_MAX: usize = 10_000;
/// More than any frame of a link, whose packets have at most 1,500 bytes.
const FRAME_BYTES_MAX: usize = 4096;
/// So many are taken in before it is looked again whether one is due.
const FRAMES_AT_ONCE: usize = 64;

/// A frame's and an IPv4 packet's headers: what is damaged comes after them, so that it still finds its way.
const HEADERS_BYTES: usize = 14 + 20;
/// Which packets are hit does not matter, only how many and how much.
const SEED: u64 = 5;

const SET_INTERFACE: Opcode = opcode::write::<c_int>(b'T', 202);
const SET_INDEX: Opcode = opcode::write::<c_int>(b'T', 218);
const FRAMES_WITHOUT_HEADER: i16 = 0x0002 | 0x1000;

/// `struct ifreq`.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// A device that delays, and the thread that does it. It goes when this is dropped; what it holds is delivered then.
pub struct Delay {
    pub number: u32,
    /// Closed to end the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Delay {
    /// A device of this number in the namespace.
    pub fn start(namespace: BorrowedFd, links: &Links, number: u32, detour: Detour) -> io::Result<Self> {
        let device = in_namespace(namespace, || open(number))??;
        let mut messages = Messages::default();
        links::up(&mut messages, number, false);
        links.execute(messages)?;
        let (end, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let thread = std::thread::Builder::new().name(name(number)).spawn(move || run(&device, &end, detour))?;
        Ok(Self { number, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a device is called.
pub fn name(number: u32) -> String {
    format!("late{number}")
}

/// A new device in the calling thread's namespace.
fn open(number: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    let mut request = Request { name: [0; 16], flags: FRAMES_WITHOUT_HEADER, rest: [0; 22] };
    let name = name(number);
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    #[allow(unsafe_code)]
    // SAFETY: the kernel reads an `int` for the one and a `struct ifreq`, of which `Request` has the size, for the other,
    // and writes only the name back, where there is room for it.
    unsafe {
        ioctl(&device, Setter::<SET_INDEX, u32>::new(number))?;
        ioctl(&device, Setter::<SET_INTERFACE, Request>::new(request))?;
    }
    Ok(device)
}

/// Frames on their way, the next that is due first; of those that are due at once, the one that came first.
type Late = BTreeMap<(Instant, u64), Vec<u8>>;

fn run(device: &OwnedFd, end: &OwnedFd, detour: Detour) {
    let chance = Chance { detour, rng: Rng::seeded(SEED) };
    let (mut late, mut taken) = (Late::new(), 0);
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    loop {
        let now = now();
        while late.first_key_value().is_some_and(|((due, _), _)| *due <= now) {
            deliver(device, &mut late);
        }
        let next = late.first_key_value().map(|((due, _), _)| due.saturating_duration_since(now));
        let wait = next.and_then(|wait| Timespec::try_from(wait).ok());
        let mut ready = [PollFd::new(device, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        match poll(&mut ready, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let is_over = !ready[1].revents().is_empty();
        take_in(device, &mut late, &mut taken, &chance, &mut buffer);
        if is_over {
            while !late.is_empty() {
                deliver(device, &mut late);
            }
            return;
        }
    }
}

/// What happens to frames, by chance.
struct Chance {
    detour: Detour,
    rng: Rng,
}

impl Chance {
    /// How long the next frame takes.
    fn delay(&self) -> Duration {
        let (delay_ms, jitter_ms) = (u64::from(self.detour.delay_ms), u64::from(self.detour.jitter_ms));
        let delay = Duration::from_millis(delay_ms);
        if jitter_ms == 0 {
            return delay;
        }
        // In microseconds, so that small ones are even too.
        let more = Duration::from_micros(self.rng.below(2_000 * jitter_ms as usize + 1) as u64);
        (delay + more).saturating_sub(Duration::from_millis(jitter_ms))
    }

    /// Turns one bit of what comes after the headers' addresses.
    fn damage(&self, frame: &mut [u8]) {
        let percent = usize::from(self.detour.corrupt_percent);
        if percent == 0 || frame.len() <= HEADERS_BYTES || self.rng.below(100) >= percent {
            return;
        }
        let at = HEADERS_BYTES + self.rng.below(frame.len() - HEADERS_BYTES);
        frame[at] ^= 1 << self.rng.below(8);
    }
}

fn take_in(device: &OwnedFd, late: &mut Late, taken: &mut u64, chance: &Chance, buffer: &mut [u8]) {
    for _ in 0..FRAMES_AT_ONCE {
        match rustix::io::read(device, &mut *buffer) {
            Ok(length) if late.len() < FRAMES_MAX => {
                let mut frame = buffer[..length].to_vec();
                chance.damage(&mut frame);
                *taken += 1;
                late.insert((now() + chance.delay(), *taken), frame);
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// A frame that the kernel does not take is lost: its receiver has gone.
fn deliver(device: &OwnedFd, late: &mut Late) {
    if let Some((_, frame)) = late.pop_first() {
        let _ = rustix::io::write(device, &frame);
    }
}

#[allow(clippy::disallowed_methods)] // Frames are late by the machine's time, as the programs that send them measure it.
fn now() -> Instant {
    Instant::now()
}

/// Tries what delays need: a TAP device, and rules for the frames of devices.
pub fn probe_delay() -> io::Result<()> {
    const NUMBER: u32 = 100;
    const PROBED: u32 = 1;
    let namespace = namespace::new()?;
    let links = Links::of(namespace.as_fd())?;
    let detour = rules::detour_between_zones(0);
    let delay = Delay::start(namespace.as_fd(), &links, NUMBER, detour)?;
    let detours = [(detour, delay.number)].into();
    let table = rules::detours(&[(detour, PROBED)].into(), &detours, &[(NUMBER, name(NUMBER), true)]);
    let done = Nft::of(namespace.as_fd())?.replace(rules::DETOURS, &table);
    drop(delay);
    done
}

/// Whether packets can be delayed here; it is tried once.
pub fn can_delay() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| probe_delay().is_ok())
}
