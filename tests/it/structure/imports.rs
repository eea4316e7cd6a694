//! The paths in a tree of sources: which module each one names, through re-exports.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{tokens, Token};

pub(super) type Path = Vec<String>;

/// A source file: the module that it is, and the absolute paths in it.
struct Module {
    file: String,
    paths: BTreeSet<Path>,
}

/// A tree of sources.
pub(super) struct Tree {
    modules: BTreeMap<Path, Module>,
    /// The names that `use` declarations bring into modules, and what they stand for.
    names: BTreeMap<Path, Path>,
}

impl Tree {
    /// Of files by their path below `src`, and their text.
    pub(super) fn new<S: AsRef<str>>(sources: &[(S, S)]) -> Self {
        let files: Vec<_> = sources.iter().map(|(file, text)| (module_of(file.as_ref()), file, text)).collect();
        let known: BTreeSet<Path> = files.iter().map(|(module, ..)| module.clone()).collect();
        let mut tree = Tree { modules: BTreeMap::new(), names: BTreeMap::new() };
        for (module, file, text) in files {
            let tokens = tokens(text.as_ref());
            let mut reader =
                Reader { tokens: &tokens, at: 0, known: &known, paths: BTreeSet::new(), names: BTreeMap::new() };
            reader.read(&module);
            tree.names.extend(reader.names);
            tree.modules.insert(module, Module { file: file.as_ref().to_owned(), paths: reader.paths });
        }
        tree
    }

    /// Each file and the other top-level modules that it names; an error for a path that leads to none.
    pub(super) fn imports_of_files(&self) -> Vec<(&str, Result<BTreeSet<String>, String>)> {
        let inner = self.modules.iter().filter(|(module, _)| !module.is_empty());
        inner.map(|(module, own)| (&*own.file, self.imports(module, own))).collect()
    }

    fn imports(&self, module: &Path, own: &Module) -> Result<BTreeSet<String>, String> {
        let mut imports = BTreeSet::new();
        for path in &own.paths {
            let top = self.top_module(path).ok_or_else(|| format!("crate::{} leads to no module", path.join("::")))?;
            if top != module[0] {
                imports.insert(top);
            }
        }
        Ok(imports)
    }

    /// The top-level module of a path: that of its first segment, or of what the crate's root re-exports by that name.
    fn top_module(&self, path: &Path) -> Option<String> {
        if self.modules.contains_key(path.get(..1)?) {
            return Some(path[0].clone());
        }
        let (short, target) = (1..=path.len()).find_map(|end| Some((end, self.names.get(&path[..end])?)))?;
        // A name that stands for itself is not resolved further.
        (target[..] != path[..short]).then(|| self.top_module(target))?
    }

    /// Each top-level module and the others that it names.
    pub(super) fn imports_of_modules(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
        for (module, own) in self.modules.iter().filter(|(module, _)| !module.is_empty()) {
            graph.entry(module[0].clone()).or_default().extend(self.imports(module, own).unwrap_or_default());
        }
        graph
    }

    /// Each file and the files in which the paths in it are defined.
    pub(super) fn files_of_files(&self) -> BTreeMap<String, BTreeSet<String>> {
        let inner = self.modules.iter().filter(|(module, _)| !module.is_empty());
        let files = |own: &Module| own.paths.iter().filter_map(|path| self.file(path)).collect();
        inner.map(|(_, own)| (own.file.clone(), files(own))).collect()
    }

