//! A peer that runs Nexmark's queries, with all verbs: `cargo run -p examples --example nexmark -- start --new`.

fn main() {
    shoal::main(examples::nexmark::queries)
}
