//! `trackway explain`: the page of an error code. The pages are `docs/errors/`, inside the binary.

use include_dir::{Dir, include_dir};
use serde::Serialize;

use crate::{Code, Error};

use super::args;
use super::exit::{Done, Exit};
use super::output::{Format, Output, Paint};

static PAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../docs/errors");

#[derive(Serialize)]
struct Row {
    code: &'static str,
    title: &'static str,
    page: &'static str,
}

pub fn explain(args: args::Explain, output: &Output) -> Done {
    let Some(asked) = args.code else {
        let rows: Vec<Row> = Code::ALL.iter().map(|code| row(*code)).collect();
        output.many(&rows, |row| row.code.to_owned(), || list(output.paint))?;
        return Ok(Exit::Ok);
    };
    let code = find(&asked)?;
    match output.format {
        Format::Text => output.raw(&render(page(code), output.paint))?,
        Format::Json | Format::Jsonl | Format::Id => output.one(&row(code), code.text(), String::new)?,
    }
    Ok(Exit::Ok)
}

/// What to do about an error of this code: the first paragraph under `What to do` of its page.
pub fn next_step(code: Code) -> Option<String> {
    let (_, rest) = page(code).split_once("## What to do\n")?;
    let paragraph = rest.trim_start().split("\n\n").next()?;
    Some(paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ").replace('`', ""))
}

fn page(code: Code) -> &'static str {
    PAGES.get_file(format!("{}.md", code.text())).and_then(|file| file.contents_utf8()).unwrap_or_default()
}

fn row(code: Code) -> Row {
    Row { code: code.text(), title: code.title(), page: page(code) }
}

/// Takes `TW0205`, `tw0205`, `0205` and `205`.
fn find(asked: &str) -> Result<Code, Error> {
    let digits = asked.trim().trim_start_matches(['T', 't']).trim_start_matches(['W', 'w']);
    let wanted = format!("TW{digits:0>4}");
    Code::ALL.iter().copied().find(|code| code.text() == wanted).ok_or_else(|| {
        let message = format!("`{asked}` is not a code of this version of trackway");
        Error::new(Code::Usage, message).hint("trackway explain    # lists all codes")
    })
}

fn list(paint: Paint) -> String {
    Code::ALL.iter().map(|code| format!("{}  {}\n", paint.bold(code.text()), code.title())).collect()
}

/// Headings stand out; the rest of a page reads well as it is.
fn render(page: &str, paint: Paint) -> String {
    let mut text = String::new();
    for line in page.lines() {
        match line.trim_start_matches('#') {
            heading if heading.len() < line.len() => text.push_str(&paint.bold(heading.trim_start())),
            line => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_with_its_title_reasons_advice_and_an_example() {
        for code in Code::ALL {
            let page = page(*code);
            assert!(page.starts_with(&format!("# {code}: {}\n", code.title())), "title of the page of {code}");
            for section in ["\n## Why it happens\n", "\n## What to do\n", "\n## Example\n"] {
                assert!(page.contains(section), "{code} lacks {section:?}");
            }
            assert!(next_step(*code).is_some_and(|step| step.len() > 10), "{code} says nothing to do");
        }
    }

    #[test]
    fn every_page_belongs_to_a_code() {
        for file in PAGES.files() {
            let name = file.path().display().to_string();
            assert!(Code::ALL.iter().any(|code| format!("{}.md", code.text()) == name), "{name} belongs to no code");
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_written() {
        for asked in ["TW0205", "tw0205", "0205", "205", " TW205 "] {
            assert_eq!(find(asked).expect(asked), Code::ForeignImport);
        }
        assert_eq!(find("TW9999").expect_err("unknown").code, Code::Usage);
        assert_eq!(find("").expect_err("unknown").code, Code::Usage);
    }

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut texts: Vec<&str> = Code::ALL.iter().map(|code| code.text()).collect();
        assert!(texts.iter().all(|text| text.len() == 6 && text.starts_with("TW")));
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
