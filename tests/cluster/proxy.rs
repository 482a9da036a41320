//! A bad network between a process and one node: a proxy that reads the frames of CQL's protocol.
//!
//! Comes in: a node. Goes out: an address that stands for it. While it storms, requests that run statements meet a [`Fate`]
//! that is drawn from a seed; at all other times everything passes. The driver asks a node under the address at which it found
//! it, so with one node nothing goes past the proxy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// What becomes of a request that runs a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives, and nobody says so.
    Lost,
    /// It is applied, and its answer is lost.
    AnswerLost,
    /// It is applied, and its answer comes when nobody waits for it any more.
    AnswerLate,
    /// It arrives when nobody waits for it any more, behind what was sent after it.
    Late,
    /// It never arrives, and the node says that it timed out.
    TimedOut,
    /// It is applied, and the node says that it timed out.
    TimedOutApplied,
    /// The connection is cut in the middle of it, with all that is under way there.
    Cut,
}

/// All fates.
pub const FATES: [Fate; 7] = [
    Fate::Lost,
    Fate::AnswerLost,
    Fate::AnswerLate,
    Fate::Late,
    Fate::TimedOut,
    Fate::TimedOutApplied,
    Fate::Cut,
];

/// Requests out of a hundred that meet one.
const PERCENT: u32 = 6;
/// How long what is late takes: some of it longer than `cassandra.timeout` of these tests.
const LATE_MS: std::ops::Range<u64> = 100..2_000;
/// Frames that wait to be written.
const QUEUE: usize = 4_096;
/// Largest frame: those of the tests are far smaller.
const FRAME_MAX: usize = 32 << 20;

/// Operation codes of the protocol, version 4.
const ERROR: u8 = 0x00;
const EXECUTE: u8 = 0x0A;
const BATCH: u8 = 0x0D;
const WRITE_TIMEOUT: i32 = 0x1100;
const LOCAL_QUORUM: u16 = 6;

/// A proxy; its connections end with it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: watch::Sender<()>,
}

struct Shared {
    node: String,
    storms: AtomicBool,
    chance: Mutex<fastrand::Rng>,
    met: [AtomicUsize; FATES.len()],
}

/// A frame: head and body.
struct Frame(Vec<u8>);

/// What one connection knows.
struct Connection {
    shared: Arc<Shared>,
    /// Fates of answers that have not come, by the number of their stream.
    awaited: Mutex<HashMap<[u8; 2], Fate>>,
    to_node: mpsc::Sender<Frame>,
    to_client: mpsc::Sender<Frame>,
    cut: watch::Sender<bool>,
}

impl Proxy {
    /// Begins to stand for a node; what is drawn follows from the seed and the order of requests.
    pub async fn start(node: &str, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            storms: AtomicBool::new(false),
            chance: Mutex::new(fastrand::Rng::with_seed(seed)),
            met: Default::default(),
        });
        let (stop, stopped) = watch::channel(());
        let accepts = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, mut stopped) = (Arc::clone(&accepts), stopped.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connect(client, shared) => {}
                        _ = stopped.changed() => {}
                    }
                });
            }
        });
        Proxy { address, shared, _stop: stop }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Begins or ends the storm. What is late already still comes.
    pub fn storm(&self, storms: bool) {
        self.shared.storms.store(storms, Ordering::SeqCst);
    }

    /// How many requests have met each fate.
    pub fn met(&self) -> Vec<(Fate, usize)> {
        FATES.into_iter().zip(self.shared.met.iter().map(|met| met.load(Ordering::SeqCst))).collect()
    }
}

impl Shared {
    /// What becomes of a request; `None` where it passes.
    fn draw(&self, frame: &Frame) -> Option<(Fate, Duration)> {
        if !self.storms.load(Ordering::SeqCst) || !matches!(frame.operation(), EXECUTE | BATCH) {
            return None;
        }
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        if chance.u32(..100) >= PERCENT {
            return None;
        }
        // A cut ends all that is under way, so there are fewer.
        let which =
            if chance.u8(..4) > 0 { chance.usize(..FATES.len() - 1) } else { chance.usize(..FATES.len()) };
        self.met[which].fetch_add(1, Ordering::SeqCst);
        Some((FATES[which], Duration::from_millis(chance.u64(LATE_MS))))
    }
}

