//! One question for one name: both address families, one answer.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use tokio::time::timeout;

/// Addresses of one name that are used; a large ALB has a few dozen.
pub const ADDRESS_LIMIT: usize = 64;

/// How long the slower address family is waited for once the faster one has answered: RFC 8305
/// waits 50 ms, but there a person is waiting.
const SECOND_FAMILY: Duration = Duration::from_millis(500);

/// How a question for a name ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DnsResult {
    /// With addresses.
    Ok,
    /// The name exists and has no address.
    Empty,
    /// The name does not exist.
    NxDomain,
    /// The server failed or refused, or answered with something else than DNS.
    ServFail,
    /// No answer in time.
    Timeout,
}

impl DnsResult {
    /// All results, in the order of declaration.
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::Empty,
        Self::NxDomain,
        Self::ServFail,
        Self::Timeout,
    ];

    /// The result as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Empty => "empty",
            Self::NxDomain => "nxdomain",
            Self::ServFail => "servfail",
            Self::Timeout => "timeout",
        }
    }
}

/// What a question for a name brought.
#[derive(Debug)]
pub(crate) enum DnsAnswer {
    /// Addresses: sorted, each once, at most [`ADDRESS_LIMIT`], at least one.
    Good {
        addresses: Vec<IpAddr>,
        /// As the server says, the shortest of all records on the way.
        ttl: Duration,
        /// How many more there were.
        beyond_limit: usize,
    },
    /// None; `result` is never [`DnsResult::Ok`].
    Bad { result: DnsResult, error: String },
}

impl DnsAnswer {
    pub(crate) fn result(&self) -> DnsResult {
        match self {
            Self::Good { .. } => DnsResult::Ok,
            Self::Bad { result, .. } => *result,
        }
    }
}

/// What one address family brought.
#[derive(Debug)]
enum AddressFamily {
    Found(Vec<IpAddr>, Duration),
    /// A server said that there is none.
    Absent(DnsResult, String),
    /// Nobody said anything of use.
    Failed(DnsResult, String),
}

/// Asks for the IPv4 and the IPv6 addresses of `name` at once. `known` are the addresses of the
/// last good answer: a family that failed while the other one answered keeps its own.
pub(crate) async fn ask(resolver: &TokioResolver, name: &str, known: &[IpAddr]) -> DnsAnswer {
    let v4 = resolver.ipv4_lookup(name);
    let v6 = resolver.ipv6_lookup(name);
    let (v4, v6) = both(v4, v6).await;
    let keeping = |family: AddressFamily, same: fn(&IpAddr) -> bool, other_found: bool| match family
    {
        AddressFamily::Failed(..) if other_found && known.iter().any(same) => {
            AddressFamily::Found(known.iter().copied().filter(same).collect(), Duration::ZERO)
        }
        family => family,
    };
    let found = |family: &AddressFamily| matches!(family, AddressFamily::Found(..));
    let (v4_found, v6_found) = (found(&v4), found(&v6));
    merge(
        keeping(v4, IpAddr::is_ipv4, v6_found),
        keeping(v6, IpAddr::is_ipv6, v4_found),
    )
}

/// Waits for both, but for the second one only a moment if the first has found something.
async fn both(
    v4: impl Future<Output = Result<Lookup, NetError>>,
    v6: impl Future<Output = Result<Lookup, NetError>>,
) -> (AddressFamily, AddressFamily) {
    tokio::pin!(v4, v6);
    tokio::select! {
        first = &mut v4 => {
            let first = family(first);
            let second = second(&first, v6).await;
            (first, second)
        }
        first = &mut v6 => {
            let first = family(first);
            let second = second(&first, v4).await;
            (second, first)
        }
    }
}

async fn second(
    first: &AddressFamily,
    other: impl Future<Output = Result<Lookup, NetError>>,
) -> AddressFamily {
    if !matches!(first, AddressFamily::Found(..)) {
        return family(other.await);
    }
    match timeout(SECOND_FAMILY, other).await {
        Ok(answer) => family(answer),
        Err(_) => AddressFamily::Failed(DnsResult::Timeout, "no answer in time".to_owned()),
    }
}

