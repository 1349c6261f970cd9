//! Prompts: texts for models, written in the code or made of a file of the component, which then has a name and a
//! version that manifest and trace show. It never reads a file: `prompt!` does, when the component is built.

use serde::Serialize;

/// Makes of a file of the project a type for its text, read when the component is built. What stands in it as
/// `{{title}}` is a field of that type: one that is forgotten, or that the file does not have, is an error of the
/// compiler.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// // Two lines: "Greet {{name}} in {{language}}." and "Be brief."
/// prompt!(Greeting = "src/prompt/greeting.md");
///
/// #[agent]
/// async fn greet(ctx: FnCtx, name: String) -> Result<String, Failure> {
///     let prompt = Greeting { name: &name, language: &"Latin" };
///     Ok(ctx.model("openai/gpt-4o-mini").user(prompt).await?.text().to_owned())
/// }
///
/// export!(greet, Greeting);
/// # fn main() {
/// # use trackway_sdk::testing::{Host, ModelResponse};
/// let host = Host::new().on_model(|request| ModelResponse::text(request.last_content()));
/// assert_eq!(host.call(greet("Ada".into())).unwrap(), "Greet Ada in Latin.\nBe brief.");
/// # }
/// ```
///
/// The path is from the folder of `Cargo.toml`, the name of the prompt that of the file without its ending. Its version is a
/// digest of the text, so it changes by itself. `export!` puts name, version and text into the manifest, and the trace of each
/// call of a model names those that it was made from. A field takes anything that can be displayed; `\{{` stands
/// for two braces. Write `prompt!(pub Greeting = "..")` to use it in other modules.
pub use trackway_sdk_macros::prompt;

/// A text for a model: any `&str` or `String`, or what [`prompt!`](crate::prompt!) made of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    text: String,
    file: Option<PromptFile>,
}

/// The file that a prompt was made from, as the contract names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PromptFile {
    /// That of the file, without its ending.
    pub name: &'static str,
    /// The digest of its text.
    pub version: &'static str,
}

/// What `prompt!` knows of a file.
#[doc(hidden)]
pub trait Template {
    const NAME: &'static str;
    const VERSION: &'static str;
    const TEXT: &'static str;
}

impl Prompt {
    #[doc(hidden)]
    pub fn of_file<T: Template>(text: String) -> Prompt {
        Prompt { text, file: Some(PromptFile { name: T::NAME, version: T::VERSION }) }
    }

    /// The text, with its variables filled in.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file that it was made from, if it was.
    pub fn file(&self) -> Option<PromptFile> {
        self.file
    }

    pub(crate) fn into_parts(self) -> (String, Option<PromptFile>) {
        (self.text, self.file)
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Prompt {
        Prompt { text, file: None }
    }
}

impl From<&String> for Prompt {
    fn from(text: &String) -> Prompt {
        Prompt::from(text.clone())
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Prompt {
        Prompt::from(text.to_owned())
    }
}

#[cfg(test)]
mod tests;
