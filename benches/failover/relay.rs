//! A stretch of network between the proxy and a region.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// What a segment can hold.
const SEGMENT: usize = 1460;
/// When a segment that got lost is sent again: the least that TCP waits.
const SENT_AGAIN: Duration = Duration::from_millis(200);
/// Segments under way in one direction; a sender waits when there are more.
const WINDOW: usize = 1024;

/// Carries bytes from an address of its own to a region's, and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relay {
    /// The number of the region.
    pub(crate) region: usize,
    /// Where the proxy finds it.
    pub(crate) address: SocketAddr,
    /// The region itself.
    pub(crate) to: SocketAddr,
    /// How long a segment is under way.
    pub(crate) delay: Duration,
    /// The share of segments that get lost, from 0 to 1.
    pub(crate) loss: f64,
}

impl Relay {
    /// Lives until the program drops it.
    pub(crate) async fn run(self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        loop {
            let (near, _) = listener.accept().await?;
            tokio::spawn(self.carry(near));
        }
    }

    async fn carry(self, near: TcpStream) -> io::Result<()> {
        let far = TcpStream::connect(self.to).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        let there = tokio::spawn(self.carry_one_way(near_in, far_out));
        self.carry_one_way(far_in, near_out).await?;
        there.await?
    }

    /// Segments arrive in order: one that got lost holds up those behind it.
    async fn carry_one_way(
        self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) -> io::Result<()> {
        let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(WINDOW);
        let sending = async move {
            let mut last = Instant::now();
            let mut segment = vec![0; SEGMENT];
            loop {
                let length = from.read(&mut segment).await?;
                let is_lost = fastrand::f64() < self.loss;
                let late = if is_lost { SENT_AGAIN } else { Duration::ZERO };
                last = last.max(Instant::now() + self.delay + late);
                let sent = sender.send((last, segment[..length].to_vec())).await;
                if length == 0 || sent.is_err() {
                    return io::Result::Ok(());
                }
            }
        };
        let arriving = async {
            while let Some((due, segment)) = under_way.recv().await {
                sleep_until(due).await;
                if segment.is_empty() {
                    return to.shutdown().await;
                }
                to.write_all(&segment).await?;
            }
            // The sender was reset, so this end is dropped without a farewell.
            Ok(())
        };
        let (sent, arrived) = tokio::join!(sending, arriving);
        sent.and(arrived)
    }
}
