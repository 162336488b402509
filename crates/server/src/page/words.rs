//! Numbers, moments and lengths of time as people read them.

use maud::{Markup, html};
pub(super) use millstream_engine::grouped as count;
use millstream_engine::{rfc3339, rounded};

/// 12/s, 0.4/s.
pub(super) fn rate(per_second: f64) -> String {
    format!("{}/s", rounded(per_second))
}

/// 3 ms, 1.2 s, 4 min, 2 h.
pub(super) fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// 12 B, 3.4 KB.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        ..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A moment that the reader's browser shows in its own zone.
pub(super) fn moment(ms: i64) -> Markup {
    let text = rfc3339(ms);
    html! { time datetime=(text) data-moment { (text.replace('T', " ").replace('Z', " UTC")) } }
}

/// JSON with its lines and colours; what is no JSON as it is.
pub(super) fn pretty(text: &str) -> Markup {
    let parsed: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let shown = parsed.and_then(|value| serde_json::to_string_pretty(&value).ok());
    html! { pre.value tabindex="0" { (shown.as_deref().unwrap_or(text)) } }
}
