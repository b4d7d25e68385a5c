//! Tokens, the words that HTTP is made of.

/// Whether `text` is a token (RFC 9110 section 5.6.2): what a field's name and most words in fields
/// must be.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(in_token)
}
