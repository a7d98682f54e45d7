//! Random records, cuts, rolls and restarts: what is recovered is what the model has.

use super::story::{Model, apply, batch, check, checkpoint, open};
use crate::sim::{Dice, SimDisk};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Write(u64),
    Sync,
    Cut(u64),
    /// The process ends and starts again; nothing that was written is lost.
    Restart,
    /// The power goes after a sync.
    PowerCut(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => any::<u64>().prop_map(Step::Write),
        4 => Just(Step::Sync),
        2 => any::<u64>().prop_map(Step::Cut),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn what_is_recovered_is_what_was_written(steps in steps()) {
        let disk = SimDisk::new();
        let (mut journal, _) = open(&disk);
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Write(seed) => {
                    let records = batch(&mut Dice::new(seed), &model);
                    journal.write(&records).unwrap();
                    apply(&mut model, &records);
                }
                Step::Sync => {
                    prop_assert_eq!(journal.sync().unwrap(), journal.written());
                }
                Step::Cut(seed) => {
                    let durable = checkpoint(&mut Dice::new(seed), &mut model);
                    journal.cut(&durable, &mut |shard| model[&shard].live(shard)).unwrap();
                }
                Step::Restart => {
                    drop(journal);
                    let (again, found) = open(&disk);
                    prop_assert_eq!(check(&found, &model), Ok(()));
                    journal = again;
                }
                Step::PowerCut(seed) => {
                    journal.sync().unwrap();
                    disk.cut(seed);
                    let (again, found) = open(&disk);
                    prop_assert_eq!(check(&found, &model), Ok(()));
                    journal = again;
                }
            }
        }
        drop(journal);
        let (_, found) = open(&disk);
        prop_assert_eq!(check(&found, &model), Ok(()));
    }
}
