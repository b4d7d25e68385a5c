//! The switches of simulated regions' faults.

use tokio::sync::watch;

use crate::demo::fault::Fault;

/// Stands for every region of a demo.
pub const ALL: &str = "all";

/// The fault of a region, and how often it has changed its state by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// What was set.
    pub fault: Fault,
    /// Changes of state since, for a fault that has several.
    pub turn: u32,
}

impl From<Fault> for Setting {
    fn from(fault: Fault) -> Self {
        Self { fault, turn: 0 }
    }
}

/// There is no simulated region of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no region {name:?}; the demo's regions are {}", known.join(", "))]
pub struct UnknownRegion {
    /// The name that was asked for.
    pub name: String,
    /// The names that exist.
    pub known: Vec<String>,
}

/// The switch of one region.
#[derive(Clone, Debug)]
pub struct FaultSwitch {
    region: String,
    sender: watch::Sender<Setting>,
}

impl FaultSwitch {
    /// The switch of a region that is well.
    #[must_use]
    pub fn new(region: &str) -> Self {
        Self {
            region: region.to_owned(),
            sender: watch::Sender::new(Setting::default()),
        }
    }

    /// What one endpoint of the region sees of its faults.
    #[must_use]
    pub fn sight(&self, endpoint: usize) -> FaultSight {
        FaultSight {
            settings: self.sender.subscribe(),
            endpoint,
        }
    }

    fn set(&self, fault: Fault) {
        self.sender.send_replace(Setting::from(fault));
    }

    fn fault(&self) -> Fault {
        self.sender.borrow().fault
    }

    /// Lets faults that have several states change them in time; never ends.
    pub(crate) async fn tend(&self) {
        let mut settings = self.sender.subscribe();
        loop {
            let seen = *settings.borrow_and_update();
            let Some(turn) = seen.fault.turn(seen.turn) else {
                // The sender is `self`, so there is always a next one.
                let _ = settings.changed().await;
                continue;
            };
            if tokio::time::timeout(turn, settings.changed())
                .await
                .is_err()
            {
                self.sender.send_if_modified(|now| turned(now, seen));
            }
        }
    }
}

/// Changes the state, unless somebody was quicker with another fault.
fn turned(now: &mut Setting, seen: Setting) -> bool {
    if *now != seen {
        return false;
    }
    now.turn = now.turn.wrapping_add(1);
    if now.fault.is_over(now.turn) {
        *now = Setting::default();
    }
    true
}

/// One endpoint's sight of what is wrong with it.
#[derive(Clone, Debug)]
pub struct FaultSight {
    settings: watch::Receiver<Setting>,
    endpoint: usize,
}

impl FaultSight {
    /// Which endpoint it is, counted from 0.
    #[must_use]
    pub fn endpoint(&self) -> usize {
        self.endpoint
    }

    /// What is wrong at this moment.
    #[must_use]
    pub fn now(&self) -> Fault {
        let setting = *self.settings.borrow();
        setting.fault.at(self.endpoint, setting.turn)
    }

