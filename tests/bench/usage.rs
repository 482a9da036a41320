//! What this process has used, as the kernel counts it (Linux).

/// CPU seconds.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "each benchmark uses what it reports")]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

/// CPU seconds of the threads that this process has now, to the nanosecond: for short measurements in which no thread
/// ends.
#[allow(dead_code, reason = "each benchmark uses what it reports")]
pub fn cpu_seconds_of_threads() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux has /proc");
    let used = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    used.sum::<u64>() as f64 / 1e9
}

/// CPU seconds of this process so far, all threads that it ever had, user and system apart; to a hundredth.
#[allow(dead_code, reason = "each benchmark uses what it reports")]
pub fn cpu() -> Cpu {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    // The second field is the program's name in brackets and may hold spaces; times are fields 14 and 15, in ticks
    // of a hundredth of a second on every Linux of today.
    let after_name = stat.rsplit_once(')').expect("the name is in brackets").1;
    let mut times =
        after_name.split_whitespace().skip(11).map(|n| n.parse::<f64>().expect("a number") / 100.0);
    let mut next = || times.next().expect("Linux counts both");
    Cpu { user: next(), system: next() }
}

/// The most memory that this process has held, in MiB.
#[allow(dead_code, reason = "each benchmark uses what it reports")]
pub fn peak_memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel counts peak memory");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("a number of kB") / 1024.0
}
