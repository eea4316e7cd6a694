//! The programs of the examples.

use std::fs;
use std::path::PathBuf;

/// The program that was last built from the example with this source, as `examples/chat.rs`.
///
/// Several packages have an example `chat`, so that `target/PROFILE/examples/chat` may be any of them: the files that list the sources of
/// `chat-HASH` tell them apart.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn example(source: &str) -> PathBuf {
    // target/PROFILE/deps/NAME-HASH is this process.
    let here = std::env::current_exe().unwrap();
    let folder = here.parent().unwrap().with_file_name("examples");
    let sources = format!("{source}:");
    let is_of_example =
        |list: &PathBuf| fs::read_to_string(list).is_ok_and(|text| text.lines().any(|line| line == sources));
    let files = fs::read_dir(&folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let lists = files.filter(|file| file.extension().is_some_and(|end| end == "d")).filter(is_of_example);
    let built = lists.filter_map(|list| {
        let program = list.with_extension("");
        Some((fs::metadata(&program).ok()?.modified().ok()?, program))
    });
    let (_, program) =
        built.max().unwrap_or_else(|| panic!("no program of {source} in {}: build the examples", folder.display()));
    program
}
