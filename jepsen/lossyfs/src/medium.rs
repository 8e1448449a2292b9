//! Where durable bytes lie: in files without a name, or in memory for tests of the rules.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The durable bytes of one file.
pub trait Bytes: Send + 'static {
    /// Reads at `position`; what lies beyond the end is zeros.
    ///
    /// # Errors
    /// If the medium fails.
    fn read(&self, buf: &mut [u8], position: u64) -> io::Result<()>;
    /// Writes at `position`.
    ///
    /// # Errors
    /// If the medium fails.
    fn write(&mut self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Cuts, or extends with zeros.
    ///
    /// # Errors
    /// If the medium fails.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}

/// What makes room for the durable bytes of files.
pub trait Medium: Send + 'static {
    /// Those of one file.
    type Bytes: Bytes;
    /// Room for one more file, empty.
    ///
    /// # Errors
    /// If the medium fails.
    fn room(&mut self) -> io::Result<Self::Bytes>;
}

/// A folder whose files have no names: nothing is left of them when the process ends, however it ends.
#[derive(Debug)]
pub struct BackingFolder {
    folder: PathBuf,
    next: u64,
}

impl BackingFolder {
    /// Files below `folder`, which is there.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder, next: 0 }
    }
}

impl Medium for BackingFolder {
    type Bytes = File;

    fn room(&mut self) -> io::Result<File> {
        self.next += 1;
        let path = self.folder.join(format!("{}-{}", std::process::id(), self.next));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
}

impl Bytes for File {
    fn read(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.read_at(&mut buf[done..], position + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buf[done..].fill(0);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_all_at(bytes, position)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }
}

/// Durable bytes in memory.
#[derive(Debug, Default)]
pub struct Memory;

impl Medium for Memory {
    type Bytes = Vec<u8>;

    fn room(&mut self) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

impl Bytes for Vec<u8> {
    fn read(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        let from = index(position).min(self.len());
        let there = buf.len().min(self.len() - from);
        buf[..there].copy_from_slice(&self[from..from + there]);
        buf[there..].fill(0);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], position: u64) -> io::Result<()> {
        let from = index(position);
        if self.len() < from + bytes.len() {
            self.resize(from + bytes.len(), 0);
        }
        self[from..from + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.resize(index(len), 0);
        Ok(())
    }
}
