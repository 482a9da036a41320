//! Disks that fail or fill up below a real `dev`: it refuses or halts by name, goes on reading, and after a restart all that
//! was acknowledged is there.
//!
//! Writes and fsyncs are made to fail by a library of ours between the process and the system (`interposer.c`, Linux and a C
//! compiler); a disk is filled on a small tmpfs where this user may mount one. Elsewhere the tests say that they were left out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::accounts::{self, Found, TOPIC, added};
use crate::process::{Dev, LIMIT, query};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A project of accounts, what was acknowledged, and how it fails.
struct Run {
    project: TempDir,
    data: PathBuf,
    acknowledged: Vec<(String, String)>,
    attempts: u64,
    written: u64,
}

/// Calls that fail once the run is armed.
struct Fault {
    on: &'static str,
    /// Below the data directory.
    below: &'static str,
    after: u32,
    /// 0: from then on all.
    count: u32,
    errno: i32,
}

impl Run {
    fn new() -> Run {
        let project = tempfile::tempdir().expect("a directory can be made");
        let path = project.path().canonicalize().expect("it is there");
        accounts::write_project(&path);
        Run { data: path.join("data"), project, acknowledged: Vec::new(), attempts: 0, written: 0 }
    }

    fn start(&self) -> Dev {
        Dev::start(self.project.path(), &self.data, &[]).ready()
    }

    fn start_with(&self, library: &Path, fault: &Fault) -> Dev {
        let text = |path: PathBuf| path.to_str().expect("paths here are text").to_owned();
        let (below, armed) = (text(self.data.join(fault.below)), text(self.armed()));
        let (after, count) = (fault.after.to_string(), fault.count.to_string());
        let environment = [
            ("LD_PRELOAD", library.to_str().expect("paths here are text")),
            ("FAULT_ON", fault.on),
            ("FAULT_BELOW", &below),
            ("FAULT_AFTER", &after),
            ("FAULT_COUNT", &count),
            ("FAULT_ERRNO", &fault.errno.to_string()),
            ("FAULT_ARMED", &armed),
        ];
        Dev::start(self.project.path(), &self.data, &environment).ready()
    }

    fn armed(&self) -> PathBuf {
        self.project.path().join("armed")
    }

    /// Lets calls fail from now on.
    fn arm(&self) {
        std::fs::write(self.armed(), "").expect("it can be written");
    }

    /// Publishes one event; answers why it was refused.
    fn publish(&mut self, dev: &Dev) -> Result<String, String> {
        self.attempts += 1;
        let mark = format!("m{}", self.attempts);
        let answer = dev.publish(TOPIC, &[added("a", self.written + 1, &mark)]).expect("it answers");
        let body = answer.json();
        if answer.status != 200 {
            let message = body["errors"][0]["message"].as_str().expect("it says why").to_owned();
            assert_eq!(answer.status, 503, "{message}");
            return Err(message);
        }
        self.written += 1;
        let position = body["readAfter"].as_str().expect("a position").to_owned();
        self.acknowledged.push((position.clone(), mark));
        Ok(position)
    }

    /// Publishes until it is refused; answers why.
    fn publish_until_refused(&mut self, dev: &Dev) -> String {
        for _ in 0..10_000 {
            if let Err(reason) = self.publish(dev) {
                return reason;
            }
        }
        panic!("it was never refused: {}", dev.errors())
    }

    /// Reads the account, not older than the last event that was acknowledged.
    fn read(&self, dev: &Dev) {
        let (position, _) = self.acknowledged.last().expect("something was");
        let data = query(dev.address, "{ account(id: \"a\") { count } }", position).expect("it answers");
        assert_eq!(data["account"]["count"].as_u64(), Some(self.written));
    }

    /// All that was acknowledged is in the log, nothing that was refused, and rows are what the log comes to.
    fn check(&self) -> Found {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let found = runtime.block_on(accounts::read(self.project.path(), &self.data));
        found.check_rows();
        let expected = self.acknowledged.iter().cloned().collect();
        assert_eq!(found.log, expected, "the log has what was acknowledged, and nothing else");
        found
    }
}

#[test]
fn a_failing_fsync_of_the_log_ends_publishing_for_good_and_reads_go_on() {
    let Some(library) = interposer() else { return };
    for (on, after, errno) in [("sync", 0, EIO), ("sync", 3, EIO), ("sync", 2, ENOSPC), ("write", 2, EIO)] {
        let mut run = Run::new();
        let dev = run.start_with(&library, &Fault { on, below: "log", after, count: 1, errno });
        run.publish(&dev).expect("nothing fails yet");
        run.arm();
        let reason = run.publish_until_refused(&dev);
        assert!(reason.starts_with("the log has halted: "), "{reason}");
        assert!(reason.contains(&format!("(os error {errno})")), "{reason}");
        // The disk is well again, but what it has forgotten nobody knows.
        for _ in 0..3 {
            assert_eq!(run.publish(&dev), Err(reason.clone()));
        }
        run.read(&dev);
        assert_eq!(dev.status()["log_halted"].as_str(), reason.strip_prefix("the log has halted: "));
        assert_eq!(end_of(dev), (Some(5), true), "{reason}");
        let dev = run.start();
        run.publish(&dev).expect("it takes records again");
        run.read(&dev);
        assert_eq!(dev.end().code(), Some(0));
        run.check();
    }
}

