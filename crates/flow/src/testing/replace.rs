//! Another version of the pipelines takes over what the one before has kept.

use super::{Running, TestMesh, add};
use crate::{Error, Pipelines, StageCode};
use model::{StageId, TaskId};

impl TestMesh {
    /// Runs other versions of the pipelines from here on, on what was kept: stages of the same name go on, others
    /// begin, and those that are not described any more end.
    ///
    /// Refused, changing nothing, if they are described wrongly or cannot read what was kept: what
    /// `shoal pipeline check` finds.
    pub fn replace(&mut self, describe: impl FnOnce(&mut Pipelines)) -> Result<(), Error> {
        let mut pipelines = Pipelines::new();
        describe(&mut pipelines);
        pipelines.check()?;
        for (id, placed) in &self.stages {
            let Some(code) = pipelines.stage(&placed.code.pipeline, &placed.code.name) else {
                continue;
            };
            let refused = |because: &str| Error::Definition {
                pipeline: code.pipeline.clone(),
                because: format!("stage {:?}: {because}", code.name),
            };
            if code.buckets != placed.code.buckets {
                return Err(refused("its buckets are fixed"));
            }
            if code.version <= placed.code.version {
                return Err(refused("give the pipeline a new version"));
            }
            for bucket in 0..code.buckets {
                let restored = self.fold.restored(TaskId { stage: *id, bucket });
                let rows = restored.rows.iter().map(|(key, value)| (key, value));
                code.check(restored.version, rows)?;
            }
        }
        self.take_over(pipelines);
        Ok(())
    }

    fn take_over(&mut self, pipelines: Pipelines) {
        for running in self.tasks.values_mut() {
            if let Some(task) = running.task.take() {
                self.tally = add(self.tally, task.tally());
                task.close();
            }
        }
        self.exchanges.clear();
        self.pipelines = pipelines;
        let gone = |placed: &super::Placed| {
            self.pipelines.stage(&placed.code.pipeline, &placed.code.name).is_none()
        };
        let gone: Vec<StageId> =
            self.stages.iter().filter(|(_, placed)| gone(placed)).map(|(id, _)| *id).collect();
        self.stages.retain(|id, _| !gone.contains(id));
        self.tasks.retain(|id, _: &mut Running| !gone.contains(&id.stage));
        self.adrift.retain(|commit| !gone.contains(&commit.task.stage));
        self.register();
    }

    /// The id under which a stage is known.
    pub(super) fn stage_id(&self, code: &StageCode) -> Option<StageId> {
        let named = |of: &StageCode| of.pipeline == code.pipeline && of.name == code.name;
        self.stages.iter().find(|(_, placed)| named(&placed.code)).map(|(id, _)| *id)
    }
}
