//! What this kernel and its limits allow, in words, with the fix for each limit: the figures behind `greenroutine doctor`.

use crate::heap::{self, InCharge};
use crate::sched::config::DEFAULT_STACK_MAX;
use crate::stack::arena;
use crate::sys::limits::Limits;
use crate::sys::mem::GuardMode;
use crate::sys::{signal, thread};

/// One thing that was looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// What it is about, in a word or two.
    pub subject: &'static str,
    /// Whether it limits goroutines.
    pub is_limit: bool,
    /// What was found.
    pub text: String,
    /// What to do about it, if it is a limit.
    pub fix: Option<String>,
}

fn fine(subject: &'static str, text: String) -> Finding {
    Finding { subject, is_limit: false, text, fix: None }
}

fn limit(subject: &'static str, text: String, fix: String) -> Finding {
    Finding { subject, is_limit: true, text, fix: Some(fix) }
}

/// Looks at everything that bears on goroutines: guard pages, address space, mappings, overcommit, memory, threads, timers.
pub fn doctor() -> Vec<Finding> {
    let limits = Limits::read();
    let mut out = Vec::new();
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    out.push(fine("kernel", format!("Linux {}, {processors} processors for this process", limits.kernel)));
    match arena::capacity(DEFAULT_STACK_MAX) {
        Ok((stacks, GuardMode::Madvise)) => {
            out.push(fine("guard pages", String::from("MADV_GUARD_INSTALL: guards cost no memory mappings")));
            out.push(capacity(stacks, &limits));
        }
        Ok((stacks, GuardMode::Mprotect)) => {
            let fix = match limits.overcommit {
                Some(2) => String::from("set vm.overcommit_memory to 0 or 1"),
                _ => String::from("use Linux 6.13 or later, or raise vm.max_map_count"),
            };
            out.push(limit(
                "guard pages",
                String::from("mprotect: each stack costs two memory mappings"),
                fix,
            ));
            out.push(capacity(stacks, &limits));
        }
        Err(error) => {
            out.push(limit("stacks", error.to_string(), String::from("raise the limit that it names")))
        }
    }
    out.push(heap());
    #[cfg(feature = "gc")]
    out.push(collector());
    if let (Some(max), Some(used)) = (limits.max_map_count, limits.maps_used) {
        out.push(fine("mappings", format!("{used} of vm.max_map_count = {max} in use")));
    }
    match limits.overcommit {
        Some(2) => out.push(limit(
            "overcommit",
            String::from("vm.overcommit_memory = 2 counts reserved memory"),
            String::from("sysctl -w vm.overcommit_memory=0"),
        )),
        Some(mode) => out.push(fine("overcommit", format!("vm.overcommit_memory = {mode}"))),
        None => {}
    }
    match limits.cgroup_memory {
        Some(bytes) => out.push(fine("memory", format!("the control group allows {} MiB", bytes >> 20))),
        None => out.push(fine("memory", String::from("no limit of the control group"))),
    }
    out.extend(limits.cgroup_processors.map(|quota| quota_of(quota, processors)));
    out.push(threads(&limits));
    if let (Some(files), Some(used)) = (limits.files, limits.files_used) {
        out.push(fine("files", format!("{used} open, at most {files} (ulimit -n); each connection is one")));
    }
    out.push(if thread::has_process_barrier() {
        fine("barrier", String::from("membarrier: parking and spawning need no fence"))
    } else {
        limit(
            "barrier",
            String::from("membarrier is refused: parking and spawning cost a fence (5 ns) more"),
            String::from("allow membarrier(2) in the seccomp filter"),
        )
    });
    if !signal::is_installed() {
        out.push(fine("SIGSEGV", String::from("no runtime has started in this process yet")));
    }
    out
}

/// What the control group allows of the processors.
fn quota_of(quota: f64, processors: usize) -> Finding {
    const SUBJECT: &str = "processors";
    if quota >= processors as f64 {
        return fine(SUBJECT, format!("the control group allows {quota:.2} of them"));
    }
    limit(
        SUBJECT,
        format!(
            "the control group allows {quota:.2}: the kernel stops all workers for parts of each period once that is used up"
        ),
        format!("raise cpu.max (docker --cpus), or Builder::workers({})", (quota as usize).max(1)),
    )
}