#[test]
fn a_log_without_room_refuses_and_goes_on_when_there_is_room() {
    let Some(library) = interposer() else { return };
    for after in [0, 1, 5] {
        let mut run = Run::new();
        let dev =
            run.start_with(&library, &Fault { on: "write", below: "log", after, count: 2, errno: ENOSPC });
        run.publish(&dev).expect("nothing fails yet");
        run.arm();
        for _ in 0..2 {
            let reason = run.publish_until_refused(&dev);
            assert!(reason.starts_with("the log is full: "), "{reason}");
        }
        run.publish(&dev).expect("there is room again");
        run.read(&dev);
        assert!(dev.status()["log_halted"].is_null());
        assert_eq!(dev.end().code(), Some(0));
        run.check();
    }
}

#[test]
fn a_store_that_cannot_write_halts_its_projections_by_name_and_what_was_folded_is_read() {
    let Some(library) = interposer() else { return };
    for (after, errno) in [(0, EIO), (2, ENOSPC), (5, EIO)] {
        let mut run = Run::new();
        let dev = run.start_with(&library, &Fault { on: "write", below: "store", after, count: 0, errno });
        run.publish(&dev).expect("nothing fails yet");
        run.read(&dev);
        run.arm();
        let state = halted(&mut run, &dev);
        assert!(state.starts_with("halted: ") && state.contains("committing a batch"), "{state}");
        run.publish(&dev).expect("the log is another matter");
        let read = query(dev.address, "{ account(id: \"a\") { count } }", &run.acknowledged[0].0);
        assert!(read.expect("it answers")["account"]["count"].as_u64() >= Some(1));
        assert_eq!(end_of(dev), (Some(5), true), "{state}");
        let dev = run.start();
        run.read(&dev);
        assert_eq!(dev.end().code(), Some(0));
        run.check();
    }
}

/// Publishes until the projection has halted; answers its state.
fn halted(run: &mut Run, dev: &Dev) -> String {
    let start = Instant::now();
    loop {
        run.publish(dev).expect("the log is another matter");
        let status = dev.status();
        let state = status["projections"][0]["state"].as_str().expect("it has one").to_owned();
        if state.starts_with("halted") {
            return state;
        }
        assert!(start.elapsed() < LIMIT, "it goes on: {state}");
    }
}

/// Ends it; answers its code, and whether it said on standard error that something had halted.
fn end_of(dev: Dev) -> (Option<i32>, bool) {
    let errors = dev.error_file().to_owned();
    let code = dev.end().code();
    let said = std::fs::read_to_string(errors).expect("it is there");
    (code, said.contains("halted"))
}

#[test]
fn a_disk_that_is_really_full_refuses_and_takes_records_again() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut run = Run::new();
    std::fs::create_dir_all(&run.data).expect("it can be made");
    // The log alone lies on the small disk: fjall takes 64 MiB for its journal at once.
    std::os::unix::fs::symlink(disk.path(), run.data.join("log")).expect("it can be linked");
    let dev = run.start();
    run.publish(&dev).expect("there is room");
    let filler = disk.path().join("filler");
    fill(&filler);
    let reason = run.publish_until_refused(&dev);
    assert!(reason.starts_with("the log is full: ") && reason.contains("(os error 28)"), "{reason}");
    run.read(&dev);
    std::fs::remove_file(&filler).expect("it is there");
    run.publish(&dev).expect("there is room again");
    run.read(&dev);
    assert_eq!(dev.end().code(), Some(0));
    run.check();
}

#[test]
fn a_store_on_a_disk_that_is_really_full_halts_and_goes_on_after_a_restart_with_room() {
    let Some(disk) = SmallDisk::mount_of("70m") else { return };
    let mut run = Run::new();
    std::fs::create_dir_all(&run.data).expect("it can be made");
    std::os::unix::fs::symlink(disk.path(), run.data.join("store")).expect("it can be linked");
    let dev = run.start();
    run.publish(&dev).expect("there is room");
    run.read(&dev);
    let filler = disk.path().join("filler");
    fill(&filler);
    let state = halted(&mut run, &dev);
    assert!(state.contains("os error 28"), "{state}");
    assert_eq!(end_of(dev), (Some(5), true));
    std::fs::remove_file(&filler).expect("it is there");
    let dev = run.start();
    run.read(&dev);
    assert_eq!(dev.end().code(), Some(0));
    run.check();
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("it can be made");
    // Ever smaller pieces, so that not even a small record finds room.
    for piece in [64 << 10, 4 << 10, 1] {
        while std::io::Write::write_all(&mut file, &vec![1; piece]).is_ok() {}
    }
}

/// A file system of a few hundred kilobytes; unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        SmallDisk::mount_of("512k")
    }

    fn mount_of(size: &str) -> Option<SmallDisk> {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let size = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "kinora"]).arg(directory.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(directory)),
            Ok(output) => {
                println!("a full disk was left out: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("a full disk was left out: mount cannot be run: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// Compiles the library; `None`, with a reason, where that cannot be.
fn interposer() -> Option<PathBuf> {
    if !cfg!(target_os = "linux") {
        println!(
            "failing writes were left out: only Linux puts a library between program and system this way"
        );
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/interposer.c");
    let library =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("interposer-{}.so", std::process::id()));
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl")
            .output();
        match compiled {
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            Err(error) => println!("failing writes were left out: cc cannot be run: {error}"),
        }
    });
    library.exists().then_some(library)
}
