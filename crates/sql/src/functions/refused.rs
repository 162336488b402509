//! Functions that Spark has and that are refused, each with the reason and a way around.

/// A function that is refused.
pub(crate) struct Refused {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
    pub(crate) instead: &'static str,
}

macro_rules! refused {
    ($($why:literal, $instead:literal => [$($name:literal),* $(,)?];)*) => {
        &[$($(Refused { name: $name, why: $why, instead: $instead }),*),*]
    };
}

/// Every function that is refused by name.
pub(crate) const REFUSED: &[Refused] = refused! {
    "it gives another value each time, so that a record read again would become another row",
    "use a key that the source has" => [
        "rand", "random", "randn", "uniform", "randstr", "uuid", "shuffle",
    ];
    "it gives another value each time, so that a record read again would become another row",
    "keep the time in the message, or run the flow on Spark (`runner: spark`)" => [
        "current_timestamp", "now", "localtimestamp", "current_date", "curdate", "current_time",
    ];
    "Java lets each kind of processor compute it, to another last digit",
    "run the flow on Spark (`runner: spark`)" => ["cos", "cot", "csc", "sec", "sin", "tan"];
    "it asks for Spark's session",
    "write the value itself" => [
        "current_timezone", "current_user", "user", "session_user", "current_catalog", "current_database", "current_path", "current_schema", "version", "input_file_name", "input_file_block_start", "input_file_block_length", "spark_partition_id", "monotonically_increasing_id",
    ];
    "it makes several rows or columns of one; a flow makes at most one row of a record",
    "write get_json_object or an index, or run the flow on Spark (`runner: spark`)" => [
        "explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "inline_outer", "stack", "json_tuple",
    ];
    "keys do not belong into a query",
    "run the flow on Spark (`runner: spark`)" => [
        "aes_encrypt", "aes_decrypt", "try_aes_decrypt",
    ];
    "XML is not read natively",
    "run the flow on Spark (`runner: spark`)" => [
        "xpath", "xpath_boolean", "xpath_double", "xpath_float", "xpath_int", "xpath_long", "xpath_number", "xpath_short", "xpath_string", "from_xml", "to_xml", "schema_of_xml",
    ];
    "CSV in a text is not read natively",
    "run the flow on Spark (`runner: spark`)" => [
        "from_csv", "to_csv", "schema_of_csv",
    ];
    "only JSON is read natively",
    "run the flow on Spark (`runner: spark`)" => [
        "from_avro", "to_avro", "from_protobuf", "to_protobuf", "schema_of_avro",
    ];
    "VARIANT is a type of Spark 4 only",
    "declare the fields, or write get_json_object" => [
        "parse_json", "try_parse_json", "variant_get", "try_variant_get", "is_variant_null", "schema_of_variant", "is_valid_variant", "schema_of_variant_agg", "to_variant_object", "variant_explode", "variant_explode_outer",
    ];
    "no column can be an interval natively",
    "write INTERVAL 1 DAY beside + or -, or add_months and date_add" => [
        "make_interval", "make_dt_interval", "make_ym_interval", "try_make_interval",
    ];
    "it belongs to aggregation over time",
    "run the flow on Spark (`runner: spark`)" => [
        "window", "session_window", "window_time",
    ];
    "how Java parts sentences depends on its version",
    "write split(text, '[.!?]\\s+')" => [
        "sentences",
    ];
    "only the binary collation is known natively",
    "write lower(…) on both sides" => [
        "collate", "collation", "collations",
    ];
    "it stops the whole query at the first record",
    "filter with WHERE, or give the sink a key that is null: that record is a dead letter" => [
        "raise_error", "assert_true",
    ];
    "it calls Java",
    "run the flow on Spark (`runner: spark`)" => [
        "java_method", "reflect", "try_reflect",
    ];
    "texts are always valid natively",
    "leave it out" => [
        "validate_utf8", "make_valid_utf8", "try_validate_utf8",
    ];
    "it looks at more than one record",
    "aggregate in the table with `millstream query`" => [
        "count", "sum", "avg", "mean", "min", "max", "first", "last", "collect_list", "collect_set", "count_if", "max_by", "min_by", "any_value", "approx_count_distinct", "percentile", "median", "stddev", "variance", "bool_and", "bool_or", "every", "some",
    ];
    "sketches are Spark's own",
    "run the flow on Spark (`runner: spark`)" => [
        "hll_sketch_estimate", "hll_union", "theta_difference", "theta_intersection", "theta_sketch_estimate", "theta_union", "kll_sketch_to_string_bigint", "bitmap_or_agg", "bitmap_construct_agg", "approx_top_k_estimate", "kll_sketch_get_n_bigint", "kll_sketch_get_n_double", "kll_sketch_get_n_float", "kll_sketch_get_quantile_bigint", "kll_sketch_get_quantile_double", "kll_sketch_get_quantile_float", "kll_sketch_get_rank_bigint", "kll_sketch_get_rank_double", "kll_sketch_get_rank_float", "kll_sketch_merge_bigint", "kll_sketch_merge_double", "kll_sketch_merge_float", "kll_sketch_to_string_double", "kll_sketch_to_string_float", "tuple_difference_double", "tuple_difference_integer", "tuple_difference_theta_double", "tuple_difference_theta_integer", "tuple_intersection_double", "tuple_intersection_integer", "tuple_intersection_theta_double", "tuple_intersection_theta_integer", "tuple_sketch_estimate_double", "tuple_sketch_estimate_integer", "tuple_sketch_summary_double", "tuple_sketch_summary_integer", "tuple_sketch_theta_double", "tuple_sketch_theta_integer", "tuple_union_double", "tuple_union_integer", "tuple_union_theta_double", "tuple_union_theta_integer",
    ];
    "no column can be a time of day natively",
    "keep it as text, or write date_format and substring" => [
        "time", "make_time", "time_bucket", "time_diff", "time_from_micros", "time_from_millis", "time_from_seconds", "time_to_micros", "time_to_millis", "time_to_seconds", "time_trunc", "to_time", "try_to_time",
    ];
    "vectors are of Spark 4.2 only",
    "run the flow on Spark (`runner: spark`)" => [
        "vector_avg", "vector_cosine_similarity", "vector_inner_product", "vector_l2_distance", "vector_norm", "vector_normalize", "vector_sum",
    ];
    "no column can be a place on earth natively",
    "keep longitude and latitude as numbers" => [
        "st_asbinary", "st_geogfromwkb", "st_geomfromwkb", "st_setsrid", "st_srid",
    ];
    "how numbers are read and written by Oracle's patterns is not followed natively",
    "write CAST, format_number or date_format" => [
        "to_number", "try_to_number", "to_char", "to_varchar",
    ];
    "Java's reading of addresses is not followed natively",
    "write regexp_extract" => ["parse_url", "try_parse_url"];
};
