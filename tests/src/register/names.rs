//! The names that a register may refer to: items, methods and tests of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::source::{Source, places, word};

/// What may obey a requirement.
const ITEMS: [&str; 8] = ["fn", "const", "static", "struct", "enum", "trait", "type", "mod"];

/// An index of names in sources.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Files by the name of an item they hold.
    items: BTreeMap<String, BTreeSet<PathBuf>>,
    /// Types and traits, each with what stands in its `impl` blocks or its own.
    methods: BTreeSet<(String, String)>,
    /// Files by the name of a test they hold.
    tests: BTreeMap<String, BTreeSet<PathBuf>>,
}

impl Names {
    /// Adds the items and tests of a source of the product.
    pub fn add_product(&mut self, source: &Source) {
        self.add_tests(source);
        if source.is_test() {
            return;
        }
        for name in definitions(&source.code, &ITEMS) {
            self.items.entry(name).or_default().insert(source.path.clone());
        }
        self.methods.extend(methods(&source.code));
    }

    /// Adds the tests of a source.
    pub fn add_tests(&mut self, source: &Source) {
        for name in tests(&source.code_with_tests) {
            self.tests.entry(name).or_default().insert(source.path.clone());
        }
    }

    /// Whether what obeys a requirement exists.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check_code(&self, reference: &str) -> Result<(), String> {
        let (owner, name) = reference.rsplit_once("::").ok_or(format!("{reference} has no owner"))?;
        let exists = if owner.ends_with(".rs") {
            self.items.get(name).is_some_and(|files| files.iter().any(|file| file.ends_with(owner)))
        } else {
            self.methods.contains(&(owner.to_owned(), name.to_owned()))
        };
        if exists { Ok(()) } else { Err(format!("{reference} does not exist")) }
    }

    /// Whether a test exists, and only once.
    ///
    /// # Errors
    /// Why not.
    pub fn check_test(&self, reference: &str) -> Result<(), String> {
        let (file, name) = reference.rsplit_once("::").unwrap_or(("", reference));
        let files = self.tests.get(name).into_iter().flatten();
        match files.filter(|path| file.is_empty() || path.ends_with(file)).count() {
            0 => Err(format!("test {reference} does not exist")),
            1 => Ok(()),
            _ => Err(format!("test {reference} stands in several files: say which")),
        }
    }
}

/// The names defined by these keywords.
fn definitions<'a>(code: &'a str, keywords: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    keywords.iter().flat_map(move |keyword| {
        places(code, keyword).filter_map(move |at| {
            let name = word(code[at + keyword.len()..].trim_start());
            // `const fn`: the function has its own keyword. `fn(u8)`: a type.
            (!name.is_empty() && !ITEMS.contains(&name)).then(|| name.to_owned())
        })
    })
}

/// Functions and constants with the type or trait in whose block they stand.
fn methods(code: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for keyword in ["impl", "trait"] {
        for at in places(code, keyword) {
            let line = code[..at].rsplit('\n').next().unwrap_or_default().trim();
            // Elsewhere than at the start of a line it is a type: `-> impl Iterator`.
            if !line.is_empty() && line != "unsafe" && !(keyword == "trait" && line.starts_with("pub")) {
                continue;
            }
            let Some((head, block)) = head_and_block(&code[at + keyword.len()..]) else { continue };
            let owner = owner(head);
            found.extend(definitions(block, &["fn", "const"]).map(|name| (owner.clone(), name)));
        }
    }
    found
}

/// What stands before the first brace, and what between it and its partner.
fn head_and_block(code: &str) -> Option<(&str, &str)> {
    let (head, rest) = code.split_once('{')?;
    let mut depth = 1_usize;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((head, &rest[..at]));
        }
    }
    None
}

/// The name of the type that the head of an `impl`, or of the trait that the head of a `trait`, is about.
fn owner(head: &str) -> String {
    let mut plain = String::new();
    let mut depth = 0_usize;
    let mut before = ' ';
    for char in head.chars() {
        match char {
            '<' => depth += 1,
            '>' if before == '-' => {}
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(char),
            _ => {}
        }
        before = char;
    }
    let words: Vec<&str> = plain.split_whitespace().take_while(|word| *word != "where").collect();
    let subject = words.iter().rposition(|word| *word == "for").map_or(0, |place| place + 1);
    let mut names = words[subject..].iter().map(|word| word.trim_matches(['&', ':']));
    let path = names.find(|name| !matches!(*name, "" | "mut")).unwrap_or_default();
    word(path.rsplit("::").next().unwrap_or_default()).to_owned()
}

/// The names of the functions under `#[test]`.
fn tests(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, mark) in code.match_indices("#[test]") {
        let after = &code[at + mark.len()..];
        if let Some(function) = places(after, "fn").next() {
            found.push(word(after[function + 2..].trim_start()).to_owned());
        }
    }
    found
}
