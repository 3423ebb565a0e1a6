//! The register of requirements: what an RFC or a draft asks, which function obeys, which test would fail without it.
//!
//! A document is a file of tab-separated rows: `rfc9002.tsv`, or `multipath-21.tsv` for a draft. Lines that begin with
//! `#` are remarks; the one that begins with `# complete:` names the sections (with all below them) of which every MUST
//! is settled.
//!
//! | column | |
//! | --- | --- |
//! | id | document, section and ordinal within it: `9002-6.2.1-3`, `multipath-21-3.4-1` |
//! | level | `MUST`, `MUST NOT`, `SHOULD` or `SHOULD NOT`; REQUIRED and RECOMMENDED count as these |
//! | asks | what it asks, in our own words |
//! | code | what obeys it: `folder/file.rs::item` or `Type::method`, several apart by spaces; `-`: nothing yet |
//! | tests | `test_name`, or `folder/file.rs::test_name` where several share the name; `-`: none yet |
//! | exception | why nothing obeys or tests it; `-`: it holds |
//!
//! A row is settled with code and a test, or with an exception.

mod names;
#[cfg(test)]
mod tests;

pub use names::Names;

const LEVELS: [&str; 4] = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT"];

/// One requirement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The whole identity.
    pub id: String,
    /// The section.
    pub section: String,
    /// How strong it is.
    pub level: String,
    /// What it asks.
    pub asks: String,
    /// References to what obeys it.
    pub code: Vec<String>,
    /// References to the tests that would fail without it.
    pub tests: Vec<String>,
    /// Why it does not hold here.
    pub exception: Option<String>,
}

impl Row {
    /// Whether nothing is left to do.
    pub const fn is_settled(&self) -> bool {
        self.exception.is_some() || (!self.code.is_empty() && !self.tests.is_empty())
    }

    fn is_under(&self, section: &str) -> bool {
        self.section.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    fn is_must(&self) -> bool {
        self.level.starts_with("MUST")
    }
}

/// The requirements of one document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register {
    /// Its number, `9002`, or its name, `multipath-21`.
    pub document: String,
    /// Sections of which every MUST is settled.
    pub complete: Vec<String>,
    /// In the order of the document.
    pub rows: Vec<Row>,
}

impl Register {
    /// Reads the register of a document from the text of its file, which is called `name` without its ending.
    ///
    /// # Errors
    /// All lines that are not as they should be.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<String>> {
        let document = name.strip_prefix("rfc").unwrap_or(name).to_owned();
        let mut register = Self { document, complete: Vec::new(), rows: Vec::new() };
        let mut faults = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if let Some(sections) = line.strip_prefix("# complete:") {
                register.complete.extend(sections.split_whitespace().map(str::to_owned));
            } else if !line.starts_with('#') {
                match register.row(line) {
                    Ok(row) => register.rows.push(row),
                    Err(fault) => faults.push(format!("{name}.tsv:{}: {fault}", index + 1)),
                }
            }
        }
        if faults.is_empty() { Ok(register) } else { Err(faults) }
    }

    /// The row of a line that comes after the rows so far.
    fn row(&self, line: &str) -> Result<Row, String> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, level, asks, code, tests, exception] = columns[..] else {
            return Err(format!("{} columns instead of 6", columns.len()));
        };
        if columns.iter().any(|column| column.trim() != *column || column.is_empty()) {
            return Err("an empty column, or blanks around one".to_owned());
        }
        if !LEVELS.contains(&level) {
            return Err(format!("no level is called {level}"));
        }
        let parts: Vec<&str> = id.rsplitn(3, '-').collect();
        let [ordinal, section, document] = parts[..] else {
            return Err(format!("{id} is not document-section-ordinal"));
        };
        if document != self.document {
            return Err(format!("{id} belongs to another document"));
        }
        let before = self.rows.iter().filter(|row| row.section == section).count();
        if ordinal != (before + 1).to_string() {
            return Err(format!("{id} should be number {} of its section", before + 1));
        }
        if self.rows.last().is_some_and(|last| order(&last.section) > order(section)) {
            return Err(format!("{id} stands behind a later section"));
        }
        Ok(Row {
            id: id.to_owned(),
            section: section.to_owned(),
            level: level.to_owned(),
            asks: asks.to_owned(),
            code: references(code),
            tests: references(tests),
            exception: Some(exception).filter(|reason| *reason != "-").map(str::to_owned),
        })
    }

    /// What is wrong with the register as a whole: references to what does not exist, and sections called complete that are
    /// not.
    pub fn faults(&self, names: &Names) -> Vec<String> {
        let mut faults = Vec::new();
        for row in &self.rows {
            let code = row.code.iter().filter_map(|reference| names.check_code(reference).err());
            let tests = row.tests.iter().filter_map(|reference| names.check_test(reference).err());
            faults.extend(code.chain(tests).map(|fault| format!("{}: {fault}", row.id)));
        }
        for section in &self.complete {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.is_under(section)).collect();
            if rows.is_empty() {
                faults.push(format!("{}-{section}: called complete and has no row", self.document));
            }
            let open = rows.iter().filter(|row| row.is_must() && !row.is_settled());
            faults.extend(open.map(|row| format!("{}: open in a section called complete", row.id)));
        }
        faults
    }

    /// How many rows there are, and how many are settled.
    pub fn progress(&self) -> (usize, usize) {
        (self.rows.len(), self.rows.iter().filter(|row| row.is_settled()).count())
    }
}

/// What a section sorts by; appendices come last.
fn order(section: &str) -> Vec<(bool, u32, String)> {
    let part = |part: &str| (part.parse::<u32>().is_err(), part.parse().unwrap_or(0), part.to_owned());
    section.split('.').map(part).collect()
}

fn references(column: &str) -> Vec<String> {
    column.split(' ').filter(|reference| *reference != "-").map(str::to_owned).collect()
}
