//! Registers are linearizable: for each there is an order of all its steps that respects real time, in which every
//! step finds what the one before it left. A search (Wing and Gong, Lowe), so histories are kept short, and one that
//! cannot be decided in time has failed.

use super::{Found, Witness};
use crate::history::{Ask, History, Step};
use porcupine_rs::{CheckResult, Model, Operation};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one register's history may be searched.
const SEARCH: Duration = Duration::from_secs(20);
/// The shortest witness is looked for among this many prefixes at most (it is found by halving).
const HALVINGS: u32 = 12;

/// A register that begins with 0.
#[derive(Clone, Debug)]
struct Register;

impl Model for Register {
    type State = u64;
    type Op = Ask;
    type Metadata = ();

    fn init() -> u64 {
        0
    }

    fn step(state: &u64, ask: &Ask) -> (bool, u64) {
        match *ask {
            Ask::Read { found } => (found == *state, *state),
            Ask::Swap { expect, new, found: None, .. } => {
                (true, if *state == expect { new } else { *state })
            }
            Ask::Swap { expect, new, found: Some(found), swapped } => {
                let told = found == *state && swapped == (*state == expect);
                (told, if swapped { new } else { *state })
            }
        }
    }
}

pub fn check(history: &History) -> Found {
    within(history, SEARCH)
}

/// As `check`, with so much time for each register.
fn within(history: &History, limit: Duration) -> Found {
    let mut registers: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in &history.steps {
        registers.entry(&step.register).or_default().push(step);
    }
    for (register, steps) in &mut registers {
        steps.sort_by_key(|step| step.called);
        match search(steps, limit) {
            CheckResult::Ok => {}
            CheckResult::Illegal => {
                return Err(witness(steps));
            }
            CheckResult::Unknown => {
                let why = format!(
                    "register {register} could not be decided in {limit:?}: {} steps",
                    steps.len()
                );
                return Err(Witness::new(why));
            }
        }
    }
    Ok(history.steps.len() as u64)
}

/// An open end is an end after everything else. A read whose end is open says nothing.
fn search(steps: &[&Step], limit: Duration) -> CheckResult {
    let time = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    let told = steps.iter().filter(|s| s.returned.is_some() || !matches!(s.ask, Ask::Read { .. }));
    let operations: Vec<Operation<Register>> = told
        .map(|step| Operation {
            client_id: Some(u32::from(step.client)),
            call_time: time(step.called),
            return_time: step.returned.map_or(i64::MAX, time),
            op: step.ask,
            metadata: None,
        })
        .collect();
    porcupine_rs::check_operations_timeout(&operations, limit)
}

/// The shortest beginning of the history that is impossible already: its last step is where it went wrong.
fn witness(steps: &[&Step]) -> Witness {
    let (mut possible, mut impossible) = (0, steps.len());
    for _ in 0..HALVINGS {
        if impossible - possible <= 1 {
            break;
        }
        let middle = possible + (impossible - possible) / 2;
        let beginning = until(steps, middle);
        match search(&beginning.iter().collect::<Vec<_>>(), SEARCH) {
            CheckResult::Illegal => impossible = middle,
            _ => possible = middle,
        }
    }
    let shown = until(steps, impossible);
    let why = format!("register {} is not linearizable", steps[0].register);
    let last = shown.iter().rev().take(12).rev();
    last.fold(Witness::new(why), |witness, step| witness.line(step))
}

/// What was known when the step after the first so many was called: what had not ended by then is open.
fn until(steps: &[&Step], count: usize) -> Vec<Step> {
    let now = steps.get(count).map_or(u64::MAX, |next| next.called);
    let known = |step: &&Step| {
        let mut step = (*step).clone();
        if step.returned.is_some_and(|returned| returned >= now) {
            step.returned = None;
            if let Ask::Swap { found, swapped, .. } = &mut step.ask {
                (*found, *swapped) = (None, false);
            }
        }
        step
    };
    steps[..count].iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(client: u16, called: u64, returned: u64, ask: Ask) -> Step {
        Step { client, register: "r1".into(), ask, called, returned: Some(returned) }
    }

    fn swap(expect: u64, new: u64, found: u64) -> Ask {
        Ask::Swap { expect, new, found: Some(found), swapped: expect == found }
    }

    fn of(steps: Vec<Step>) -> History {
        History { steps, ..History::default() }
    }

    #[test]
    fn a_stale_read_after_a_swap_is_a_witness() {
        let swapped = step(1, 10, 20, swap(0, 5, 0));
        let fresh = step(2, 30, 40, Ask::Read { found: 5 });
        let stale = step(2, 50, 60, Ask::Read { found: 0 });
        assert_eq!(check(&of(vec![swapped.clone(), fresh.clone()])), Ok(2));
        let witness = check(&of(vec![swapped, fresh, stale])).expect_err("stale");
        assert!(witness.lines.last().expect("a line").contains("found: 0"), "{witness}");
    }

    #[test]
    fn the_shortest_witness_ends_where_it_went_wrong() {
        let mut steps = vec![step(1, 10, 20, swap(0, 5, 0))];
        steps.push(step(2, 30, 40, Ask::Read { found: 0 }));
        steps.extend((3..50).map(|n| step(3, n * 20, n * 20 + 5, Ask::Read { found: 5 })));
        let witness = check(&of(steps)).expect_err("stale");
        assert_eq!(witness.lines.len(), 2, "{witness}");
    }

    #[test]
    fn a_read_during_a_swap_may_find_either() {
        let swapped = step(1, 10, 60, swap(0, 5, 0));
        let early = step(2, 20, 30, Ask::Read { found: 0 });
        let late = step(3, 40, 50, Ask::Read { found: 5 });
        assert_eq!(check(&of(vec![swapped, early, late])), Ok(3));
    }

    #[test]
    fn two_swaps_from_the_same_value_cannot_both_have_worked() {
        let first = step(1, 10, 20, swap(0, 5, 0));
        let second = step(2, 15, 30, swap(0, 6, 0));
        assert!(check(&of(vec![first, second])).is_err());
    }

    #[test]
    fn a_swap_of_unknown_outcome_may_take_effect_much_later_or_never() {
        let ask = Ask::Swap { expect: 0, new: 5, found: None, swapped: false };
        let mut unknown = step(1, 10, 20, ask);
        unknown.returned = None;
        let before = step(2, 30, 40, Ask::Read { found: 0 });
        let after = step(2, 50, 60, Ask::Read { found: 5 });
        assert_eq!(check(&of(vec![unknown.clone(), before.clone()])), Ok(2));
        assert_eq!(check(&of(vec![unknown, before, after])), Ok(3));
    }

    #[test]
    fn a_told_outcome_that_contradicts_itself_is_a_witness() {
        let lie = Ask::Swap { expect: 3, new: 5, found: Some(0), swapped: true };
        assert!(check(&of(vec![step(1, 10, 20, lie)])).is_err());
    }
    #[test]
    fn a_history_that_cannot_be_decided_in_time_has_failed() {
        // Any of them may have been the first, or never happen: there is no end to what could have been.
        let open = |new: u64| {
            let ask = Ask::Swap { expect: 0, new, found: None, swapped: false };
            Step { returned: None, ..step(new as u16, new, 0, ask) }
        };
        let mut steps: Vec<Step> = (1..=60).map(open).collect();
        steps.push(step(99, 100, 110, Ask::Read { found: 999 }));
        let witness = within(&of(steps), Duration::from_millis(20)).expect_err("undecided");
        assert!(witness.why.contains("r1 could not be decided in 20ms: 61 steps"), "{witness}");
    }
}
