//! The types of columns in views and answers, as `CommandGetXdbcTypeInfo` describes them.

use arrow_array::RecordBatch;
use arrow_flight::{
    error::FlightError,
    sql::{
        Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode,
        metadata::{XdbcTypeInfo, XdbcTypeInfoDataBuilder},
    },
};

/// Returns rows of all types, or of the one with this code.
pub(super) fn rows(wanted: Option<i32>) -> Result<RecordBatch, FlightError> {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for known in known() {
        builder.append(known);
    }
    builder.build()?.record_batch(wanted)
}

/// Returns the known types, in terms of ODBC and JDBC. Their rows are in the order of their codes.
fn known() -> [XdbcTypeInfo; 7] {
    let quote = || Some("'".to_owned());
    [
        XdbcTypeInfo { column_size: Some(1), ..plain("boolean", XdbcDataType::XdbcBit) },
        whole("bigint", XdbcDataType::XdbcBigint, 19),
        whole("integer", XdbcDataType::XdbcInteger, 10),
        XdbcTypeInfo {
            column_size: Some(53),
            unsigned_attribute: Some(false),
            auto_increment: Some(false),
            num_prec_radix: Some(2),
            ..plain("double", XdbcDataType::XdbcDouble)
        },
        XdbcTypeInfo {
            literal_prefix: quote(),
            literal_suffix: quote(),
            case_sensitive: true,
            ..plain("text", XdbcDataType::XdbcVarchar)
        },
        XdbcTypeInfo {
            column_size: Some(10),
            sql_data_type: XdbcDataType::XdbcDatetime,
            // The number of dates, which the protocol also gives to years.
            datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeYear),
            ..plain("date", XdbcDataType::XdbcDate)
        },
        XdbcTypeInfo {
            column_size: Some(29),
            minimum_scale: Some(0),
            maximum_scale: Some(9),
            sql_data_type: XdbcDataType::XdbcDatetime,
            datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
            ..plain("timestamp", XdbcDataType::XdbcTimestamp)
        },
    ]
}

fn plain(name: &str, data_type: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        local_type_name: Some(name.to_owned()),
        sql_data_type: data_type,
        ..XdbcTypeInfo::default()
    }
}

/// A type of whole numbers with this many digits.
fn whole(name: &str, data_type: XdbcDataType, digits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        column_size: Some(digits),
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        minimum_scale: Some(0),
        maximum_scale: Some(0),
        num_prec_radix: Some(10),
        ..plain(name, data_type)
    }
}
