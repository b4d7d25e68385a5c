//! The path a request means, for matching only.
//!
//! What is forwarded is the path as the viewer wrote it. An origin may well read
//! `/public/..%2fadmin` as `/admin`; a route that binds `/admin` to some regions must see it
//! so too, or the line could be dodged.

use std::borrow::Cow;

/// The path to match routes against: percent-encoded unreserved characters and slashes decoded
/// (RFC 3986 sections 2.3 and 6.2.2), backslashes taken for slashes as IIS and Tomcat do, runs of
/// slashes merged, dot segments removed (section 5.2.4). Never rises above the root; borrowed when
/// nothing of that occurs in `raw`.
#[must_use]
pub fn matched_path(raw: &str) -> Cow<'_, str> {
    if is_plain(raw.as_bytes()) {
        return Cow::Borrowed(raw);
    }
    let decoded = decode_unreserved(raw);
    Cow::Owned(remove_dot_segments(&decoded))
}

/// Whether servers disagree on where `raw` leads: it has a dot segment that only some see, as it
/// has parameters (`..;x`) or a backslash beside it (`..\x`). Whichever way it were matched, an
/// origin could read it the other way and serve what another route is for.
#[must_use]
pub fn is_ambiguous(raw: &str) -> bool {
    let suspect = |byte: u8| matches!(byte, b'\\' | b';' | b'%');
    if !raw.bytes().any(suspect) {
        return false;
    }
    let decoded = decode_unreserved(raw);
    let mut rest = decoded.as_str();
    let mut after_backslash = false;
    loop {
        let end = rest.find(['/', '\\']).unwrap_or(rest.len());
        let (segment, tail) = rest.split_at(end);
        let before_backslash = tail.starts_with('\\');
        let (name, has_parameters) = match segment.split_once(';') {
            Some((name, _)) => (name, true),
            None => (segment, false),
        };
        if matches!(name, "." | "..") && (has_parameters || after_backslash || before_backslash) {
            return true;
        }
        if tail.is_empty() {
            return false;
        }
        after_backslash = before_backslash;
        rest = &tail[1..];
    }
}

/// Whether nothing in `path` needs decoding, merging or removing.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    for &byte in path {
        if matches!(byte, b'%' | b'\\') || (before == b'/' && (byte == b'/' || byte == b'.')) {
            return false;
        }
        before = byte;
    }
    // A path without a leading slash (`*`, or rubbish) may still begin with a dot segment.
    path.first() != Some(&b'.')
}

/// `%41` to `A`, `%2F` to `/`, `%5C` to a backslash; what else is encoded stays so, a percent sign above all, so that
/// nothing is ever decoded twice.
fn decode_unreserved(raw: &str) -> String {
    let mut decoded = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        match encoded_byte(rest.as_bytes()) {
            Some(byte) if is_unreserved_or_separator(byte) => {
                decoded.push(char::from(byte));
                rest = &rest[3..];
            }
            _ => {
                decoded.push('%');
                rest = &rest[1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

/// The byte that `%XX` at the start of `text` stands for.
fn encoded_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = *text else {
        return None;
    };
    let digit = |hex: u8| char::from(hex).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn is_unreserved_or_separator(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'\\')
}

/// Drops `.` and empty segments and lets `..` take the one before it away. A path that ends in
/// a dot segment names a folder and keeps its slash.
fn remove_dot_segments(path: &str) -> String {
    let mut kept = String::with_capacity(path.len() + 1);
    let relative = path.strip_prefix(['/', '\\']).unwrap_or(path);
    let mut segments = relative.split(['/', '\\']).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" | "." => {}
            ".." => kept.truncate(kept.rfind('/').unwrap_or(0)),
            name => {
                kept.push('/');
                kept.push_str(name);
                continue;
            }
        }
        if last {
            kept.push('/');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_path_is_borrowed() {
        for path in ["/", "/v1/users", "/v1/", "/a.b/c..d", "*", "/f\u{fc}r"] {
            assert!(
                matches!(matched_path(path), Cow::Borrowed(same) if same == path),
                "{path}"
            );
        }
    }

    #[test]
    fn detours_lead_to_the_path_they_mean() {
        for (raw, meant) in [
            ("/public/..%2fadmin", "/admin"),
            ("/public/../admin", "/admin"),
            ("/public/%2e%2E/admin", "/admin"),
            ("/public/.%2e/admin", "/admin"),
            ("//admin", "/admin"),
            ("/./admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/../../../admin", "/admin"),
            ("/a//b///c", "/a/b/c"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/..", "/"),
            ("/..", "/"),
            ("//", "/"),
            ("/a/b//", "/a/b/"),
            ("../admin", "/admin"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/v1\\x", "/v1/x"),
            ("/%5cadmin", "/admin"),
            ("/x/..\\admin", "/admin"),
            ("\\admin", "/admin"),
        ] {
            assert_eq!(matched_path(raw), meant, "{raw}");
        }
    }

    #[test]
    fn a_dot_segment_that_only_some_servers_see_is_ambiguous() {
        for path in [
            "/x/..\\eu",
            "/x\\..",
            "/x\\../eu",
            "/x/..;/eu",
            "/x/..;a=b",
            "/x/.;/eu",
            "/x/..%5Ceu",
            "/x%5c%2e%2e/eu",
            "/x/%2E%2e;/eu",
        ] {
            assert!(is_ambiguous(path), "{path}");
        }
        for path in [
            "/",
            "/x/../eu",
            "/x/..%2feu",
            "/x\\eu",
            "/v1;a=b/x",
            "/a;..",
            "/a..;b",
            "/..%3b/eu",
            "/caf\u{e9};/\u{fc}\\x",
        ] {
            assert!(!is_ambiguous(path), "{path}");
        }
    }

    #[test]
    fn nothing_is_decoded_twice_and_reserved_characters_stay_encoded() {
        for path in [
            "/a%252fb", "/a%3Fb", "/a%20b", "/a%", "/a%4", "/a%zz", "/%c3%bc",
        ] {
            assert_eq!(matched_path(path), path);
        }
        assert_eq!(matched_path("/%2%65"), "/%2e");
    }
}