fn family(answer: Result<Lookup, NetError>) -> AddressFamily {
    match answer {
        Ok(lookup) => {
            let records = lookup.answers();
            let addresses: Vec<_> = records
                .iter()
                .filter_map(|record| record.data.ip_addr())
                .collect();
            if addresses.is_empty() {
                return AddressFamily::Absent(
                    DnsResult::Empty,
                    "the answer has no address".to_owned(),
                );
            }
            let ttl = records.iter().map(|record| record.ttl).min();
            let ttl = Duration::from_secs(u64::from(ttl.unwrap_or_default()));
            AddressFamily::Found(addresses, ttl)
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
            ResponseCode::NXDomain => {
                AddressFamily::Absent(DnsResult::NxDomain, "the name does not exist".to_owned())
            }
            ResponseCode::NoError => {
                AddressFamily::Absent(DnsResult::Empty, "the name has no address".to_owned())
            }
            code => {
                AddressFamily::Failed(DnsResult::ServFail, format!("the server answered {code}"))
            }
        },
        Err(NetError::Timeout) => {
            AddressFamily::Failed(DnsResult::Timeout, "no answer in time".to_owned())
        }
        Err(error) => AddressFamily::Failed(DnsResult::ServFail, error.to_string()),
    }
}

fn merge(v4: AddressFamily, v6: AddressFamily) -> DnsAnswer {
    let (addresses, ttl) = match (v4, v6) {
        (AddressFamily::Found(mut v4, v4_ttl), AddressFamily::Found(v6, v6_ttl)) => {
            v4.extend(v6.into_iter().filter(has_route));
            (v4, v4_ttl.min(v6_ttl))
        }
        (AddressFamily::Found(addresses, ttl), _) | (_, AddressFamily::Found(addresses, ttl)) => {
            (addresses, ttl)
        }
        // One family's failure says more than the other's absence: the name may well have
        // addresses of the family that failed.
        (AddressFamily::Failed(result, error), _)
        | (_, AddressFamily::Failed(result, error))
        | (AddressFamily::Absent(result, error), AddressFamily::Absent(..)) => {
            return DnsAnswer::Bad { result, error };
        }
    };
    tidy(addresses, ttl)
}

/// IPv4 first, each address once, no more than the limit. The order is by address, so that of too
/// many the same ones are used each time, whatever order the server shuffles them into.
fn tidy(mut addresses: Vec<IpAddr>, ttl: Duration) -> DnsAnswer {
    addresses.sort_unstable();
    addresses.dedup();
    let beyond_limit = addresses.len().saturating_sub(ADDRESS_LIMIT);
    addresses.truncate(ADDRESS_LIMIT);
    DnsAnswer::Good {
        addresses,
        ttl,
        beyond_limit,
    }
}

/// Whether this machine can send anything to `address`: on a machine without IPv6 the endpoints
/// of that family would only be dead weight. Connecting a UDP socket sends nothing.
fn has_route(address: &IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The port is of no importance; 9 is "discard".
    UdpSocket::bind(SocketAddr::new(any, 0))
        .and_then(|socket| socket.connect(SocketAddr::new(*address, 9)))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str]) -> AddressFamily {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        AddressFamily::Found(addresses.collect(), Duration::from_secs(30))
    }

    fn failed() -> AddressFamily {
        AddressFamily::Failed(DnsResult::ServFail, String::new())
    }

    fn absent(result: DnsResult) -> AddressFamily {
        AddressFamily::Absent(result, String::new())
    }

    #[test]
    fn the_order_of_an_answer_does_not_matter() {
        let answer = merge(
            found(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]),
            absent(DnsResult::Empty),
        );
        let DnsAnswer::Good { addresses, .. } = answer else {
            panic!("{answer:?}");
        };
        let expected: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert_eq!(addresses, expected);
    }

    #[test]
    fn more_addresses_than_the_limit_are_cut_and_counted() {
        let many = (0..100).map(|last| IpAddr::from([10, 0, 0, last]));
        let answer = tidy(many.collect(), Duration::ZERO);
        let DnsAnswer::Good {
            addresses,
            beyond_limit,
            ..
        } = answer
        else {
            panic!("{answer:?}");
        };
        assert_eq!((addresses.len(), beyond_limit), (ADDRESS_LIMIT, 36));
    }

    #[test]
    fn a_family_that_failed_says_more_than_one_that_is_absent() {
        let answer = merge(failed(), absent(DnsResult::Empty));
        assert_eq!(answer.result(), DnsResult::ServFail);
        let answer = merge(absent(DnsResult::NxDomain), absent(DnsResult::NxDomain));
        assert_eq!(answer.result(), DnsResult::NxDomain);
    }
}
