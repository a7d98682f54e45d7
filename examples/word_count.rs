//! Counts words. `cargo run -p examples --example word_count -- start --new` is a peer that runs it;
//! `… -- testnet up -n 3` three of them.

use shoal::prelude::*;

fn word_count(mesh: &mut Mesh) {
    mesh.pipeline("word_count")
        .read("lines")
        .flat_map(|line: &Event| {
            line.text().split_whitespace().map(str::to_lowercase).collect::<Vec<_>>()
        })
        .key_by(|word| word.clone())
        .count()
        .view("words");
}

fn main() {
    shoal::main(word_count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_whatever_dies() {
        for seed in 0..10 {
            let mut mesh = TestMesh::of(word_count).seed(seed);
            mesh.send("lines", "1", "To be, or not to be");
            mesh.send("lines", "2", "to shoal");
            mesh.run();
            assert_eq!(mesh.view("words").get("to"), Some(3.into()), "seed {seed}");
        }
    }
}
