//! The words every other part uses: who asks, which places there are, when it is.

pub mod admin;
pub mod country;
pub mod field_list;
pub mod id;
pub mod log_linear;
pub mod outcome;
pub mod place;
pub(crate) mod seconds;
pub mod time;
pub mod token;
pub mod viewer;
