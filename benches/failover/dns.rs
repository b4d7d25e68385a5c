//! The name server of the regions.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::fault::Say;
use crate::setup::{AT_ONCE, REGIONS};

/// How long answers may be kept, in seconds.
const TTL: u32 = 1;

/// Answers questions about the three regions as `say` wants.
pub(crate) struct NameServer {
    pub(crate) socket: std::net::UdpSocket,
    pub(crate) regions: [Vec<SocketAddr>; 3],
    pub(crate) say: watch::Receiver<Say>,
}

impl NameServer {
    pub(crate) async fn run(self) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(self.socket.try_clone()?)?;
        let mut packet = [0; 1500];
        loop {
            let (length, peer) = socket.recv_from(&mut packet).await?;
            if let Some(reply) = self.reply(&packet[..length]) {
                let _ = socket.send_to(&reply, peer).await;
            }
        }
    }

    /// The reply to `query` (RFC 1035, section 4.1), which has one question. It is never
    /// truncated, however many addresses there are, since who asks announces a larger packet.
    fn reply(&self, query: &[u8]) -> Option<Vec<u8>> {
        const A: [u8; 2] = [0, 1];
        let name_end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
        let question = query.get(12..name_end + 4)?;
        let first = query.get(13..13 + usize::from(*query.get(12)?))?;
        let first = first.to_ascii_lowercase();
        let region = REGIONS.iter().position(|name| name.as_bytes() == first);
        let is_asked = query.get(name_end..name_end + 2)? == A;
        let (code, addresses) = match (*self.say.borrow(), region) {
            (Say::NxDomain, _) | (_, None) => (3, Vec::new()),
            (Say::ServFail, _) => (2, Vec::new()),
            (say, Some(region)) if is_asked => (0, self.addresses(say, region)),
            _ => (0, Vec::new()),
        };
        let mut reply = query.get(..2)?.to_vec();
        // A response, recursion desired and available.
        reply.extend([0x81, 0x80 | code]);
        let answers = u8::try_from(addresses.len()).ok()?;
        reply.extend([0, 1, 0, answers, 0, 0, 0, 0]);
        reply.extend(question);
        for address in addresses {
            // The question's name, type A, class IN.
            reply.extend([0xc0, 12, 0, 1, 0, 1]);
            reply.extend(TTL.to_be_bytes());
            reply.extend([0, 4]);
            reply.extend(address.octets());
        }
        Some(reply)
    }

    fn addresses(&self, say: Say, region: usize) -> Vec<Ipv4Addr> {
        let all = self.regions[region].iter().filter_map(|one| match one {
            SocketAddr::V4(address) => Some(*address.ip()),
            SocketAddr::V6(_) => None,
        });
        match say {
            Say::Empty => Vec::new(),
            Say::Many => all.collect(),
            Say::First(count) if region == 0 => all.take(count).collect(),
            Say::Moved(set) if region == 0 => all.skip(set * AT_ONCE).take(AT_ONCE).collect(),
            _ => all.take(AT_ONCE).collect(),
        }
    }
}