    /// Waits until what is wrong satisfies `wanted`. When the region ends it waits for ever: the
    /// region's runtime, and whoever waits on it, end with it.
    pub async fn until(&mut self, wanted: impl Fn(Fault) -> bool) {
        let endpoint = self.endpoint;
        let is_wanted = |setting: &Setting| wanted(setting.fault.at(endpoint, setting.turn));
        if self.settings.wait_for(is_wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The switches of all regions of a demo.
#[derive(Clone, Debug)]
pub struct Faults {
    switches: Vec<FaultSwitch>,
}

impl Faults {
    /// Joins the switches of several regions.
    #[must_use]
    pub fn new(switches: Vec<FaultSwitch>) -> Self {
        Self { switches }
    }

    /// Sets the fault of the regions of these names, or of [`ALL`]; returns whose it set. Unless
    /// all names are known, none is set.
    ///
    /// # Errors
    /// When there is no region of a name.
    pub fn set<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        fault: Fault,
    ) -> Result<Vec<String>, UnknownRegion> {
        let mut chosen: Vec<&FaultSwitch> = Vec::new();
        for name in names {
            if name != ALL && !self.has(name) {
                return Err(self.unknown(name));
            }
            for switch in &self.switches {
                let is_named = name == ALL || switch.region == name;
                if is_named && !chosen.iter().any(|one| one.region == switch.region) {
                    chosen.push(switch);
                }
            }
        }
        for switch in &chosen {
            switch.set(fault);
        }
        Ok(chosen.iter().map(|switch| switch.region.clone()).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.switches.iter().any(|switch| switch.region == name)
    }

    fn unknown(&self, name: &str) -> UnknownRegion {
        UnknownRegion {
            name: name.to_owned(),
            known: self.all().into_iter().map(|(name, _)| name).collect(),
        }
    }

    /// Each region's name and fault.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Fault)> {
        self.switches
            .iter()
            .map(|switch| (switch.region.clone(), switch.fault()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::fault::{PAUSE, TURN, WARM_AFTER};

    fn faults() -> Faults {
        Faults::new(["us-east-1", "eu-west-1"].map(FaultSwitch::new).into())
    }

    #[test]
    fn an_unknown_region_is_an_error_that_names_the_known_ones_and_sets_none() {
        let faults = faults();
        let error = faults.set(["us-east-1", "mars"], Fault::Fail).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no region \"mars\"; the demo's regions are us-east-1, eu-west-1"
        );
        assert!(faults.all().iter().all(|(_, fault)| *fault == Fault::None));
    }

    #[test]
    fn all_stands_for_every_region_and_none_is_named_twice() {
        let faults = faults();
        let set = faults.set(["eu-west-1", ALL, "eu-west-1"], Fault::Gray);
        assert_eq!(set.unwrap(), ["eu-west-1", "us-east-1"]);
        assert!(faults.all().iter().all(|(_, fault)| *fault == Fault::Gray));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flapping_region_turns_every_700_ms_until_it_is_healed() {
        let switch = FaultSwitch::new("eu-west-1");
        let mut sight = switch.sight(0);
        let tended = switch.clone();
        tokio::spawn(async move { tended.tend().await });
        let start = tokio::time::Instant::now();
        switch.set(Fault::Flap);
        assert_eq!(sight.now(), Fault::Fail);
        sight.until(|fault| fault == Fault::None).await;
        sight.until(|fault| fault == Fault::Fail).await;
        assert_eq!(start.elapsed().as_millis(), 2 * TURN.as_millis());
        switch.set(Fault::None);
        let again = sight.until(|fault| fault == Fault::Fail);
        assert!(tokio::time::timeout(10 * TURN, again).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cold_region_is_well_after_its_first_minute() {
        let switch = FaultSwitch::new("eu-west-1");
        let tended = switch.clone();
        tokio::spawn(async move { tended.tend().await });
        let start = tokio::time::Instant::now();
        switch.set(Fault::Cold);
        switch.sight(2).until(|fault| fault == Fault::None).await;
        assert_eq!(start.elapsed().as_millis(), WARM_AFTER.as_millis());
        assert_eq!(switch.fault(), Fault::None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pausing_region_stands_still_for_150_ms_again_and_again() {
        let switch = FaultSwitch::new("eu-west-1");
        let tended = switch.clone();
        tokio::spawn(async move { tended.tend().await });
        switch.set(Fault::Pause);
        let mut sight = switch.sight(0);
        for _ in 0..2 {
            sight.until(|fault| fault == Fault::Hang).await;
            let start = tokio::time::Instant::now();
            sight.until(|fault| fault == Fault::None).await;
            assert_eq!(start.elapsed().as_millis(), PAUSE.as_millis());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deploy_ends_by_itself_once_the_last_endpoint_is_back() {
        let switch = FaultSwitch::new("eu-west-1");
        let tended = switch.clone();
        tokio::spawn(async move { tended.tend().await });
        switch.set(Fault::Deploy);
        let mut last = switch.sight(2);
        last.until(|fault| fault == Fault::Fail).await;
        last.until(|fault| fault == Fault::None).await;
        assert_eq!(switch.fault(), Fault::None);
    }
}
