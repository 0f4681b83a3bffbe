//! Codes that the texts of several dictionaries have in a merged one.
//!
//! A text keeps one number while the same batches are gathered. Each portion assigns its own codes
//! to the numbers that it uses, so its dictionary has exactly the texts that it needs.

use std::collections::HashMap;

use ahash::RandomState;
use arrow_array::StringArray;

/// Codes of the texts of several dictionaries.
#[derive(Debug)]
pub(super) struct DictionaryCodes<'a> {
    /// Number of each text of the concatenated dictionaries, if it was used before.
    known: Vec<Option<u32>>,
    numbers: HashMap<&'a str, u32, RandomState>,
    /// Texts by number.
    texts: Vec<&'a str>,
    /// Codes in the portion by number.
    codes: Vec<Option<i32>>,
    /// Numbers of the portion's texts, in the order of their codes.
    met: Vec<u32>,
}

impl<'a> DictionaryCodes<'a> {
    /// Creates codes for dictionaries with `texts` texts in total.
    pub(super) fn new(texts: usize) -> Self {
        Self {
            known: vec![None; texts],
            numbers: HashMap::default(),
            texts: Vec::new(),
            codes: Vec::new(),
            met: Vec::new(),
        }
    }

    /// Returns the code of the text at this position of the concatenated dictionaries.
    #[inline]
    pub(super) fn code(&mut self, place: usize, text: impl FnOnce() -> &'a str) -> i32 {
        let number = match self.known[place] {
            Some(number) => number,
            None => self.number(place, text()),
        };
        match self.codes[number as usize] {
            Some(code) => code,
            None => self.assign_code(number),
        }
    }

    #[cold]
    fn number(&mut self, place: usize, text: &'a str) -> u32 {
        let Self { known, numbers, texts, codes, .. } = self;
        let number = *numbers.entry(text).or_insert_with(|| {
            texts.push(text);
            codes.push(None);
            u32::try_from(texts.len() - 1).expect("invariant: dictionaries have 32-bit codes")
        });
        known[place] = Some(number);
        number
    }

    #[cold]
    fn assign_code(&mut self, number: u32) -> i32 {
        let code = i32::try_from(self.met.len()).unwrap_or(i32::MAX);
        self.met.push(number);
        self.codes[number as usize] = Some(code);
        code
    }

    /// Returns the portion's texts by their codes, and begins another portion.
    pub(super) fn finish(&mut self) -> StringArray {
        let texts = self.met.iter().map(|number| self.texts[*number as usize]);
        let texts = StringArray::from_iter_values(texts);
        for number in self.met.drain(..) {
            self.codes[number as usize] = None;
        }
        texts
    }
}
