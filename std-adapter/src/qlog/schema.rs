//! Checks values against `schema.cddl`: as much of CDDL (RFC 8610) as stands there, which is maps, arrays, choices, texts and
//! the names of kinds.

use std::collections::BTreeMap;

use serde_json::Value;

/// The rules by name.
pub(crate) struct Schema(BTreeMap<String, Type>);

#[derive(Clone, Debug)]
enum Type {
    Text(String),
    Name(String),
    Choice(Vec<Type>),
    Map(Vec<Field>),
    Array { least: usize, most: usize, of: Box<Type> },
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    is_optional: bool,
    kind: Type,
}

impl Schema {
    /// The rules of this folder.
    pub(crate) fn new() -> Self {
        let mut words = words(include_str!("schema.cddl")).into_iter().peekable();
        let mut rules = BTreeMap::new();
        while let Some(name) = words.next() {
            expect(&mut words, "=");
            assert!(rules.insert(name.clone(), read(&mut words)).is_none(), "{name} is there twice");
        }
        Self(rules)
    }

    /// Checks a record of a file: the first is the header.
    pub(crate) fn check_record(&self, record: &Value, is_first: bool) -> Result<(), String> {
        if is_first {
            return self.check("header", record);
        }
        self.check("event", record)?;
        let name = record["name"].as_str().unwrap_or_default();
        let name = name.strip_prefix("quic:").ok_or(format!("{name} is of another schema"))?;
        self.check(name, &record["data"])
    }

    /// Checks a value against a rule.
    pub(crate) fn check(&self, rule: &str, value: &Value) -> Result<(), String> {
        let kind = self.0.get(rule).ok_or_else(|| format!("there is no rule {rule}"))?;
        self.fits(kind, value).map_err(|why| format!("{rule}: {why}"))
    }

    /// The fields of the map that a rule is.
    pub(crate) fn required(&self, rule: &str) -> Vec<&str> {
        match self.0.get(rule) {
            Some(Type::Map(fields)) => {
                fields.iter().filter(|field| !field.is_optional).map(|field| &*field.name).collect()
            }
            _ => Vec::new(),
        }
    }

    fn fits(&self, kind: &Type, value: &Value) -> Result<(), String> {
        match kind {
            Type::Text(text) if value == text => Ok(()),
            Type::Text(text) => Err(format!("{value} is not {text}")),
            Type::Name(name) if self.0.contains_key(name) => self.check(name, value),
            Type::Name(name) if is_of(name, value) => Ok(()),
            Type::Name(name) => Err(format!("{value} is no {name}")),
            Type::Choice(kinds) => {
                let errors: Vec<_> = kinds.iter().map(|kind| self.fits(kind, value).err()).collect();
                let all = errors.into_iter().collect::<Option<Vec<_>>>();
                all.map_or(Ok(()), |all| Err(format!("{value} is none of these: {}", all.join("; "))))
            }
            Type::Map(fields) => self.fits_map(fields, value),
            Type::Array { least, most, of } => {
                let items = value.as_array().ok_or_else(|| format!("{value} is no array"))?;
                if !(*least..=*most).contains(&items.len()) {
                    return Err(format!("{value} has another length"));
                }
                items.iter().try_for_each(|item| self.fits(of, item))
            }
        }
    }

    fn fits_map(&self, fields: &[Field], value: &Value) -> Result<(), String> {
        let map = value.as_object().ok_or_else(|| format!("{value} is no map"))?;
        for Field { name, is_optional, kind } in fields {
            match map.get(name) {
                Some(value) => self.fits(kind, value).map_err(|why| format!("{name}: {why}"))?,
                None if *is_optional => {}
                None => return Err(format!("{name} is missing")),
            }
        }
        match map.keys().find(|key| fields.iter().all(|field| field.name != **key)) {
            Some(key) => Err(format!("{key} is unknown")),
            None => Ok(()),
        }
    }
}

/// The kinds that are no rules.
fn is_of(name: &str, value: &Value) -> bool {
    let below = |limit| value.as_u64().is_some_and(|number| number <= limit);
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match name {
        "any" => true,
        "text" => value.is_string(),
        "bool" => value.is_boolean(),
        "float" => value.is_number(),
        "uint8" => below(0xff),
        "uint16" => below(0xffff),
        "uint32" => below(0xffff_ffff),
        "uint64" => value.is_u64(),
        "hexstring" => value.as_str().is_some_and(|text| text.len() % 2 == 0 && hex(text)),
        "crypto-error" => value
            .as_str()
            .and_then(|text| text.strip_prefix("crypto_error_0x1"))
            .is_some_and(|alert| alert.len() == 2 && hex(alert)),
        _ => panic!("the kind {name} is not defined"),
    }
}

type Words = std::iter::Peekable<std::vec::IntoIter<String>>;

/// Names, texts with their first quotation mark, and marks.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text.lines() {
        let mut rest = line.split(';').next().unwrap().trim_start();
        while let Some(first) = rest.chars().next() {
            let is_name = |c: char| c.is_alphanumeric() || "-_*+".contains(c);
            let end = match first {
                '"' => rest[1..].find('"').expect("the end of a text") + 1,
                c if is_name(c) => rest.find(|c: char| !is_name(c)).unwrap_or(rest.len()),
                _ => 1,
            };
            words.push(rest[..end].to_owned());
            rest = rest[end..].strip_prefix('"').unwrap_or(&rest[end..]).trim_start();
        }
    }
    words
}

fn expect(words: &mut Words, word: &str) {
    assert_eq!(words.next().as_deref(), Some(word));
}

fn read(words: &mut Words) -> Type {
    let mut kinds = vec![read_one(words)];
    while words.next_if_eq("/").is_some() {
        kinds.push(read_one(words));
    }
    if kinds.len() == 1 { kinds.remove(0) } else { Type::Choice(kinds) }
}

fn read_one(words: &mut Words) -> Type {
    let word = words.next().expect("a type");
    match &*word {
        "{" => {
            let mut fields = Vec::new();
            while words.next_if_eq("}").is_none() {
                let is_optional = words.next_if_eq("?").is_some();
                let name = words.next().expect("the name of a field");
                expect(words, ":");
                fields.push(Field { name, is_optional, kind: read(words) });
            }
            Type::Map(fields)
        }
        "[" => {
            let (least, most) = match &*words.next().expect("how often") {
                "*" => (0, usize::MAX),
                "+" => (1, usize::MAX),
                times => {
                    times.split_once('*').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap()
                }
            };
            let of = Box::new(read(words));
            expect(words, "]");
            Type::Array { least, most, of }
        }
        text if text.starts_with('"') => Type::Text(text[1..].to_owned()),
        name => Type::Name(name.to_owned()),
    }
}
