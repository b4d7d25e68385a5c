//! The viewer's address, as trusted peers state it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{HeaderMap, HeaderName};

use crate::proxy::headers::{X_FORWARDED_FOR, only_value};

/// `CloudFront-Viewer-Address`: the viewer's address and port.
const CLOUDFRONT_ADDRESS: HeaderName = HeaderName::from_static("cloudfront-viewer-address");
/// Entries of `X-Forwarded-For` that are read at most: no honest path has as many proxies.
const MAX_HOPS: usize = 32;

/// Bytes of `X-Forwarded-For` that are read at most, counted from the right.
pub(super) const MAX_FORWARDED_BYTES: usize = 4096;

/// The longest text of an address is `[`, 45 characters, `]:65535`; a zone may be in it.
const MAX_ADDRESS_BYTES: usize = 80;

/// `ip:port`, where an IPv6 address has no brackets: the port is what follows the last colon.
pub(super) fn cloudfront_address(headers: &HeaderMap) -> Option<IpAddr> {
    let text = address_text(only_value(headers, &CLOUDFRONT_ADDRESS)?.as_bytes())?;
    let (address, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let address: IpAddr = address.parse().ok()?;
    Some(address.to_canonical())
}

/// Follows `X-Forwarded-For` from the right, beginning at `peer`, which is trusted: each trusted
/// proxy vouches for the entry left of its own. Ends at the first address that is not trusted, at
/// an entry that is no address, and at the bounds: the last address vouched for is the viewer's.
pub(super) fn forwarded_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut believed = peer;
    let mut hops = 0;
    let mut bytes_left = MAX_FORWARDED_BYTES;
    for value in headers.get_all(&X_FORWARDED_FOR).iter().rev() {
        let value = value.as_bytes();
        let cut = value.len().saturating_sub(bytes_left);
        let list = &value[cut..];
        bytes_left -= list.len();
        let mut entries = list.rsplit(|byte| *byte == b',').peekable();
        while let Some(entry) = entries.next() {
            // What the bound cut in two could read as another address.
            let halved = cut > 0 && entries.peek().is_none();
            hops += 1;
            if halved || hops > MAX_HOPS {
                return believed;
            }
            let entry = entry.trim_ascii();
            // Lists may have empty elements (RFC 9110, section 5.6.1.2).
            if entry.is_empty() {
                continue;
            }
            let Some(address) = forwarded_entry(entry) else {
                return believed;
            };
            believed = address;
            if !trusted(believed) {
                return believed;
            }
        }
    }
    believed
}

/// `ip`, `ip:port`, `[v6]` or `[v6]:port`.
fn forwarded_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = address_text(entry)?;
    let address = if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else if let Ok(socket) = text.parse::<SocketAddr>() {
        socket.ip()
    } else {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?)
    };
    Some(address.to_canonical())
}

fn address_text(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > MAX_ADDRESS_BYTES {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}
