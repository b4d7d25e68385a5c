//! What a request itself asks of whoever answers it: `/report?later=400`.

use std::time::Duration;

/// The wishes in the query of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The answer takes so much longer than others (`later`, in milliseconds).
    later: Duration,
    /// The same, from half of it to one and a half (`around`).
    around: Duration,
    /// The status of the answer (`status`).
    status: u16,
    /// The same, of the preferred region alone (`near`).
    near: u16,
    /// A large body stands still so long between its parts (`pause`, in milliseconds).
    pub(crate) pause: Option<Duration>,
}

impl Wish {
    /// Reads the query of a path.
    pub(crate) fn of(path: &str) -> Self {
        let mut wish = Self {
            later: Duration::ZERO,
            around: Duration::ZERO,
            status: 200,
            near: 200,
            pause: None,
        };
        let query = path.split_once('?').map_or("", |(_, query)| query);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let number: u16 = value.parse().unwrap_or(0);
            let time = Duration::from_millis(number.into());
            match name {
                "later" => wish.later = time,
                "around" => wish.around = time,
                "status" => wish.status = number,
                "near" => wish.near = number,
                "pause" => wish.pause = Some(time),
                _ => {}
            }
        }
        wish
    }

    /// How much longer the answer takes.
    pub(crate) fn later(self) -> Duration {
        self.later + around(self.around)
    }

    /// The status that `region` is to answer with.
    pub(crate) fn status(self, region: usize) -> u16 {
        if region == 0 && self.near != 200 {
            self.near
        } else {
            self.status
        }
    }
}

/// From half of a time to one and a half.
pub(crate) fn around(time: Duration) -> Duration {
    time.mul_f64(0.5 + fastrand::f64())
}
