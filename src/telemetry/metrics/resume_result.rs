//! How a resumed body is counted.

/// What came of asking a region for the rest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeResult {
    /// The body went on with its answer.
    Resumed,
    /// It answered with something else than the bytes that were missing.
    Unfit,
    /// It gave no answer that could be used.
    Failed,
    /// The body went on by itself before it answered.
    Overtaken,
}

impl ResumeResult {
    /// All results, in the order of their cells.
    pub const ALL: [Self; 4] = [Self::Resumed, Self::Unfit, Self::Failed, Self::Overtaken];

    /// The result as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::Unfit => "unfit",
            Self::Failed => "failed",
            Self::Overtaken => "overtaken",
        }
    }
}
