//! [`File`] and [`OpenOptions`].

use std::fmt;
use std::fs::{self, FileTimes, Metadata, Permissions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::sched::{blocking, current_goroutine};
use crate::sys::file::read_cached;

/// An open file: [`std::fs::File`], where waiting for the disk parks the goroutine.
///
/// # Examples
///
/// ```
/// use greenroutine::fs::File;
/// use std::io::Read;
///
/// let mut text = String::new();
/// greenroutine::run(|| File::open("/proc/self/status").unwrap().read_to_string(&mut text)).unwrap();
/// assert!(text.contains("Threads:"));
/// ```
pub struct File {
    inner: fs::File,
}

impl File {
    /// Opens a file to read.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file to write, without what was in it; makes it if need be.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file, to read and write, where there is none.
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// How to open a file otherwise.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Waits until data and metadata are on the disk.
    pub fn sync_all(&self) -> io::Result<()> {
        blocking::run(|| self.inner.sync_all())
    }

    /// Waits until the data are on the disk.
    pub fn sync_data(&self) -> io::Result<()> {
        blocking::run(|| self.inner.sync_data())
    }

    /// Cuts the file, or fills it up with zeros.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        blocking::run(|| self.inner.set_len(size))
    }

    /// What the system knows about the file.
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking::run(|| self.inner.metadata())
    }

    /// Sets who may do what with the file.
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        blocking::run(|| self.inner.set_permissions(permissions))
    }

    /// Sets when the file was read and changed.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        blocking::run(|| self.inner.set_times(times))
    }

    /// Another handle of the same open file, with the same position.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.inner.try_clone().map(Self::from)
    }
}

impl Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if current_goroutine().is_some()
            && let Some(count) = read_cached(self.inner.as_fd(), buf)
        {
            return Ok(count);
        }
        blocking::run(|| (&self.inner).read(buf))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        blocking::run(|| (&self.inner).read_to_end(buf))
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        blocking::run(|| (&self.inner).read_to_string(buf))
    }
}

impl Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        blocking::run(|| (&self.inner).write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking::run(|| (&self.inner).write_vectored(bufs))
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        blocking::run(|| (&self.inner).write_all(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&self.inner).seek(to)
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        (&*self).write_all(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

impl FileExt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        blocking::run(|| self.inner.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        blocking::run(|| self.inner.write_at(buf, offset))
    }
}

impl From<fs::File> for File {
    fn from(inner: fs::File) -> Self {
        Self { inner }
    }
}

impl From<File> for fs::File {
    fn from(file: File) -> Self {
        file.inner
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> Self {
        Self { inner: fd.into() }
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> Self {
        file.inner.into()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        self.inner.into_raw_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// How to open a file: [`std::fs::OpenOptions`].
///
/// # Examples
///
/// ```
/// use greenroutine::fs::OpenOptions;
///
/// let error = greenroutine::run(|| OpenOptions::new().append(true).open("/proc/no such file")).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    inner: fs::OpenOptions,
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&mut self, yes: bool) -> &mut Self {
                self.inner.$name(yes);
                self
            }
        )*
    };
}

impl OpenOptions {
    /// Nothing is allowed yet.
    #[allow(clippy::new_without_default, reason = "as in std")]
    pub fn new() -> Self {
        Self { inner: fs::OpenOptions::new() }
    }

    options! {
        /// Whether the file can be read.
        read;
        /// Whether the file can be written to.
        write;
        /// Whether all is written at the end.
        append;
        /// Whether what is in the file is cut off first.
        truncate;
        /// Whether the file is made if it is not there.
        create;
        /// Whether the file must not be there yet.
        create_new;
    }

    /// Opens a file.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        blocking::run(|| self.inner.open(path)).map(File::from)
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut Self {
        self.inner.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.inner.custom_flags(flags);
        self
    }
}

impl From<fs::OpenOptions> for OpenOptions {
    fn from(inner: fs::OpenOptions) -> Self {
        Self { inner }
    }
}
