//! The reference page: the settings' own descriptions, in Markdown.

use serde_json::Value;

/// `docs/reference.md`, out of the JSON Schema of a pipeline file.
pub(super) fn markdown(schema: &Value) -> String {
    let mut out = String::from(
        "# The pipeline file\n\nThis page is made from the settings' types: `millstream json-schema --markdown`.\n",
    );
    let definition = |name: &str| schema["$defs"].get(name);
    section(&mut out, "The file", schema);
    for service in ["kafka", "cassandra"] {
        section(&mut out, &format!("`{service}:`"), &schema["properties"][service]);
    }
    if let Some(flow) = definition("Flow") {
        section(&mut out, "A flow", flow);
    }
    for (role, side) in [("Source", "from"), ("Sink", "to")] {
        let choices = definition(role).and_then(|choice| choice["oneOf"].as_array());
        for name in choices.into_iter().flatten().filter_map(|choice| choice["x-name"].as_str()) {
            if let Some(kind) = definition(&format!("{role}:{name}")) {
                section(&mut out, &format!("`{side}: {{ {name}: … }}`"), kind);
            }
        }
    }
    for (name, title) in [("DeadLetterSettings", "`dead_letters:`"), ("Test", "A test")] {
        if let Some(found) = definition(name) {
            section(&mut out, title, found);
        }
    }
    out
}

fn section(out: &mut String, title: &str, schema: &Value) {
    out.push_str(&format!("\n## {title}\n\n"));
    if let Some(text) = schema["description"].as_str() {
        out.push_str(&format!("{}\n\n", one_line(text)));
    }
    out.push_str("| key | meaning |\n| --- | --- |\n");
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let meaning = property["description"].as_str().map(one_line).unwrap_or_default();
        let needed = if required.contains(&name.as_str()) { " (required)" } else { "" };
        out.push_str(&format!("| `{name}`{needed} | {} |\n", meaning.replace('|', "\\|")));
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
