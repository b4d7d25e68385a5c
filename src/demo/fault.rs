//! What can be wrong with a simulated region, and the switches that make it so.

use tokio::sync::watch;

/// What is wrong with a simulated region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It is gone: open connections are reset, new ones refused.
    Fail,
    /// Every answer but the health check's comes two seconds late.
    Slow,
    /// Connections are accepted, nothing is answered.
    Hang,
    /// The health check says fine, everything else is a 503.
    Gray,
}

impl Fault {
    /// All faults, with the word that brings each about.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("heal", Self::None),
        ("fail", Self::Fail),
        ("slow", Self::Slow),
        ("hang", Self::Hang),
        ("gray", Self::Gray),
    ];

    /// The fault a word of the command line stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let (_, fault) = Self::WORDS.iter().find(|(known, _)| *known == word)?;
        Some(*fault)
    }

    /// How a region with this fault behaves, as half a sentence.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::None => "is well",
            Self::Fail => "refuses connections; those that were open are reset",
            Self::Slow => "answers 2 s late; its health check stays quick",
            Self::Hang => "accepts connections and never answers",
            Self::Gray => "answers 503 to everything but its health check",
        }
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
    /// The region's name.
    pub region: String,
    /// Where its server reads the fault.
    pub sender: watch::Sender<Fault>,
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

    /// Sets the fault of the region of this name.
    ///
    /// # Errors
    /// When there is no such region.
    pub fn set(&self, name: &str, fault: Fault) -> Result<(), UnknownRegion> {
        let switch = self.switches.iter().find(|switch| switch.region == name);
        let Some(switch) = switch else {
            return Err(UnknownRegion {
                name: name.to_owned(),
                known: self.all().into_iter().map(|(name, _)| name).collect(),
            });
        };
        switch.sender.send_replace(fault);
        Ok(())
    }

    /// Each region's name and fault.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Fault)> {
        self.switches
            .iter()
            .map(|switch| (switch.region.clone(), *switch.sender.borrow()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_region_is_an_error_that_names_the_known_ones() {
        let (sender, _receiver) = watch::channel(Fault::None);
        let faults = Faults::new(vec![FaultSwitch {
            region: "us-east-1".to_owned(),
            sender,
        }]);
        let error = faults.set("mars", Fault::Fail).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no region \"mars\"; the demo's regions are us-east-1"
        );
    }

    #[test]
    fn every_word_stands_for_another_fault() {
        for (word, fault) in Fault::WORDS {
            assert_eq!(Fault::from_word(word), Some(fault));
        }
        assert_eq!(Fault::from_word("explode"), None);
    }
}
