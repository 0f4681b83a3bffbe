//! Answers as a stream of Arrow's.

use std::iter;

use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use bytes::Bytes;

use super::Rows;
use crate::SqlError;

pub(super) fn parts(rows: Rows) -> impl Iterator<Item = Result<Bytes, SqlError>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema).map_err(defect);
    let mut pieces = rows.pieces();
    let mut is_ended = false;
    iter::from_fn(move || {
        if is_ended {
            return None;
        }
        let part = match (&mut writer, pieces.next()) {
            (Err(error), _) => Err(SqlError::Defect { reason: error.to_string() }),
            (Ok(writer), Some(batch)) => writer.write(&batch).map_err(defect),
            (Ok(writer), None) => {
                is_ended = true;
                writer.finish().map_err(defect)
            }
        };
        is_ended |= part.is_err();
        let written = writer.as_mut().map(|writer| std::mem::take(writer.get_mut()));
        Some(part.map(|()| Bytes::from(written.unwrap_or_default())))
    })
}

fn defect(error: ArrowError) -> SqlError {
    SqlError::Defect { reason: error.to_string() }
}
