//! The only source of chance: seeded, so that a run can be repeated.

use std::sync::{Arc, Mutex, PoisonError};

/// A seeded generator. Clones share one sequence.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    inner: Arc<Mutex<fastrand::Rng>>,
}

impl Rng {
    pub fn seeded(seed: u64) -> Self {
        Self { seed, inner: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))) }
    }

    /// A generator seeded by the machine.
    pub fn from_entropy() -> Self {
        Self::seeded(fastrand::u64(..))
    }

    /// The seed it began with, to print when a test fails.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn u64(&self) -> u64 {
        self.with(|rng| rng.u64(..))
    }

    /// A number below `bound`; zero when the bound is zero.
    pub fn below(&self, bound: usize) -> usize {
        self.with(|rng| if bound == 0 { 0 } else { rng.usize(..bound) })
    }

    /// `digits` lower-case hexadecimal digits.
    pub fn hex(&self, digits: usize) -> String {
        self.with(|rng| (0..digits).map(|_| char::from_digit(rng.u32(..16), 16).expect("below 16")).collect())
    }

    /// A version 4 UUID in its usual text form.
    pub fn uuid(&self) -> String {
        let h = self.hex(31);
        let variant = ["8", "9", "a", "b"][self.below(4)];
        format!("{}-{}-4{}-{}{}-{}", &h[0..8], &h[8..12], &h[12..15], variant, &h[15..18], &h[18..30])
    }

    fn with<T>(&self, f: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl rand_core::RngCore for Rng {
    fn next_u32(&mut self) -> u32 {
        self.u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.u64()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.u64().to_le_bytes()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

// Keys of a lab come again from the same seed; they protect nothing outside it.
impl rand_core::CryptoRng for Rng {}
