//! How a response's status is counted.

/// The class of a response's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeClass {
    /// 1xx, that is 101: the connection was upgraded.
    Informational,
    /// 2xx
    Success,
    /// 3xx
    Redirect,
    /// 4xx
    ViewerError,
    /// 5xx and beyond
    ServerError,
    /// No status: the viewer left first.
    None,
}

impl CodeClass {
    /// All classes, in the order of their cells.
    pub const ALL: [Self; 6] = [
        Self::Informational,
        Self::Success,
        Self::Redirect,
        Self::ViewerError,
        Self::ServerError,
        Self::None,
    ];

    /// The class of a status; `None` where no response was begun.
    #[must_use]
    pub fn of(status: Option<u16>) -> Self {
        match status {
            None => Self::None,
            Some(..200) => Self::Informational,
            Some(200..300) => Self::Success,
            Some(300..400) => Self::Redirect,
            Some(400..500) => Self::ViewerError,
            Some(500..) => Self::ServerError,
        }
    }

    /// The class as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ViewerError => "4xx",
            Self::ServerError => "5xx",
            Self::None => "none",
        }
    }
}
