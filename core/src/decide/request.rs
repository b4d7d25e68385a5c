//! What of a request matters for choosing, and for sending it twice.

use http::{HeaderMap, Method, header};

use crate::decide::draw_key::DrawKey;
use crate::model::field_list;
use crate::model::viewer::Viewer;
use crate::table::policy::RetryPolicy;

/// What of a request matters for choosing.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Host, as the viewer wrote it; may carry a port.
    pub host: Option<&'a str>,
    /// Path without the query, as matched: what [`matched_path`](crate::table::path::matched_path)
    /// makes of the one the viewer wrote. The caller does that, once; here nothing is decoded, so a
    /// path handed over as written would dodge the routes that a detour leads to.
    pub path: &'a str,
    /// Its method.
    pub method: &'a Method,
    /// What sending it twice means, on a route that lets an `Idempotency-Key` count.
    pub class: RequestClass,
    /// Who asks.
    pub viewer: &'a Viewer,
    /// What its part of shares and weights is drawn by.
    pub draw: DrawKey,
}

impl<'a> RequestFacts<'a> {
    /// A plain GET, drawn by the viewer's address.
    #[must_use]
    pub fn get(host: Option<&'a str>, path: &'a str, viewer: &'a Viewer) -> Self {
        Self {
            host,
            path,
            method: &Method::GET,
            class: RequestClass::Read,
            viewer,
            draw: DrawKey::Address,
        }
    }

    /// The number that its part of shares and weights is drawn by.
    pub(super) fn drawn(&self) -> u64 {
        self.draw.number(self.viewer.address)
    }
}

/// What a request is, as far as sending it twice is concerned: the columns of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestClass {
    /// GET, HEAD, OPTIONS, TRACE: safe (RFC 9110, 9.2.1).
    Read,
    /// PUT, DELETE: idempotent (RFC 9110, 9.2.2).
    Idempotent,
    /// POST, PATCH and methods we do not know: twice is not the same as once.
    Write,
    /// The same with an `Idempotency-Key`; see [`RequestClass::on`].
    KeyedWrite,
    /// A request to switch protocols, such as a WebSocket handshake.
    Upgrade,
    /// A gRPC call: always a POST, with rules of its own.
    Grpc,
}

impl RequestClass {
    /// The class of a request, from the fields as the viewer sent them.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        // Only a GET does nothing but ask to switch; with another method an origin that does not
        // know the protocol would carry the request out (RFC 9110, 7.8).
        if *method == Method::CONNECT || (*method == Method::GET && asks_for_upgrade(headers)) {
            Self::Upgrade
        } else if is_grpc(headers) {
            Self::Grpc
        } else if method.is_safe() {
            Self::Read
        } else if method.is_idempotent() {
            Self::Idempotent
        } else if headers.contains_key("idempotency-key") {
            Self::KeyedWrite
        } else {
            Self::Write
        }
    }

    /// The class that a request of this one has on a route with `retry`: a key counts only where
    /// the operator says so.
    #[must_use]
    pub fn on(self, retry: &RetryPolicy) -> Self {
        match self {
            Self::KeyedWrite if !retry.idempotency_key => Self::Write,
            class => class,
        }
    }

    /// Whether it changes something, and is answered once it has.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Idempotent | Self::Write | Self::KeyedWrite)
    }

    /// Its column in the retry table.
    pub(super) fn column(self) -> usize {
        self as usize
    }
}

/// Whether the fields ask to leave HTTP for another protocol, as WebSocket does. An offer of `h2c`
/// is none: requests inside such a tunnel would pass by every rule of ours.
#[must_use]
pub fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
        && !field_list::has(headers, header::UPGRADE, "h2c")
        && field_list::has(headers, header::CONNECTION, "upgrade")
}

/// `application/grpc`, or with a suffix such as `+proto`; not `application/grpc-web`, which is
/// plain HTTP.
fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let value = value.as_bytes();
    value.len() >= GRPC.len()
        && value[..GRPC.len()].eq_ignore_ascii_case(GRPC)
        && matches!(value.get(GRPC.len()), None | Some(b'+' | b';' | b' '))
}
