//! Which header fields tell where a viewer is.

use http::HeaderName;

use meridian_core::config::ViewerConfig;

/// What the names of fields begin with by which CloudFront and other proxies tell of a viewer.
const FAMILIES: [&str; 2] = ["cloudfront-viewer-", "x-forwarded-"];

/// Other fields in which applications look for a viewer's address or country.
const OTHERS: [&str; 6] = [
    "cf-connecting-ip",
    "fastly-client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-real-ip",
    "x-viewer-country",
];

/// Fields that every origin gets from us. Under these very names they are taken off where they are
/// written; with an underscore they would pass for ours.
const WRITTEN_ANEW: [&str; 4] = [
    "cdn-loop",
    "content-length",
    "transfer-encoding",
    "x-request-id",
];

/// Which headers tell of the viewer, ready to be looked up.
#[derive(Clone, Debug)]
pub struct ViewerRules {
    /// In the order they are asked.
    country_headers: Box<[HeaderName]>,
}

impl ViewerRules {
    /// The rules a checked configuration asks for. A name that no header can have is left out:
    /// no request carries it.
    #[must_use]
    pub fn new(config: &ViewerConfig) -> Self {
        let names = config.country_headers.iter();
        Self {
            country_headers: names
                .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
                .collect(),
        }
    }

    /// The fields that state a country, in the order they are asked.
    #[must_use]
    pub fn country_headers(&self) -> &[HeaderName] {
        &self.country_headers
    }

    /// Whether the field `name` tells of a viewer, so that only a trusted peer may set it. An
    /// underscore counts as a dash: behind CGI and WSGI they are one. `X-Forwarded-For` is none of
    /// these, as it is written anew for every origin.
    #[must_use]
    pub fn tells_of_viewer(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        let countries = self.country_headers.iter().map(HeaderName::as_str);
        let is_disguised =
            || name.contains('_') && WRITTEN_ANEW.iter().any(|one| is_same(name, one));
        name != "x-forwarded-for"
            && (is_disguised()
                || FAMILIES.iter().any(|family| begins_with(name, family))
                || OTHERS
                    .into_iter()
                    .chain(countries)
                    .any(|one| is_same(name, one)))
    }
}

fn begins_with(name: &str, beginning: &str) -> bool {
    let begins = name.as_bytes().get(..beginning.len());
    begins.is_some_and(|begins| folded(begins).eq(folded(beginning.as_bytes())))
}

fn is_same(name: &str, other: &str) -> bool {
    name.len() == other.len() && begins_with(name, other)
}

fn folded(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter()
        .map(|byte| if *byte == b'_' { b'-' } else { *byte })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_an_application_takes_for_the_protected_ones_are_protected_too() {
        let rules = ViewerRules {
            country_headers: Box::new([HeaderName::from_static("x-country")]),
        };
        for name in [
            "x-country",
            "x_country",
            "cloudfront_viewer_country",
            "CloudFront-Viewer-City",
            "x_forwarded_for",
            "x-forwarded-prefix",
            "X-Real-IP",
            "x_request-id",
            "cdn_loop",
            "content_length",
            "true_client_ip",
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert!(rules.tells_of_viewer(&name), "{name}");
        }
        for name in [
            "x-forwarded-for",
            "x-request-id",
            "x-country-2",
            "x",
            "forwarded",
            "x_real",
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert!(!rules.tells_of_viewer(&name), "{name}");
        }
    }
}
