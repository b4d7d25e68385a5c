//! Which studies there are.

/// One of the studies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Study {
    Idle,
    Latency,
    Cores,
    Reload,
}

/// Every study, in order.
pub(crate) const STUDIES: &[Study] = &[Study::Idle, Study::Latency, Study::Cores, Study::Reload];

impl Study {
    /// The word on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Latency => "latency",
            Self::Cores => "cores",
            Self::Reload => "reload",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Idle => "10,000 idle TLS connections beside 64 busy ones",
            Self::Latency => "latency over TLS at a fixed rate",
            Self::Cores => "two cores instead of one, HTTP/1.1 over TLS",
            Self::Reload => "10,000 routes, reloaded every second",
        }
    }
}

/// The study of this name.
pub(crate) fn named(name: &str) -> Option<Study> {
    STUDIES.iter().copied().find(|study| study.name() == name)
}
