//! JSON on one line, written straight into bytes.
//!
//! Each request writes a line: nothing here takes memory of its own, and the values that every
//! line has go through no formatter.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The end of a buffer that takes JSON. Whoever writes keeps it well formed.
///
/// No character in it can end the line early. Text also escapes what JSON allows but readers of
/// lines trip over: DEL, the C1 controls (one of them is a line break) and Unicode's line and
/// paragraph separators.
pub(super) struct Json<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Json<'a> {
    /// Writes at the end of `out`, with `room` for what is to come, so that it grows once.
    pub(super) fn at_end_of(out: &'a mut Vec<u8>, room: usize) -> Self {
        out.reserve(room);
        Self { out }
    }

    /// Writes `bytes` as they are.
    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Writes a field. `key` is copied in one go, so the comma before it and the colon after it
    /// are part of it.
    #[inline]
    pub(super) fn field<T>(&mut self, key: &'static [u8], value: T, write: fn(&mut Self, T)) {
        self.raw(key);
        write(self, value);
    }

    /// As [`Json::field`]; `null` where there is no value.
    #[inline]
    pub(super) fn nullable<T>(
        &mut self,
        key: &'static [u8],
        value: Option<T>,
        write: fn(&mut Self, T),
    ) {
        self.raw(key);
        match value {
            Some(value) => write(self, value),
            None => self.raw(b"null"),
        }
    }

    /// As [`Json::field`]; nothing at all where there is no value.
    #[inline]
    pub(super) fn optional<T>(
        &mut self,
        key: &'static [u8],
        value: Option<T>,
        write: fn(&mut Self, T),
    ) {
        if let Some(value) = value {
            self.field(key, value, write);
        }
    }

    /// A string that has nothing to escape: one of our own words, or a token of HTTP.
    #[inline]
    pub(super) fn word(&mut self, word: &str) {
        self.quoted(word.as_bytes());
    }

    /// A string of any bytes; U+FFFD stands for what is not UTF-8.
    pub(super) fn text(&mut self, text: &[u8]) {
        // No early end: so the compiler looks at many bytes at a time.
        if text.iter().fold(true, |all, byte| all & is_plain(*byte)) {
            return self.quoted(text);
        }
        self.out.push(b'"');
        for chunk in text.utf8_chunks() {
            for character in chunk.valid().chars() {
                self.character(character);
            }
            if !chunk.invalid().is_empty() {
                self.character(char::REPLACEMENT_CHARACTER);
            }
        }
        self.out.push(b'"');
    }

    /// A whole number.
    #[inline]
    pub(super) fn number(&mut self, number: u64) {
        self.raw(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Seconds, to the microsecond.
    pub(super) fn seconds(&mut self, duration: Duration) {
        self.number(duration.as_secs());
        self.fraction::<6>(duration.subsec_micros());
    }

    /// Milliseconds, to the microsecond.
    pub(super) fn millis(&mut self, duration: Duration) {
        let whole = duration.as_secs().saturating_mul(1000);
        self.number(whole.saturating_add(u64::from(duration.subsec_millis())));
        self.fraction::<3>(duration.subsec_micros() % 1000);
    }

    /// An address as a string.
    pub(super) fn ip(&mut self, address: IpAddr) {
        self.out.push(b'"');
        match address {
            IpAddr::V4(address) => self.octets(address),
            IpAddr::V6(address) => self.display(address),
        }
        self.out.push(b'"');
    }

    /// An address with its port as a string.
    pub(super) fn socket(&mut self, address: SocketAddr) {
        self.out.push(b'"');
        match address {
            SocketAddr::V4(address) => {
                self.octets(*address.ip());
                self.out.push(b':');
                self.number(u64::from(address.port()));
            }
            SocketAddr::V6(address) => self.display(address),
        }
        self.out.push(b'"');
    }

    /// The 32 hexadecimal digits of a number as a string.
    pub(super) fn hex(&mut self, number: u128) {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        self.quoted(&digits);
    }

    #[inline]
    fn quoted(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        self.raw(bytes);
        self.out.push(b'"');
    }

    fn character(&mut self, character: char) {
        match character {
            '"' => self.raw(br#"\""#),
            '\\' => self.raw(br"\\"),
            '\t' => self.raw(br"\t"),
            '\n' => self.raw(br"\n"),
            '\r' => self.raw(br"\r"),
            '\u{8}' => self.raw(br"\b"),
            '\u{c}' => self.raw(br"\f"),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                let code = u32::from(character);
                self.raw(br"\u");
                for shift in [12, 8, 4, 0] {
                    self.out.push(HEX[(code >> shift & 15) as usize]);
                }
            }
            other => self.raw(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    /// A point and the decimals of a number that has `PLACES` of them, without the zeros at the
    /// end, but with one decimal at least.
    #[inline]
    fn fraction<const PLACES: usize>(&mut self, mut fraction: u32) {
        let mut digits = [b'0'; PLACES];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        let last = digits.iter().rposition(|digit| *digit != b'0');
        self.out.push(b'.');
        self.raw(&digits[..=last.unwrap_or(0)]);
    }

    fn octets(&mut self, address: Ipv4Addr) {
        let [first, rest @ ..] = address.octets();
        self.number(u64::from(first));
        for octet in rest {
            self.out.push(b'.');
            self.number(u64::from(octet));
        }
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        // Memory takes whatever is written.
        let _ = write!(self.out, "{value}");
    }
}

/// Whether a byte stands for itself in a string, whatever is around it.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Json<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Json::at_end_of(&mut out, 0));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_character_is_read_back_and_none_ends_a_line() {
        for character in ('\0'..='\u{2100}').chain(['\u{fffd}', '\u{1f600}']) {
            let text = format!("a{character}b");
            let json = written(|json| json.text(text.as_bytes()));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            assert!(!json.contains(breaks), "{json:?}");
        }
        assert_eq!(written(|json| json.text(b"\x1b\x7f")), r#""\u001b\u007f""#);
    }

    #[test]
    fn what_is_not_utf_8_is_replaced_as_everywhere() {
        for bytes in [
            &b"a\xffb"[..],
            b"\xe2\x80",
            b"\xe2\x80\xe2\x80\xa8",
            b"\xc0\xaf\xf0\x9f",
        ] {
            let json = written(|json| json.text(bytes));
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn decimals_end_with_the_last_that_counts() {
        for (micros, seconds, millis) in [
            (0, "0.0", "0.0"),
            (1, "0.000001", "0.001"),
            (1_250, "0.00125", "1.25"),
            (3_000, "0.003", "3.0"),
            (
                1_700_000_000_123_450,
                "1700000000.12345",
                "1700000000123.45",
            ),
        ] {
            let duration = Duration::from_micros(micros);
            assert_eq!(written(|json| json.seconds(duration)), seconds);
            assert_eq!(written(|json| json.millis(duration)), millis);
        }
    }

    #[test]
    fn addresses_are_written_as_they_display() {
        for text in ["0.10.255.9:80", "[2001:db8::1]:443", "[fe80::1%3]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(written(|json| json.socket(address)), format!("\"{text}\""));
            let ip = address.ip();
            assert_eq!(written(|json| json.ip(ip)), format!("\"{ip}\""));
        }
    }
}
