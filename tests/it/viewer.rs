//! Whatever a peer sends about the viewer: nothing panics, nothing unvouched is believed.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue};
use meridian::geo::GeoTable;
use meridian::proxy::viewer::{PeerFacts, resolve, strip_viewer_headers};
use meridian::resources::viewer_rules::ViewerRules;
use meridian_core::config::ViewerConfig;
use meridian_core::model::viewer::{UnknownViewer, ViewerSource};
use proptest::prelude::*;

const NAMES: [&str; 6] = [
    "cloudfront-viewer-country",
    "cloudfront-viewer-address",
    "cloudfront-viewer-latitude",
    "cloudfront-viewer-longitude",
    "x-forwarded-for",
    "x-country",
];

fn rules() -> ViewerRules {
    ViewerRules::new(&ViewerConfig {
        country_headers: vec!["cloudfront-viewer-country".into(), "x-country".into()],
        geoip: None,
        unknown: UnknownViewer::Any,
    })
}

/// 10.0.0.0/8 is trusted.
fn trusts(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10)
}

fn peer(trusted: bool) -> PeerFacts {
    let last = if trusted { 10 } else { 198 };
    PeerFacts {
        address: Ipv4Addr::new(last, 51, 100, 7).into(),
        trusted,
    }
}

/// Bytes as rubbish, and as pieces of what is expected.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("10.0.0.1"),
        Just("192.0.2.1"),
        Just("2001:db8::1"),
        Just("::ffff:10.0.0.2"),
        Just(","),
        Just(":"),
        Just("["),
        Just("]"),
        Just(" "),
        Just("443"),
        Just("DE"),
        Just("-33.9"),
        Just("1e39"),
        Just("%"),
    ];
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes()),
        (0_usize..9000).prop_map(|length| vec![b','; length]),
    ]
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let field = (prop::sample::select(&NAMES[..]), value());
    prop::collection::vec(field, 0..12).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        headers
    })
}

proptest! {
    #[test]
    fn any_bytes_are_resolved_to_some_viewer(headers in fields()) {
        let geo = GeoTable::default();
        let viewer = resolve(&peer(true), &headers, &rules(), trusts, &geo);
        prop_assert_eq!(viewer.country.is_none(), viewer.source == ViewerSource::Unknown);
        prop_assert_eq!(viewer.address, viewer.address.to_canonical());
    }

    #[test]
    fn nothing_an_untrusted_peer_sends_is_believed(headers in fields()) {
        let geo = GeoTable::default();
        let peer = peer(false);
        let viewer = resolve(&peer, &headers, &rules(), trusts, &geo);
        let silent = resolve(&peer, &HeaderMap::new(), &rules(), trusts, &geo);
        prop_assert_eq!(viewer, silent);
    }

    #[test]
    fn an_entry_left_of_an_untrusted_hop_is_never_believed(
        forged in prop::collection::vec(any::<u32>(), 0..8),
        viewer in any::<u32>(),
        vouched in prop::collection::vec(0_u32..1 << 24, 0..8),
        cuts in prop::collection::vec(any::<bool>(), 20),
    ) {
        // No address of 10.0.0.0/8, so that the chain of trust ends at it.
        let viewer = Ipv4Addr::from_bits(viewer);
        prop_assume!(!trusts(viewer.into()));
        let forged = forged.into_iter().map(Ipv4Addr::from_bits);
        let vouched = vouched.into_iter().map(|low| Ipv4Addr::from_bits(10 << 24 | low));
        let chain: Vec<_> = forged.chain([viewer]).chain(vouched).collect();
        // The list in one field or in several.
        let mut text = String::new();
        let mut headers = HeaderMap::new();
        for (entry, cut) in chain.iter().zip(cuts) {
            if cut && !text.is_empty() {
                headers.append("x-forwarded-for", HeaderValue::from_str(&text).unwrap());
                text.clear();
            }
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(&entry.to_string());
        }
        headers.append("x-forwarded-for", HeaderValue::from_str(&text).unwrap());
        let geo = GeoTable::default();
        let found = resolve(&peer(true), &headers, &rules(), trusts, &geo).address;
        prop_assert_eq!(found, IpAddr::V4(viewer));
    }

    #[test]
    fn after_stripping_no_field_about_the_viewer_is_left(headers in fields()) {
        let mut left = headers.clone();
        let stripped = strip_viewer_headers(&mut left, &rules());
        prop_assert_eq!(headers.len() - left.len(), stripped as usize);
        prop_assert!(left.keys().all(|name| name == "x-forwarded-for"));
        let kept = headers.get_all("x-forwarded-for").iter();
        prop_assert!(kept.eq(left.get_all("x-forwarded-for")));
    }
}