    fn file(&self, path: &Path) -> Option<String> {
        let mut path = path.clone();
        for _ in 0..16 {
            let known = (1..=path.len()).find_map(|end| Some((end, self.names.get(&path[..end])?)));
            let Some((end, target)) = known else { break };
            path = target.iter().chain(&path[end..]).cloned().collect();
        }
        let module = (1..=path.len()).rev().find_map(|end| self.modules.get(&path[..end]))?;
        Some(module.file.clone())
    }
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`, `lib.rs` is the root.
fn module_of(file: &str) -> Path {
    let mut module: Path = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    known: &'a BTreeSet<Path>,
    paths: BTreeSet<Path>,
    names: BTreeMap<Path, Path>,
}

impl Reader<'_> {
    fn read(&mut self, file: &Path) {
        // The inline modules that are open, each with the depth of its braces.
        let (mut module, mut open, mut depth) = (file.clone(), Vec::new(), 0);
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                token if token.is("use") => {
                    self.at += 1;
                    self.tree(&module, None, true);
                }
                token if token.is("mod") && self.symbol(2) == Some('{') => {
                    if let Some(Token::Word(name)) = self.tokens.get(self.at + 1) {
                        module.push(name.clone());
                        open.push(depth);
                    }
                    self.at += 2;
                }
                Token::Word(word)
                    if matches!(&**word, "crate" | "self" | "super")
                        && self.tokens.get(self.at + 1) == Some(&Token::Separator) =>
                {
                    self.tree(&module, None, false);
                }
                Token::Symbol('{') => (depth, self.at) = (depth + 1, self.at + 1),
                Token::Symbol('}') => {
                    depth -= 1;
                    if open.last() == Some(&depth) {
                        open.pop();
                        module.pop();
                    }
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    fn symbol(&self, ahead: usize) -> Option<char> {
        match self.tokens.get(self.at + ahead) {
            Some(Token::Symbol(symbol)) => Some(*symbol),
            _ => None,
        }
    }

    /// Reads a path or, in a `use` declaration, a tree of them; `None` as prefix where it starts.
    fn tree(&mut self, module: &Path, mut prefix: Option<Path>, in_use: bool) {
        let mut last = None;
        loop {
            match self.tokens.get(self.at) {
                Some(Token::Word(word)) if word != "as" => {
                    prefix = self.step(module, prefix, word);
                    last = Some(word.clone());
                    self.at += 1;
                }
                Some(Token::Symbol('{')) if in_use => {
                    self.at += 1;
                    while !matches!(self.tokens.get(self.at), Some(Token::Symbol('}')) | None) {
                        let start = self.at;
                        self.tree(module, prefix.clone(), true);
                        self.at += usize::from(self.symbol(0) == Some(',') || self.at == start);
                    }
                    self.at += 1;
                    return;
                }
                Some(Token::Symbol('*')) if in_use => {
                    prefix.get_or_insert_default().push("*".to_owned());
                    self.at += 1;
                }
                // A leading `::` names another crate.
                Some(Token::Separator) if last.is_none() && prefix.is_none() => prefix = Some(vec!["::".to_owned()]),
                Some(Token::Separator) => {}
                _ => break,
            }
            if self.tokens.get(self.at) != Some(&Token::Separator) {
                break;
            }
            self.at += 1;
            // A turbofish or a qualified path ends here.
            if matches!(self.symbol(0), Some('<')) {
                break;
            }
        }
        if in_use && self.tokens.get(self.at).is_some_and(|token| token.is("as")) {
            if let Some(Token::Word(alias)) = self.tokens.get(self.at + 1) {
                last = Some(alias.clone());
            }
            self.at += 2;
        }
        let Some(path) = prefix.filter(|path| path.first().is_none_or(|first| first != "::")) else { return };
        if in_use {
            let name = if last.as_deref() == Some("self") { path.last().cloned() } else { last };
            if let Some(name) = name.filter(|name| name != "_") {
                let own: Path = module.iter().cloned().chain([name]).collect();
                if own != path {
                    self.names.insert(own, path.clone());
                }
            }
        }
        if !path.is_empty() {
            self.paths.insert(path);
        }
    }

    /// The absolute path after one more segment; that of another crate begins with `::`.
    fn step(&self, module: &Path, prefix: Option<Path>, word: &str) -> Option<Path> {
        let Some(mut path) = prefix else {
            return Some(match word {
                "crate" => Vec::new(),
                "self" => module.clone(),
                "super" => module[..module.len().saturating_sub(1)].to_vec(),
                _ => {
                    let child: Path = module.iter().cloned().chain([word.to_owned()]).collect();
                    if self.known.contains(&child) {
                        child
                    } else {
                        vec!["::".to_owned()]
                    }
                }
            });
        };
        match word {
            "super" => drop(path.pop()),
            "self" => {}
            _ => path.push(word.to_owned()),
        }
        Some(path)
    }
}
