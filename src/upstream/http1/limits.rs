//! Bounds of what an origin may say.

/// Bounds of one response head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Its bytes.
    pub bytes: usize,
    /// Its fields.
    pub fields: usize,
}
