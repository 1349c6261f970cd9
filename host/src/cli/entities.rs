//! `trackway entities`: values that runs share, looked at and changed by hand.

use serde_json::value::RawValue;

use crate::api::model;

use super::exit::{Done, Exit};
use super::output::clean;
use super::run::read_input;
use super::{Context, args, render};

pub async fn entities(command: args::Entities, context: &Context) -> Done {
    let output = &context.output;
    let id = |entity: &model::Entity| format!("{}/{}", entity.name, entity.key);
    match command {
        args::Entities::Ls { name, after, limit, connect } => {
            let page = context.client(connect)?.entities(name.as_deref(), after.as_deref(), limit).await?;
            output.many(&page.entities, id, || page.entities.iter().map(line).collect())?;
            if let Some(next) = page.next {
                output.say(&format!("there may be more: --after {}", clean(&next)));
            }
        }
        args::Entities::Get(one) => {
            let entity = context.client(one.connect)?.entity(&one.name, &one.key).await?;
            output.one(&entity, &id(&entity), || format!("{}\n", clean(entity.value.get())))?;
        }
        args::Entities::Set { one, input, if_version } => {
            let value: Box<RawValue> = read_input(&input, output)?;
            let client = context.client(one.connect)?;
            let entity = client.set_entity(&one.name, &one.key, &value, if_version).await?;
            output.one(&entity, &id(&entity), || line(&entity))?;
        }
        args::Entities::Rm { one, if_version } => {
            context.client(one.connect)?.delete_entity(&one.name, &one.key, if_version).await?;
            output.say(&format!("deleted: {}/{}", clean(&one.name), clean(&one.key)));
        }
    }
    Ok(Exit::Ok)
}

fn line(entity: &model::Entity) -> String {
    let changed = render::lists::moment(entity.changed_at);
    let (name, key, value) = (clean(&entity.name), clean(&entity.key), clean(entity.value.get()));
    format!("{name}/{key}  version {}  {changed}  {value}\n", entity.version)
}
