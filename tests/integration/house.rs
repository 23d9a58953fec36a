//! The rules of the house that a compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order in which data flows: each may use those before it, and roots may be used by all.
const ORDER: [&str; 17] = [
    "error", "lsn", "sql", "side", "verdict", "config", "connect", "catalog", "row", "gate", "plan", "scan", "compare",
    "run", "report", "cli", "main",
];
/// The roots.
const ROOTS: usize = 5;

/// Every source file below a folder.
pub(crate) fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Files that are compiled for unit tests only.
const TEST_FILES: [&str; 6] = ["fixtures.rs", "golden.rs", "scenarios.rs", "testing.rs", "tests.rs", "world.rs"];

/// Every source file with the module it belongs to and its text without comments and unit tests.
fn code() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let tests = |path: &PathBuf| TEST_FILES.iter().any(|name| path.ends_with(name));
    files
        .into_iter()
        .filter(|path| !tests(path))
        .map(|path| {
            let relative = path.strip_prefix(&root).unwrap();
            let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = first.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            (path.clone(), module, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

#[test]
fn a_module_uses_only_those_above_it() {
    let rank = |module: &str| ORDER.iter().position(|&known| known == module);
    let mut seen = 0;
    for (path, module, text) in code().into_iter().filter(|(_, module, _)| module != "lib") {
        let own = rank(&module).unwrap_or_else(|| panic!("{module} is not in the order"));
        for used in text.split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            // `crate::Result` and the like are the roots' re-exports; a brace opens a list that names modules below.
            let Some(other) = rank(&used) else {
                assert!(used.is_empty() || used.starts_with(char::is_uppercase), "{}: crate::{used}", path.display());
                continue;
            };
            seen += 1;
            let roots = own < ROOTS && other < ROOTS;
            assert!(other <= own || roots, "{}: {module} uses {used}, which comes after it", path.display());
        }
    }
    assert!(seen > 100, "only {seen} paths were seen");
}

#[test]
fn one_function_answers_match() {
    let mut found = Vec::new();
    // Reports and the command line are handed a finished outcome, which they only read.
    for (path, _, text) in
        code().into_iter().filter(|(_, module, _)| !["report", "cli", "main"].contains(&module.as_str()))
    {
        for line in text.lines().filter(|line| line.contains("Verdict::Match")) {
            // Comparing with it, or telling what it means, does not answer it.
            let asks =
                ["== Verdict::Match", "!= Verdict::Match", "Verdict::Match =>", "Verdict::Match |", "| Verdict::Match"];
            if !asks.iter().any(|ask| line.contains(ask)) || line.contains("=> Verdict::Match") {
                found.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("compare/mod.rs"), "{found:#?}");
}

#[test]
fn only_the_command_line_prints_or_exits() {
    for (path, module, text) in code().into_iter().filter(|(_, module, _)| !["cli", "main"].contains(&module.as_str()))
    {
        for forbidden in [
            "println!",
            "eprintln!",
            "print!",
            "process::exit",
            "std::env::var",
            "env::vars",
            "unwrap()",
            "todo!",
            "panic!(",
        ] {
            let allowed = forbidden.contains("env") && ["config", "connect"].contains(&module.as_str());
            assert!(allowed || !text.contains(forbidden), "{}: {forbidden}", path.display());
        }
    }
}
