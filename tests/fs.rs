//! `fs` and `io`: as std, from goroutines and threads; what waits for a file keeps nobody else.

mod common;

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{child, is_child, on_all, on_goroutines, runtime, wait_for_waiters};
use greenroutine::fs::{self, File, OpenOptions};
use greenroutine::{go, io, net, time, yield_now};

/// A directory of its own, and its removal.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("greenroutine-fs-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn whole_files() {
    on_all(|| {
        let temp = Temp::new();
        let (a, b) = (temp.0.join("a"), temp.0.join("b"));
        fs::write(&a, "text").unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"text");
        assert_eq!(fs::copy(&a, &b).unwrap(), 4);
        fs::remove_file(&a).unwrap();
        assert_eq!(fs::read(&a).unwrap_err().kind(), ErrorKind::NotFound);
        fs::rename(&b, &a).unwrap();
        assert_eq!(fs::read_to_string(&a).unwrap(), "text");
        assert!(fs::exists(&a).unwrap() && !fs::exists(&b).unwrap());
        fs::hard_link(&a, &b).unwrap();
        assert_eq!(fs::metadata(&b).unwrap().len(), 4);
        let mut permissions = fs::symlink_metadata(&b).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&b, permissions).unwrap();
        assert!(fs::metadata(&a).unwrap().permissions().readonly());
        assert!(fs::canonicalize(&a).unwrap().ends_with("a"));
        assert_eq!(fs::read_link(&a).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn directories() {
    on_all(|| {
        let temp = Temp::new();
        fs::create_dir_all(temp.0.join("x/y")).unwrap();
        fs::create_dir(temp.0.join("z")).unwrap();
        for n in 0..200 {
            fs::write(temp.0.join(format!("x/{n}")), []).unwrap();
        }
        let mut names = 0;
        for entry in fs::read_dir(temp.0.join("x")).unwrap() {
            let entry = entry.unwrap();
            let is_dir = entry.file_name() == "y";
            assert_eq!(entry.file_type().unwrap().is_dir(), is_dir);
            assert_eq!(entry.metadata().unwrap().is_dir(), is_dir);
            assert!(entry.path().starts_with(&temp.0));
            names += 1;
        }
        assert_eq!(names, 201);
        assert!(fs::remove_dir(temp.0.join("x")).is_err());
        fs::remove_dir(temp.0.join("z")).unwrap();
        fs::remove_dir_all(temp.0.join("x")).unwrap();
        assert_eq!(fs::read_dir(&temp.0).unwrap().count(), 0);
        assert!(fs::read_dir(temp.0.join("x")).is_err());
    });
}

#[test]
fn open_files() {
    on_all(|| {
        let temp = Temp::new();
        let path = temp.0.join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(file.read(&mut [0]).unwrap_err().raw_os_error(), Some(9));
        file.sync_all().unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 10);
        assert!(File::create_new(&path).is_err());
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(file.seek(SeekFrom::Start(4)).unwrap(), 4);
        let mut buf = [0; 3];
        file.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"456");
        // The position is the file's.
        let mut rest = String::new();
        file.try_clone().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "789");
        assert_eq!(file.read(&mut buf).unwrap(), 0);
        file.read_exact_at(&mut buf, 1).unwrap();
        assert_eq!(&buf, b"123");
        file.write_all_at(b"xy", 0).unwrap();
        file.set_len(4).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"xy23");
        let std = std::fs::File::from(file);
        let mut file = File::from(std);
        assert_eq!(file.rewind().map(|()| file.stream_position().unwrap()).unwrap(), 0);
        let mut all = Vec::new();
        (&file).read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 4);
    });
}

#[test]
fn a_read_that_waits_keeps_nobody() {
    on_goroutines(|| {
        // A pipe without a writer's bytes stands for a slow disk.
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut reader = File::from(std::os::fd::OwnedFd::from(reader));
        let waiting = go(move || {
            let mut buf = [0; 2];
            reader.read_exact(&mut buf).map(|()| buf)
        });
        wait_for_waiters("blocking", 1);
        for _ in 0..10 {
            yield_now();
            time::sleep(std::time::Duration::from_micros(50));
        }
        writer.write_all(b"ok").unwrap();
        assert_eq!(&waiting.join().unwrap().unwrap(), b"ok");
    });
}

#[test]
fn copying_between_sockets_and_files() {
    on_all(|| {
        let temp = Temp::new();
        let path = temp.0.join("file");
        let bytes: Vec<u8> = (0..300_000).map(|n| n as u8).collect();
        fs::write(&path, &bytes).unwrap();
        let (mut one, mut other) = net::UnixStream::pair().unwrap();
        common::par(|p| {
            let sender = p.go(|| {
                let sent = io::copy(&mut File::open(&path).unwrap(), &mut one).unwrap();
                one.shutdown(net::Shutdown::Write).unwrap();
                sent
            });
            let mut got = Vec::new();
            assert_eq!(io::copy(&mut other, &mut got).unwrap(), 300_000);
            assert_eq!(sender.join(), 300_000);
            assert_eq!(got, bytes);
        });
    });
}

#[test]
fn names_are_looked_up() {
    on_all(|| {
        assert!(net::lookup("localhost").unwrap().iter().all(|ip| ip.is_loopback()));
        assert_eq!(net::lookup("::1").unwrap(), [std::net::IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]);
        assert_eq!(net::lookup(String::from("10.1.2.3")).unwrap(), [std::net::IpAddr::from([10, 1, 2, 3])]);
        assert!(net::lookup("not a name").is_err());
    });
}

#[test]
fn lines_of_the_standard_input() {
    const NAME: &str = "lines_of_the_standard_input";
    if is_child(NAME) {
        runtime(1, false).run(|| {
            let counter = go(|| {
                let mut first = String::new();
                io::stdin().read_line(&mut first).unwrap();
                assert_eq!(first, "first\n");
                let lines: Vec<_> = io::stdin().lines().take(2).map(Result::unwrap).collect();
                assert_eq!(lines, ["second", ""]);
                let mut rest = String::new();
                io::stdin().read_to_string(&mut rest).unwrap();
                rest
            });
            wait_for_waiters("blocking", 1);
            println!("waiting");
            assert_eq!(counter.join().unwrap(), "fourth without end");
        });
        println!("through");
        return;
    }
    let mut child = child(NAME).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut text = Vec::new();
    // It waits before there is anything.
    while !text.ends_with(b"waiting\n") {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    child.stdin.take().unwrap().write_all(b"first\nsecond\n\nfourth without end").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success() && rest.contains("through"), "{rest}");
}
