//! Storm's classic, the bolt that counts words, as a processor: state, output, failures and restarts included.
//!
//! What Storm asks for besides and this does not: `ack` and `fail` (one commit holds what was read, kept and
//! emitted), `declareOutputFields`, a grouping that the topology must get right, a database for the counts.

use shoal::prelude::*;

struct CountBolt;

impl Processor for CountBolt {
    fn process(&mut self, event: &Event, ctx: &mut Context) -> Result<(), Failure> {
        let word = event.text();
        let count = ctx.row(&word).get::<u64>()?.unwrap_or(0) + 1;
        ctx.row(&word).put(&count)?;
        ctx.emit(&word, &count)
    }
}

fn bolt(mesh: &mut Mesh) {
    mesh.pipeline("bolt")
        .read("words")
        .key_by(|event| event.text().into_owned())
        .process(|| CountBolt)
        .view("counts")
        .to("count_changes");
}

fn main() {
    shoal::main(bolt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_counts_once_and_each_change_is_emitted_once() {
        for seed in 0..10 {
            let mut mesh = TestMesh::of(bolt).seed(seed);
            for (n, word) in ["a", "b", "a", "a", "c"].iter().enumerate() {
                mesh.send("words", n.to_string(), word);
            }
            mesh.run();
            assert_eq!(mesh.view("counts").get("a"), Some(3.into()), "seed {seed}");
            assert_eq!(mesh.events("count_changes").len(), 5, "seed {seed}");
        }
    }
}
