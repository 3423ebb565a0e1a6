//! The workspace's own Rust sources, seen just well enough to check rules about them: comments, the insides of literals
//! and `#[cfg(test)]` items are blank, everything else stands where it stood.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A source file without what is not its code.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path from the root of the workspace.
    pub path: PathBuf,
    /// Its code; lines and columns are those of the file.
    pub code: String,
    /// Its code with that of `#[cfg(test)]` items.
    pub code_with_tests: String,
    /// Lines of the file, comments included, that are not in `#[cfg(test)]` items.
    pub lines: usize,
}

impl Source {
    /// The source in `text`.
    pub fn parse(path: impl Into<PathBuf>, text: &str) -> Self {
        let code_with_tests = blank_all(text, &comments_and_literals(text));
        let tests = test_items(&code_with_tests);
        let code = blank_all(&code_with_tests, &tests);
        let test_lines: usize = tests.iter().map(|item| text[item.clone()].lines().count()).sum();
        Self { path: path.into(), code, code_with_tests, lines: text.lines().count() - test_lines }
    }

    /// Whether the whole file is a test module (`tests.rs`, `x/tests/…`), by convention of the workspace.
    pub fn is_test(&self) -> bool {
        self.path.iter().skip(1).any(|part| part == "tests.rs" || part == "tests")
    }

    /// The number of the line where `offset` of the code lies, from one.
    pub fn line(&self, offset: usize) -> usize {
        self.code_with_tests[..offset].matches('\n').count() + 1
    }
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a package inside the workspace").to_owned()
}

/// All Rust sources under a folder of the workspace, sorted by path; none if there is no such folder.
///
/// # Panics
/// If a file cannot be read.
pub fn sources(folder: &str) -> Vec<Source> {
    let root = root();
    let mut sources = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("a folder that can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source that can be read");
                let path = path.strip_prefix(&root).expect("a path below the root");
                sources.push(Source::parse(path, &text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Whether `byte` may stand in an identifier.
pub const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The identifier at the start of `code`, perhaps empty.
pub fn word(code: &str) -> &str {
    &code[..code.bytes().take_while(|byte| is_word(*byte)).count()]
}

/// Where `name` stands as an identifier of its own.
pub fn places<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(name).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).is_some_and(|before| is_word(code.as_bytes()[before]));
        !before && word(&code[*at..]).len() == name.len()
    })
}

/// The text with every range blank but for its line ends.
fn blank_all(text: &str, ranges: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for byte in ranges.iter().flat_map(|range| range.clone()) {
        if bytes[byte] != b'\n' {
            bytes[byte] = b' ';
        }
    }
    String::from_utf8(bytes).expect("ranges that end between characters")
}

/// Comments, and what stands between the quotes of literals.
fn comments_and_literals(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let inner = if rest.starts_with("//") {
            0..rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            0..block_comment(rest)
        } else if let Some(hashes) = raw_string_hashes(text, at) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            open..rest[open..].find(&close).map_or(rest.len(), |len| open + len)
        } else if rest.starts_with('"') {
            1..quoted(rest, b'"')
        } else if let Some(end) = char_literal(rest) {
            1..end
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let is_comment = inner.start == 0;
        found.push(at + inner.start..at + inner.end);
        // Past the closing quote; those hashes that may follow it are harmless.
        at += inner.end + usize::from(!is_comment);
    }
    found
}

/// The length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// How many hashes the raw string has whose `r` stands here, if one does.
fn raw_string_hashes(text: &str, at: usize) -> Option<usize> {
    let before = &text.as_bytes()[..at];
    // The `r` of `br"…"` and `cr"…"` follows a letter; that of `var"` cannot occur.
    let in_word = before.last().is_some_and(|byte| is_word(*byte) && !matches!(byte, b'b' | b'c'));
    let rest = text[at..].strip_prefix('r').filter(|_| !in_word)?;
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    (rest.as_bytes().get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Where the quote stands that ends a literal begun by the first byte.
fn quoted(text: &str, quote: u8) -> usize {
    let mut escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        if !escaped && byte == quote {
            return at;
        }
        escaped = !escaped && byte == b'\\';
    }
    text.len()
}

/// Where the character literal ends that begins here, if it is one and not a lifetime.
fn char_literal(text: &str) -> Option<usize> {
    let mut chars = text.strip_prefix('\'')?.chars();
    match (chars.next()?, chars.next()?) {
        ('\\', _) => Some(quoted(text, b'\'')),
        (only, '\'') => Some(1 + only.len_utf8()),
        _ => None,
    }
}

/// Items under `#[cfg(test)]`, with the attribute.
fn test_items(code: &str) -> Vec<Range<usize>> {
    const MARK: &str = "#[cfg(test)]";
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, _) in code.match_indices(MARK) {
        if found.last().is_none_or(|item| item.end <= start) {
            found.push(start..start + MARK.len() + item_len(&code[start + MARK.len()..]));
        }
    }
    found
}

/// The length of the item, statement or field at the start of `code`: up to a `;` or `,` outside of brackets or the end of
/// its braces.
fn item_len(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            // The end of what encloses the item.
            b')' | b']' | b'}' if depth == 0 => return at,
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' | b',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squeezed(code: &str) -> String {
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blank() {
        let text = r####"let a = "crate::x \" // no"; // crate::y
/* crate /* :: */ z */ let b = r#"crate::"q"#; let c = ('"', '\'', '\u{41}', 'x', b'"');
fn d<'a>(e: &'a str) -> Cow<'a, str> { br"\" }
let f = r#type;"####;
        let code = Source::parse("x.rs", text).code;
        let expected = concat!(
            r####"let a = " "; let b = r#" "#; let c = (' ', ' ', ' ', ' ', b' '); "####,
            r####"fn d<'a>(e: &'a str) -> Cow<'a, str> { br" " } let f = r#type;"####
        );
        assert_eq!(squeezed(&code), squeezed(expected));
        assert_eq!(code.len(), text.len());
        assert_eq!(code.lines().count(), 4);
    }

    #[test]
    fn test_items_are_blank_and_not_counted() {
        let text = "#[cfg(test)]\nextern crate std;\n\nfn a() {}\n\nstruct S { #[cfg(test)] x: [u8; 2], y: u8 }\n\
                    #[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn b() { \"}\" }\n}\n";
        let source = Source::parse("x.rs", text);
        assert_eq!(squeezed(&source.code), "fn a() {} struct S { y: u8 }");
        assert!(squeezed(&source.code_with_tests).contains("mod tests { fn b() { \" \" } }"));
        assert_eq!(source.lines, 11 - 2 - 1 - 5);
    }

    #[test]
    fn places_are_whole_words() {
        let code = "crate::a; $crate::b; xcrate::c; crates; crate";
        assert_eq!(places(code, "crate").collect::<Vec<_>>(), [0, 11, 40]);
    }

    #[test]
    fn test_files_are_known_by_their_names() {
        let is_test = |path: &str| Source::parse(path, "").is_test();
        assert!(is_test("core/src/cid/tests.rs") && is_test("core/src/cid/tests/peer.rs"));
        assert!(!is_test("core/src/cid/local.rs") && !is_test("tests/src/rng.rs"));
    }
}
