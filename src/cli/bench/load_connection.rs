//! What takes one request after the other to the server.

use crate::cli::bench::fault::RequestFault;
use crate::cli::bench::tally::LoadAnswer;

/// A place for one request at a time: a connection of HTTP/1.1, a stream of HTTP/2, or what a
/// test puts there.
pub(super) trait LoadConnection {
    /// Opens what it needs, before the first request is due.
    async fn open(&mut self) -> Result<(), RequestFault>;

    /// Takes a request there and a whole answer back; the request's viewer is from this place of
    /// the mix. Dropped before it is done, it leaves nothing that the next one would meet.
    async fn exchange(&mut self, country: Option<usize>) -> Result<LoadAnswer, RequestFault>;
}
