//! A user's own binary, for tests: a peer that counts words, and fails at one of them.

use shoal::Event;

fn main() {
    shoal::main(|mesh| {
        mesh.pipeline("words")
            .read("lines")
            .flat_map(|event: &Event| {
                let text = event.text().into_owned();
                assert!(text != "boom in the chain", "a stateless stage fails on purpose");
                text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            })
            .key_by(|word: &String| word.clone())
            .count()
            .view("word_counts");
    });
}
