//! A DNS server on loopback that says what the test wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::sync::watch;

/// What the server answers to every question.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// These A records with this TTL in seconds; no AAAA record.
    Addresses(Vec<Ipv4Addr>, u32),
    /// The name exists, without addresses.
    Empty,
    NxDomain,
    ServFail,
    /// Nothing at all.
    Silence,
}

/// A running server; it ends with the test's runtime.
pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    /// How many questions came.
    pub(crate) asked: watch::Receiver<u64>,
    says: Arc<Mutex<Say>>,
}

impl DnsServer {
    pub(crate) async fn start(say: Say) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let says = Arc::new(Mutex::new(say));
        let script = Arc::clone(&says);
        let (count, asked) = watch::channel(0);
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
                count.send_modify(|count| *count += 1);
                let say = script.lock().unwrap().clone();
                if let Some(reply) = reply(&packet[..length], &say) {
                    let _ = socket.send_to(&reply, peer).await;
                }
            }
        });
        Self {
            address,
            asked,
            says,
        }
    }

    pub(crate) fn say(&self, say: Say) {
        *self.says.lock().unwrap() = say;
    }
}

/// The reply to `query` (RFC 1035, section 4.1), which has one question.
fn reply(query: &[u8], say: &Say) -> Option<Vec<u8>> {
    const A: [u8; 2] = [0, 1];
    let name_end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(12..name_end + 4)?;
    let asks_a = query.get(name_end..name_end + 2)? == A;
    let (code, records) = match say {
        Say::Addresses(addresses, ttl) if asks_a => (0, records(addresses, *ttl)),
        Say::Addresses(..) | Say::Empty => (0, Vec::new()),
        Say::ServFail => (2, Vec::new()),
        Say::NxDomain => (3, Vec::new()),
        Say::Silence => return None,
    };
    let mut reply = query.get(..2)?.to_vec();
    // A response, recursion desired and available.
    reply.extend([0x81, 0x80 | code]);
    let answers = u8::try_from(records.len()).unwrap();
    reply.extend([0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(question);
    reply.extend(records.concat());
    Some(reply)
}

fn records(addresses: &[Ipv4Addr], ttl: u32) -> Vec<Vec<u8>> {
    let record = |address: &Ipv4Addr| {
        // The question's name, type A, class IN.
        let mut record = vec![0xc0, 12, 0, 1, 0, 1];
        record.extend(ttl.to_be_bytes());
        record.extend([0, 4]);
        record.extend(address.octets());
        record
    };
    addresses.iter().map(record).collect()
}
