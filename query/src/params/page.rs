//! Which page of a list: `limit` and `cursor`.
//!
//! A cursor counts the entries before it, and that count belongs to one search. So the text that a
//! client gets says which search it is of, and the cursor of another one is refused.

use xxhash_rust::xxh3::Xxh3Default;

use super::{ParameterForm, Params, malformed};
use crate::QueryError;

/// The parameters that tell the pages of one search apart.
const OF_THE_PAGE: [&str; 2] = ["limit", "cursor"];

impl Params {
    /// The size of a page, which its operation declares with a default.
    pub(crate) fn limit(&self) -> usize {
        let limit = self.integer("limit").and_then(|limit| usize::try_from(limit).ok());
        limit.expect("invariant: an operation that asks for `limit` declares it with a default")
    }

    /// `cursor`, as [`Self::next_cursor`] wrote it for the same search.
    pub(crate) fn cursor<T>(
        &self,
        decode: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, QueryError> {
        let Some(text) = self.text("cursor") else { return Ok(None) };
        let not_one = || malformed("cursor", text, ParameterForm::Cursor);
        let (place, search) = super::text::cursor(text).ok_or_else(not_one)?;
        let cursor = decode(place).ok_or_else(not_one)?;
        if search != self.search() {
            let reason = "`cursor` is of a search with other filters, times or order; \
                          only `limit` may differ from one page to the next";
            return Err(QueryError::parameter("cursor", reason));
        }
        Ok(Some(cursor))
    }

    /// The text of a cursor for the next page of this search.
    pub(crate) fn next_cursor(&self, mut cursor: String) -> String {
        cursor.push('.');
        cursor.push_str(&self.search());
        cursor
    }

    /// Hash of the parameters that all pages of a search share, independent of their order.
    fn search(&self) -> String {
        let said = self.given.iter().filter(|(name, _)| !OF_THE_PAGE.contains(&name.as_str()));
        let mut said: Vec<&(String, String)> = said.collect();
        said.sort_unstable();
        let mut hash = Xxh3Default::new();
        for text in said.into_iter().flat_map(|(name, value)| [name, value]) {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        format!("{:016x}", hash.digest())
    }
}
