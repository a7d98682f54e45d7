//! A user's own binary, for tests: a peer that runs Nexmark's queries.

fn main() {
    shoal::main(examples::nexmark::queries)
}
