//! What Linux says of this process: its memory and its open files. Elsewhere nothing is said.

/// Bytes of memory that the process has from the system.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Files and connections that it has open.
pub(super) fn open_files() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    u64::try_from(entries.count()).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_holds_is_seen() {
        let before = open_files().expect("Linux says it");
        let held: Vec<_> = (0..64).map(|_| std::fs::File::open("/dev/null").expect("it is there")).collect();
        // Other tests open and close theirs meanwhile.
        assert!(open_files().expect("Linux says it") + 32 > before + held.len() as u64);
        let bytes = resident_bytes().expect("Linux says it");
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
    }
}
