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
    for (name, title) in [("Auth", "`auth:`"), ("Paging", "`paging:`")] {
        if let Some(found) = definition(name) {
            choices(&mut out, title, found, schema);
        }
    }
    if let Some(found) = definition("Incremental") {
        section(&mut out, "`incremental:`", found);
    }
    for (name, title) in [("DeadLetterSettings", "`dead_letters:`"), ("Test", "A test")] {
        if let Some(found) = definition(name) {
            section(&mut out, title, found);
        }
    }
    out
}

/// A setting that is one of several things, each with keys of its own.
fn choices(out: &mut String, title: &str, schema: &Value, root: &Value) {
    out.push_str(&format!("\n## {title}\n\n"));
    if let Some(text) = schema["description"].as_str() {
        out.push_str(&format!("{} One of:\n\n", one_line(text)));
    }
    let of = |schema: &Value| -> Value {
        let target = schema["$ref"].as_str().and_then(|reference| root.pointer(reference.strip_prefix('#')?));
        target.unwrap_or(schema).clone()
    };
    out.push_str("| key | meaning |\n| --- | --- |\n");
    let all = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    for choice in all.into_iter().flatten() {
        let target = of(choice);
        let meaning = [choice, &target].into_iter().find_map(|schema| schema["description"].as_str());
        let mut meaning = one_line(meaning.unwrap_or_default());
        let properties = target["properties"].as_object();
        for (name, property) in properties.into_iter().flatten() {
            for (key, inner) in of(property)["properties"].as_object().into_iter().flatten() {
                let text = one_line(inner["description"].as_str().unwrap_or_default());
                meaning.push_str(&format!(" `{name}.{key}`: {text}"));
            }
            if let Some(text) = property["description"].as_str().filter(|_| choice["$ref"].is_string()) {
                meaning.push_str(&format!(" `{name}`: {}", one_line(text)));
            }
        }
        let names: Vec<_> = properties.into_iter().flatten().map(|(name, _)| format!("`{name}`")).collect();
        out.push_str(&format!("| {} | {} |\n", names.join(", "), meaning.replace('|', "\\|")));
    }
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
