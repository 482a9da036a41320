//! A disk in memory that loses power, fills up and fails.
//!
//! What was written is in the system's memory until it is synced: a process that is killed loses nothing of it, a power cut
//! keeps, drops or tears it, sector by sector, and the names of a directory one by one. A sync that fails may forget what was
//! to be synced, as Linux does: later syncs succeed and do not write it. Everything is drawn from one seed.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::source::broker::disk::{Disk, DiskFile, Open};

const SECTOR: usize = 512;

/// A disk. A clone is the same one.
#[derive(Clone, Debug)]
pub(super) struct Simulated(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: fastrand::Rng,
    files: Vec<Content>,
    directories: BTreeMap<PathBuf, Names>,
    /// Counts power cuts and kills: files that were opened before are of a process that is gone.
    life: u32,
    /// Bytes that can still be appended.
    room: Option<usize>,
    /// Operations until the process stops: the one that comes then, and all after it, fail.
    left: Option<u32>,
    /// Syncs of files until one fails.
    syncs_left: Option<u32>,
    /// Appends until one fails, for another reason than room.
    appends_left: Option<u32>,
    /// What has happened, for tests to see that it did.
    pub happened: Happened,
}

/// How often each kind of trouble came about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Happened {
    pub dropped: u32,
    pub torn: u32,
    pub names_lost: u32,
    pub failed_syncs: u32,
    pub failed_appends: u32,
    pub full: u32,
    pub stopped: u32,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory,
}

#[derive(Debug, Default)]
struct Names {
    now: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(String, Node),
    Renamed(String, String),
}

impl Simulated {
    /// An empty disk with a root directory.
    pub fn new(seed: u64) -> Simulated {
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            files: Vec::new(),
            directories: BTreeMap::from([(PathBuf::from("/"), Names::default())]),
            life: 0,
            room: None,
            left: None,
            syncs_left: None,
            appends_left: None,
            happened: Happened::default(),
        };
        Simulated(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves room for so many bytes, or for any number.
    pub fn set_room(&self, room: Option<usize>) {
        self.state().room = room;
    }

    /// Lets the sync after so many others fail.
    pub fn fail_sync_after(&self, syncs: u32) {
        self.state().syncs_left = Some(syncs);
    }

    /// Lets the append after so many others fail.
    pub fn fail_append_after(&self, appends: u32) {
        self.state().appends_left = Some(appends);
    }

    /// Lets the process stop after so many operations.
    pub fn stop_after(&self, operations: u32) {
        self.state().left = Some(operations);
    }

    /// Whether the process has stopped.
    pub fn has_stopped(&self) -> bool {
        self.state().left == Some(0)
    }

    pub fn happened(&self) -> Happened {
        self.state().happened
    }

    /// The process is gone; everything it wrote is still there. A new one has a disk without troubles.
    pub fn kill(&self) {
        let mut state = self.state();
        state.life += 1;
        (state.left, state.syncs_left, state.appends_left, state.room) = (None, None, None, None);
    }

    /// As [`Simulated::kill`], and what was not synced is kept, dropped or torn.
    pub fn cut_power(&self) {
        self.kill();
        let state = &mut *self.state();
        for file in &mut state.files {
            survive(file, &mut state.random, &mut state.happened);
        }
        for names in state.directories.values_mut() {
            let mut kept = std::mem::take(&mut names.durable);
            for change in names.pending.drain(..) {
                if state.random.bool() {
                    change.apply(&mut kept);
                } else {
                    state.happened.names_lost += 1;
                }
            }
            (names.now, names.durable) = (kept.clone(), kept);
        }
        let reachable = reachable(&state.directories);
        state.directories.retain(|path, _| reachable.contains(path));
    }
}

/// Directories that can be reached from the root.
fn reachable(directories: &BTreeMap<PathBuf, Names>) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        let names = directories.get(&path).map(|names| &names.now);
        let below = names.into_iter().flatten().filter(|(_, node)| **node == Node::Directory);
        found.extend(below.map(|(name, _)| path.join(name)));
        at += 1;
    }
    found
}

/// What a power cut leaves of a file.
fn survive(file: &mut Content, random: &mut fastrand::Rng, happened: &mut Happened) {
    let mut kept = std::mem::take(&mut file.durable);
    for change in file.pending.drain(..) {
        match (change, random.u8(0..4)) {
            (_, 0) => happened.dropped += 1,
            (change, 1) => change.apply(&mut kept),
            (Change::Cut(len), _) => Change::Cut(len).apply(&mut kept),
            (Change::Write(at, bytes), _) => {
                happened.torn += 1;
                tear(&mut kept, at, &bytes, random);
            }
        }
    }
    (file.now, file.durable) = (kept.clone(), kept);
}

