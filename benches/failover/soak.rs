//! A soak: one demo, and for as long as one likes a fault here, an ordinary day there, while
//! viewers ask. None of their GETs may be lost but where no region is well.

mod demo;
mod episode;
mod tally;
mod viewers;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::process::Running;
use crate::soak::demo::SoakedDemo;
use crate::soak::episode::{Episode, Episodes};
use crate::soak::tally::{Outage, Tally};
use crate::soak::viewers::{SoakCall, Viewers};

/// How long after all regions are well again a GET may still be lost: one second, as on a bad day.
const GRACE: Duration = Duration::from_secs(1);

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Soak {
    pub(crate) length: Duration,
    /// The same seed, the same episodes.
    pub(crate) seed: u64,
    /// Whether to print what the demo says of its regions.
    pub(crate) is_verbose: bool,
}

/// A short one, to show that all parts work.
pub(crate) const LOOK: Soak = Soak {
    length: Duration::from_secs(3),
    seed: 1,
    is_verbose: false,
};

/// Calls that are under way, of an episode that may be over.
type Calls = JoinHandle<Vec<SoakCall>>;

impl Soak {
    /// Runs it and prints a line per episode. Fails when a GET was lost that must not be.
    pub(crate) fn run(self, running: &Running) -> io::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let tally = runtime.block_on(self.soak(running))?;
        let Self { length, seed, .. } = self;
        writeln!(
            io::stdout(),
            "{}\nthe same again: --soak {}s --seed {seed}",
            tally.sum(),
            length.as_secs()
        )?;
        Ok(ExitCode::from(u8::from(tally.lost > 0)))
    }

    async fn soak(self, running: &Running) -> io::Result<Tally> {
        let mut demo = SoakedDemo::start(running).await?;
        let viewers = Arc::new(Viewers::of(demo.http));
        let start = Instant::now();
        let mut tally = Tally::new(start);
        writeln!(io::stdout(), "{}", tally::HEADING)?;
        let mut earlier: Option<(Episode, Calls)> = None;
        let mut now = start;
        for episode in Episodes::new(self.seed, self.length) {
            let end = now + episode.length;
            tally.begins.push(now);
            if episode.is_everywhere() {
                tally.outages.push(Outage {
                    from: now,
                    until: end + GRACE,
                });
            }
            demo.begin(&episode, running).await?;
            let calls = tokio::spawn(viewers::load(Arc::clone(&viewers), now, episode.length));
            sleep_until(end).await;
            demo.end(&episode).await?;
            if let Some((earlier, calls)) = earlier.replace((episode, calls)) {
                self.tell(&mut tally, &mut demo, &earlier, calls).await?;
            }
            now = end;
        }
        if let Some((last, calls)) = earlier {
            self.tell(&mut tally, &mut demo, &last, calls).await?;
        }
        Ok(tally)
    }

    async fn tell(
        self,
        tally: &mut Tally,
        demo: &mut SoakedDemo,
        episode: &Episode,
        calls: Calls,
    ) -> io::Result<()> {
        let calls = calls.await.map_err(io::Error::other)?;
        let mut out = io::stdout();
        write!(out, "{}", tally.line(episode, &calls))?;
        if self.is_verbose {
            write!(out, "{}", demo.news()?)?;
        }
        out.flush()
    }
}
