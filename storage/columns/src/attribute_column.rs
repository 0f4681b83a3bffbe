//! Columns of data files for single attributes: one column per key and value type.
//!
//! Owns the names of these columns and the list of the columns that tables declare at creation.
//! `tidings_data_file` chooses which columns a file has, and `tables` of `tidings_storage` declares
//! them.

use std::{collections::HashSet, fmt::Write};

use arrow_schema::{DataType, Field};

use crate::packed::ValueKind;

/// The key of an attribute and the type of its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeColumn {
    /// Type of the values.
    pub kind: ValueKind,
    /// The key.
    pub key: String,
}

/// Value types that have columns, each with the map field that its column name begins with.
const KINDS: [(ValueKind, &str); 5] = [
    (ValueKind::Text, "string"),
    (ValueKind::Int, "int"),
    (ValueKind::Double, "double"),
    (ValueKind::Bool, "bool"),
    (ValueKind::Nested, "bytes"),
];
/// Maximum length of a key with a column. The column name is in every footer, and stays in the
/// schema of the table for good.
const NAME_BYTES_MAX: usize = 128;

/// Bytes in a name for each byte of the key that is escaped.
const ESCAPED_BYTES: usize = 3;

impl AttributeColumn {
    /// Returns the column of this key and type, if there can be one.
    #[must_use]
    pub fn new(kind: ValueKind, key: &str) -> Option<Self> {
        let (_, field) = KINDS.iter().find(|(of, _)| *of == kind)?;
        let escaped = |byte: u8| if is_plain(byte) { 1 } else { ESCAPED_BYTES };
        let most = NAME_BYTES_MAX.checked_sub(field.len() + 1)?;
        let is_short = key.len() <= most && key.bytes().map(escaped).sum::<usize>() <= most;
        (is_short && !key.is_empty()).then(|| Self { kind, key: key.to_owned() })
    }

    /// Returns the name of the column: the type, a dot and the key.
    ///
    /// Some engines compare names without letter case, and Delta allows few characters. Every
    /// character other than lower-case letters, digits and `._-/` is escaped: `%` and two hex
    /// digits for each byte.
    #[must_use]
    pub fn name(&self) -> String {
        let field = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, name)| name);
        let mut name = String::with_capacity(field.len() + 1 + self.key.len());
        name.push_str(field);
        name.push('.');
        for byte in self.key.bytes() {
            if is_plain(byte) {
                name.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(name, "%{byte:02x}");
            }
        }
        name
    }

    /// Returns the column with this name, if it is a column of an attribute.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (field, escaped) = name.split_once('.')?;
        let (kind, _) = KINDS.iter().find(|(_, name)| *name == field)?;
        let mut key = Vec::with_capacity(escaped.len());
        let mut rest = escaped.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            if *byte == b'%' {
                let (digits, after) = rest.split_at_checked(2)?;
                key.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
                rest = after;
            } else {
                key.push(*byte);
            }
        }
        let column = Self::new(*kind, &String::from_utf8(key).ok()?)?;
        (column.name() == name).then_some(column)
    }

    /// Returns the column's field, as files and tables declare it.
    #[must_use]
    pub fn field(&self) -> Field {
        let data_type = match self.kind {
            ValueKind::Int => DataType::Int64,
            ValueKind::Double => DataType::Float64,
            ValueKind::Bool => DataType::Boolean,
            ValueKind::Nested => DataType::Binary,
            ValueKind::Text | ValueKind::None | ValueKind::Empty => DataType::Utf8,
        };
        Field::new(self.name(), data_type, true)
    }
}

/// Attribute columns that a table declares, or that its next commit will declare.
#[derive(Debug, Clone)]
pub struct DeclaredColumns {
    names: HashSet<String>,
    /// Number of columns that the next commit may still add.
    room: usize,
}

/// Approximate maximum of declared columns. A declared column stays even when no file has it any
/// more.
const DECLARED_MAX: usize = 1_000;
/// Maximum number of columns that a commit adds, over all of its files.
const ADDED_MAX: usize = 94;

impl Default for DeclaredColumns {
    fn default() -> Self {
        Self::new(std::iter::empty())
    }
}

impl DeclaredColumns {
    /// Selects the attribute columns among the column names that a table declares.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names = names.filter(|name| AttributeColumn::parse(name).is_some());
        let names: HashSet<String> = names.map(str::to_owned).collect();
        let room = DECLARED_MAX.saturating_sub(names.len()).min(ADDED_MAX);
        Self { names, room }
    }

    /// Returns true if the table declares the column.
    #[cfg(any(test, feature = "samples"))]
    pub fn contains(&self, column: &AttributeColumn) -> bool {
        self.names.contains(&column.name())
    }

    /// Returns true if a file may have the column. An undeclared column is added if `may_add` is
    /// set and there is room.
    pub fn admit(&mut self, column: &AttributeColumn, may_add: bool) -> bool {
        let name = column.name();
        if self.names.contains(&name) {
            return true;
        }
        let is_added = may_add && self.room > 0;
        if is_added {
            self.room -= 1;
            self.names.insert(name);
        }
        is_added
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AttributeColumn, KINDS, NAME_BYTES_MAX};
    use crate::packed::ValueKind;

    proptest! {
        #[test]
        fn a_name_tells_key_and_type_and_no_two_differ_by_letter_case(
            key in prop_oneof![".{1,10}", "[a-zA-Z._%-]{1,12}"], other in "[a-zA-Z._%-]{1,4}"
        ) {
            for (kind, _) in KINDS {
                let column = AttributeColumn::new(kind, &key).unwrap();
                let name = column.name();
                prop_assert_eq!(AttributeColumn::parse(&name), Some(column));
                let refused = " ,;{}()\n\t=";
                prop_assert!(!name.contains(|character| refused.contains(character)));
                let other = AttributeColumn::new(kind, &other).unwrap();
                prop_assert_eq!(
                    name.eq_ignore_ascii_case(&other.name()), other.key == key
                );
            }
        }
    }

    #[test]
    fn names_that_no_key_has_are_no_columns_of_attributes() {
        for name in
            ["string", "service", "string.", "string.%", "string.%7", "string.%61", "text.a"]
        {
            assert_eq!(AttributeColumn::parse(name), None, "{name}");
        }
        let longest = NAME_BYTES_MAX - "string.".len();
        for (key, has_column) in [
            ("k".repeat(longest), true),
            ("k".repeat(longest + 1), false),
            ("K".repeat(longest / 3), true),
            ("K".repeat(longest / 3 + 1), false),
        ] {
            let column = AttributeColumn::new(ValueKind::Text, &key);
            assert_eq!(column.is_some(), has_column, "{key}");
            assert!(column.is_none_or(|column| column.name().len() <= NAME_BYTES_MAX));
        }
        assert_eq!(AttributeColumn::new(ValueKind::Empty, "k"), None);
        let column = AttributeColumn::new(ValueKind::Int, "http.userAgent").unwrap();
        assert_eq!(column.name(), "int.http.user%41gent");
    }
}
