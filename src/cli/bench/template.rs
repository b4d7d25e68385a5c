//! The request that is sent, over and over.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

use crate::cli::bench::destination::Destination;
use crate::cli::bench::mix::CountryMix;

/// Where CloudFront says from which country a viewer is.
const COUNTRY: HeaderName = HeaderName::from_static("cloudfront-viewer-country");

/// One field of a request, as `'Key: value'` on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderField(HeaderName, HeaderValue);

impl HeaderField {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or is not for the caller to say.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a header such as 'Accept: text/plain'");
        let (name, value) = text.split_once(':').ok_or_else(expected)?;
        let name: HeaderName = name.trim().parse().map_err(|_| expected())?;
        let value = value.trim().parse().map_err(|_| expected())?;
        match name {
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING => Err(format!(
                "{name} follows from the body; say how large it is with --body-size"
            )),
            header::CONNECTION | header::UPGRADE => {
                Err(format!("{name} would change how connections are used"))
            }
            _ => Ok(Self(name, value)),
        }
    }
}

/// Reads a method.
///
/// # Errors
/// When it is none that asks for an answer.
pub(super) fn method(text: &str) -> Result<Method, String> {
    let method = text
        .parse()
        .ok()
        .filter(|method| *method != Method::CONNECT);
    method.ok_or_else(|| format!("{text:?} is not a method such as GET or POST"))
}

/// All that requests have in common; cheap to make one from.
#[derive(Clone, Debug)]
pub(super) struct Template {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// The country's field, by its place in the mix.
    countries: Vec<HeaderValue>,
}

impl Template {
    /// For HTTP/2 the authority goes into the URI, for HTTP/1.1 into `Host`; a `Host` among
    /// `fields` takes its place.
    pub(super) fn new(
        method: Method,
        destination: &Destination,
        fields: &[HeaderField],
        body: Bytes,
        mix: Option<&CountryMix>,
        is_http2: bool,
    ) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        let agent = concat!("meridian-bench/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let usual = HeaderValue::from_str(destination.authority.as_str());
        headers.insert(header::HOST, usual.map_err(|error| error.to_string())?);
        for HeaderField(name, _) in fields {
            headers.remove(name);
        }
        for HeaderField(name, value) in fields {
            headers.append(name, value.clone());
        }
        let uri = match is_http2 {
            false => Uri::from(destination.path.clone()),
            true => {
                let host = headers.remove(header::HOST);
                let host = host.ok_or("a request needs a host")?;
                let scheme = if destination.is_tls { "https" } else { "http" };
                Uri::builder()
                    .scheme(scheme)
                    .authority(host.as_bytes())
                    .path_and_query(destination.path.clone())
                    .build()
                    .map_err(|error| format!("{host:?} cannot be a host: {error}"))?
            }
        };
        let countries = mix.into_iter().flat_map(CountryMix::countries);
        let countries = countries.map(|country| {
            HeaderValue::from_str(country.as_str()).expect("a country's code is two letters")
        });
        Ok(Self {
            method,
            uri,
            headers,
            body,
            countries: countries.collect(),
        })
    }

    /// A request whose viewer is from the country of this place in the mix.
    pub(super) fn request(&self, country: Option<usize>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(code) = country.and_then(|place| self.countries.get(place)) {
            request.headers_mut().insert(COUNTRY, code.clone());
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(fields: &[&str], mix: Option<&str>, is_http2: bool) -> Template {
        let destination = "https://api.test:8443/x?y".parse().unwrap();
        let fields: Vec<_> = fields
            .iter()
            .map(|it| HeaderField::parse(it).unwrap())
            .collect();
        let mix = mix.map(|mix| CountryMix::parse(mix).unwrap());
        let body = Bytes::from_static(b"abc");
        Template::new(
            Method::PUT,
            &destination,
            &fields,
            body,
            mix.as_ref(),
            is_http2,
        )
        .unwrap()
    }

    #[test]
    fn the_host_is_a_field_in_http_1_and_in_the_uri_in_http_2() {
        let request = template(&[], None, false).request(None);
        assert_eq!(
            (request.uri().to_string().as_str(), request.method()),
            ("/x?y", &Method::PUT)
        );
        assert_eq!(request.headers()["host"], "api.test:8443");
        let request = template(&["Host: other.test"], None, true).request(None);
        assert_eq!(request.uri(), "https://other.test/x?y");
        assert!(!request.headers().contains_key("host"));
    }

    #[test]
    fn a_field_replaces_the_usual_one_and_may_come_twice() {
        let request = template(&["Accept: a", "accept: b", "X-Y:z"], None, false).request(None);
        let accepts: Vec<_> = request.headers().get_all("accept").iter().collect();
        assert_eq!(accepts, ["a", "b"]);
        assert_eq!(request.headers()["x-y"], "z");
        assert!(!request.headers().contains_key("cloudfront-viewer-country"));
    }

    #[test]
    fn the_viewers_country_is_said_as_cloudfront_does() {
        let request = template(&[], Some("DE=1,JP=2"), false).request(Some(1));
        assert_eq!(request.headers()["CloudFront-Viewer-Country"], "JP");
    }

    #[test]
    fn fields_that_are_none_or_not_for_the_caller_are_refused() {
        for wrong in [
            "X",
            ": y",
            "a b: c",
            "Content-Length: 3",
            "Connection: close",
        ] {
            assert!(HeaderField::parse(wrong).is_err(), "{wrong}");
        }
        assert!(method("CONNECT").is_err() && method("G T").is_err());
        assert_eq!(method("PATCH"), Ok(Method::PATCH));
    }
}
