//! Rules about a single file: its size, its name, its first line, and calls that it may not make.

use std::fmt::Write;
use std::path::Path;

use super::source::code;
use super::{File, Finding};

/// Above this a file is split.
const LINES_MAX: usize = 800;

/// Names that say nothing of what a file owns.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "helper", "helpers", "common", "misc"];

/// What opens the comment about a deliberate difference from AWS.
const DIFFERENCE: &str = "// AWS-DIFF:";

/// Where a pattern is allowed.
enum Allowed {
    Nowhere,
    InTests,
    /// Below these folders.
    In(&'static [&'static str]),
}

const FORBIDDEN: [(&str, Allowed, &str); 7] = [
    ("todo!(", Allowed::Nowhere, "unfinished code is not committed"),
    ("unimplemented!(", Allowed::Nowhere, "unfinished code is not committed"),
    ("#[ignore", Allowed::Nowhere, "a test runs or does not exist"),
    (".unwrap()", Allowed::InTests, "say why it holds: expect(\"...\")"),
    ("SystemTime::now", Allowed::In(&["crates/core", "examples"]), "time comes from core::Clock"),
    (
        "unsafe {",
        Allowed::In(&["crates/host", "crates/network"]),
        "unsafe code stands in crates/host and crates/network only",
    ),
    (
        "unsafe fn",
        Allowed::In(&["crates/host", "crates/network"]),
        "unsafe code stands in crates/host and crates/network only",
    ),
];

pub fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        let message = format!("{lines} lines, more than {LINES_MAX}: split it by what its parts own");
        findings.push(Finding::new(&file.path, LINES_MAX + 1, message));
    }
    if let Some(name) = empty_name(&file.path) {
        findings.push(Finding::new(&file.path, 1, format!("'{name}' does not say what the module owns")));
    }
    if !file.text.starts_with("//!") {
        findings.push(Finding::new(&file.path, 1, "the first line is not the module's documentation (//!)"));
    }
    findings.extend(forbidden_calls(file));
    findings
}

fn empty_name(path: &Path) -> Option<&str> {
    let names = path.iter().filter_map(|part| part.to_str());
    names.map(|name| name.strip_suffix(".rs").unwrap_or(name)).find(|name| EMPTY_NAMES.contains(name))
}

fn forbidden_calls(file: &File) -> Vec<Finding> {
    let code = code(&file.text);
    let tests_from = if is_test_file(&file.path) { 0 } else { unit_tests_start(&code) };
    let mut findings = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for (pattern, allowed, message) in &FORBIDDEN {
            let excused = match allowed {
                Allowed::Nowhere => false,
                Allowed::InTests => index >= tests_from,
                Allowed::In(folders) => folders.iter().any(|folder| file.path.starts_with(folder)),
            };
            if line.contains(pattern) && !excused {
                findings.push(Finding::new(&file.path, index + 1, format!("`{pattern}`: {message}")));
            }
        }
    }
    findings
}

fn is_test_file(path: &Path) -> bool {
    path.iter().any(|part| part == "tests" || part == "tests.rs")
}

/// Unit tests are the last thing in a file: from this line on, everything is a test.
fn unit_tests_start(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let opens = |index: &usize| {
        let module = lines.get(index + 1).is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        lines[*index] == "#[cfg(test)]" && module
    };
    (0..lines.len()).find(opens).unwrap_or(usize::MAX)
}

/// Every deliberate difference from AWS, as a table in Markdown.
pub fn differences(files: &[File]) -> String {
    let mut out = String::from("| Where | Difference from AWS |\n|---|---|\n");
    for file in files {
        let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(first) = line.strip_prefix(DIFFERENCE) else { continue };
            let more = lines[index + 1..].iter().map_while(|line| line.strip_prefix("// "));
            let more = more.take_while(|text| !text.starts_with("AWS-DIFF:"));
            let text: Vec<&str> = std::iter::once(first.trim()).chain(more).collect();
            let text = text.join(" ").replace('|', "\\|");
            // Writing to a string cannot fail.
            let _ = writeln!(out, "| {}:{} | {text} |", file.path.display(), index + 1);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.to_owned() }
    }

    fn messages(path: &str, text: &str) -> Vec<(usize, String)> {
        check(&file(path, text)).into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    #[test]
    fn unwrap_is_for_tests() {
        let text = "//! Doc.\nfn f() { x.unwrap() }\n#[cfg(test)]\nmod tests {\n fn g() { x.unwrap() }\n}\n";
        let found = messages("crates/wire/src/a.rs", text);
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2]);
        assert!(messages("crates/wire/tests/it/main.rs", text).is_empty());
    }

    #[test]
    fn patterns_in_comments_and_literals_are_nothing() {
        assert!(messages("crates/wire/src/a.rs", "//! Doc.\n// todo!(\nlet a = \"todo!(\";\n").is_empty());
    }

    #[test]
    fn a_folder_may_be_excused() {
        let text = "//! Doc.\nfn f() { unsafe { g() } }\n";
        assert!(messages("crates/host/src/a.rs", text).is_empty());
        assert_eq!(messages("crates/store/src/a.rs", text).len(), 1);
    }

    #[test]
    fn size_name_and_documentation_are_checked() {
        assert_eq!(messages("crates/wire/src/a.rs", &format!("//! Doc.\n{}", "\n".repeat(LINES_MAX))).len(), 1);
        assert_eq!(messages("crates/wire/src/utils.rs", "//! Doc.\n").len(), 1);
        assert_eq!(messages("crates/wire/src/utils/a.rs", "//! Doc.\n").len(), 1);
        assert_eq!(messages("crates/wire/src/a.rs", "use a;\n").len(), 1);
    }

    #[test]
    fn differences_are_gathered_with_their_continuation() {
        let text = "//! Doc.\n    // AWS-DIFF: one\n    // two.\n    let a = 1;\n";
        let table = differences(&[file("a.rs", text)]);
        assert!(table.ends_with("| a.rs:2 | one two. |\n"), "{table}");
    }
}
