//! A write that is late is told of while it still waits: a region that takes writes and never answers
//! them would else be known only by their time-outs.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::proxy::attempt_result::AttemptResult;
use crate::proxy::attempt_target::AttemptedAt;
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::outlier_report::OutlierReporter;
use crate::upstream::body::{Progress, ReplaySource};

/// Waits for an attempt that no other runs beside.
pub(super) async fn watch_for_late_write(
    outliers: &OutlierReporter,
    request: &OutgoingRequest,
    at: &AttemptedAt,
    mut attempt: Pin<&mut impl Future<Output = AttemptResult>>,
) -> AttemptResult {
    let is_write = request.class.is_write();
    let delay = is_write.then(|| outliers.late_write_delay(request, at.region));
    if let Some(delay) = delay.flatten() {
        let mut left = delay;
        while !left.is_zero() {
            if let Ok(result) = timeout(left, &mut attempt).await {
                return result;
            }
            // The time that the viewer takes to upload is its own.
            left = match request.source.as_ref().map(ReplaySource::progress) {
                Some(Progress::AwaitingViewer) => delay,
                Some(Progress::TakenAt(when)) => delay.saturating_sub(when.elapsed()),
                None => Duration::ZERO,
            };
        }
        outliers.late_write(request, at);
    }
    attempt.await
}
