//! Files: `std::fs`, function for function. What may wait for the disk runs on the blocking pool ([`blocking`](crate::blocking())), and the calling goroutine parks; on a plain thread it is std's own.
//!
//! ```
//! use greenroutine::fs;
//!
//! greenroutine::run(|| {
//!     let path = std::env::temp_dir().join(format!("greenroutine-fs-{}", std::process::id()));
//!     fs::write(&path, "some text").unwrap();
//!     assert_eq!(fs::read_to_string(&path).unwrap(), "some text");
//!     fs::remove_file(&path).unwrap();
//! });
//! ```
//!
//! # Cancellation
//!
//! A goroutine that was cancelled before the call unwinds in it. A call that is on its way is waited for.
//!
//! Each call is a trip to the pool, about ten microseconds: who does many small things with files in a row does them in one [`blocking`](crate::blocking()). Reading what
//! the system has in memory makes no such trip.
#![forbid(unsafe_code)]

mod dir;
mod file;

pub use dir::{DirEntry, ReadDir, read_dir};
pub use file::{File, OpenOptions};

#[doc(no_inline)]
pub use std::fs::{FileTimes, FileType, Metadata, Permissions};

use std::io;
use std::path::{Path, PathBuf};

use crate::sched::blocking;

/// Functions that are std's on the blocking pool.
macro_rules! on_the_pool {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),*) -> $result:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $name($($arg: impl AsRef<Path>),*) -> $result {
                $(let $arg = $arg.as_ref();)*
                blocking::run(|| std::fs::$name($($arg),*))
            }
        )*
    };
}

on_the_pool! {
    /// A whole file.
    read(path) -> io::Result<Vec<u8>>;
    /// A whole file of UTF-8.
    read_to_string(path) -> io::Result<String>;
    /// Copies the contents and permissions of a file. Returns how many bytes there were.
    copy(from, to) -> io::Result<u64>;
    /// Gives a file another name, replacing what had it.
    rename(from, to) -> io::Result<()>;
    /// Removes a file.
    remove_file(path) -> io::Result<()>;
    /// Makes a directory in one that exists.
    create_dir(path) -> io::Result<()>;
    /// Makes a directory and those it is in.
    create_dir_all(path) -> io::Result<()>;
    /// Removes an empty directory.
    remove_dir(path) -> io::Result<()>;
    /// Removes a directory and all that is in it. Follows no links.
    remove_dir_all(path) -> io::Result<()>;
    /// What the system knows about a file; of a link, about where it leads.
    metadata(path) -> io::Result<Metadata>;
    /// What the system knows about a file; of a link, about the link.
    symlink_metadata(path) -> io::Result<Metadata>;
    /// The absolute path without links.
    canonicalize(path) -> io::Result<PathBuf>;
    /// Another name for the same file.
    hard_link(original, link) -> io::Result<()>;
    /// Where a link leads.
    read_link(path) -> io::Result<PathBuf>;
    /// Whether there is something at a path.
    exists(path) -> io::Result<bool>;
}

/// Makes `contents` all that is in a file, which is made if need be.
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    blocking::run(|| std::fs::write(path, contents))
}

/// Sets who may do what with a file.
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    blocking::run(|| std::fs::set_permissions(path, permissions))
}
