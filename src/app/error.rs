//! Why the proxy cannot start.

use crate::admin::AdminError;
use meridian_core::config::problems::Problems;

/// Why the proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration is invalid, or names something that cannot be used.
    #[error("{0}")]
    Config(Problems),
    /// The admin address cannot be used.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The system refused something.
    #[error("cannot {what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        cause: std::io::Error,
    },
}
