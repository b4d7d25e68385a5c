//! Labels are few: which names get one of their own.

/// The label of what has no route or region.
pub(crate) const NONE: &str = "none";
/// The label of what is beyond the budget.
const OTHER: &str = "other";

/// Which label each name gets.
pub(crate) struct Labels {
    /// Label of each slot; the first is "none".
    pub(crate) labels: Vec<String>,
    /// Slot of each name.
    pub(crate) slots: Vec<u16>,
    /// Names that share "other".
    pub(crate) over: usize,
}

impl Labels {
    /// Gives labels to at most `budget` names, to those that have one already first, so that a
    /// reload does not take a label away.
    pub(crate) fn choose(names: &[&str], budget: usize, known: impl Fn(&str) -> bool) -> Self {
        let mut chosen = vec![false; names.len()];
        if names.len() > budget {
            let (old, new): (Vec<usize>, Vec<usize>) =
                (0..names.len()).partition(|index| known(names[*index]));
            for index in old.into_iter().chain(new).take(budget) {
                chosen[index] = true;
            }
        } else {
            chosen.fill(true);
        }
        let mut labels = vec![NONE.to_owned()];
        let mut slots = vec![0; names.len()];
        for (index, name) in names.iter().enumerate().filter(|(index, _)| chosen[*index]) {
            slots[index] = slot(labels.len());
            labels.push((*name).to_owned());
        }
        let over = chosen.iter().filter(|chosen| !**chosen).count();
        if over > 0 {
            let other = slot(labels.len());
            labels.push(OTHER.to_owned());
            for (index, _) in chosen.iter().enumerate().filter(|(_, chosen)| !**chosen) {
                slots[index] = other;
            }
        }
        Self {
            labels,
            slots,
            over,
        }
    }
}

fn slot(index: usize) -> u16 {
    u16::try_from(index).expect("the budgets are far below 65,536")
}
