//! A body that breaks off or stands still goes on from another region, where both have the same bytes.

pub mod request;
pub mod stream;
pub mod validate;
