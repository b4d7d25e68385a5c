//! The PROXY header (v1 and v2) that a trusted peer sends before anything else.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// Bytes of a header at most. Addresses and a load balancer's own fields take some hundred.
const MAX_HEADER: usize = 4096;

/// Why no PROXY header could be read; a closed set, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderFailure {
    /// Not there in time.
    #[error("no PROXY header in time")]
    Timeout,
    /// The peer went away before its end.
    #[error("the peer closed the connection before its PROXY header")]
    Closed,
    /// What came is no PROXY header.
    #[error("malformed PROXY header")]
    Malformed,
    /// It does not end within the bound.
    #[error("PROXY header longer than {MAX_HEADER} bytes")]
    TooLong,
}

impl ProxyHeaderFailure {
    /// Every failure, in the order of [`Self::index`].
    pub const ALL: [Self; 4] = [Self::Timeout, Self::Closed, Self::Malformed, Self::TooLong];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The failure as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
        }
    }
}

/// Reads a PROXY header off `io` until `deadline`. Gives the viewer's address (`None` for the
/// sender's own health checks) and the bytes behind the header, which belong to what follows.
pub async fn read<T: AsyncRead + Unpin>(
    io: &mut T,
    deadline: Instant,
) -> Result<(Option<SocketAddr>, Bytes), ProxyHeaderFailure> {
    let mut buffer = BytesMut::with_capacity(MAX_HEADER);
    loop {
        match timeout_at(deadline, io.read_buf(&mut buffer)).await {
            Err(_) => return Err(ProxyHeaderFailure::Timeout),
            Ok(Err(_) | Ok(0)) => return Err(ProxyHeaderFailure::Closed),
            Ok(Ok(_)) => {}
        }
        let parsed = ProxyHeader::parse(&buffer, ParseConfig::default())
            .map(|(header, length)| (header.proxied_address().map(|a| a.source), length));
        match parsed {
            Ok((viewer, length)) => return Ok((viewer, buffer.split_off(length).freeze())),
            Err(Error::BufferTooShort) if buffer.len() < MAX_HEADER => {}
            Err(Error::BufferTooShort | Error::HeaderTooBig) => {
                return Err(ProxyHeaderFailure::TooLong);
            }
            Err(_) => return Err(ProxyHeaderFailure::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use proxy_header::{ProxiedAddress, Tlv};
    use tokio::io::AsyncWriteExt;

    use super::*;

    const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n";

    fn v2(viewer: &str) -> Vec<u8> {
        let destination = match viewer.parse().unwrap() {
            SocketAddr::V4(_) => "192.0.2.1:443",
            SocketAddr::V6(_) => "[2001:db8::1]:443",
        };
        let address = ProxiedAddress::stream(viewer.parse().unwrap(), destination.parse().unwrap());
        let mut header = ProxyHeader::with_address(address);
        header.append_tlv(Tlv::UniqueId(b"vpce-1"[..].into()));
        encoded(&header)
    }

    fn encoded(header: &ProxyHeader<'_>) -> Vec<u8> {
        let mut bytes = vec![0; MAX_HEADER];
        let length = header.encode_to_slice_v2(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    /// Reads from a peer that sends the first of `parts`, then the others, and then closes.
    async fn read_parts(
        parts: &[&[u8]],
    ) -> Result<(Option<SocketAddr>, Bytes), ProxyHeaderFailure> {
        let deadline = Instant::now() + Duration::from_secs(1);
        let (first, rest) = parts.split_first().unwrap();
        let rest = rest.concat();
        read(&mut first.chain(&*rest), deadline).await
    }

    #[tokio::test]
    async fn both_versions_name_the_viewer_and_leave_what_follows() {
        let v6 = "[2001:db8::7]:51234";
        for (header, viewer) in [
            (V1.to_vec(), "203.0.113.7:51234"),
            (v2("203.0.113.7:51234"), "203.0.113.7:51234"),
            (v2(v6), v6),
        ] {
            let stream = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let (address, rest) = read_parts(&[&stream]).await.unwrap();
            assert_eq!(address, Some(viewer.parse().unwrap()));
            assert_eq!(rest, &b"GET / HTTP/1.1\r\n"[..]);
        }
    }

    #[tokio::test]
    async fn a_header_may_come_in_pieces_cut_anywhere() {
        for header in [V1.to_vec(), v2("203.0.113.7:51234")] {
            for cut in 1..header.len() {
                let (first, rest) = header.split_at(cut);
                let (address, left) = read_parts(&[first, rest, b"next"]).await.unwrap();
                assert_eq!(address, Some("203.0.113.7:51234".parse().unwrap()), "{cut}");
                assert!(b"next".starts_with(&left), "{cut}");
            }
        }
    }

    #[tokio::test]
    async fn the_senders_own_checks_name_no_viewer() {
        let local = encoded(&ProxyHeader::with_local());
        for header in [&local[..], b"PROXY UNKNOWN\r\n"] {
            assert_eq!(read_parts(&[header]).await, Ok((None, Bytes::new())));
        }
    }

    #[tokio::test]
    async fn a_header_beyond_the_bound_is_refused() {
        let mut header = v2("203.0.113.7:51234");
        header[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        header.resize(usize::from(u16::MAX), 0);
        assert_eq!(
            read_parts(&[&header]).await,
            Err(ProxyHeaderFailure::TooLong)
        );
    }

    #[tokio::test]
    async fn rubbish_is_refused() {
        let endless_line = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        for rubbish in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00",
            b"\r\n\r\nGET / HTTP/1.1\r\n",
            b"PROXY TCP4 2001:db8::1 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 99999 443\r\n",
            &endless_line,
        ] {
            let failure = read_parts(&[rubbish]).await.unwrap_err();
            assert_eq!(failure, ProxyHeaderFailure::Malformed, "{rubbish:?}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_leaves_early_is_told_from_one_that_lies() {
        for part in [&b""[..], &V1[..20]] {
            assert_eq!(read_parts(&[part]).await, Err(ProxyHeaderFailure::Closed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_in_the_middle_is_left_at_the_deadline() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(&V1[..20]).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let outcome = read(&mut near, deadline).await;
        assert_eq!(outcome, Err(ProxyHeaderFailure::Timeout));
        assert_eq!(Instant::now(), deadline);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            version in 0..3_usize,
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let start: &[u8] = [&b""[..], b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n\x21"][version];
            let stream = [start, &bytes].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let outcome = runtime.unwrap().block_on(read_parts(&[&stream]));
            if let Ok((_, rest)) = outcome {
                prop_assert!(stream.ends_with(&rest));
            }
        }
    }
}
