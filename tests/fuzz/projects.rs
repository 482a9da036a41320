//! Good projects to spoil one file of: the shop, the projects under `tests/golden/public`, every section of
//! `docs/projections.md`, and one with a key of every scalar.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kinora::diagnostic::{self, FileId, Sources};
use kinora::engine::{self, Definitions};

/// A project's files, and what they came to.
pub struct Project {
    pub files: Vec<(String, String)>,
    pub definitions: Arc<Definitions>,
}

/// Scalars that may stand in a key, with one spelling each.
pub const KEYS: [(&str, &str); 16] = [
    ("ID", r#""o-1""#),
    ("String", r#""a\u00e9 b""#),
    ("Boolean", "true"),
    ("Int", "-7"),
    ("Long", "9007199254740993"),
    ("Short", "300"),
    ("Byte", "-128"),
    ("BigInt", r#""12345678901234""#),
    ("DateTime", r#""2026-01-01T10:00:00.5+02:00""#),
    ("LocalDate", r#""2026-02-28""#),
    ("LocalTime", r#""10:30:00.25""#),
    ("UUID", r#""5D5C4A52-6F0E-4C8E-9D57-0C2A6B8F1E11""#),
    ("TimeUUID", r#""5d5c4a52-6f0e-1c8e-9d57-0c2a6b8f1e11""#),
    ("Base64String", r#""AQIDBA==""#),
    ("IP", r#""2001:DB8::0:1""#),
    ("Colour", r#""RED""#),
];

/// All of them, the shop first.
pub fn all() -> &'static [Project] {
    static ALL: OnceLock<Vec<Project>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut found = vec![project(&root())];
        for folder in sorted(&root().join("tests/golden/public")) {
            found.push(project(&folder));
        }
        for files in sections(&text(&root().join("docs/projections.md"))) {
            found.push(bound(files));
        }
        found
    })
}

/// The project with a read model for each of [`KEYS`].
pub fn keys() -> &'static Project {
    static KEYED: OnceLock<Project> = OnceLock::new();
    KEYED.get_or_init(|| {
        let (mut fields, mut types, mut files) = (String::new(), String::new(), Vec::new());
        for (scalar, _) in KEYS {
            fields.push_str(&format!("  k{scalar}(k: {scalar}!): K{scalar} @read\n"));
            types.push_str(&format!(
                "type K{scalar} @key(fields: \"k\") @table(name: \"k_{}\", partition: \"k\") {{ k: {scalar}!  n: Int }}\n",
                scalar.to_lowercase()
            ));
            let standard = ["ID", "String", "Boolean", "Int", "Colour"].contains(&scalar);
            types.push_str(&if standard { String::new() } else { format!("scalar {scalar}\n") });
            let projection = format!(
                "projection: k{scalar}\ninto: K{scalar}\n\
                 from: {{ topic: k, format: json, type: event.type, tombstone: ignore }}\norder: time\nkey: {{ k: event.k }}\n\
                 unknown: park\nevents: {{ Put: {{ upsert: {{ n: 1 }} }} }}\n"
            );
            files.push((format!("projections/{scalar}.yaml"), projection));
        }
        let schema = format!("enum Colour {{ RED GREEN }}\ntype Query {{\n{fields}}}\n{types}");
        files.push(("schema/keys.graphql".to_owned(), schema));
        bound(files)
    })
}

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The last part of a path.
pub fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("files have names")
}

/// What lies in a folder, by name.
pub fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths
}

/// The files of each section of a page: fenced blocks whose first line is a path.
fn sections(page: &str) -> Vec<Vec<(String, String)>> {
    let files = |section: &str| {
        let blocks = section.split("\n```").skip(1).step_by(2);
        let file = |block: &str| {
            let (head, body) = block.split_once('\n')?.1.split_once('\n')?;
            Some((head.strip_prefix("# ")?.to_owned(), format!("{body}\n")))
        };
        blocks.filter_map(file).collect::<Vec<_>>()
    };
    page.split("\n## ").map(files).filter(|files| !files.is_empty()).collect()
}

fn project(folder: &Path) -> Project {
    let mut files = Vec::new();
    for part in ["schema", "projections"] {
        for path in sorted(&folder.join(part)) {
            files.push((format!("{part}/{}", name(&path)), text(&path)));
        }
    }
    bound(files)
}

fn bound(files: Vec<(String, String)>) -> Project {
    let loaded = load(&files);
    let told = || diagnostic::render(&loaded.findings, &loaded.sources, false);
    let definitions = loaded.definitions.clone().unwrap_or_else(|| panic!("{}", told()));
    Project { files, definitions }
}

/// Binds the files of a project.
pub fn load(files: &[(String, String)]) -> engine::Loaded {
    let mut sources = Sources::default();
    let (mut schema, mut yaml): (Vec<FileId>, Vec<FileId>) = Default::default();
    for (path, text) in files {
        let file = sources.add(path.as_str(), text.as_str());
        if path.starts_with("schema/") { schema.push(file) } else { yaml.push(file) }
    }
    engine::bind(sources, &schema, &yaml, &Default::default())
}
