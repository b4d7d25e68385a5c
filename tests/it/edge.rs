//! A whole proxy's viewer side over sockets: whom it believes, what it speaks, what it puts up with.

mod line;
mod limits;
mod rubbish;
mod trust;
mod versions;
