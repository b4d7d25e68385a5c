//! A region's bad day, fault by fault, over real sockets: what viewers see while it lasts, what the
//! proxy believes and tells of it, and how traffic returns.

mod answers;
mod connections;
mod endpoints;
mod http2;
mod many;
mod names;
mod overload;
mod returning;
