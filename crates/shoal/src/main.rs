//! The `shoal` binary: every verb, and no pipelines but the demo's.

fn main() {
    shoal::main(|_| {})
}
