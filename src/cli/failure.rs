//! Why a command ends without having done what it was asked to.

use std::io;

/// How a command failed; decides the exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It was understood and could not be done.
    #[error("{0}")]
    Failed(String),
    /// It does not make sense.
    #[error("{0}")]
    Usage(String),
    /// The configuration is missing or invalid; the text is ready to be printed.
    #[error("{0}")]
    Config(String),
    /// Standard output could not be written to.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The process's exit code. A reader that has seen enough and closes the pipe, as `head` does,
    /// is no failure.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            _ if self.is_closed_pipe() => 0,
            Self::Failed(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            // EX_CONFIG, so that systemd's RestartPreventExitStatus can tell it apart.
            Self::Config(_) => 78,
        }
    }

    /// Whether whoever reads our output has gone.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
