//! A body that breaks off or stands still goes on from another region, where both have the same bytes.

pub(super) mod request;
pub(super) mod stream;
mod validate;