/// Carries frames between a client and the node until one of them closes, or it is cut.
async fn connect(client: TcpStream, shared: Arc<Shared>) {
    let Ok(node) = TcpStream::connect(&shared.node).await else { return };
    let ((from_client, client), (from_node, node)) = (client.into_split(), node.into_split());
    let (to_node, for_node) = mpsc::channel(QUEUE);
    let (to_client, for_client) = mpsc::channel(QUEUE);
    let (cut, mut is_cut) = watch::channel(false);
    let connection = Arc::new(Connection { shared, awaited: Mutex::default(), to_node, to_client, cut });
    tokio::select! {
        () = requests(from_client, &connection) => {}
        () = answers(from_node, &connection) => {}
        () = write(node, for_node) => {}
        () = write(client, for_client) => {}
        _ = is_cut.wait_for(|cut| *cut) => {}
    }
}

async fn write(mut into: tokio::net::tcp::OwnedWriteHalf, mut frames: mpsc::Receiver<Frame>) {
    while let Some(Frame(bytes)) = frames.recv().await {
        if into.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn requests(mut from: OwnedReadHalf, connection: &Arc<Connection>) {
    while let Some(frame) = Frame::read(&mut from).await {
        let Some((fate, late)) = connection.shared.draw(&frame) else {
            if connection.to_node.send(frame).await.is_err() {
                return;
            }
            continue;
        };
        match fate {
            Fate::Lost => {}
            Fate::AnswerLost | Fate::AnswerLate | Fate::TimedOutApplied => {
                connection.awaits(&frame, fate);
                let _ = connection.to_node.send(frame).await;
            }
            Fate::Late => {
                // Nobody waits for its answer by then, and a number of a stream is not used again before.
                let connection = Arc::clone(connection);
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    let _ = connection.to_node.send(frame).await;
                });
            }
            Fate::TimedOut => {
                let _ = connection.to_client.send(frame.timed_out()).await;
            }
            Fate::Cut => {
                let half = frame.0.len() / 2;
                let _ = connection.to_node.send(Frame(frame.0[..half].to_vec())).await;
                connection.cut.send_replace(true);
            }
        }
    }
}

async fn answers(mut from: OwnedReadHalf, connection: &Arc<Connection>) {
    while let Some(frame) = Frame::read(&mut from).await {
        let awaited =
            connection.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&frame.stream());
        let sent = match awaited {
            Some(Fate::AnswerLost) => continue,
            Some(Fate::TimedOutApplied) => connection.to_client.send(frame.timed_out()).await,
            Some(_) => {
                let connection = Arc::clone(connection);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(LATE_MS.end)).await;
                    let _ = connection.to_client.send(frame).await;
                });
                Ok(())
            }
            None => connection.to_client.send(frame).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

impl Connection {
    fn awaits(&self, frame: &Frame, fate: Fate) {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(frame.stream(), fate);
    }
}

impl Frame {
    /// The next frame; `None` where the other side has closed.
    async fn read(from: &mut OwnedReadHalf) -> Option<Frame> {
        let mut head = [0; 9];
        from.read_exact(&mut head).await.ok()?;
        assert_eq!(head[0] & 0x7F, 4, "the driver speaks version 4");
        let length = u32::from_be_bytes(head[5..9].try_into().expect("four bytes")) as usize;
        assert!(length <= FRAME_MAX, "a frame of {length} bytes");
        let mut bytes = head.to_vec();
        bytes.resize(head.len() + length, 0);
        from.read_exact(&mut bytes[head.len()..]).await.ok()?;
        Some(Frame(bytes))
    }

    fn operation(&self) -> u8 {
        self.0[4]
    }

    fn stream(&self) -> [u8; 2] {
        [self.0[2], self.0[3]]
    }

    /// What a node answers to the same request when too few replicas have said in time that they wrote it.
    fn timed_out(&self) -> Frame {
        let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
        let body = [
            WRITE_TIMEOUT.to_be_bytes().to_vec(),
            text("the proxy says that it timed out"),
            LOCAL_QUORUM.to_be_bytes().to_vec(),
            0i32.to_be_bytes().to_vec(),
            1i32.to_be_bytes().to_vec(),
            text("SIMPLE"),
        ]
        .concat();
        let [high, low] = self.stream();
        let head = [0x84, 0, high, low, ERROR];
        Frame([&head[..], &(body.len() as u32).to_be_bytes(), &body].concat())
    }
}