/// The workers and the threads for blocking work are few, but other programs count too.
fn threads(limits: &Limits) -> Finding {
    let used = thread::count().map_or_else(String::new, |used| format!("{used} in this process, "));
    let of = |limit: Option<usize>, what: &str| limit.map(|limit| format!("at most {limit} {what}"));
    let most = [
        of(limits.threads, "for this user (ulimit -u)"),
        of(limits.cgroup_threads, "for the control group (pids.max)"),
    ];
    let most: Vec<_> = most.into_iter().flatten().collect();
    let most = if most.is_empty() { String::from("no limit") } else { most.join(", ") };
    fine("threads", format!("{used}{most}"))
}

/// How garbage is collected here, and why not better.
#[cfg(feature = "gc")]
fn collector() -> Finding {
    use crate::gc::{self, Backend};
    const SUBJECT: &str = "collector";
    let stats = gc::stats();
    match stats.backend {
        Backend::Uffd => fine(SUBJECT, format!("uffd: beside the program; {}", stats.why)),
        Backend::Stw => limit(
            SUBJECT,
            format!("stw: the program stands still while objects are marked; {}", stats.why),
            String::from("use Linux 6.7 or later, and let the container's seccomp profile allow userfaultfd"),
        ),
        Backend::Off => limit(SUBJECT, format!("off: {}", stats.why), String::from("remove what that names")),
    }
}

/// The program's memory: whose it is, and how much there can be.
fn heap() -> Finding {
    const SUBJECT: &str = "heap";
    const SIXTEENTH: usize = 16;
    match heap::in_charge() {
        InCharge::Heap { reserved, address_space: None } => {
            fine(SUBJECT, format!("the crate's own, with {} of address space reserved", size(reserved)))
        }
        InCharge::Heap { reserved, address_space: Some(space) } => limit(
            SUBJECT,
            format!(
                "the crate's own, with {} of address space reserved: blocks with pointers and blocks without have {} each",
                size(reserved),
                size(reserved / SIXTEENTH * 7)
            ),
            format!("the address space limit is {space} bytes: ulimit -v unlimited"),
        ),
        InCharge::NoReservation => limit(
            SUBJECT,
            String::from("the system allocator's: the kernel refused address space for the crate's own"),
            String::from("ulimit -v unlimited"),
        ),
        InCharge::Aside => limit(
            SUBJECT,
            String::from("the system allocator's: this build, GREENROUTINE_HEAP=system or Valgrind says so"),
            String::from("unset GREENROUTINE_HEAP; build without sanitizers and without --cfg heap_aside"),
        ),
        InCharge::Unused => {
            fine(SUBJECT, String::from("another allocator's: this program is built without the feature gc"))
        }
    }
}

/// Bytes in the largest unit that leaves whole digits.
fn size(bytes: usize) -> String {
    match bytes {
        0..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

fn capacity(stacks: usize, limits: &Limits) -> Finding {
    let text = format!("{stacks} goroutines at once with stack_max of {} MiB", DEFAULT_STACK_MAX >> 20);
    if stacks >= 1 << 20 {
        return fine("stacks", text);
    }
    let fix = match limits.address_space {
        Some(bytes) => {
            format!("the address space limit is {bytes} bytes: ulimit -v unlimited, or a smaller stack_max")
        }
        None => String::from("raise vm.max_map_count, or use a smaller stack_max"),
    };
    limit("stacks", text, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_below_the_processors_is_a_limit() {
        assert!(!quota_of(2.0, 2).is_limit);
        let found = quota_of(1.5, 2);
        assert!(found.is_limit && found.text.contains("1.50"), "{found:?}");
        assert!(found.fix.is_some_and(|fix| fix.contains("workers(1)")));
    }

    #[test]
    fn every_limit_has_a_fix() {
        let findings = doctor();
        assert!(findings.iter().all(|finding| finding.is_limit == finding.fix.is_some()), "{findings:?}");
        for subject in ["kernel", "heap", "threads", "files", "barrier"] {
            assert!(findings.iter().any(|finding| finding.subject == subject), "{subject}: {findings:?}");
        }
    }
}
