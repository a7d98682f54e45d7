//! `shoal pipeline check`: whether this binary's code can read what the running versions keep, before it runs.

use crate::Mesh;
use crate::ask::{Asker, encoded};
use crate::progress::Progress;
use crate::show;
use door::http::{Members, PipelineDetail, Sample, TaskRow};
use flow::StageCode;
use model::Problem;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often it is told how far it is where there is no terminal.
const TELL: Duration = Duration::from_secs(5);

/// Checks the pipeline `name`, or all of this binary's; fails with the first row that cannot be read.
pub(super) fn run(asker: &Asker, name: Option<&str>, mesh: &Mesh) -> Result<(), Problem> {
    mesh.check().map_err(|error| {
        let fix = "mend main, and build it again";
        Problem::new("SH0603", "this binary's pipelines cannot run", error.to_string(), fix)
    })?;
    let held = mesh.holds();
    let meant: Vec<_> = held.iter().filter(|(of, ..)| name.is_none_or(|name| of == name)).collect();
    if meant.is_empty() {
        return Err(Problem::new(
            "SH0304",
            name.map_or("this binary has no pipelines".into(), |name| {
                format!("this binary has no pipeline `{name}`")
            }),
            "a check compares the code of the binary that is run with what the mesh keeps",
            "run the check with your own binary: my-binary pipeline check",
        ));
    }
    let doors = doors(asker)?;
    for (name, version, _) in meant {
        let running = match asker.get(&format!("/v1/pipelines/{}", encoded(name)), &[]) {
            Ok(running) => read::<PipelineDetail>(running)?,
            Err(problem) if problem.code == "SH0304" => {
                show::print(&format!("{name} v{version} is new: there is nothing to read"));
                continue;
            }
            Err(problem) => return Err(problem),
        };
        let (rows, tasks) = pipeline(asker, &doors, mesh, &running)?;
        show::print(&format!(
            "{name} v{version} can read what v{} keeps: {rows} rows of {tasks} tasks",
            running.version
        ));
    }
    Ok(())
}

/// The HTTP doors of all peers, by id.
fn doors(asker: &Asker) -> Result<BTreeMap<i32, String>, Problem> {
    let members = read::<Members>(asker.get("/v1/members", &[])?)?.members;
    Ok(members.into_iter().map(|member| (member.id, member.http)).collect())
}

/// Rows and tasks that were checked.
fn pipeline(
    asker: &Asker,
    doors: &BTreeMap<i32, String>,
    mesh: &Mesh,
    running: &PipelineDetail,
) -> Result<(usize, usize), Problem> {
    let (mut rows, mut tasks) = (0, 0);
    let all: usize = running.stages.iter().map(|stage| stage.tasks.len()).sum();
    let mut progress = Progress::of(all as u64, TELL);
    for stage in &running.stages {
        // A stage that the new version has not is not asked for.
        let Some(code) = mesh.stage(&running.name, &stage.name) else { continue };
        for task in &stage.tasks {
            let door = task.peer.and_then(|peer| doors.get(&peer)).filter(|door| !door.is_empty());
            let leader = door.map(|door| Asker::new(door)).transpose()?;
            progress.at(tasks as u64, &format!("{}: {rows} rows are read", stage.name));
            rows += self::task(leader.as_ref().unwrap_or(asker), &running.name, &code, task)?;
            tasks += 1;
        }
    }
    Ok((rows, tasks))
}

fn task(asker: &Asker, name: &str, code: &StageCode, task: &TaskRow) -> Result<usize, Problem> {
    let path = format!("/v1/pipelines/{}/sample", encoded(name));
    let bucket = task.bucket.to_string();
    let query = [("stage", code.name.as_str()), ("bucket", bucket.as_str())];
    let sample = read::<Sample>(asker.get(&path, &query)?)?;
    let rows = sample.rows().ok_or_else(foreign)?;
    code.check(sample.version, rows.iter().map(|(key, value)| (key, value))).map_err(|error| {
        Problem::new(
            "SH0603",
            format!("{name} v{} must not run yet", code.version),
            error.to_string(),
            "read the old form too: an upgrade hook of Value, List or Map, or serde's defaults",
        )
    })?;
    Ok(rows.len())
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Problem> {
    serde_json::from_value(answer).map_err(|_| foreign())
}

fn foreign() -> Problem {
    Problem::new(
        "SH0103",
        "the peer's answer makes no sense here",
        "it is of another version",
        "build the binary with the shoal that the mesh runs",
    )
}
