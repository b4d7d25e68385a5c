//! `meridian demo WORD REGION`: a fault in a simulated region of a running demo.

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use form_urlencoded::byte_serialize;
use http::Method;

use crate::cli::demo::control_flag::ControlFlag;
use crate::cli::failure::Failure;
use crate::cli::terminal::Terminal;
use crate::demo::control::RegionFault;
use crate::demo::fault::{Fault, Word};

/// A fault to set in a running demo. Its subcommands are made from [`Fault::WORDS`], so that the
/// command line and the control endpoint know the same ones.
#[derive(Debug)]
pub(super) struct FaultCommand {
    word: Word,
    target: FaultTarget,
}

#[derive(Debug, Args)]
struct FaultTarget {
    /// Regions of the demo, or `all`
    #[arg(required = true, value_name = "REGION")]
    regions: Vec<String>,
    #[command(flatten)]
    control: ControlFlag,
}

impl Subcommand for FaultCommand {
    fn augment_subcommands(command: Command) -> Command {
        let words = Fault::WORDS.iter().map(|known| {
            let target = FaultTarget::augment_args(Command::new(known.word));
            // After the arguments, whose own description would take its place.
            target.about(known.about).long_about(None)
        });
        command.subcommands(words)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Fault::from_word(name).is_some()
    }
}

impl FromArgMatches for FaultCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let chosen = matches.subcommand().and_then(|(name, matches)| {
            let word = Fault::WORDS.into_iter().find(|known| known.word == name)?;
            Some((word, matches))
        });
        let Some((word, matches)) = chosen else {
            return Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand));
        };
        let target = FaultTarget::from_arg_matches(matches)?;
        Ok(Self { word, target })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl FaultCommand {
    pub(super) fn run(&self, terminal: &Terminal) -> Result<(), Failure> {
        let names = self.target.regions.iter();
        let names: Vec<String> = names
            .map(|name| byte_serialize(name.as_bytes()).collect())
            .collect();
        let path = format!("/regions/{}/{}", names.join(","), self.word.word);
        let set: Vec<RegionFault> = self.target.control.ask(Method::POST, &path)?;
        for one in set {
            terminal.say(&format!("{} {}", one.region, self.word.so));
        }
        Ok(())
    }
}
