//! Who asks, and for what.

use std::net::Ipv4Addr;

use http::{HeaderValue, StatusCode, Uri};

use crate::demo::answer::{BATCH, MISSING};

/// Every so many usual requests one is a POST.
const WRITE_EVERY: u64 = 5;
/// So many usual viewers take turns: enough to be told from one who is alone.
const VIEWERS: u64 = 40;

/// A stream of requests of one kind.
#[derive(Debug)]
pub(super) enum DemoTraffic {
    /// What many viewers ask for.
    Usual {
        path: Uri,
        country: Option<HeaderValue>,
    },
    /// One viewer asks for pages that do not exist.
    Crawl,
    /// One viewer sends POSTs that take long.
    Batch,
}

impl DemoTraffic {
    /// What is asked for, for people.
    pub(super) fn about(&self) -> String {
        match self {
            Self::Usual { path, .. } => format!("{path}, one in five a POST"),
            Self::Crawl => format!("pages below {MISSING}, from one viewer"),
            Self::Batch => format!("{BATCH}, all POST, from one viewer"),
        }
    }

    pub(super) fn is_write(&self, number: u64) -> bool {
        match self {
            Self::Usual { .. } => number % WRITE_EVERY == WRITE_EVERY - 1,
            Self::Crawl => false,
            Self::Batch => true,
        }
    }

    pub(super) fn path(&self, number: u64) -> String {
        match self {
            Self::Usual { path, .. } => path.to_string(),
            Self::Crawl => format!("{MISSING}{number}"),
            Self::Batch => BATCH.to_owned(),
        }
    }

    /// What a balancer in front would say of the viewer's address, all of them of a range for
    /// documentation (RFC 5737), which is in no country.
    pub(super) fn viewer(&self, number: u64) -> Ipv4Addr {
        let last = match self {
            Self::Usual { .. } => 1 + number % VIEWERS,
            Self::Crawl => 201,
            Self::Batch => 202,
        };
        Ipv4Addr::new(198, 51, 100, u8::try_from(last).unwrap_or_default())
    }

    pub(super) fn country(&self) -> Option<&HeaderValue> {
        match self {
            Self::Usual { country, .. } => country.as_ref(),
            Self::Crawl | Self::Batch => None,
        }
    }

    /// Whether an answer of this status is what was asked for.
    pub(super) fn is_served(&self, status: StatusCode) -> bool {
        match self {
            Self::Crawl => status == StatusCode::NOT_FOUND,
            Self::Usual { .. } | Self::Batch => {
                !status.is_client_error() && !status.is_server_error()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crawler_is_one_viewer_who_wants_what_is_not_there() {
        let usual = DemoTraffic::Usual {
            path: Uri::from_static("/a"),
            country: None,
        };
        assert_ne!(usual.viewer(0), usual.viewer(1));
        assert_eq!(DemoTraffic::Crawl.viewer(0), DemoTraffic::Crawl.viewer(1));
        assert_ne!(DemoTraffic::Crawl.path(0), DemoTraffic::Crawl.path(1));
        let served = |traffic: &DemoTraffic| traffic.is_served(StatusCode::NOT_FOUND);
        assert!(served(&DemoTraffic::Crawl) && !served(&usual) && !served(&DemoTraffic::Batch));
    }
}
