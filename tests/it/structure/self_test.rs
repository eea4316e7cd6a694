//! The checks of the structure, on small made-up sources.

use super::imports::Tree;
use super::{circles, circles_across_modules, offences};

const ALLOWED: &[(&str, &[&str])] = &[("upper", &["middle", "lower"]), ("middle", &["lower"]), ("lower", &[])];
const ROOT: (&str, &str) = (
    "lib.rs",
    "mod lower; mod middle; mod upper; pub use lower::Low; pub use upper::{Up, inner::Deep as Renamed};
     pub mod public { pub use crate::upper::Hidden; }",
);

/// The offences of `lower/deep/file.rs` with this text.
fn offences_of(text: &str) -> Vec<String> {
    let others =
        [("upper/mod.rs", "mod inner;"), ("upper/inner.rs", ""), ("middle.rs", ""), ("lower/mod.rs", "mod deep;")];
    let tree = [&others[..], &[ROOT, ("lower/deep/mod.rs", "mod file;"), ("lower/deep/file.rs", text)]].concat();
    offences(&Tree::new(&tree), ALLOWED)
}

#[test]
fn every_form_of_a_forbidden_import_is_found() {
    for text in [
        "use crate::upper::Up;",
        "use crate::upper;",
        "pub(crate) use crate::upper::inner::Deep;",
        "fn f() { crate::upper::g() }",
        "fn f() -> Vec<crate::upper::Up> { Vec::new() }",
        "fn f() { crate::upper::g::<u8>() }",
        "use crate :: upper :: Up ;",
        "use crate::\n    upper::Up;",
        // Re-exports of the root.
        "use crate::Up;",
        "fn f(up: crate::Up) {}",
        "use crate::Renamed;",
        "use crate::public::Hidden;",
        // Relative paths.
        "use super::super::super::upper::Up;",
        "use super::super::super::Up;",
        "fn f() { super::super::super::upper::g() }",
        "mod inline { use super::super::super::super::upper::Up; }",
        "mod inline { fn f() {} } use super::super::super::upper::Up;",
        // Groups.
        "use crate::{lower::Low, upper::Up};",
        "use crate::{lower::{self, Low}, upper::{inner::Deep, Up}};",
        "use crate::{Low, Up};",
        "use crate::{Low as L, Up as U};",
        "use {crate::lower::Low, crate::upper::Up};",
        "use super::super::super::{lower::Low, upper::Up};",
        "use crate::{self as root, upper};",
        // Near misses of comments and literals.
        "/* a comment */ use crate::upper::Up;",
        "const C: char = '\"'; use crate::upper::Up; const D: char = '\"';",
        "const S: &str = r#\"\"//\"#; use crate::upper::Up;",
        "fn f<'a>(a: &'a str) -> crate::upper::Up<'a> {}",
    ] {
        let offences = offences_of(text);
        assert_eq!(offences, ["lower/deep/file.rs: imports from upper"], "{text}");
    }
}

#[test]
fn allowed_imports_comments_and_literals_are_no_offences() {
    for text in [
        "use crate::lower::Low; use crate::Low;",
        "use super::super::Low; use super::*; use self::own::Thing;",
        "use std::upper::Up; use ::upper::Up; use upper::Up;",
        "//! [`Up`](crate::upper::Up)",
        "/// See [`crate::Up`].\nstruct S;",
        "/* crate::upper /* crate::upper */ crate::upper */",
        "const S: &str = \"crate::upper::Up // \\\" crate::upper\";",
        "const S: &[u8] = br##\"crate::upper::Up \"# crate::upper\"##;",
        "pub(in crate::lower) fn f() {} pub(super) fn g() {}",
    ] {
        let offences = offences_of(text);
        assert!(offences.is_empty(), "{text}: {offences:?}");
    }
}

#[test]
fn unknown_modules_are_offences() {
    assert_eq!(offences_of("use crate::*;"), ["lower/deep/file.rs: crate::* leads to no module"]);
    assert_eq!(offences_of("use crate::Unknown;"), ["lower/deep/file.rs: crate::Unknown leads to no module"]);
    let tree = Tree::new(&[ROOT, ("new.rs", "")]);
    assert_eq!(offences(&tree, ALLOWED), ["new.rs: new is not in the table"]);
}

#[test]
fn circles_are_found_through_re_exports() {
    let tree = Tree::new(&[
        ("lib.rs", "mod a; mod b; mod c; pub use b::Second;"),
        ("a/mod.rs", "mod first; pub use first::First;"),
        ("a/first.rs", "use crate::Second;"),
        ("b/mod.rs", "mod second; pub use second::Second;"),
        ("b/second.rs", "use crate::c::Third;"),
        ("c.rs", "use crate::a::First;"),
    ]);
    let names = |circles: Vec<std::collections::BTreeSet<String>>| -> Vec<Vec<String>> {
        circles.into_iter().map(|circle| circle.into_iter().collect()).collect()
    };
    assert_eq!(names(circles(&tree.imports_of_modules())), [["a", "b", "c"]]);
    assert_eq!(names(circles_across_modules(&tree)), [["a/first.rs", "b/second.rs", "c.rs"]]);
    // Within a module files may import each other.
    let tree = Tree::new(&[
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "use first::F;"),
        ("a/first.rs", "use super::second::S;"),
        ("a/second.rs", "use super::first::F;"),
    ]);
    assert!(circles(&tree.imports_of_modules()).is_empty() && circles_across_modules(&tree).is_empty());
}
