//! This project's programs, and the flags that the `--help` of each shows.

use std::collections::{BTreeMap, BTreeSet};

use super::definitions::{Definition, Definitions, Shape, documentation, has, settings, text};
use super::in_text::flags_in;
use crate::tidy::files::{Files, directory, is_below};
use crate::tidy::sources::Sources;

/// A program's name, and the verb: `burn-ckpt`, `ls`.
pub type Name = Vec<String>;

/// Flags are without `--`.
pub struct Programs {
    flags: BTreeMap<Name, BTreeSet<String>>,
    /// Those that hand on what they do not know to the program whose name continues theirs.
    handing_on: BTreeSet<Name>,
}

impl Programs {
    /// What the sources define with clap's derive macros.
    pub fn read(files: &Files, sources: &Sources) -> Self {
        let definitions = Definitions::read(sources);
        let mut programs = Self { flags: BTreeMap::new(), handing_on: BTreeSet::new() };
        for parser in definitions.parsers() {
            for name in names(parser, files) {
                programs.add_definition(&definitions, parser, &name);
            }
        }
        programs
    }

    /// The programs' names.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.flags.keys()
    }

    /// Whether a program has a flag: itself, the program that hands it on, or one that it can be handed on
    /// to.
    pub fn knows(&self, name: &Name, flag: &str) -> bool {
        let hands_on =
            |first: &Name, second: &Name| second.starts_with(first) && self.handing_on.contains(first);
        let is_related = |other: &Name| name == other || hands_on(name, other) || hands_on(other, name);
        self.flags.iter().any(|(other, flags)| is_related(other) && flags.contains(flag))
    }

    /// Whether any program has a flag.
    pub fn any_knows(&self, flag: &str) -> bool {
        self.flags.values().any(|flags| flags.contains(flag))
    }

    fn add_definition(&mut self, definitions: &Definitions<'_>, definition: &Definition<'_>, name: &Name) {
        let flags = self.flags.entry(name.clone()).or_default();
        flags.insert("help".to_owned());
        if has(&settings(definition.attributes, "command"), "version") {
            flags.insert("version".to_owned());
        }
        match definition.shape {
            Shape::Struct(fields) => self.add_fields(definitions, fields, definition.file, name),
            Shape::Enum(verbs) => self.add_verbs(definitions, verbs, definition.file, name),
        }
    }

    fn add_fields(&mut self, definitions: &Definitions<'_>, fields: &syn::Fields, file: &str, name: &Name) {
        for field in fields {
            let command = settings(&field.attrs, "command");
            if has(&command, "flatten") || has(&command, "subcommand") {
                for definition in definitions.of_type(&field.ty, file) {
                    self.add_definition(definitions, definition, name);
                }
            }
            let argument = settings(&field.attrs, "arg");
            let flags = self.flags.entry(name.clone()).or_default();
            if has(&argument, "long") && !has(&argument, "hide") {
                let of_field = || field.ident.as_ref().map(|ident| kebab(&ident.to_string()));
                flags.extend(text(&argument, "long").or_else(of_field));
            }
            if has(&argument, "trailing_var_arg") {
                self.handing_on.insert(name.clone());
                // What is handed on is named in the argument's help.
                flags.extend(documentation(&field.attrs).iter().flat_map(|line| flags_in(line)));
            }
        }
    }

    fn add_verbs(
        &mut self,
        definitions: &Definitions<'_>,
        verbs: &syn::ItemEnum,
        file: &str,
        program: &Name,
    ) {
        for verb in &verbs.variants {
            let own = text(&settings(&verb.attrs, "command"), "name");
            let name =
                [program.as_slice(), &[own.unwrap_or_else(|| kebab(&verb.ident.to_string()))]].concat();
            self.flags.entry(name.clone()).or_default().insert("help".to_owned());
            match &verb.fields {
                syn::Fields::Unnamed(fields) => {
                    for definition in
                        fields.unnamed.iter().flat_map(|field| definitions.of_type(&field.ty, file))
                    {
                        self.add_definition(definitions, definition, &name);
                    }
                }
                fields => self.add_fields(definitions, fields, file, &name),
            }
        }
    }
}

/// Those of its attributes, and that of the file that cargo makes of it.
fn names(parser: &Definition<'_>, files: &Files) -> BTreeSet<Name> {
    let settings = settings(parser.attributes, "command");
    let mut names: BTreeSet<Name> = ["name", "bin_name"]
        .iter()
        .filter_map(|setting| text(&settings, setting))
        .map(|name| name.split(' ').map(str::to_owned).collect())
        .collect();
    names.extend(built_name(parser.file, files).map(|name| vec![name]));
    names
}

/// `bin/tool.rs`, `bin/tool/main.rs` and what lies beside it make `tool`; `main.rs` makes the package's name.
fn built_name(file: &str, files: &Files) -> Option<String> {
    if let Some((_, below)) = file.split_once("/src/bin/") {
        let name = below.split('/').next()?;
        return Some(name.strip_suffix(".rs").unwrap_or(name).to_owned());
    }
    let is_of = |manifest: &&(&str, &str)| is_below(file, directory(manifest.0));
    let (path, manifest) =
        files.manifests().filter(|manifest| is_of(&manifest)).max_by_key(|(path, _)| path.len())?;
    let manifest = manifest.parse::<toml::Table>().ok()?;
    let name = manifest.get("package")?.get("name")?.as_str()?;
    files.has_file(&format!("{}/src/main.rs", directory(path))).then(|| name.to_owned())
}

/// `SaveAll` and `save_all` -> `save-all`
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.strip_prefix("r#").unwrap_or(name).chars() {
        if c.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(if c == '_' { '-' } else { c }.to_lowercase());
    }
    kebab
}
