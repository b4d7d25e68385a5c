//! Simulated regions: three small HTTP/1.1 servers on a thread of their own.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::fault::Behaviour;

/// How long each region takes to answer, the preferred one first.
pub(crate) const DELAYS: [Duration; 3] = [
    Duration::from_millis(5),
    Duration::from_millis(40),
    Duration::from_millis(120),
];
/// Bytes in an answer.
pub(crate) const BODY: usize = 1024;
/// A request head larger than this is not from our client.
const HEAD_LIMIT: usize = 64 * 1024;

/// Which write was executed how often, over all regions.
type Ledger = Arc<Mutex<BTreeMap<u64, u32>>>;

/// The three regions; dropping it ends them.
pub(crate) struct World {
    /// Where each region listens.
    pub(crate) addresses: [SocketAddr; 3],
    behaviours: [watch::Sender<Behaviour>; 3],
    ledger: Ledger,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    /// Opens three regions that serve.
    pub(crate) fn start() -> io::Result<Self> {
        let ledger = Ledger::default();
        let behaviours = [0; 3].map(|_| watch::Sender::new(Behaviour::Serving));
        let addresses = [free_address()?, free_address()?, free_address()?];
        let stop = watch::Sender::new(false);
        let regions: Vec<_> = (0..3)
            .map(|index| Region {
                index,
                address: addresses[index],
                behaviour: behaviours[index].subscribe(),
                ledger: Arc::clone(&ledger),
                served: Arc::default(),
                probed: Arc::default(),
            })
            .collect();
        let mut stopped = stop.subscribe();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                for region in regions {
                    tokio::spawn(region.run());
                }
                let _ = stopped.wait_for(|stop| *stop).await;
            });
        });
        Ok(Self {
            addresses,
            behaviours,
            ledger,
            stop,
            thread: Some(thread),
        })
    }

    /// Makes the first `count` regions behave so.
    pub(crate) fn behave(&self, count: usize, behaviour: Behaviour) {
        for sender in &self.behaviours[..count] {
            sender.send_if_modified(|now| std::mem::replace(now, behaviour) != behaviour);
        }
    }

    /// Writes that the regions together executed more than once.
    pub(crate) fn executed_twice(&self) -> usize {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.values().filter(|times| **times > 1).count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A loopback port nobody has, below the range that outgoing connections use: a region that is
/// down must find its port free when it comes back.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..200 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(15_000..32_000)));
        match std::net::TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// One simulated region.
#[derive(Clone)]
struct Region {
    index: usize,
    address: SocketAddr,
    behaviour: watch::Receiver<Behaviour>,
    ledger: Ledger,
    /// Requests so far that were not for health.
    served: Arc<AtomicU64>,
    /// Requests for health so far.
    probed: Arc<AtomicU64>,
}

/// What a request asked for.
struct Asked {
    is_health: bool,
    /// The id of a write.
    write: Option<u64>,
}

impl Region {
    async fn run(mut self) {
        loop {
            let now = *self.behaviour.borrow_and_update();
            match now {
                Behaviour::Down => {
                    if self.behaviour.changed().await.is_err() {
                        return;
                    }
                }
                Behaviour::Blackhole => self.swallow().await,
                _ => self.listen().await,
            }
        }
    }

    /// Accepts until the port is to close.
    async fn listen(&mut self) {
        let Ok(listener) = bind(self.address, 1024) else {
            sleep(Duration::from_millis(5)).await;
            return;
        };
        let mut behaviour = self.behaviour.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    tokio::spawn(self.clone().converse(stream));
                },
                _ = behaviour.wait_for(|now| is_closed(*now)) => return,
            }
        }
    }

    /// Listens with a queue that is full, so that the kernel drops every SYN.
    async fn swallow(&mut self) {
        let Ok(_listener) = bind(self.address, 0) else {
            sleep(Duration::from_millis(5)).await;
            return;
        };
        let mut held = Vec::new();
        while let Ok(Ok(stream)) =
            timeout(Duration::from_millis(20), TcpStream::connect(self.address)).await
        {
            held.push(stream);
        }
        let _ = self.behaviour.changed().await;
    }

    /// Serves one connection; it is reset when the region goes down or the fault wants it.
    async fn converse(self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut behaviour = self.behaviour.clone();
        let is_reset = tokio::select! {
            ended = self.answer_all(&mut stream) => ended.is_err(),
            _ = behaviour.wait_for(|now| is_closed(*now)) => true,
        };
        if is_reset {
            let _ = stream.set_zero_linger();
        }
    }

    async fn answer_all(&self, stream: &mut TcpStream) -> io::Result<()> {
        let mut buffer = Vec::new();
        while let Some(asked) = read(stream, &mut buffer).await? {
            self.answer(stream, &asked).await?;
        }
        Ok(())
    }

    /// Answers one request as the region behaves when the request is whole. An error resets.
    async fn answer(&self, stream: &mut TcpStream, asked: &Asked) -> io::Result<()> {
        let mut behaviour = self.behaviour.clone();
        let now = *behaviour.borrow_and_update();
        let is_refused = match now {
            Behaviour::Unavailable { health_too } => health_too || !asked.is_health,
            Behaviour::HalfUnavailable => !asked.is_health && count(&self.served).is_multiple_of(2),
            Behaviour::Overloaded => true,
            _ => false,
        };
        if let (Some(id), false) = (asked.write, is_refused) {
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            *ledger.entry(id).or_default() += 1;
        }
        let healed = async {
            let _ = behaviour.changed().await;
            Err(io::ErrorKind::ConnectionReset.into())
        };
        match now {
            Behaviour::Hang => return healed.await,
            Behaviour::LostProbes if asked.is_health && count(&self.probed).is_multiple_of(3) => {
                return healed.await;
            }
            Behaviour::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            _ => sleep(self.delay(now, asked.is_health)).await,
        }
        let (status, length) = if is_refused {
            ("503 Service Unavailable", 12)
        } else {
            ("200 OK", BODY)
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nx-region: {}\r\ncontent-type: text/plain\r\n{}\
             content-length: {length}\r\n\r\n",
            self.index,
            if now == Behaviour::Overloaded {
                "retry-after: 5\r\n"
            } else {
                ""
            },
        )
        .into_bytes();
        let is_half = now == Behaviour::HalfBody && !asked.is_health;
        let sent = if is_half { length / 2 } else { length };
        answer.resize(answer.len() + sent, b'x');
        stream.write_all(&answer).await?;
        if is_half { healed.await } else { Ok(()) }
    }

    fn delay(&self, now: Behaviour, is_health: bool) -> Duration {
        let usual = DELAYS[self.index];
        match now {
            Behaviour::Slow(extra) if !is_health => usual + extra,
            Behaviour::Cold => usual * 10,
            _ => usual,
        }
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

fn is_closed(now: Behaviour) -> bool {
    matches!(now, Behaviour::Down | Behaviour::Blackhole)
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// The next request, its body read; `None` at an orderly end.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let head = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        if buffer.len() > HEAD_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let end = if field(&text, "transfer-encoding").is_some() {
        more_until(stream, buffer, head, |body| {
            find(body, b"0\r\n\r\n").map(|at| at + 5)
        })
        .await?
    } else {
        let length = field(&text, "content-length").and_then(|value| value.parse().ok());
        let length: usize = length.unwrap_or(0);
        more_until(stream, buffer, head, |body| {
            (body.len() >= length).then_some(length)
        })
        .await?
    };
    buffer.drain(..end);
    let is_write = text.starts_with("post ");
    let id = field(&text, "x-write-id").and_then(|value| value.parse().ok());
    Ok(Some(Asked {
        is_health: text.split(' ').nth(1) == Some("/health"),
        write: id.filter(|_| is_write),
    }))
}

/// Reads until `whole` finds the end of the body after `head`; gives the end of the request.
async fn more_until(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    head: usize,
    whole: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<usize> {
    loop {
        if let Some(length) = whole(&buffer[head..]) {
            return Ok(head + length);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Where `wanted` begins.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// The value of a field in a head in lower case.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found == name).then(|| value.trim())
    })
}
