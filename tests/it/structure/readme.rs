//! README.md as it is shown where no lines of code are hidden: by the package registry and by GitHub.

use super::root;

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("README.md")
}

#[test]
fn no_code_of_the_readme_has_hidden_lines() {
    let readme = readme();
    let blocks = readme.split("\n```").skip(1).step_by(2).filter(|block| block.starts_with("rust"));
    let lines: Vec<_> = blocks.flat_map(str::lines).collect();
    assert!(lines.len() > 100, "the code was not found");
    let hidden: Vec<_> = lines.iter().filter(|line| **line == "#" || line.trim_start().starts_with("# ")).collect();
    assert!(hidden.is_empty(), "{hidden:#?}");
}

/// The doctests of the library cannot use the packages that depend on it.
#[test]
fn code_of_the_readme_that_is_not_run_is_run_elsewhere() {
    let readme = readme();
    let ignored: Vec<_> =
        readme.split("\n```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("rust,ignore\n")).collect();
    assert_eq!(ignored.len(), 2);
    let run = std::fs::read_to_string(root().join("crates/cluster/README.md")).expect("the README of the package");
    assert!(run.contains("```rust,no_run\n") && run.contains(ignored[0]), "differs:\n{}", ignored[0]);
    let library =
        std::fs::read_to_string(root().join("crates/dashboard/src/lib.rs")).expect("the documentation of the package");
    let run: Vec<_> = library.lines().map(|line| line.trim_start_matches("//!").trim()).collect();
    let lines: Vec<_> = ignored[1].lines().filter(|line| !line.is_empty()).collect();
    assert!(run.windows(lines.len()).any(|run| run == lines), "differs:\n{}", ignored[1]);
}

#[test]
fn relative_links_of_the_readme_lead_to_files() {
    let readme = readme();
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative: Vec<_> = targets.filter(|target| !target.contains("://") && !target.starts_with('#')).collect();
    assert!(relative.len() > 10, "the links were not found");
    for target in relative {
        let file = target.split('#').next().expect("a first part");
        assert!(root().join(file).exists(), "README.md: {target}");
    }
    // Pictures are shown outside of the repository, too.
    let own = "https://raw.githubusercontent.com/actix-acceptor/actix-acceptor/main/";
    let pictures: Vec<_> = readme.split(own).skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert_eq!(pictures, ["docs/tree.svg", "docs/dashboard.png", "docs/dashboard-narrow.png"]);
    for picture in pictures {
        let size = std::fs::metadata(root().join(picture)).unwrap_or_else(|error| panic!("{picture}: {error}")).len();
        assert!(size < 64 * 1024, "{picture} has {size} bytes");
    }
}

#[test]
fn the_readme_lists_every_feature() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let lines =
        manifest.lines().skip_while(|line| *line != "[features]").skip(1).take_while(|line| !line.starts_with('['));
    let features: Vec<_> =
        lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = ")).collect();
    assert!(features.len() > 8, "the features were not found");
    let library = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    for (feature, _) in features {
        let row = |text: &str, start: &str| {
            let name = format!("`{feature}`");
            text.lines().any(|line| line.starts_with(start) && line.contains(&name))
        };
        assert!(row(&readme(), "| `"), "README.md does not list the feature {feature}");
        assert!(row(&library, "//! | `"), "src/lib.rs does not list the feature {feature}");
    }
}
