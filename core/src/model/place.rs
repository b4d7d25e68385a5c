//! Places on the globe, for the `geo` policy.

/// A point on the globe, kept as a unit vector: the angle between two points needs no
/// trigonometry then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    latitude: f32,
    longitude: f32,
    x: f32,
    y: f32,
    z: f32,
}

impl Place {
    /// The point at `latitude` (-90 to 90) and `longitude` (-180 to 180) degrees, or `None` if
    /// either is out of range or not a number.
    #[must_use]
    pub fn at(latitude: f32, longitude: f32) -> Option<Self> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return None;
        }
        let (sin_lat, cos_lat) = latitude.to_radians().sin_cos();
        let (sin_lon, cos_lon) = longitude.to_radians().sin_cos();
        Some(Self {
            latitude,
            longitude,
            x: cos_lat * cos_lon,
            y: cos_lat * sin_lon,
            z: sin_lat,
        })
    }

    /// Degrees north, -90 to 90.
    #[must_use]
    pub fn latitude(self) -> f32 {
        self.latitude
    }

    /// Degrees east, -180 to 180.
    #[must_use]
    pub fn longitude(self) -> f32 {
        self.longitude
    }

    /// How near `other` is: 1 for the same point, -1 for the opposite side of the globe.
    #[must_use]
    pub fn nearness(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// The distance to `other` along the surface, in kilometres.
    #[must_use]
    pub fn distance_km(self, other: Self) -> f32 {
        // The mean radius of the earth (IUGG).
        6371.0 * self.nearness(other).clamp(-1.0, 1.0).acos()
    }
}

/// Where a cloud region of this well-known name stands, if we know it.
#[must_use]
pub fn known_region(name: &str) -> Option<Place> {
    KNOWN_REGIONS
        .iter()
        .find(|(known, _, _)| *known == name)
        .and_then(|(_, latitude, longitude)| Place::at(*latitude, *longitude))
}

/// AWS region names and the metropolitan areas AWS names for them.
const KNOWN_REGIONS: &[(&str, f32, f32)] = &[
    ("af-south-1", -33.9, 18.4),
    ("ap-east-1", 22.3, 114.2),
    ("ap-east-2", 25.0, 121.5),
    ("ap-northeast-1", 35.7, 139.7),
    ("ap-northeast-2", 37.6, 127.0),
    ("ap-northeast-3", 34.7, 135.5),
    ("ap-south-1", 19.1, 72.9),
    ("ap-south-2", 17.4, 78.5),
    ("ap-southeast-1", 1.35, 103.8),
    ("ap-southeast-2", -33.9, 151.2),
    ("ap-southeast-3", -6.2, 106.8),
    ("ap-southeast-4", -37.8, 145.0),
    ("ap-southeast-5", 3.1, 101.7),
    ("ap-southeast-6", -36.8, 174.8),
    ("ap-southeast-7", 13.8, 100.5),
    ("ca-central-1", 45.5, -73.6),
    ("ca-west-1", 51.0, -114.1),
    ("cn-north-1", 39.9, 116.4),
    ("cn-northwest-1", 37.5, 105.2),
    ("eu-central-1", 50.1, 8.7),
    ("eu-central-2", 47.4, 8.5),
    ("eu-north-1", 59.3, 18.1),
    ("eu-south-1", 45.5, 9.2),
    ("eu-south-2", 41.6, -0.9),
    ("eu-west-1", 53.3, -6.3),
    ("eu-west-2", 51.5, -0.1),
    ("eu-west-3", 48.9, 2.4),
    ("il-central-1", 32.1, 34.8),
    ("me-central-1", 24.5, 54.4),
    ("me-south-1", 26.1, 50.6),
    ("mx-central-1", 20.6, -100.4),
    ("sa-east-1", -23.6, -46.6),
    ("us-east-1", 38.9, -77.4),
    ("us-east-2", 40.0, -83.0),
    ("us-gov-east-1", 40.0, -83.0),
    ("us-gov-west-1", 45.8, -119.5),
    ("us-west-1", 37.4, -121.9),
    ("us-west-2", 45.8, -119.5),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dublin_to_virginia_is_about_5500_km() {
        let dublin = known_region("eu-west-1").unwrap();
        let virginia = known_region("us-east-1").unwrap();
        assert!((5300.0..5700.0).contains(&dublin.distance_km(virginia)));
    }

    #[test]
    fn a_place_off_the_globe_is_refused() {
        assert_eq!(Place::at(91.0, 0.0), None);
        assert_eq!(Place::at(0.0, f32::NAN), None);
    }
}
