//! Numbers for texts.

use std::{collections::HashMap, sync::Arc};

use ahash::RandomState;

/// Texts by number.
#[derive(Debug, Default)]
pub(in crate::rollup) struct NameTable {
    numbers: HashMap<Arc<str>, u32, RandomState>,
    texts: Vec<Arc<str>>,
}

impl NameTable {
    /// The number of this text.
    pub(in crate::rollup) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).expect("invariant: rows are bounded");
        let shared: Arc<str> = text.into();
        self.texts.push(Arc::clone(&shared));
        self.numbers.insert(shared, number);
        number
    }

    /// The text with this number.
    pub(in crate::rollup) fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }
}
