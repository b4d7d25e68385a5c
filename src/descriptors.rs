//! How many files and sockets this process may hold open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but connections: listeners, event queues, files, probes.
const OTHERS: u64 = 256;

/// Raises the soft limit to the hard one, as a server that means to use it may. Gives the limit
/// that holds now; `None`: no limit.
#[must_use]
pub fn raise_limit() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    }
}

/// What to tell people when `limit` descriptors do not suffice for `connections` viewers, each
/// with a connection to an origin behind it; `None` when they do.
#[must_use]
pub fn shortage(limit: Option<u64>, connections: u64) -> Option<String> {
    let needed = connections * 2 + OTHERS;
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "{limit} file descriptors are allowed, {needed} are needed for {connections} connections: \
         raise `ulimit -n` or LimitNOFILE, or lower limits.connections_per_worker"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_too_low_for_the_connections_is_said_with_both_numbers() {
        let said = shortage(Some(1024), 10_000).unwrap();
        assert!(said.contains("1024") && said.contains("20256"), "{said}");
        assert_eq!(shortage(Some(65_536), 10_000), None);
        assert_eq!(shortage(None, u64::from(u32::MAX)), None);
    }
}
