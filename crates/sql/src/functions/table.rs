//! The table of functions, by the names under which Spark knows them. Where a source is a bare
//! name it is the class of Spark (or of its `UTF8String`, `DateTimeUtils`) that defines the edges;
//! `StrictMath`, `Math` are Java's.

use super::*;

/// The group whose functions take functions.
pub(crate) const LAMBDAS: &str = "Functions over items";

macro_rules! functions {
    ($($group:expr => { $($name:literal => $bind:path, $source:literal;)* })*) => {
        &[$($(Function { name: $name, group: $group, source: $source, bind: $bind }),*),*]
    };
}

/// Every function.
pub(crate) const FUNCTIONS: &[Function] = functions! {
    "Choosing" => {
        "coalesce" => conditional::coalesce, "nullExpressions";
        "nvl" => conditional::nvl, "nullExpressions";
        "ifnull" => conditional::nvl, "nullExpressions";
        "nvl2" => conditional::nvl2, "nullExpressions";
        "nullif" => conditional::nullif, "nullExpressions";
        "nullifzero" => conditional::nullifzero, "nullExpressions";
        "zeroifnull" => conditional::zeroifnull, "nullExpressions";
        "if" => conditional::r#if, "conditionalExpressions";
        "isnull" => conditional::is_null, "nullExpressions";
        "isnotnull" => conditional::is_not_null, "nullExpressions";
        "equal_null" => conditional::equal_null, "misc";
        "nanvl" => math::nanvl, "nullExpressions";
        "isnan" => math::is_nan, "nullExpressions";
        "greatest" => compare::greatest, "Greatest";
        "least" => compare::least, "Least";
        "not" => conditional::not, "predicates";
    }
    "Texts" => {
        "concat" => text::concat, "Concat";
        "concat_ws" => text::concat_ws, "ConcatWs";
        "lower" => text::lower, "UTF8String";
        "lcase" => text::lower, "UTF8String";
        "upper" => text::upper, "UTF8String";
        "ucase" => text::upper, "UTF8String";
        "initcap" => letters::initcap, "InitCap";
        "length" => text::length, "UTF8String";
        "len" => text::length, "UTF8String";
        "char_length" => text::length, "UTF8String";
        "character_length" => text::length, "UTF8String";
        "octet_length" => text::octet_length, "OctetLength";
        "bit_length" => text::bit_length, "BitLength";
        "trim" => text::trim, "UTF8String";
        "btrim" => text::btrim, "UTF8String";
        "ltrim" => text::ltrim, "UTF8String";
        "rtrim" => text::rtrim, "UTF8String";
        "lpad" => letters::lpad, "UTF8String.lpad";
        "rpad" => letters::rpad, "UTF8String.rpad";
        "space" => letters::space, "StringSpace";
        "reverse" => text::reverse, "UTF8String";
        "repeat" => text::repeat, "UTF8String";
        "replace" => text::replace, "UTF8String";
        "quote" => text::quote, "UTF8String";
        "translate" => letters::translate, "UTF8String.translate";
        "overlay" => letters::overlay, "Overlay";
        "mask" => letters::mask, "Mask";
        "substring" => text::substring, "UTF8String.substringSQL";
        "substr" => text::substring, "UTF8String.substringSQL";
        "left" => text::left, "Left";
        "right" => text::right, "Right";
        "substring_index" => search::substring_index, "UTF8String.subStringIndex";
        "split_part" => search::split_part, "SplitPart";
        "startswith" => text::starts_with, "UTF8String";
        "endswith" => text::ends_with, "UTF8String";
        "contains" => text::contains, "UTF8String";
        "instr" => text::instr, "UTF8String";
        "locate" => text::locate, "StringLocate";
        "position" => text::locate, "StringLocate";
        "find_in_set" => search::find_in_set, "UTF8String.findInSet";
        "elt" => search::elt, "Elt";
        "ascii" => letters::ascii, "Ascii";
        "chr" => letters::chr, "Chr";
        "char" => letters::chr, "Chr";
        "soundex" => letters::soundex, "UTF8String.soundex";
        "levenshtein" => letters::levenshtein, "UTF8String.levenshteinDistance";
        "format_string" => format::format_string, "java.util.Formatter";
        "printf" => format::format_string, "java.util.Formatter";
        "format_number" => format::format_number, "java.text.DecimalFormat";
        "luhn_check" => letters::luhn_check, "LuhnCheck";
    }
    "Patterns" => {
        "like" => search::like, "Like";
        "ilike" => search::ilike, "ILike";
        "rlike" => pattern::rlike, "RLike";
        "regexp" => pattern::rlike, "RLike";
        "regexp_like" => pattern::rlike, "RLike";
        "regexp_extract" => pattern::regexp_extract, "RegExpExtract";
        "regexp_extract_all" => pattern::regexp_extract_all, "RegExpExtractAll";
        "regexp_replace" => pattern::regexp_replace, "RegExpReplace";
        "regexp_substr" => pattern::regexp_substr, "RegExpSubStr";
        "regexp_count" => pattern::regexp_count, "RegExpCount";
        "regexp_instr" => pattern::regexp_instr, "RegExpInStr";
        "split" => pattern::split, "StringSplit";
    }
    "Bytes, digests and hashes" => {
        "base64" => encode::base64, "Base64";
        "unbase64" => encode::unbase64, "UnBase64";
        "hex" => bits::hex, "Hex";
        "unhex" => bits::unhex, "Unhex";
        "encode" => encode::encode, "Encode";
        "decode" => encode::decode, "Decode";
        "to_binary" => encode::to_binary, "ToBinary";
        "try_to_binary" => encode::try_to_binary, "TryToBinary";
        "url_encode" => encode::url_encode, "UrlCodec";
        "url_decode" => encode::url_decode, "UrlCodec";
        "try_url_decode" => encode::try_url_decode, "TryUrlDecode";
        "is_valid_utf8" => encode::is_valid_utf8, "IsValidUTF8";
        "md5" => digest::md5, "RFC 1321";
        "sha" => digest::sha1, "FIPS 180-4";
        "sha1" => digest::sha1, "FIPS 180-4";
        "sha2" => digest::sha2, "FIPS 180-4";
        "crc32" => digest::crc32, "java.util.zip.CRC32";
        "hash" => hash::murmur, "Murmur3_x86_32";
        "xxhash64" => hash::xxhash64, "XXH64";
    }
    "Numbers" => {
        "abs" => math::abs, "Abs";
        "acos" => math::acos, "StrictMath";
        "acosh" => math::acosh, "Acosh";
        "asin" => math::asin, "StrictMath";
        "asinh" => math::asinh, "Asinh";
        "atan" => math::atan, "StrictMath";
        "atan2" => math::atan2, "StrictMath";
        "atanh" => math::atanh, "Atanh";
        "bin" => bits::bin, "Bin";
        "bit_count" => bits::bit_count, "BitwiseCount";
        "bit_get" => bits::bit_get, "BitwiseGet";
        "getbit" => bits::bit_get, "BitwiseGet";
        "cbrt" => math::cbrt, "StrictMath";
        "conv" => bits::conv, "NumberConverter";
        "cosh" => math::cosh, "StrictMath";
        "degrees" => math::degrees, "Math.toDegrees";
        "e" => math::e, "EulerNumber";
        "exp" => math::exp, "StrictMath";
        "expm1" => math::expm1, "StrictMath";
        "factorial" => math::factorial, "Factorial";
        "hypot" => math::hypot, "StrictMath";
        "ln" => math::ln, "StrictMath";
        "log" => math::log, "Logarithm";
        "log10" => math::log10, "StrictMath";
        "log1p" => math::log1p, "StrictMath";
        "log2" => math::log2, "Log2";
        "mod" => math::modulo, "Remainder";
        "negative" => math::negative, "UnaryMinus";
        "pi" => math::pi, "Pi";
        "pmod" => math::pmod, "Pmod";
        "positive" => math::positive, "UnaryPositive";
        "pow" => math::pow, "StrictMath";
        "power" => math::pow, "StrictMath";
        "radians" => math::radians, "Math.toRadians";
        "rint" => math::rint, "Math.rint";
        "shiftleft" => bits::shift_left, "ShiftLeft";
        "shiftright" => bits::shift_right, "ShiftRight";
        "shiftrightunsigned" => bits::shift_right_unsigned, "ShiftRightUnsigned";
        "sign" => math::signum, "Signum";
        "signum" => math::signum, "Signum";
        "sinh" => math::sinh, "StrictMath";
        "sqrt" => math::sqrt, "IEEE 754";
        "tanh" => math::tanh, "StrictMath";
        "try_add" => math::try_add, "TryAdd";
        "try_divide" => math::try_divide, "TryDivide";
        "try_mod" => math::try_mod, "TryMod";
        "try_multiply" => math::try_multiply, "TryMultiply";
        "try_subtract" => math::try_subtract, "TrySubtract";
        "width_bucket" => math::width_bucket, "WidthBucket";
        "bitmap_bit_position" => bits::bitmap_bit_position, "BitmapBitPosition";
        "bitmap_bucket_number" => bits::bitmap_bucket_number, "BitmapBucketNumber";
        "bitmap_count" => bits::bitmap_count, "BitmapCount";
        "round" => rounding::round, "Round";
        "bround" => rounding::bround, "BRound";
        "ceil" => rounding::ceil, "RoundCeil";
        "ceiling" => rounding::ceil, "RoundCeil";
        "floor" => rounding::floor, "RoundFloor";
    }
    "Dates and times" => {
        "year" => dates::year, "Year";
        "quarter" => dates::quarter, "Quarter";
        "month" => dates::month, "Month";
        "day" => dates::day, "DayOfMonth";
        "dayofmonth" => dates::day, "DayOfMonth";
        "dayofyear" => dates::day_of_year, "DayOfYear";
        "dayofweek" => dates::day_of_week, "DayOfWeek";
        "weekday" => dates::weekday, "WeekDay";
        "weekofyear" => dates::week_of_year, "WeekOfYear";
        "dayname" => dates::day_name, "DayName";
        "monthname" => dates::month_name, "MonthName";
        "extract" => dates::date_part, "Extract";
        "date_part" => dates::date_part, "DatePart";
        "datepart" => dates::date_part, "DatePart";
        "add_months" => dates::add_months, "AddMonths";
        "last_day" => dates::last_day, "LastDay";
        "next_day" => dates::next_day, "NextDay";
        "date_add" => dates::date_add, "DateAdd";
        "dateadd" => dates::date_add, "DateAdd";
        "date_sub" => dates::date_sub, "DateSub";
        "datediff" => dates::date_diff, "DateDiff";
        "date_diff" => dates::date_diff, "DateDiff";
        "months_between" => dates::months_between, "DateTimeUtils.monthsBetween";
        "trunc" => dates::trunc, "TruncDate";
        "date_trunc" => dates::date_trunc, "TruncTimestamp";
        "make_date" => dates::make_date, "MakeDate";
        "unix_date" => dates::unix_date, "UnixDate";
        "date_from_unix_date" => dates::date_from_unix_date, "DateFromUnixDate";
        "hour" => moments::hour, "Hour";
        "minute" => moments::minute, "Minute";
        "second" => moments::second, "Second";
        "date_format" => moments::date_format, "DateFormatClass";
        "from_unixtime" => moments::from_unixtime, "FromUnixTime";
        "unix_timestamp" => moments::unix_timestamp, "UnixTimestamp";
        "to_unix_timestamp" => moments::unix_timestamp, "ToUnixTimestamp";
        "to_date" => moments::to_date, "ParseToDate";
        "try_to_date" => moments::to_date, "TryToDate";
        "to_timestamp" => moments::to_timestamp, "ParseToTimestamp";
        "to_timestamp_ltz" => moments::to_timestamp, "ParseToTimestamp";
        "try_to_timestamp" => moments::to_timestamp, "TryToTimestamp";
        "to_timestamp_ntz" => moments::to_timestamp_ntz, "ParseToTimestamp";
        "from_utc_timestamp" => moments::from_utc_timestamp, "FromUTCTimestamp";
        "to_utc_timestamp" => moments::to_utc_timestamp, "ToUTCTimestamp";
        "convert_timezone" => moments::convert_timezone, "ConvertTimezone";
        "make_timestamp" => moments::make_timestamp, "MakeTimestamp";
        "make_timestamp_ltz" => moments::make_timestamp, "MakeTimestamp";
        "try_make_timestamp" => moments::make_timestamp, "MakeTimestamp";
        "try_make_timestamp_ltz" => moments::make_timestamp, "MakeTimestamp";
        "make_timestamp_ntz" => moments::make_timestamp_ntz, "MakeTimestamp";
        "try_make_timestamp_ntz" => moments::make_timestamp_ntz, "MakeTimestamp";
        "timestamp_seconds" => moments::timestamp_seconds, "SecondsToTimestamp";
        "timestamp_millis" => moments::timestamp_millis, "MillisToTimestamp";
        "timestamp_micros" => moments::timestamp_micros, "MicrosToTimestamp";
        "unix_seconds" => moments::unix_seconds, "UnixSeconds";
        "unix_millis" => moments::unix_millis, "UnixMillis";
        "unix_micros" => moments::unix_micros, "UnixMicros";
    }
    "Arrays" => {
        "array" => nested::array, "CreateArray";
        "size" => arrays::size, "Size";
        "cardinality" => arrays::size, "Size";
        "array_size" => arrays::array_size, "ArraySize";
        "array_contains" => arrays::array_contains, "ArrayContains";
        "array_position" => arrays::array_position, "ArrayPosition";
        "array_remove" => arrays::array_remove, "ArrayRemove";
        "array_compact" => arrays::array_compact, "ArrayCompact";
        "sort_array" => arrays::sort_array, "SortArray";
        "array_max" => arrays::array_max, "ArrayMax";
        "array_min" => arrays::array_min, "ArrayMin";
        "array_append" => array_items::array_append, "ArrayAppend";
        "array_prepend" => array_items::array_prepend, "ArrayPrepend";
        "array_insert" => array_items::array_insert, "ArrayInsert";
        "array_join" => array_items::array_join, "ArrayJoin";
        "array_repeat" => array_items::array_repeat, "ArrayRepeat";
        "flatten" => array_items::flatten, "Flatten";
        "slice" => array_items::slice, "Slice";
        "element_at" => arrays::element_at, "ElementAt";
        "try_element_at" => arrays::element_at, "ElementAt";
        "get" => arrays::get, "Get";
        "arrays_zip" => array_items::arrays_zip, "ArraysZip";
        "sequence" => array_items::sequence, "Sequence";
        "array_distinct" => sets::array_distinct, "ArrayDistinct";
        "array_union" => sets::array_union, "ArrayUnion";
        "array_intersect" => sets::array_intersect, "ArrayIntersect";
        "array_except" => sets::array_except, "ArrayExcept";
        "arrays_overlap" => sets::arrays_overlap, "ArraysOverlap";
    }
    "Maps and structs" => {
        "map" => maps::map, "CreateMap";
        "struct" => nested::r#struct, "CreateStruct";
        "named_struct" => nested::named_struct, "CreateNamedStruct";
        "map_from_arrays" => maps::map_from_arrays, "MapFromArrays";
        "map_from_entries" => maps::map_from_entries, "MapFromEntries";
        "str_to_map" => maps::str_to_map, "StringToMap";
        "map_concat" => maps::map_concat, "MapConcat";
        "map_keys" => maps::map_keys, "MapKeys";
        "map_values" => maps::map_values, "MapValues";
        "map_entries" => maps::map_entries, "MapEntries";
        "map_contains_key" => maps::map_contains_key, "MapContainsKey";
    }
    "JSON" => {
        "from_json" => json::from_json, "JacksonParser";
        "to_json" => json::to_json, "JacksonGenerator";
        "get_json_object" => json::get_json_object, "GetJsonObject";
        "json_array_length" => json::json_array_length, "LengthOfJsonArray";
        "json_object_keys" => json::json_object_keys, "JsonObjectKeys";
        "schema_of_json" => json::schema_of_json, "JsonInferSchema";
    }
    LAMBDAS => {
        "transform" => lambdas::transform, "ArrayTransform";
        "filter" => lambdas::filter, "ArrayFilter";
        "exists" => lambdas::exists, "ArrayExists";
        "forall" => lambdas::forall, "ArrayForAll";
        "aggregate" => lambdas::aggregate, "ArrayAggregate";
        "reduce" => lambdas::aggregate, "ArrayAggregate";
        "zip_with" => lambdas::zip_with, "ZipWith";
        "map_filter" => lambdas::map_filter, "MapFilter";
        "transform_values" => lambdas::transform_values, "TransformValues";
        "transform_keys" => lambdas::transform_keys, "TransformKeys";
        "map_zip_with" => lambdas::map_zip_with, "MapZipWith";
        "array_sort" => arrays::array_sort, "ArraySort";
    }
    "Types" => {
        "boolean" => types::boolean, "Cast";
        "tinyint" => types::tinyint, "Cast";
        "smallint" => types::smallint, "Cast";
        "int" => types::int, "Cast";
        "bigint" => types::bigint, "Cast";
        "float" => types::float, "Cast";
        "double" => types::double, "Cast";
        "decimal" => types::decimal, "Cast";
        "string" => types::string, "Cast";
        "binary" => types::binary, "Cast";
        "date" => types::date, "Cast";
        "timestamp" => types::timestamp, "Cast";
        "typeof" => types::type_of, "TypeOf";
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_there_once() {
        for (at, function) in FUNCTIONS.iter().enumerate() {
            let twice = FUNCTIONS[..at].iter().any(|before| before.name == function.name);
            assert!(!twice, "{} is there twice", function.name);
            let refused = refused::REFUSED.iter().any(|refused| refused.name == function.name);
            assert!(!refused, "{} is answered and refused", function.name);
        }
    }
}
