use super::*;
use crate::source::Source;

const SOURCE: &str = "
pub const LIMIT: u8 = 3;
impl<'a, F: Fn(u8) -> u8> fmt::Display for crate::rtt::Rtt<'a, F>
where F: for<'b> Fn(&'b u8) {
    pub const fn on_sample(&self) {}
    const HALF: u8 = 2;
}
impl &mut Loose { fn f() -> impl Iterator { } }
pub trait Session: Send {
    fn seal(&self);
}
pub fn free() -> impl Iterator { fn inner() {} }
// fn commented() {}
#[cfg(test)]
mod tests {
    fn helper() {}
    #[test]
    #[should_panic(expected = \"fn x\")]
    fn twice() {}
    #[test]
    fn once() {}
}";

fn names() -> Names {
    let mut names = Names::default();
    names.add_product(&Source::parse("core/src/recovery/rtt.rs", SOURCE));
    names.add_product(&Source::parse("core/src/cid/tests.rs", "fn in_tests() {} #[test] fn twice() {}"));
    names.add_tests(&Source::parse("tests/tests/scenario.rs", "#[test]\nfn scenario() {}"));
    names
}

fn row(id: &str, level: &str, code: &str, tests: &str, exception: &str) -> String {
    [id, level, "asks", code, tests, exception].join("\t")
}

fn parse(lines: &[String]) -> Result<Register, Vec<String>> {
    Register::parse("rfc9002", &lines.join("\n"))
}

#[test]
fn code_that_exists_is_found() {
    for reference in [
        "recovery/rtt.rs::LIMIT",
        "core/src/recovery/rtt.rs::free",
        "rtt.rs::on_sample",
        "Rtt::on_sample",
        "Rtt::HALF",
        "Session::seal",
        "Loose::f",
    ] {
        assert_eq!(names().check_code(reference), Ok(()));
    }
}

#[test]
fn code_that_does_not_exist_is_not() {
    for reference in [
        "tt.rs::free",
        "pto.rs::free",
        "rtt.rs::commented",
        "rtt.rs::helper",
        "rtt.rs::once",
        "cid/tests.rs::in_tests",
        "Rtt::free",
        "Session::on_sample",
        "free",
        "Display::on_sample",
        "Iterator::inner",
    ] {
        assert!(names().check_code(reference).is_err(), "{reference}");
    }
}

#[test]
fn tests_are_found_where_it_is_clear_which() {
    for reference in ["once", "rtt.rs::once", "rtt.rs::twice", "cid/tests.rs::twice", "scenario"] {
        assert_eq!(names().check_test(reference), Ok(()));
    }
    for reference in ["twice", "helper", "free", "cid/tests.rs::once"] {
        assert!(names().check_test(reference).is_err(), "{reference}");
    }
}

#[test]
fn a_good_register_has_no_faults() {
    let lines = [
        "# complete: 5 6.1".to_owned(),
        row("9002-5.1-1", "MUST", "Rtt::on_sample rtt.rs::free", "once scenario", "-"),
        row("9002-5.2-1", "MUST NOT", "-", "-", "we have a reason"),
        row("9002-5.2-2", "SHOULD", "-", "-", "-"),
        row("9002-6.1-1", "MUST", "Rtt::on_sample", "once", "-"),
        row("9002-6.1.10-1", "MUST", "Rtt::on_sample", "once", "-"),
        row("9002-6.10-1", "MUST", "Rtt::on_sample", "-", "-"),
        row("9002-B.1-1", "SHOULD NOT", "-", "-", "-"),
    ];
    let register = parse(&lines).unwrap();
    assert_eq!(register.faults(&names()), Vec::<String>::new());
    assert_eq!(register.progress(), (7, 4));
    assert_eq!(register.rows[0].code, ["Rtt::on_sample", "rtt.rs::free"]);
}

#[test]
fn bad_lines_are_named() {
    let good = row("9002-5.1-1", "MUST", "-", "-", "-");
    for bad in [
        " ".to_owned(),
        "9002-5.1-2\tMUST\tasks".to_owned(),
        row("9002-5.1-2", "MAY", "-", "-", "-"),
        row("9002-5.1-2", "MUST", "-", "-", ""),
        row("9002-5.1-2", "MUST", " -", "-", "-"),
        row("9002-5.1-1", "MUST", "-", "-", "-"),
        row("9002-5.1-3", "MUST", "-", "-", "-"),
        row("9000-5.1-2", "MUST", "-", "-", "-"),
        row("9002-4.10-1", "MUST", "-", "-", "-"),
        row("9002-5.1", "MUST", "-", "-", "-"),
    ] {
        let faults = parse(&[good.clone(), bad.clone()]).unwrap_err();
        assert!(faults.len() == 1 && faults[0].starts_with("rfc9002.tsv:2: "), "{bad:?}: {faults:?}");
    }
}

#[test]
fn a_draft_is_known_by_its_name() {
    let good = row("multipath-21-3.4-1", "MUST", "-", "-", "-");
    let register = Register::parse("multipath-21", &good).unwrap();
    assert_eq!((&*register.document, &*register.rows[0].section), ("multipath-21", "3.4"));
    let of_another = Register::parse("multipath-11", &good).unwrap_err();
    assert_eq!(of_another, ["multipath-11.tsv:1: multipath-21-3.4-1 belongs to another document"]);
}

#[test]
fn faults_name_the_row() {
    let faults = |complete: &str, row: String| {
        let remark = format!("# complete: {complete}");
        parse(&[remark, row]).unwrap().faults(&names())
    };
    let settled = || row("9002-5.1-1", "MUST", "Rtt::on_sample", "once", "-");
    assert_eq!(faults("5.1", settled()), Vec::<String>::new());
    assert_eq!(faults("5.1 7", settled()), ["9002-7: called complete and has no row"]);
    for (code, tests) in [("-", "once"), ("Rtt::on_sample", "-"), ("-", "-")] {
        let open = row("9002-5.1-1", "MUST NOT", code, tests, "-");
        assert_eq!(faults("5", open), ["9002-5.1-1: open in a section called complete"]);
    }
    let gone = row("9002-5.1-1", "MUST", "Rtt::gone", "missing", "-");
    assert_eq!(
        faults("5.1", gone),
        ["9002-5.1-1: Rtt::gone does not exist", "9002-5.1-1: test missing does not exist"]
    );
}
