//! Tools of others: those of an MCP server, over its streamable HTTP. All that goes out is HTTP of the function, so grant,
//! journal and replay hold for it as for any; what the server says is checked as any input, and decides nothing else.

use serde_json::{Value as Json, json};
use std::cell::{Cell, RefCell};
use std::fmt::{self, Display};
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::failure::{Failure, code};
use crate::http::{self, RequestBuilder, Response};
use crate::model::is_name;
use crate::{AgentTool, FnCtx};

mod listed;
mod wire;

use listed::{Listed, Page};
use wire::{broken, message_of};

/// The newest first: it is asked for, and a server that does not know it answers with one that it knows.
const VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// The contract lets a model choose from no more.
const TOOLS_MAX: usize = 128;

/// Each page is a request: a server that always has another one would never end.
const PAGES_MAX: usize = 64;

/// Of all tools together: they are sent along with each call of the model.
const TOOLS_MAX_BYTES: usize = 1024 * 1024;

/// They are sent along with every request.
const SESSION_ID_MAX_BYTES: usize = 1024;

/// As for any HTTP.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// A server of the Model Context Protocol, whose tools an agent may use.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// #[agent(models = ["openai/gpt-4o-mini"], mcp = ["library"])]
/// async fn look_up(ctx: FnCtx, question: String) -> Result<String, Failure> {
///     let library = McpServer::named("library").only(["search", "read"]);
///     let agent = Agent::new("reader").model("openai/gpt-4o-mini").tools(library.tools(&ctx).await?);
///     Ok(agent.run(&ctx, question).await?.output)
/// }
/// # fn main() {}
/// ```
///
/// A session is begun with the first request, and once more where the server has lost it. Clones share it.
#[derive(Clone)]
pub struct McpServer {
    name: String,
    url: String,
    headers: Vec<(String, String)>,
    only: Option<Vec<String>>,
    timeout: Duration,
    state: Rc<State>,
    at: &'static Location<'static>,
}

#[derive(Default)]
struct State {
    session: RefCell<Option<Rc<Session>>>,
    last_id: Cell<u64>,
}

/// What the server said in the beginning.
struct Session {
    id: Option<String>,
    version: &'static str,
}

impl McpServer {
    /// The server that the deployment has under this name: `trackway deploy --mcp library=https://mcp.example.com/mcp`. Its name,
    /// 1 to 32 of `A-Z a-z 0-9 _ -`, also begins the names of its tools, as in `library_search`.
    #[track_caller]
    pub fn named(name: impl Into<String>) -> McpServer {
        let name = name.into();
        let url = format!("mcp://{name}");
        McpServer::new(name, url)
    }

    /// A server at a URL that the component knows; its host has to be granted. `name` begins the names of its tools, as in `library_search`, so that those of several servers differ;
    /// it is made of `A-Z a-z 0-9 _ -`.
    #[track_caller]
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> McpServer {
        McpServer {
            name: name.into(),
            url: url.into(),
            headers: Vec::new(),
            only: None,
            timeout: TIMEOUT_DEFAULT,
            state: Rc::default(),
            at: Location::caller(),
        }
    }

