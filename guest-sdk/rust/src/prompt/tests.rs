use crate::Prompt;
use crate::prelude::*;
use crate::prompt::Template;
use crate::testing::{Host, ModelResponse};

prompt!(Greeting = "src/prompt/greeting.md");

#[test]
fn what_a_file_leaves_open_is_filled_in_and_nothing_else() {
    let prompt = Prompt::from(Greeting { name: &"{{language}}", language: &7 });
    assert_eq!(prompt.text(), "Greet {{language}} in 7.\nBe brief.");
    let file = prompt.file().expect("it was made from a file");
    assert_eq!((file.name, file.version.len()), ("greeting", 16));
    assert_eq!(Greeting::TEXT, "Greet {{name}} in {{ language }}.\nBe brief.");
}

#[test]
fn a_call_of_a_model_names_the_files_that_it_was_made_from() {
    #[function]
    async fn greet(ctx: FnCtx) -> Result<String, Failure> {
        let prompt = Greeting { name: &"Ada", language: &"Latin" };
        let asked = ctx.model("test/model").system(prompt).user("Now.").user(prompt).await?;
        Ok(asked.text().to_owned())
    }
    let host = Host::new().on_model(|request| ModelResponse::text(request.options["prompts"].to_string()));
    let version = Greeting::VERSION;
    let named = format!("[{{\"name\":\"greeting\",\"version\":\"{version}\"}}]");
    assert_eq!(host.call(greet(())).expect("it succeeds"), named);
}
