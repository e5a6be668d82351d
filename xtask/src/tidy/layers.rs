//! Which crate may depend on which. The list is here; the crates' Cargo.toml files are held against it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{File, Finding};

/// A layer and the layers that it may depend on. A service is not among what services may see, nor is a data plane.
const LAYERS: [(&str, &[&str]); 16] = [
    ("core", &[]),
    ("wire", &["core"]),
    ("api", &["core", "wire", "api"]),
    ("store", &["core"]),
    ("kernel", &["core", "wire", "api", "store"]),
    ("service", &["core", "wire", "api", "store", "kernel"]),
    ("dataplane", &["core"]),
    ("host", &["core", "network"]),
    ("network", &["core"]),
    ("chart", &["core"]),
    ("console", &["core", "wire", "api", "kernel", "chart", "gameday"]),
    ("gameday", &["core"]),
    // The binary carries the examples' programs for its instances' image.
    (
        "standfast",
        &["core", "wire", "api", "store", "kernel", "service", "dataplane", "host", "gameday", "console", "example"],
    ),
    (
        "testkit",
        &["core", "wire", "api", "store", "kernel", "service", "dataplane", "host", "gameday", "console", "standfast"],
    ),
    ("xtask", &["core", "wire", "api"]),
    ("example", &[]),
];

/// What tests of every layer may use besides.
const TEST_LAYER: &str = "testkit";

/// Where a crate's folder puts it.
fn layer(folder: &Path) -> Option<&'static str> {
    let mut parts = folder.iter().map(|part| part.to_string_lossy());
    let name = match (parts.next().as_deref(), parts.next().as_deref()) {
        (Some("xtask"), _) => "xtask",
        (Some("examples"), _) => "example",
        (Some("crates"), Some("services")) => "service",
        (Some("crates"), Some(name)) => return LAYERS.iter().map(|(layer, _)| *layer).find(|layer| *layer == name),
        _ => return None,
    };
    Some(name)
}

pub fn check(manifests: &[File]) -> Result<Vec<Finding>> {
    let mut layers = BTreeMap::new();
    let mut packages = Vec::new();
    let mut findings = Vec::new();
    for file in manifests {
        let table: Table = toml::from_str(&file.text).with_context(|| format!("parsing {}", file.path.display()))?;
        let Some(name) = table.get("package").and_then(|package| package.get("name")).and_then(Value::as_str) else {
            continue;
        };
        let layer = file.path.parent().and_then(layer);
        if file.path.starts_with("crates") && layer.is_none() {
            findings.push(Finding::new(&file.path, 1, "this crate is in no layer: see LAYERS in xtask/src/tidy"));
        }
        layers.insert(name.to_owned(), layer);
        packages.push((file, layer, table));
    }
    for (file, layer, table) in &packages {
        for (dependency, test_only) in dependencies(table) {
            let Some(target) = layers.get(&dependency) else { continue };
            if !may_depend(*layer, *target, test_only) {
                let line = file.text.lines().position(|line| line.trim_start().starts_with(&dependency));
                let message = format!("{} may not depend on {dependency}", layer.unwrap_or("this"));
                findings.push(Finding::new(&file.path, line.map_or(1, |line| line + 1), message));
            }
        }
    }
    Ok(findings)
}

fn may_depend(from: Option<&str>, to: Option<&str>, test_only: bool) -> bool {
    let (Some(from), Some(to)) = (from, to) else { return false };
    let allowed = LAYERS.iter().find(|(layer, _)| *layer == from).is_some_and(|(_, allowed)| allowed.contains(&to));
    allowed || test_only && to == TEST_LAYER
}

/// The names of all dependencies, and whether only tests use them.
fn dependencies(table: &Table) -> Vec<(String, bool)> {
    let targets = table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let places = std::iter::once(table).chain(targets.filter_map(Value::as_table));
    let mut out = Vec::new();
    for place in places {
        for (key, test_only) in [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)] {
            let names = place.get(key).and_then(Value::as_table).into_iter().flat_map(Table::keys);
            out.extend(names.map(|name| (name.clone(), test_only)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(path: &str, name: &str, rest: &str) -> File {
        File { path: path.into(), text: format!("[package]\nname = \"{name}\"\n{rest}") }
    }

    #[test]
    fn a_service_may_see_the_kernel_and_no_other_service() {
        let files = [
            manifest("crates/kernel/Cargo.toml", "standfast-kernel", ""),
            manifest("crates/services/edge/Cargo.toml", "standfast-edge", ""),
            manifest(
                "crates/services/chaos/Cargo.toml",
                "standfast-chaos",
                "[dependencies]\nstandfast-kernel.workspace = true\nstandfast-edge.workspace = true\n",
            ),
        ];
        let findings = check(&files).expect("valid manifests");
        let expected =
            Finding::new(Path::new("crates/services/chaos/Cargo.toml"), 5, "service may not depend on standfast-edge");
        assert_eq!(findings, [expected]);
    }

    #[test]
    fn only_tests_may_see_the_testkit() {
        let testkit = manifest("crates/testkit/Cargo.toml", "standfast-testkit", "");
        let of = |key: &str| {
            let rest = format!("[{key}]\nstandfast-testkit.workspace = true\n");
            let files = [testkit.path.clone(), "crates/kernel/Cargo.toml".into()];
            let [kit, kernel] = files.map(|path| path.display().to_string());
            let files = [manifest(&kit, "standfast-testkit", ""), manifest(&kernel, "standfast-kernel", &rest)];
            check(&files).expect("valid manifests").len()
        };
        assert_eq!((of("dependencies"), of("dev-dependencies")), (1, 0));
    }

    #[test]
    fn a_crate_of_no_layer_is_found() {
        let findings = check(&[manifest("crates/extra/Cargo.toml", "standfast-extra", "")]).expect("valid manifests");
        assert_eq!(findings.len(), 1);
    }
}
