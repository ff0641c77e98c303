//! The README's programs are those of the documentation, where they run as doctests.

use std::fs;

#[test]
fn every_program_of_the_readme_is_a_doctest() {
    let read = |path| {
        fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect("a file of the crate")
    };
    let bare = |line: &str| line.trim_start_matches(['/', '!']).trim().to_owned();
    let docs: Vec<_> = [read("src/lib.rs"), read("src/go/scope.rs"), read("src/channel/mod.rs")]
        .iter()
        .flat_map(|text| text.lines().map(bare).collect::<Vec<_>>())
        .collect();
    let readme = read("README.md");
    let programs: Vec<_> =
        readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(programs.len(), 3);
    for program in programs {
        let lines: Vec<_> = program.lines().map(bare).collect();
        assert!(
            docs.windows(lines.len()).any(|window| window == lines),
            "not a doctest of lib.rs, go/scope.rs or channel/mod.rs:\n{program}"
        );
    }
}
