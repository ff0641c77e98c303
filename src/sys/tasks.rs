//! The threads of this process, as the kernel sees them: which sleep, and whether they have run meanwhile.

use std::fs;

/// One thread at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) id: u32,
    /// It waits in the kernel for another thread: on a futex, as locks, channels, `park` and `join` do; not for time, as `sleep` does, or for a descriptor.
    pub(crate) sleeps: bool,
    /// How often it has stopped running. Unchanged between two moments at which it sleeps: it has slept all the time.
    pub(crate) switches: u64,
}

/// The kernel's number of the calling thread.
pub(crate) fn current() -> u32 {
    super::thread::tid().unsigned_abs()
}

/// All threads of the process, if there are at most `most` and the kernel says so.
pub(crate) fn all(most: usize) -> Option<Vec<Thread>> {
    let ids: Vec<u32> = fs::read_dir("/proc/self/task")
        .ok()?
        .map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect::<Option<_>>()?;
    // One that has ended meanwhile is none.
    (ids.len() <= most).then(|| ids.into_iter().filter_map(look).collect())
}

fn look(id: u32) -> Option<Thread> {
    let text = fs::read_to_string(format!("/proc/self/task/{id}/status")).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let number = |name: &str| field(name)?.parse::<u64>().ok();
    // The number of the system call and its arguments; a word if it is in none.
    let call = fs::read_to_string(format!("/proc/self/task/{id}/syscall")).unwrap_or_default();
    let call = call.split(' ').next().and_then(|number| number.parse().ok());
    Some(Thread {
        id,
        sleeps: field("State:")?.starts_with('S') && call == Some(libc::SYS_futex),
        switches: number("voluntary_ctxt_switches:")? + number("nonvoluntary_ctxt_switches:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_thread_is_among_them_and_runs() {
        let all = all(10_000).expect("proc is mounted");
        let me = all.iter().find(|thread| thread.id == current()).expect("this one");
        assert!(!me.sleeps);
        assert_eq!(super::all(0), None);
    }
}
