//! The large body: the same bytes in every region, sent no faster than they are due.

use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

/// Bytes of a download.
pub(crate) const LENGTH: usize = 8 * 1024 * 1024;
/// Where a download is cut or stands still.
pub(crate) const MIDDLE: usize = LENGTH / 2;
/// Bytes that are sent at once.
pub(crate) const PART: usize = 128 * 1024;
/// Time for one such part.
pub(crate) const PACE: Duration = Duration::from_millis(25);
/// Time for all of it.
pub(crate) const TAKES: Duration = Duration::from_millis(25 * (LENGTH / PART) as u64);
/// What `ETag` says, the same in every region.
pub(crate) const ETAG: &str = "\"eight-mebibytes\"";

/// The bytes.
pub(crate) static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut body = vec![0; LENGTH];
    fastrand::Rng::with_seed(8).fill(&mut body);
    body
});

/// The bytes that a request with these values of `Range` and `If-Range` is to get; `None` is all.
pub(crate) fn wanted(range: Option<&str>, if_range: Option<&str>) -> Option<Range<usize>> {
    if if_range.is_some_and(|etag| etag != ETAG) {
        return None;
    }
    let (from, to) = range?.strip_prefix("bytes=")?.split_once('-')?;
    let from: usize = from.parse().ok()?;
    let end = match to {
        "" => LENGTH,
        to => to.parse::<usize>().ok()?.saturating_add(1).min(LENGTH),
    };
    (from < end).then_some(from..end)
}
