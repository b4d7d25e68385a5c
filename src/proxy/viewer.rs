//! Who asks, and from where: what a trusted peer's headers say, then the tables of addresses.

mod address;

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName};

use crate::geo::GeoTable;
use crate::proxy::headers::only_value;
use crate::proxy::viewer::address::{cloudfront_address, forwarded_address};
use crate::resources::viewer_rules::ViewerRules;
use meridian_core::model::country::Country;
use meridian_core::model::place::Place;
use meridian_core::model::viewer::{Viewer, ViewerSource};

/// `CloudFront-Viewer-Latitude`: degrees north.
const CLOUDFRONT_LATITUDE: HeaderName = HeaderName::from_static("cloudfront-viewer-latitude");
/// `CloudFront-Viewer-Longitude`: degrees east.
const CLOUDFRONT_LONGITUDE: HeaderName = HeaderName::from_static("cloudfront-viewer-longitude");
/// What is known of the peer before any header is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerFacts {
    /// The effective peer's address: the one a PROXY header named, else the connection's.
    pub address: IpAddr,
    /// Whether that address is among the listener's `trusted_peers`. A balancer that only
    /// forwards connections passes the viewer's own headers on untouched: that its own address is
    /// trusted does not make them believed.
    pub trusted: bool,
}

/// Finds out who asks. `headers` are believed only of a trusted peer; `trusted` says whether an
/// address (IPv4 mapped into IPv6 given as IPv4) is among the `trusted_peers`. Allocates nothing.
#[must_use]
pub fn resolve(
    peer: &PeerFacts,
    headers: &HeaderMap,
    rules: &ViewerRules,
    trusted: impl Fn(IpAddr) -> bool,
    geo: &GeoTable,
) -> Viewer {
    let peer_address = peer.address.to_canonical();
    let (address, stated, place) = if peer.trusted {
        let address = cloudfront_address(headers)
            .unwrap_or_else(|| forwarded_address(peer_address, headers, trusted));
        (address, stated_country(headers, rules), place(headers))
    } else {
        (peer_address, None, None)
    };
    let known = stated
        .map(|country| (country, ViewerSource::Header))
        .or_else(|| geo.country(address));
    let (country, source) = match known {
        Some((country, source)) => (Some(country), source),
        None => (None, ViewerSource::Unknown),
    };
    Viewer {
        address,
        country,
        source,
        place,
    }
}

/// Removes the fields that only a trusted peer may set: the country headers and all of
/// CloudFront's about the viewer. Gives how many fields there were. Costs one pass over the names
/// when there is none.
pub fn strip_viewer_headers(headers: &mut HeaderMap, rules: &ViewerRules) -> u32 {
    if !headers.keys().any(|name| rules.tells_of_viewer(name)) {
        return 0;
    }
    let before = headers.len();
    let names = headers.keys().filter(|name| rules.tells_of_viewer(name));
    let names: Vec<HeaderName> = names.cloned().collect();
    for name in names {
        headers.remove(name);
    }
    u32::try_from(before - headers.len()).unwrap_or(u32::MAX)
}

/// The country that the first header with a usable answer states.
fn stated_country(headers: &HeaderMap, rules: &ViewerRules) -> Option<Country> {
    let mut names = rules.country_headers().iter();
    names.find_map(|name| Country::parse(only_value(headers, name)?.as_bytes()))
}

/// Where CloudFront says the viewer is.
fn place(headers: &HeaderMap) -> Option<Place> {
    let latitude = degrees(headers, &CLOUDFRONT_LATITUDE)?;
    let longitude = degrees(headers, &CLOUDFRONT_LONGITUDE)?;
    Place::at(latitude, longitude)
}