    /// Adds a header to each request. It stands in the journal, as those of any request; a secret is given as
    /// [`FnCtx::secret`] has it.
    pub fn header(mut self, name: impl Into<String>, value: impl Display) -> McpServer {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    /// Sends `Authorization: Bearer` with this token.
    pub fn bearer_auth(self, token: impl Display) -> McpServer {
        self.header("authorization", format_args!("Bearer {token}"))
    }

    /// Takes these of its tools, by the server's own names, and no others: what it adds later reaches no model.
    pub fn only<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> McpServer {
        self.only = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// For each request; 30 s unless told, at most 10 minutes.
    pub fn timeout(mut self, timeout: Duration) -> McpServer {
        self.timeout = timeout;
        self
    }

    /// Asks for its tools, for [`Agent::tools`](crate::Agent::tools). What a call is answered with is told to the model, text as it is; so
    /// are errors. Pictures and sound are named, not passed on.
    ///
    /// # Errors
    ///
    /// `MCP_BROKEN` if it does not keep to the protocol, or to a version known here; `MCP_ERROR` if it refuses; `TOO_MANY` above 128
    /// tools, `TOO_LARGE` above 1 MiB of them; `BAD_REQUEST` for a name that is none, and for a tool of
    /// [`only`](McpServer::only) that it does not have; those of [HTTP](RequestBuilder::send).
    pub async fn tools(&self, ctx: &FnCtx) -> Result<Vec<AgentTool>, Failure> {
        // Only functions have one: a workflow that asks is told so by the compiler.
        let _ = ctx;
        if !is_name(&self.name) {
            let message = format!("the name of an MCP server is made of `A-Z a-z 0-9 _ -`: `{}` is none", self.name);
            return Err(Failure::permanent(code::BAD_REQUEST, message));
        }
        let listed = self.list().await?;
        if let Some(names) = &self.only
            && let Some(name) = names.iter().find(|name| !listed.iter().any(|tool| tool.name == **name))
        {
            return Err(Failure::permanent(code::BAD_REQUEST, format!("{} has no tool `{name}`", self.name)));
        }
        let mut tools: Vec<AgentTool> = Vec::with_capacity(listed.len());
        for listed in listed {
            let name = listed.name_for_models(&self.name)?;
            if tools.iter().any(|tool| tool.name == name) {
                return Err(broken(&self.name, format_args!("two of its tools would be called `{name}`")));
            }
            tools.push(self.tool(name, listed));
        }
        Ok(tools)
    }

    /// Tells the server that its session is over. It never fails: a server may forget its sessions as it likes.
    pub async fn close(&self) {
        let Some(session) = self.state.session.take() else { return };
        if session.id.is_some() {
            let request = self.dressed(http::delete(&self.url), Some(&session));
            drop(request.send().label(self.label("close")).at(self.at).await);
        }
    }

    fn tool(&self, name: String, listed: Listed) -> AgentTool {
        // Servers need not heed the idempotency key.
        let tries = if listed.may_come_twice() { None } else { Some(1) };
        let Listed { name: own_name, description, input_schema, output_schema, .. } = listed;
        let (server, output_schema) = (self.clone(), Rc::new(output_schema));
        AgentTool::new(name, description.unwrap_or_default(), input_schema, move |_, arguments| {
            let (server, output_schema, own_name) = (server.clone(), output_schema.clone(), own_name.clone());
            async move {
                let params = json!({ "name": own_name, "arguments": arguments });
                let result = server.ask("tools/call", &params, tries).await?;
                wire::told(&server.name, result, output_schema.as_ref().as_ref())
            }
        })
    }

    /// All pages of what it has, and what is wanted of it.
    async fn list(&self) -> Result<Vec<Listed>, Failure> {
        let (mut tools, mut bytes, mut params) = (Vec::new(), 0, json!({}));
        for _ in 0..PAGES_MAX {
            let page = self.ask("tools/list", &params, None).await?;
            let page = Page::read(page).map_err(|why| broken(&self.name, why))?;
            for mut tool in page.tools {
                if self.only.as_ref().is_some_and(|names| !names.contains(&tool.name)) {
                    continue;
                }
                bytes += tool.check().map_err(|why| broken(&self.name, why))?;
                tools.push(tool);
            }
            if tools.len() > TOOLS_MAX {
                let message = format!("{} has more than {TOOLS_MAX} tools: name some by `only`", self.name);
                return Err(Failure::permanent(code::TOO_MANY, message));
            }
            if bytes > TOOLS_MAX_BYTES {
                let message =
                    format!("the tools of {} have more than {TOOLS_MAX_BYTES} bytes: name some by `only`", self.name);
                return Err(Failure::permanent(code::TOO_LARGE, message));
            }
            match page.next_cursor {
                Some(cursor) if !cursor.is_empty() => params = json!({ "cursor": cursor }),
                Some(_) | None => return Ok(tools),
            }
        }
        let message = format!("{} tells its tools on more than {PAGES_MAX} pages", self.name);
        Err(Failure::permanent(code::TOO_MANY, message))
    }

    /// Asks within the session; one that the server has lost is begun anew, once.
    async fn ask(&self, method: &str, params: &Json, tries: Option<u32>) -> Result<Json, Failure> {
        let mut session = self.session(None).await?;
        for is_last in [false, true] {
            let id = self.next_id();
            let response = self.post(Some(&session), &request_of(method, id, params), tries).await?;
            if response.status() != 404 || session.id.is_none() || is_last {
                return wire::answer(&self.name, response, id);
            }
            session = self.session(Some(&session)).await?;
        }
        Err(broken(&self.name, "it loses its sessions"))
    }

    /// The one that is open, unless it is `lost`.
    async fn session(&self, lost: Option<&Rc<Session>>) -> Result<Rc<Session>, Failure> {
        let open = self.state.session.borrow().clone();
        match open {
            // Of several calls that meet the loss, those that come later take what the first one began.
            Some(open) if lost.is_none_or(|lost| !Rc::ptr_eq(lost, &open)) => Ok(open),
            Some(_) | None => self.begin().await,
        }
    }

    async fn begin(&self) -> Result<Rc<Session>, Failure> {
        let id = self.next_id();
        let params = json!({
            "protocolVersion": VERSIONS[0],
            "capabilities": {},
            "clientInfo": { "name": "trackway", "version": env!("CARGO_PKG_VERSION") },
        });
        let response = self.post(None, &request_of("initialize", id, &params), None).await?;
        let session_id = response.header("mcp-session-id").map(str::to_owned);
        let said = wire::answer(&self.name, response, id)?;
        let version = said["protocolVersion"].as_str().unwrap_or_default();
        let Some(version) = VERSIONS.into_iter().find(|known| *known == version) else {
            let why = format!("it speaks version `{}`; known are {}", message_of(version), VERSIONS.join(", "));
            return Err(broken(&self.name, why));
        };
        if session_id.as_ref().is_some_and(|id| !is_session_id(id)) {
            return Err(broken(&self.name, "the id of its session is none"));
        }
        let session = Rc::new(Session { id: session_id, version });
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.post(Some(&session), &ready, None).await?.error_for_status()?;
        self.state.session.replace(Some(session.clone()));
        Ok(session)
    }

    async fn post(&self, session: Option<&Session>, body: &Json, tries: Option<u32>) -> Result<Response, Failure> {
        let what = body["method"].as_str().unwrap_or_default();
        let label = match body["params"]["name"].as_str() {
            Some(tool) => self.label(&format!("{what} {tool}")),
            None => self.label(what),
        };
        let mut request = http::post(&self.url).json(body).header("accept", "application/json, text/event-stream");
        if let Some(tries) = tries {
            request = request.tries(tries);
        }
        self.dressed(request, session).send().label(label).at(self.at).await
    }

    fn dressed(&self, mut request: RequestBuilder, session: Option<&Session>) -> RequestBuilder {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header("mcp-protocol-version", session.version);
            if let Some(id) = &session.id {
                request = request.header("mcp-session-id", id);
            }
        }
        request.timeout(self.timeout)
    }

    /// For the trace.
    fn label(&self, what: &str) -> String {
        format!("mcp {} {what}", self.name)
    }

    fn next_id(&self) -> u64 {
        let id = self.state.last_id.get() + 1;
        self.state.last_id.set(id);
        id
    }
}

fn request_of(method: &str, id: u64, params: &Json) -> Json {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// As the protocol has it: it becomes a header.
fn is_session_id(id: &str) -> bool {
    (1..=SESSION_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Debug for McpServer {
    /// Headers may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
