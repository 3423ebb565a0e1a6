//! The register of requirements in `requirements/` names only what exists, and nothing complete has gaps.

use std::fs;

use peregrine_tests::register::{Names, Register};
use peregrine_tests::source;

fn names() -> Names {
    let mut names = Names::default();
    for folder in ["core/src", "crypto/src", "std-adapter/src", "embassy-adapter/src"] {
        source::sources(folder).iter().for_each(|source| names.add_product(source));
    }
    for folder in ["core/tests", "crypto/tests", "std-adapter/tests", "tests/src", "tests/tests"] {
        source::sources(folder).iter().for_each(|source| names.add_tests(source));
    }
    names
}

#[test]
fn register_of_requirements_holds() {
    let names = names();
    let mut faults = Vec::new();
    let folder = source::root().join("tests/requirements");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no register was found");
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap();
        let Some(name) = name.strip_suffix(".tsv") else { panic!("{name} is not called NAME.tsv") };
        match Register::parse(name, &fs::read_to_string(&file).unwrap()) {
            Ok(register) => {
                let (rows, settled) = register.progress();
                println!("{name}: {settled} of {rows} requirements settled");
                faults.extend(register.faults(&names));
            }
            Err(lines) => faults.extend(lines),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
