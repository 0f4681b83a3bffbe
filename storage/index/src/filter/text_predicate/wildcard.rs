//! Words with `*` in them.

use super::{
    Needle,
    tokens::{fold, is_token_char, literal_runs, with_white_space},
};

/// A part of a word with wildcards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyph {
    /// One character.
    Char(char),
    /// Any number of characters.
    Many,
}

/// The part of a text that a word with wildcards is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WildcardScope {
    /// Any part of the text without white space, letter case ignored. A match begins and ends at
    /// the edge of a token where the word begins or ends with a letter, digit or underscore.
    Words,
    /// The whole text, with letter case.
    Whole,
}

/// A word with wildcards.
#[derive(Debug, Clone, PartialEq)]
pub struct Wildcard {
    steps: Vec<WildcardStep>,
    scope: WildcardScope,
    /// The longest literal of the word, which is faster to search for.
    needle: Option<Needle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WildcardStep {
    Char(char),
    Many,
    /// A position that is not inside a token.
    Edge,
}

impl Wildcard {
    /// Maximum number of characters and wildcards.
    pub const GLYPHS_MAX: usize = 256;

    /// Returns `None` when there are more than [`Self::GLYPHS_MAX`].
    #[must_use]
    pub fn new(glyphs: &[Glyph], scope: WildcardScope) -> Option<Self> {
        if glyphs.len() > Self::GLYPHS_MAX {
            return None;
        }
        let step = |glyph: &Glyph| match (glyph, scope) {
            (Glyph::Many, _) => WildcardStep::Many,
            (Glyph::Char(c), WildcardScope::Words) => WildcardStep::Char(fold(*c)),
            (Glyph::Char(c), WildcardScope::Whole) => WildcardStep::Char(*c),
        };
        let word = glyphs.iter().map(step);
        let steps: Vec<WildcardStep> = match scope {
            WildcardScope::Whole => word.collect(),
            WildcardScope::Words => {
                let is_token = |glyph: Option<&Glyph>| matches!(glyph, Some(Glyph::Char(c)) if is_token_char(*c));
                let edge = |glyph| is_token(glyph).then_some(WildcardStep::Edge);
                let before = [Some(WildcardStep::Many), edge(glyphs.first())];
                let after = [edge(glyphs.last()), Some(WildcardStep::Many)];
                before
                    .into_iter()
                    .flatten()
                    .chain(word)
                    .chain(after.into_iter().flatten())
                    .collect()
            }
        };
        let mut made = Self { steps, scope, needle: None };
        made.needle =
            made.literals().iter().max_by_key(|run| run.len()).map(|run| Needle::new(run));
        Some(made)
    }

    pub(super) fn literals(&self) -> Vec<String> {
        let mut runs = vec![String::new()];
        for step in &self.steps {
            match (step, runs.last_mut()) {
                (WildcardStep::Char(c), Some(run)) => run.push(*c),
                (WildcardStep::Many, _) => runs.push(String::new()),
                _ => {}
            }
        }
        match self.scope {
            WildcardScope::Whole => runs.retain(|run| !run.is_empty()),
            WildcardScope::Words => {
                runs = runs.iter().flat_map(|run| literal_runs(run)).map(str::to_owned).collect();
            }
        }
        runs
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        if self.needle.as_ref().is_some_and(|needle| !needle.is_in(text)) {
            return false;
        }
        match self.scope {
            WildcardScope::Whole => self.fits(&text.chars().collect::<Vec<_>>()),
            WildcardScope::Words => {
                let mut chars = Vec::new();
                with_white_space(text).split_whitespace().any(|part| {
                    chars.clear();
                    chars.extend(part.chars().map(fold));
                    self.fits(&chars)
                })
            }
        }
    }

    /// Matches with backtracking to the last `*` only. Each part before it is matched at its first
    /// occurrence.
    fn fits(&self, chars: &[char]) -> bool {
        let is_token =
            |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| is_token_char(*c));
        let is_edge = |at: usize| !(is_token(at.checked_sub(1)) && is_token(Some(at)));
        let (mut step, mut at) = (0, 0);
        let mut retry = None;
        loop {
            match self.steps.get(step) {
                Some(WildcardStep::Many) if step + 1 == self.steps.len() => return true,
                None if at == chars.len() => return true,
                Some(WildcardStep::Many) => {
                    step += 1;
                    retry = Some((step, at));
                }
                Some(WildcardStep::Edge) if is_edge(at) => step += 1,
                Some(WildcardStep::Char(c)) if chars.get(at) == Some(c) => {
                    step += 1;
                    at += 1;
                }
                _ => match &mut retry {
                    Some((after, from)) if *from < chars.len() => {
                        *from += 1;
                        (step, at) = (*after, *from);
                    }
                    _ => return false,
                },
            }
        }
    }
}
