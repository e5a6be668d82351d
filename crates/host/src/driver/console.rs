//! Writing an instance's console log, bounded in size.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::directory::{CONSOLE, CONSOLE_FILE_BYTES_MAX, CONSOLE_OLD};

/// The console log, open. What cannot be written (a full disk) is lost, as it is on a serial line without a reader.
pub(crate) struct Console {
    directory: PathBuf,
    file: File,
    size: u64,
}

impl Console {
    pub fn open(directory: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(directory.join(CONSOLE))?;
        let size = file.metadata()?.len();
        Ok(Self { directory: directory.into(), file, size })
    }

    pub fn write(&mut self, bytes: &[u8]) {
        if self.size + bytes.len() as u64 > CONSOLE_FILE_BYTES_MAX {
            self.turn_over();
        }
        if self.file.write_all(bytes).is_ok() {
            self.size += bytes.len() as u64;
        }
    }

    /// A line of the init's own.
    pub fn say(&mut self, text: &str) {
        self.write(format!("[standfast] {text}\n").as_bytes());
    }

    fn turn_over(&mut self) {
        let turned = std::fs::rename(self.directory.join(CONSOLE), self.directory.join(CONSOLE_OLD))
            .and_then(|()| Self::open(&self.directory));
        match turned {
            Ok(new) => *self = new,
            // The bound holds even where renaming does not work.
            Err(_) => self.size = self.file.set_len(0).map_or(self.size, |()| 0),
        }
    }
}
