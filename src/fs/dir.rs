//! What is in a directory.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::sched::blocking;

/// How many entries one trip to the pool brings.
const BATCH: usize = 64;

/// What is in a directory, in no order, without `.` and `..`.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    let inner = blocking::run(|| fs::read_dir(path))?;
    Ok(ReadDir { inner, read: VecDeque::new(), is_through: false })
}

/// The entries of a directory.
pub struct ReadDir {
    inner: fs::ReadDir,
    /// Those that were read and not asked for yet.
    read: VecDeque<io::Result<fs::DirEntry>>,
    is_through: bool,
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read.is_empty() && !self.is_through {
            let (inner, read) = (&mut self.inner, &mut self.read);
            blocking::run(|| read.extend(inner.by_ref().take(BATCH)));
            self.is_through = self.read.len() < BATCH;
        }
        Some(self.read.pop_front()?.map(|inner| DirEntry { inner }))
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// One thing in a directory.
pub struct DirEntry {
    inner: fs::DirEntry,
}

impl DirEntry {
    /// Its path: the directory's, and its name.
    pub fn path(&self) -> PathBuf {
        self.inner.path()
    }

    /// Its name.
    pub fn file_name(&self) -> OsString {
        self.inner.file_name()
    }

    /// What the system knows about it; of a link, about the link.
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking::run(|| self.inner.metadata())
    }

    /// Whether it is a file, a directory, a link or something else.
    pub fn file_type(&self) -> io::Result<FileType> {
        blocking::run(|| self.inner.file_type())
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