fn degrees(headers: &HeaderMap, name: &HeaderName) -> Option<f32> {
    only_value(headers, name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::viewer::address::MAX_FORWARDED_BYTES;
    use http::header::HeaderValue;
    use meridian_core::config::ViewerConfig;
    use meridian_core::model::viewer::UnknownViewer;

    const TRUSTED: PeerFacts = PeerFacts {
        address: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9)),
        trusted: true,
    };

    /// Names and values.
    type Fields<'a> = [(&'static str, &'a str)];

    fn rules(names: &[&str]) -> ViewerRules {
        ViewerRules::new(&ViewerConfig {
            country_headers: names.iter().map(|name| (*name).to_owned()).collect(),
            geoip: None,
            unknown: UnknownViewer::Any,
        })
    }

    fn headers(fields: &Fields<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    /// 10.0.0.0/8 and fd00::/8 are trusted.
    fn trusts(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.octets()[0] == 10,
            IpAddr::V6(v6) => v6.octets()[0] == 0xfd,
        }
    }

    fn viewer(peer: &PeerFacts, fields: &Fields<'_>) -> Viewer {
        let rules = rules(&["cloudfront-viewer-country", "x-country"]);
        let geo = GeoTable::default();
        resolve(peer, &headers(fields), &rules, trusts, &geo)
    }

    fn country(fields: &Fields<'_>) -> Option<String> {
        let viewer = viewer(&TRUSTED, fields);
        assert_eq!(
            viewer.country.is_some(),
            viewer.source == ViewerSource::Header
        );
        viewer.country.map(|country| country.to_string())
    }

    #[test]
    fn the_first_header_with_a_country_wins() {
        const ONE: &str = "cloudfront-viewer-country";
        const TWO: &str = "x-country";
        let table: [(&Fields<'_>, Option<&str>); 10] = [
            (&[], None),
            (&[(ONE, "JP")], Some("JP")),
            (&[(ONE, "jp")], Some("JP")),
            (&[(TWO, "FR"), (ONE, "JP")], Some("JP")),
            (&[(ONE, "XX"), (TWO, "FR")], Some("FR")),
            (&[(ONE, "T1")], None),
            (&[(ONE, "Japan"), (TWO, "")], None),
            (&[(ONE, "J\u{e9}"), (TWO, "FR")], Some("FR")),
            (&[(ONE, "JP"), (ONE, "JP")], None),
            (&[(ONE, "JP"), (ONE, "DE"), (TWO, "FR")], Some("FR")),
        ];
        for (fields, expected) in table {
            assert_eq!(country(fields).as_deref(), expected, "{fields:?}");
        }
    }

    #[test]
    fn headers_of_an_untrusted_peer_are_not_believed() {
        let peer = PeerFacts {
            address: "198.51.100.7".parse().unwrap(),
            trusted: false,
        };
        let fields = [
            ("cloudfront-viewer-country", "JP"),
            ("cloudfront-viewer-address", "192.0.2.1:443"),
            ("cloudfront-viewer-latitude", "35.7"),
            ("cloudfront-viewer-longitude", "139.7"),
            ("x-forwarded-for", "192.0.2.2"),
        ];
        let viewer = viewer(&peer, &fields);
        assert_eq!(viewer.address, peer.address);
        assert_eq!(viewer.country, None);
        assert_eq!(viewer.source, ViewerSource::Unknown);
        assert_eq!(viewer.place, None);
    }

    #[test]
    fn the_forwarded_address_is_read_right_to_left_past_trusted_proxies() {
        let many = format!("192.0.2.1{}", ", 10.0.0.1".repeat(31));
        let too_many = format!("192.0.2.1{}", ", 10.0.0.1".repeat(32));
        let huge = format!("192.0.2.1,{}10.0.0.2", " ".repeat(MAX_FORWARDED_BYTES));
        let table: [(&[&str], &str); 19] = [
            (&[], "10.0.0.9"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&["203.0.113.66, 192.0.2.1"], "192.0.2.1"),
            (
                &["203.0.113.66, 192.0.2.1,10.0.0.2 , 10.0.0.3"],
                "192.0.2.1",
            ),
            (&["203.0.113.66", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
            (&["192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
            (&["203.0.113.66, ::ffff:192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["rubbish"], "10.0.0.9"),
            (&["192.0.2.1, , 10.0.0.2,"], "192.0.2.1"),
            (&["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            (&["192.0.2.300, 10.0.0.2"], "10.0.0.2"),
            (&[&many], "192.0.2.1"),
            (&[&too_many], "10.0.0.1"),
            (&[&huge], "10.0.0.9"),
        ];
        for (values, expected) in table {
            let fields: Vec<_> = values.iter().map(|one| ("x-forwarded-for", *one)).collect();
            let address = viewer(&TRUSTED, &fields).address;
            assert_eq!(address.to_string(), expected, "{values:?}");
        }
    }

    #[test]
    fn an_entry_that_the_bound_halves_is_not_believed() {
        // All but two bytes are within the bound, which would leave 2.0.2.1 of the first entry.
        let list = format!("192.0.2.1{}, 10.0.0.2", ",".repeat(8));
        let left = MAX_FORWARDED_BYTES - list.len() + 2;
        let fields = [
            ("x-forwarded-for", list.as_str()),
            (
                "x-forwarded-for",
                &format!("{}10.0.0.3", " ".repeat(left - 8)),
            ),
        ];
        assert_eq!(viewer(&TRUSTED, &fields).address.to_string(), "10.0.0.2");
    }

    #[test]
    fn the_port_of_cloudfronts_address_follows_the_last_colon() {
        let table = [
            ("198.51.100.10:46532", "198.51.100.10"),
            ("2001:db8::a:443", "2001:db8::a"),
            ("2001:db8:0:0:0:0:0:1:443", "2001:db8::1"),
            ("::ffff:198.51.100.10:443", "198.51.100.10"),
            ("198.51.100.10", "192.0.2.1"),
            ("198.51.100.10:port", "192.0.2.1"),
            ("198.51.100.10:70000", "192.0.2.1"),
            ("rubbish:1", "192.0.2.1"),
            ("", "192.0.2.1"),
        ];
        for (value, expected) in table {
            let fields = [
                ("cloudfront-viewer-address", value),
                ("x-forwarded-for", "192.0.2.1"),
            ];
            let address = viewer(&TRUSTED, &fields).address;
            assert_eq!(address.to_string(), expected, "{value:?}");
        }
        let twice = [
            ("cloudfront-viewer-address", "198.51.100.10:443"),
            ("cloudfront-viewer-address", "198.51.100.11:443"),
        ];
        assert_eq!(viewer(&TRUSTED, &twice).address, TRUSTED.address);
    }

    #[test]
    fn coordinates_make_a_place_if_both_are_on_the_globe() {
        let table = [
            ("35.68950", "139.69171", true),
            ("-33.9", "-70", true),
            ("91", "0", false),
            ("NaN", "0", false),
            ("inf", "0", false),
            ("", "0", false),
            ("35.6.1", "0", false),
        ];
        for (latitude, longitude, on_globe) in table {
            let fields = [
                ("cloudfront-viewer-latitude", latitude),
                ("cloudfront-viewer-longitude", longitude),
            ];
            let place = viewer(&TRUSTED, &fields).place;
            assert_eq!(place.is_some(), on_globe, "{latitude} {longitude}");
        }
        let half = [("cloudfront-viewer-latitude", "1")];
        assert_eq!(viewer(&TRUSTED, &half).place, None);
    }

    #[cfg(feature = "geo-builtin")]
    #[test]
    fn an_address_is_looked_up_when_no_header_knows() {
        let fields = [
            ("cloudfront-viewer-country", "XX"),
            ("x-forwarded-for", "193.99.144.80"),
        ];
        let viewer = viewer(&TRUSTED, &fields);
        assert_eq!(viewer.source, ViewerSource::Builtin);
        assert_eq!(viewer.country, Country::parse(b"DE"));
    }

    #[test]
    fn a_mapped_peer_is_the_ipv4_address_it_maps() {
        let peer = PeerFacts {
            address: "::ffff:192.0.2.1".parse().unwrap(),
            trusted: false,
        };
        assert_eq!(viewer(&peer, &[]).address.to_string(), "192.0.2.1");
    }

    #[test]
    fn fields_about_the_viewer_are_stripped_and_counted() {
        let rules = rules(&["x-country", "no header name"]);
        let mut fields = headers(&[
            ("accept", "*/*"),
            ("x-country", "JP"),
            ("x-country", "DE"),
            ("cloudfront-viewer-city", "Tokyo"),
            ("cloudfront-forwarded-proto", "https"),
            ("x-forwarded-for", "192.0.2.1"),
        ]);
        assert_eq!(strip_viewer_headers(&mut fields, &rules), 3);
        let mut left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            ["accept", "cloudfront-forwarded-proto", "x-forwarded-for"]
        );
        assert_eq!(strip_viewer_headers(&mut fields, &rules), 0);
    }
}
