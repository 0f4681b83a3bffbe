//! The codes that texts of several dictionaries have in one.
//!
//! A text has a number for as long as the batches are gathered from; a portion gives the numbers
//! that it meets its own codes, so that its dictionary has what it needs and no more.

use std::collections::HashMap;

use ahash::RandomState;
use arrow_array::StringArray;

/// The codes of the texts of some dictionaries.
#[derive(Debug)]
pub(super) struct Codes<'a> {
    /// The numbers of the texts of the dictionaries, one after the other: of those that were met.
    known: Vec<Option<u32>>,
    numbers: HashMap<&'a str, u32, RandomState>,
    /// The texts, by number,
    texts: Vec<&'a str>,
    /// and their codes in the portion.
    codes: Vec<Option<i32>>,
    /// The numbers of the portion's texts, in the order of their codes.
    met: Vec<u32>,
}

impl<'a> Codes<'a> {
    /// For dictionaries with so many texts in all.
    pub(super) fn new(texts: usize) -> Self {
        Self {
            known: vec![None; texts],
            numbers: HashMap::default(),
            texts: Vec::new(),
            codes: Vec::new(),
            met: Vec::new(),
        }
    }

    /// The code of the text at this place of all dictionaries, which is this one.
    #[inline]
    pub(super) fn code(&mut self, place: usize, text: impl FnOnce() -> &'a str) -> i32 {
        let number = match self.known[place] {
            Some(number) => number,
            None => self.number(place, text()),
        };
        match self.codes[number as usize] {
            Some(code) => code,
            None => self.meet(number),
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
    fn meet(&mut self, number: u32) -> i32 {
        let code = i32::try_from(self.met.len()).unwrap_or(i32::MAX);
        self.met.push(number);
        self.codes[number as usize] = Some(code);
        code
    }

    /// The portion's texts by their codes. Another portion begins.
    pub(super) fn finish(&mut self) -> StringArray {
        let texts = self.met.iter().map(|number| self.texts[*number as usize]);
        let texts = StringArray::from_iter_values(texts);
        for number in self.met.drain(..) {
            self.codes[number as usize] = None;
        }
        texts
    }
}
