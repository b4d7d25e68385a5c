//! Values written as text: durations, sizes, addresses, URLs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::table::origin::{Origin, OriginHost};
use crate::table::route::HostPattern;

/// Longer than any time limit makes sense, and far from where clocks overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// `"250ms"`, `"5s"`, `"1m30s"`: whole numbers with a unit (`us ms s m h d`), up to 366 days.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let micros: u64 = match &after[..letters] {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        let part = Duration::from_micros(number.checked_mul(micros)?);
        total = total.checked_add(part)?;
        rest = &after[letters..];
    }
    (!text.is_empty() && total <= LONGEST).then_some(total)
}

/// `"64KiB"`, `"10MB"`, `"512"`: bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text)?;
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// `"20%"` or `"0.2"`: 0 to 1.
pub(super) fn share(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

/// `"200"` or `"200-299"`: both ends of a range of status codes.
pub(super) fn status(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| {
        text.trim()
            .parse::<u16>()
            .ok()
            .filter(|code| (100..=599).contains(code))
    };
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some((first, last))
}

/// An address and port, or an address alone with `port`.
pub(super) fn address_or_port(text: &str, port: u16) -> Option<SocketAddr> {
    let alone = || {
        text.parse::<IpAddr>()
            .ok()
            .map(|address| SocketAddr::new(address, port))
    };
    text.parse().ok().or_else(alone)
}

/// The networks of one entry of `trusted_peers`.
pub(super) fn peers(text: &str) -> Option<Vec<IpNet>> {
    if text == "loopback" {
        let four = Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8).ok()?;
        let six = Ipv6Net::new(Ipv6Addr::LOCALHOST, 128).ok()?;
        return Some(vec![four.into(), six.into()]);
    }
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(address)?;
    Some(vec![network.trunc()])
}

/// A URL of scheme, host and port; the error says what is wrong with it.
pub(super) fn origin(text: &str) -> Result<Origin, &'static str> {
    let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
        (true, rest)
    } else if let Some(rest) = text.strip_prefix("http://") {
        (false, rest)
    } else {
        return Err("an origin begins with `https://` or `http://`");
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err("an origin carries no user name");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("an origin has no path: requests keep their own");
    }
    let default_port = if tls { 443 } else { 80 };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or("`[` without `]`")?;
            let address = address
                .parse::<Ipv6Addr>()
                .map_err(|_| "this is no IPv6 address")?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err("after the `]` comes `:port` or nothing"),
            };
            (OriginHost::Address(IpAddr::V6(address)), port)
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err("an IPv6 address stands in brackets: `https://[::1]:8443`");
                }
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            (origin_host(host)?, port)
        }
    };
    let port = match port {
        None => default_port,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err("the port is no number from 1 to 65535"),
        },
    };
    Ok(Origin { tls, host, port })
}

fn origin_host(host: &str) -> Result<OriginHost, &'static str> {
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(OriginHost::Address(IpAddr::V4(address)));
    }
    let name = host.to_ascii_lowercase();
    // `10.3.0.256` is a slip in an address, never a name: no top-level domain is a number.
    let numeric_end = name
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if is_host_name(&name) && !numeric_end {
        Ok(OriginHost::Name(name.into()))
    } else {
        Err("this host is neither a name nor an address")
    }
}

/// Whether `name` can be a DNS name (RFC 1035 lengths; underscores occur in practice).
pub(super) fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=63).contains(&label.len())
                && label.bytes().all(letters)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// A host as `Host` carries it: a name or an address, perhaps with a port.
pub(super) fn is_authority(text: &str) -> bool {
    let bracketed = |text: &str| {
        text.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
    };
    let plain = |text: &str| is_host_name(text) || bracketed(text);
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && plain(host) => true,
        _ => plain(text),
    }
}

/// A route's `host`: exact or `*.suffix`.
pub(super) fn host_pattern(text: &str) -> Option<HostPattern> {
    let host = text.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    match host.strip_prefix("*.") {
        Some(suffix) => is_host_name(suffix).then(|| HostPattern::Suffix(suffix.to_owned())),
        None => {
            let bracketed = host.starts_with('[') && is_authority(host) && host.ends_with(']');
            (is_host_name(host) || bracketed).then(|| HostPattern::Exact(host.to_owned()))
        }
    }
}

/// Whether `name` may name a region or a route: it becomes a label of metrics and part of the
/// admin's paths.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether `path` can stand in a request line as it is.
pub(super) fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_a_bound() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 s",
            "1w",
            "999999999999d",
            "400d",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_and_shares_and_ranges_are_bounded() {
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("512"), Some(512));
        assert_eq!(size("99999999999GiB"), None);
        assert_eq!(share("20%"), Some(0.2));
        assert_eq!(share("NaN"), None);
        assert_eq!(status("200-399"), Some((200, 399)));
        assert_eq!(status("299-200"), None);
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        assert_eq!(
            origin("https://API.example.com/").unwrap().url(),
            "https://api.example.com"
        );
        assert_eq!(origin("http://[::1]:81").unwrap().url(), "http://[::1]:81");
        for bad in [
            "api.example.com",
            "ftp://x",
            "https://",
            "https://x/y",
            "https://u@x",
            "https://x:0",
            "https://10.3.0.256",
            "https://::1",
            "https://a b",
            "https://[::1",
            "https://x:70000",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
