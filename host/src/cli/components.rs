//! `trackway components`: what was uploaded, and what of it may go. It uploads nothing.

use crate::api::model;

use super::exit::{Done, Exit};
use super::output::clean;
use super::{Context, args, render};

pub async fn components(command: args::Components, context: &Context) -> Done {
    let output = &context.output;
    match command {
        args::Components::Ls { connect } => {
            let components = context.client(connect)?.components().await?;
            let id = |component: &model::ListedComponent| component.digest.to_string();
            output.many(&components, id, || components.iter().map(line).collect())?;
        }
        args::Components::Rm { digest, connect } => {
            context.client(connect)?.remove_component(digest).await?;
            output.say(&format!("removed: {digest}"));
        }
    }
    Ok(Exit::Ok)
}

fn line(component: &model::ListedComponent) -> String {
    let uploaded = render::lists::moment(component.uploaded_at);
    let or_none = |names: &[String]| if names.is_empty() { "none".to_owned() } else { clean(&names.join(", ")) };
    let (workflows, deployments) = (or_none(&component.workflows), or_none(&component.deployments));
    let (digest, size_bytes) = (component.digest, component.size_bytes);
    format!("{digest}  {size_bytes} bytes  {uploaded}  workflows: {workflows}  deployments: {deployments}\n")
}
