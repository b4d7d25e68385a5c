//! W3C trace context: one id for a request, continued from trusted peers.

use http::HeaderMap;
use http::header::HeaderName;

/// W3C trace context.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The ids of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceContext {
    /// The trace, never zero.
    trace: u128,
    /// Our own span, never zero.
    span: u64,
    sampled: bool,
    continued: bool,
}

impl TraceContext {
    /// Continues the trace a trusted peer began, or begins one. `random` gives random words.
    pub(super) fn of(headers: &HeaderMap, trusted: bool, mut random: impl FnMut() -> u64) -> Self {
        let span = random() | 1;
        let parent = headers.get(TRACEPARENT).filter(|_| trusted);
        if let Some((trace, sampled)) = parent.and_then(|value| parse(value.as_bytes())) {
            return Self {
                trace,
                span,
                sampled,
                continued: true,
            };
        }
        let trace = (u128::from(random()) << 64) | u128::from(random() | 1);
        Self {
            trace,
            span,
            sampled: false,
            continued: false,
        }
    }

    /// The trace id as a number.
    pub(super) fn number(&self) -> u128 {
        self.trace
    }

    /// The trace id as 32 hexadecimal digits.
    pub(super) fn id(&self) -> [u8; 32] {
        let mut digits = [0; 32];
        write_hex(&mut digits, self.trace);
        digits
    }

    /// Whether a trusted peer began it.
    pub(super) fn is_continued(&self) -> bool {
        self.continued
    }

    /// The `traceparent` field for the next hop: our span is its parent.
    pub(super) fn parent(&self) -> [u8; 55] {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut value[3..35], self.trace);
        write_hex(&mut value[36..52], u128::from(self.span));
        value[54] = if self.sampled { b'1' } else { b'0' };
        value
    }
}

/// Version 00 of the field, or the part of a later one that reads the same.
fn parse(value: &[u8]) -> Option<(u128, bool)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    if !known || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some((trace, flags & 1 == 1))
}

/// Writes the last digits of `number`, two for each byte.
fn write_hex(digits: &mut [u8], number: u128) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = number.to_be_bytes();
    let bytes = &bytes[bytes.len() - digits.len() / 2..];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_trusted_peers_trace_goes_on_with_our_span_as_the_parent() {
        let trace = TraceContext::of(&with(PARENT), true, || 0x10);
        assert_eq!(trace.id(), *b"4bf92f3577b34da6a3ce929d0e0e4736");
        let next = trace.parent();
        assert_eq!(
            next,
            *b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000011-01"
        );
    }

    #[test]
    fn anyone_elses_trace_is_replaced() {
        let trace = TraceContext::of(&with(PARENT), false, || 0x10);
        assert!(!trace.is_continued());
        assert_ne!(trace.id(), *b"4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn rubbish_begins_a_new_trace() {
        for value in [
            "",
            "00-0-0-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(
                !TraceContext::of(&with(value), true, || 7).is_continued(),
                "{value}"
            );
        }
    }
}
