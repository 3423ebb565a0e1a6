//! The layers of core: imports point down only, and a file is one room.

use std::fmt::Write as _;
use std::path::Path;

use peregrine_tests::source::{self, Source, places, word};

/// The rooms of `core/src`, the lowest layer first. An import may go to the same room or to a lower layer.
const LAYERS: [&[&str]; 6] = [
    &["limits", "feature", "ids", "time", "error", "random", "table"],
    &["wire", "session", "delivery"],
    &["cid", "recovery", "congestion", "stream", "handshake", "lifecycle"],
    &["path"],
    &["connection"],
    &["endpoint"],
];

/// All that `path` may see of layer 2: what a route holds of its own.
const UNDER_PATH: [&str; 2] = ["recovery", "congestion"];

/// The edges between siblings that there are, each with its reason. Never one in layer 2.
const BETWEEN_SIBLINGS: [(&str, &str, &str); 4] = [
    ("limits", "time", "some numbers of the RFCs are a Span"),
    ("table", "error", "Full is what every fixed table answers when it has no room"),
    ("table", "time", "the timer heap sorts by Deadline"),
    ("wire", "session", "the table of frames says in packets of which Level a frame may stand"),
];

/// Lines of a file, without its tests.
const LONGEST_FILE: usize = 600;

#[test]
fn imports_point_down() {
    let sources = source::sources("core/src");
    assert!(sources.len() > 5, "core's sources were not found");
    let faults: Vec<String> = sources.iter().flat_map(climbs).collect();
    assert!(faults.is_empty(), "core's layers are broken:\n{}", faults.join("\n"));
}

#[test]
fn files_are_one_room() {
    let sources = source::sources("core/src").into_iter().chain(source::sources("crypto/src"));
    let mut faults = String::new();
    for source in sources.filter(|source| !source.is_test() && source.lines > LONGEST_FILE) {
        let _ = writeln!(faults, "{}: {} lines without tests", source.path.display(), source.lines);
    }
    assert!(faults.is_empty(), "files longer than {LONGEST_FILE} lines:\n{faults}");
}

/// What is wrong with the imports of a file, one line each.
fn climbs(source: &Source) -> Vec<String> {
    let module = module_of(&source.path);
    let Some(&from) = module.first().filter(|_| !source.is_test()) else { return Vec::new() };
    let fault = |(at, to): (usize, &str)| {
        let why = refusal(from, to)?;
        Some(format!("{}:{}: {from} uses {to}: {why}", source.path.display(), source.line(at)))
    };
    edges(&source.code, module.len()).into_iter().filter_map(fault).collect()
}

/// Why `from` may not import `to`.
fn refusal(from: &str, to: &str) -> Option<&'static str> {
    let layer = |room: &str| LAYERS.iter().position(|rooms| rooms.contains(&room));
    let (Some(own), Some(other)) = (layer(from), layer(to)) else {
        return Some("not a room that has a layer");
    };
    let known = BETWEEN_SIBLINGS.iter().any(|(a, b, _)| (*a, *b) == (from, to));
    if from == to || known {
        None
    } else if other > own {
        Some("this climbs")
    } else if other == own {
        Some("this crosses between siblings")
    } else if from == "path" && LAYERS[2].contains(&to) && !UNDER_PATH.contains(&to) {
        Some("path sees only recovery and congestion of layer 2")
    } else {
        None
    }
}

/// The module path of a file below `core/src`; empty for `lib.rs`.
fn module_of(path: &Path) -> Vec<&str> {
    let names = path.iter().skip(2).filter_map(|part| part.to_str());
    names.map(|name| name.trim_end_matches(".rs")).filter(|name| !matches!(*name, "mod" | "lib")).collect()
}

/// The rooms that code `depth` modules below the root names through `crate::` or a chain of `super::`, and where.
fn edges(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let through_crate = places(code, "crate").filter_map(|at| Some((at, path_after(&code[at + 5..])?)));
    let through_super = places(code, "super").filter_map(|at| {
        let mut rest = path_after(&code[at + 5..]);
        for _ in 1..depth {
            rest = rest?.strip_prefix("super").and_then(path_after);
        }
        // A chain is counted from its first link only.
        let follows = code[..at].trim_end().ends_with("super::");
        rest.filter(|_| !follows).map(|rest| (at, rest))
    });
    through_crate
        .chain(through_super)
        .flat_map(|(at, path)| heads(path).into_iter().map(move |room| (at, room)))
        .collect()
}

/// What follows a `::` that stands here.
fn path_after(code: &str) -> Option<&str> {
    code.trim_start().strip_prefix("::").map(str::trim_start)
}

/// The first names of a path: one, or those of a `{…}` list.
fn heads(path: &str) -> Vec<&str> {
    let Some(list) = path.strip_prefix('{') else { return vec![head(path)] };
    let mut heads = Vec::new();
    let mut depth = 0_usize;
    let mut item = 0;
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => {
                heads.extend(Some(head(list[item..at].trim_start())).filter(|head| !head.is_empty()));
                item = at + 1;
                if byte == b'}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

/// A name, or the star of a glob.
fn head(path: &str) -> &str {
    if path.starts_with('*') { "*" } else { word(path) }
}

#[test]
fn faults_are_found() {
    let faults = |path: &str, text: &str| climbs(&Source::parse(path, text)).len();
    assert_eq!(faults("core/src/cid/local.rs", "use crate::ids::PathId;"), 0);
    assert_eq!(faults("core/src/cid/local.rs", "use crate::recovery::Space;"), 1, "a sibling");
    assert_eq!(faults("core/src/cid/local.rs", "use crate::{ids::{A, B}, path::C, recovery};"), 2);
    assert_eq!(faults("core/src/cid/local.rs", "fn f() { crate::connection::g() }"), 1, "inline");
    assert_eq!(faults("core/src/cid/local.rs", "use super::peer::X; use super::super::path::Y;"), 1);
    assert_eq!(faults("core/src/time.rs", "use super::wire::X;"), 1);
    assert_eq!(faults("core/src/cid/local.rs", "use crate::*;"), 1);
    assert_eq!(faults("core/src/newroom.rs", "use crate::ids::X;"), 1);
    assert_eq!(faults("core/src/path/route.rs", "use crate::congestion::X; use crate::stream::Y;"), 1);
    assert_eq!(
        faults("core/src/wire/frame/mod.rs", "pub(in crate::wire) fn f() {} use crate::session::Level;"),
        0
    );
    assert_eq!(
        faults("core/src/session.rs", "use crate::wire::Frame;"),
        1,
        "the other way round is no exception"
    );
    let test = "// crate::endpoint\n#[cfg(test)]\nmod tests { use crate::connection::X; }";
    assert_eq!(faults("core/src/cid/local.rs", test), 0);
    assert_eq!(faults("core/src/cid/tests.rs", "use crate::connection::X;"), 0);
}

#[test]
fn layer_two_has_no_edges_between_siblings() {
    for (from, to, reason) in BETWEEN_SIBLINGS {
        assert!(!LAYERS[2].contains(&from) && !reason.is_empty(), "{from} to {to}");
    }
}