/// Writes some sectors of a write, and parts of others.
fn tear(kept: &mut Vec<u8>, at: usize, bytes: &[u8], random: &mut fastrand::Rng) {
    // The length may be known though the bytes never came: then they are zeros.
    if random.bool() && kept.len() < at + bytes.len() {
        kept.resize(at + bytes.len(), 0);
    }
    let mut from = 0;
    while from < bytes.len() {
        let to = bytes.len().min(from + SECTOR - (at + from) % SECTOR);
        let end = match random.u8(0..4) {
            0 | 1 => to,
            2 => from,
            _ => random.usize(from..to),
        };
        if end > from {
            Change::Write(at + from, bytes[from..end].to_vec()).apply(kept);
        }
        from = to;
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Cut(len) => content.truncate(*len),
            Change::Write(at, bytes) => {
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            NameChange::Put(name, node) => drop(names.insert(name.clone(), *node)),
            NameChange::Renamed(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl State {
    /// Counts an operation; refuses it where the process has stopped.
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("the process has stopped")),
            Some(left) => {
                *left -= 1;
                self.happened.stopped += u32::from(*left == 0);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn names(&mut self, path: &Path) -> io::Result<&mut Names> {
        self.directories.get_mut(path).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn put(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let names = self.names(parent(path))?;
        let change = NameChange::Put(name(path), node);
        change.apply(&mut names.now);
        names.pending.push(change);
        Ok(())
    }

    fn append(&mut self, number: usize, bytes: &[u8]) -> io::Result<()> {
        self.operate()?;
        if is_due(&mut self.appends_left) {
            self.happened.failed_appends += 1;
            let some = self.random.usize(0..=bytes.len());
            self.write(number, &bytes[..some]);
            return Err(io::Error::other("the disk failed"));
        }
        let fits = self.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        self.write(number, &bytes[..fits]);
        self.room = self.room.map(|room| room - fits);
        if fits < bytes.len() {
            self.happened.full += 1;
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn write(&mut self, number: usize, bytes: &[u8]) {
        let file = &mut self.files[number];
        let change = Change::Write(file.now.len(), bytes.to_vec());
        change.apply(&mut file.now);
        file.pending.push(change);
    }

    fn sync(&mut self, number: usize) -> io::Result<()> {
        self.operate()?;
        let pending = std::mem::take(&mut self.files[number].pending);
        if is_due(&mut self.syncs_left) {
            self.happened.failed_syncs += 1;
            // The system takes for written what was not; or it is still to be written.
            if self.random.bool() {
                self.files[number].pending = pending;
            }
            return Err(io::Error::other("the disk failed"));
        }
        let file = &mut self.files[number];
        pending.iter().for_each(|change| change.apply(&mut file.durable));
        Ok(())
    }
}

/// Counts down; answers whether the time has come, once.
fn is_due(left: &mut Option<u32>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("only the root has none")
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("paths here are text").to_owned()
}

impl Disk for Simulated {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        // What only reads leaves nothing behind: to stop there is to stop at the next change.
        if how != Open::Read {
            state.operate()?;
        }
        let found = state.names(parent(path))?.now.get(&name(path)).copied();
        let number = match (found, how) {
            (Some(Node::File(number)), _) => number,
            (None, Open::Anew) => {
                let number = state.files.len();
                state.files.push(Content::default());
                state.put(path, Node::File(number))?;
                number
            }
            (Some(Node::Directory), _) => return Err(ErrorKind::IsADirectory.into()),
            (None, _) => return Err(ErrorKind::NotFound.into()),
        };
        if how == Open::Anew {
            let file = &mut state.files[number];
            file.now.clear();
            file.pending.push(Change::Cut(0));
        }
        Ok(Box::new(SimulatedFile { disk: self.clone(), number, life: state.life }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        Ok(self.state().names(directory)?.now.keys().cloned().collect())
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let mut whole = PathBuf::from("/");
        for part in path.strip_prefix("/").expect("paths here begin at the root") {
            whole.push(part);
            if !state.directories.contains_key(&whole) {
                state.put(&whole, Node::Directory)?;
                state.directories.insert(whole.clone(), Names::default());
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let names = state.names(parent(from))?;
        let change = NameChange::Renamed(name(from), name(to));
        change.apply(&mut names.now);
        names.pending.push(change);
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let names = state.names(path)?;
        names.pending.clear();
        names.durable = names.now.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Simulated,
    number: usize,
    life: u32,
}

impl SimulatedFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.life == self.life { Ok(state) } else { Err(io::Error::other("its process is gone")) }
    }
}

impl DiskFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.files[self.number].now.len() as u64)
    }

    fn read_at(&mut self, buffer: &mut [u8], place: u64) -> io::Result<usize> {
        let state = self.state()?;
        let place = usize::try_from(place).expect("files here are small");
        let there = state.files[self.number].now.get(place..).unwrap_or_default();
        let read = there.len().min(buffer.len());
        buffer[..read].copy_from_slice(&there[..read]);
        Ok(read)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let number = self.number;
        self.state()?.append(number, bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let number = self.number;
        let mut state = self.state()?;
        state.operate()?;
        let change = Change::Cut(usize::try_from(len).expect("files here are small"));
        let file = &mut state.files[number];
        change.apply(&mut file.now);
        file.pending.push(change);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let number = self.number;
        self.state()?.sync(number)
    }
}
