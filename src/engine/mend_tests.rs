//! Mending the faulty definitions that other tests keep: what is mended stays so, and nothing is mended twice.

use std::path::{Path, PathBuf};

use super::mend::mend;
use super::{Loaded, bind};
use crate::diagnostic::{Sources, render};
use crate::handler::CustomHandlers;

/// The definitions of every golden case.
fn cases() -> Vec<(PathBuf, Loaded)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folders = ["schema", "projection"].map(|room| std::fs::read_dir(root.join(room)).expect("is there"));
    let folders = folders.into_iter().flatten().map(|entry| entry.expect("can be listed").path());
    folders.map(|folder| (folder.clone(), load(&folder))).collect()
}

fn load(folder: &Path) -> Loaded {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a case is a folder")
        .map(|entry| entry.expect("can be listed").path())
        .collect();
    paths.sort();
    let mut sources = Sources::default();
    let (mut schema, mut projections) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = || std::fs::read_to_string(&path).expect("can be read");
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("graphql") => schema.push(sources.add(format!("schema/{name}"), text())),
            Some("yaml") => projections.push(sources.add(format!("projections/{name}"), text())),
            _ => {}
        }
    }
    if schema.is_empty() {
        let shop = include_str!("../../schema/shop.graphql");
        schema.push(sources.add("schema/shop.graphql", shop));
    }
    bind(sources, &schema, &projections, &CustomHandlers::new())
}

#[test]
fn what_is_mended_stays_mended_and_nothing_is_mended_twice() {
    let mut mended_cases = 0;
    for (folder, loaded) in cases() {
        let (custom, severities) = (CustomHandlers::new(), Default::default());
        let (loaded, changed, count) = mend(loaded, &custom, &severities);
        assert_eq!(changed.is_empty(), count == 0, "{}", folder.display());
        mended_cases += usize::from(count > 0);
        let (loaded, again, _) = mend(loaded, &custom, &severities);
        let shown = render(&loaded.findings, &loaded.sources, false);
        assert!(again.is_empty(), "{}: {again:#?}\n{shown}", folder.display());
    }
    assert!(mended_cases >= 20, "only {mended_cases} cases have something that can be mended");
}

#[test]
fn the_shop_with_typos_is_mended_whole() {
    let sound = |name: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(root.join(name)).expect("the shop is there")
    };
    let mut sources = Sources::default();
    let schema = sound("schema/shop.graphql")
        .replace(
            "name: \"products_by_sku\", partition: \"sku\"",
            "name: \"products_by_sku\", partition: \"skuu\"",
        )
        .replace("user: User @ref(key: \"userId\")\n  status", "user: Usr @ref(key: \"userId\")\n  status");
    let schema = [sources.add("schema/shop.graphql", schema)];
    let mut projections = Vec::new();
    for name in ["carts", "customers", "orders", "products"] {
        let path = format!("projections/{name}.yaml");
        let text =
            sound(&path).replace("unknown: park", "unknwon: park").replace("into: Order", "into: Ordr");
        projections.push(sources.add(path, text));
    }
    let loaded = bind(sources, &schema, &projections, &CustomHandlers::new());
    assert!(loaded.definitions.is_none());
    let (loaded, _, _) = mend(loaded, &CustomHandlers::new(), &Default::default());
    assert!(loaded.definitions.is_some(), "{}", render(&loaded.findings, &loaded.sources, false));
    for (index, text) in [sound("schema/shop.graphql"), sound("projections/carts.yaml")].iter().enumerate() {
        assert_eq!(*loaded.sources.files()[index].text, **text);
    }
}
