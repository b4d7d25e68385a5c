//! Who is at the other end of a viewer's connection.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::proxy::viewer::PeerFacts;
use crate::resources::ListenerResources;

/// What is known of a connection before its first request.
#[derive(Debug)]
pub struct Peer {
    /// Who connected.
    pub tcp: SocketAddr,
    /// Who is said to be behind it: the source of a PROXY header, else who connected.
    pub viewer: SocketAddr,
    /// Its address as text, which every request passes on.
    pub viewer_text: Box<str>,
    /// Whether `viewer` may speak for viewers behind it. A balancer that adds a PROXY header
    /// passes its clients' own header fields on, so its own trust must not extend to those.
    pub trusted: bool,
    /// Whether it came over TLS.
    pub secure: bool,
    /// The version of TLS, as logs name it.
    pub tls_version: Option<&'static str>,
    /// The listener it came to.
    pub listener: Arc<ListenerResources>,
}

impl Peer {
    /// A plain connection from `tcp`, behind which `viewer` is.
    #[must_use]
    pub fn new(tcp: SocketAddr, viewer: SocketAddr, listener: Arc<ListenerResources>) -> Self {
        let trusted = listener.trust.contains(viewer.ip());
        Self {
            tcp,
            viewer,
            viewer_text: viewer.ip().to_canonical().to_string().into(),
            trusted,
            secure: false,
            tls_version: None,
            listener,
        }
    }

    /// What matters of it for learning where the viewer is.
    #[must_use]
    pub fn facts(&self) -> PeerFacts {
        PeerFacts {
            address: self.viewer.ip(),
            trusted: self.trusted,
        }
    }
}
