//! Origins that answer when nothing else moves, so that the proxy always meets the same events.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, sleep};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Bytes of an answer.
pub(crate) const ANSWER: usize = 512;
/// From the last request of a round to its answers, and from the answers to the next round: by
/// then a proxy under valgrind waits for events again.
pub(crate) const QUIET: Duration = Duration::from_millis(4);
/// Until the stopped proxy has really stopped.
const STOPS: Duration = Duration::from_millis(1);
/// Probes of the region that is not to be chosen take so long; the first ones of the other one
/// take tens of milliseconds while valgrind translates what they run.
const FAR: Duration = Duration::from_millis(600);
/// What proxies ask for to learn whether an origin is well; not counted.
pub(crate) const HEALTH_PATH: &str = "/health";

/// The two regions.
pub(crate) struct Origins {
    /// The one that is to get every request.
    pub(crate) near: SocketAddr,
    /// The one that must get none.
    pub(crate) far: SocketAddr,
    served: Arc<[AtomicU64; 2]>,
    proxy: Arc<OnceLock<Pid>>,
}

impl Origins {
    /// Starts them; they answer when `streams` requests have arrived.
    pub(crate) fn start(streams: usize) -> io::Result<Self> {
        let [near, far] = [listen()?, listen()?];
        let origins = Self {
            near: near.local_addr()?,
            far: far.local_addr()?,
            served: Arc::default(),
            proxy: Arc::default(),
        };
        for (number, listener) in [near, far].into_iter().enumerate() {
            let served = Arc::clone(&origins.served);
            let proxy = Arc::clone(&origins.proxy);
            let (arrived, waiting) = channel();
            let slow = if number == 0 { Duration::ZERO } else { FAR };
            // A hedge comes alone.
            let round = if number == 0 { streams } else { 1 };
            thread::spawn(move || accept(&listener, &arrived, slow));
            thread::spawn(move || answer(&waiting, round, &served[number], &proxy));
        }
        Ok(origins)
    }

    /// Names the process to stop while a round of several is answered.
    pub(crate) fn stop_while_answering(&self, proxy: u32) {
        if let Some(pid) = i32::try_from(proxy).ok().and_then(Pid::from_raw) {
            let _ = self.proxy.set(pid);
        }
    }

    /// Requests that came to the near and to the far region so far.
    pub(crate) fn served(&self) -> [u64; 2] {
        [0, 1].map(|number| self.served[number].load(Ordering::Relaxed))
    }
}

fn listen() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0")
}

/// Accepts for ever, each connection a thread.
fn accept(listener: &TcpListener, arrived: &Sender<TcpStream>, slow: Duration) {
    while let Ok((stream, _)) = listener.accept() {
        let arrived = arrived.clone();
        thread::spawn(move || read(stream, &arrived, slow));
    }
}

/// Reads a connection's requests; probes are answered here.
fn read(mut stream: TcpStream, arrived: &Sender<TcpStream>, slow: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut request = Vec::new();
        let mut wanted = None;
        while wanted.is_none_or(|wanted| request.len() < wanted) {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                read => request.extend_from_slice(&buffer[..read]),
            }
            wanted = wanted.or_else(|| whole_length(&request));
        }
        if request[..wanted.unwrap_or(0)].starts_with(b"GET /health ") {
            sleep(slow);
            stream.write_all(&whole())?;
        } else if arrived.send(stream.try_clone()?).is_err() {
            return Ok(());
        }
    }
}

/// Answers each round of requests at once: the proxy is stopped meanwhile, so that it finds all
/// the answers together and how many it handles in one turn does not depend on the machine.
fn answer(
    waiting: &Receiver<TcpStream>,
    round: usize,
    served: &AtomicU64,
    proxy: &OnceLock<Pid>,
) -> io::Result<()> {
    let answer = whole();
    loop {
        let mut streams = Vec::with_capacity(round);
        while streams.len() < round {
            match waiting.recv() {
                Ok(stream) => streams.push(stream),
                Err(_) => return Ok(()),
            }
        }
        served.fetch_add(round as u64, Ordering::Relaxed);
        sleep(QUIET);
        let stopped = proxy.get().filter(|_| round > 1);
        if let Some(proxy) = stopped {
            kill_process(*proxy, Signal::STOP)?;
            sleep(STOPS);
        }
        let written = streams
            .iter_mut()
            .try_for_each(|stream| stream.write_all(&answer));
        if let Some(proxy) = stopped {
            kill_process(*proxy, Signal::CONT)?;
        }
        written?;
    }
}

fn whole() -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n\
         date: Tue, 24 Nov 2026 08:00:00 GMT\r\ncontent-length: {ANSWER}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + ANSWER, b'x');
    answer
}

/// Bytes of head and body, when the head is whole.
fn whole_length(request: &[u8]) -> Option<usize> {
    let head = request
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?
        + 4;
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse::<usize>().ok());
    Some(head + length.unwrap_or(0))
}
