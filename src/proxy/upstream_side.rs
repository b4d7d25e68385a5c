//! One worker's side towards the origins: what attempts are made with, charged to and judged by.

use std::rc::Rc;

use crate::proxy::attempt::AttemptRunner;
use crate::proxy::live_view::LiveView;
use crate::proxy::outlier_report::OutlierReporter;
use crate::proxy::retry_budget::RetryBudget;

/// What retry, hedge and range resume share.
#[derive(Debug)]
pub(super) struct UpstreamSide {
    /// Runs attempts.
    pub(super) attempts: AttemptRunner,
    /// Pays for more than one.
    pub(super) retries: RetryBudget,
    /// Hears how they ended.
    pub(super) outliers: Rc<OutlierReporter>,
    /// What is believed now.
    pub(super) view: Rc<LiveView>,
}
