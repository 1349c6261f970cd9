//! The systems that are measured: how each is started with an empty store, spoken to and stopped. It
//! measures nothing.

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::footprint::with_children;
use super::{free_address, obelisk, peers, program};
use crate::process::{output, works};
use crate::{setup, tree};

/// DBOS makes its tables first.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// A wait of the host takes up to a minute.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOG_LINES: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    Trackway,
    Floor,
    Restate,
    Dbos,
    Obelisk,
}

/// A system that takes requests.
pub struct Server {
    system: System,
    folder: PathBuf,
    /// Where runs are started.
    pub address: String,
    pub key: String,
    /// The last one started first.
    children: Vec<Child>,
    postgres: Option<Postgres>,
}

impl System {
    pub const ALL: [System; 5] = [System::Trackway, System::Floor, System::Restate, System::Dbos, System::Obelisk];

    pub fn name(self) -> &'static str {
        match self {
            System::Trackway => "trackway",
            System::Floor => "floor",
            System::Restate => "restate",
            System::Dbos => "dbos",
            System::Obelisk => "obelisk",
        }
    }
}

impl Server {
    /// Starts it on whatever is in `folder`, and gives it the work.
    pub fn start(system: System, folder: &Path, world: &str) -> Result<Server> {
        let server = Server::start_bare(system, folder)?;
        match system {
            System::Trackway => server.deploy(world)?,
            System::Restate => server.register()?,
            System::Dbos | System::Floor | System::Obelisk => {}
        }
        Ok(server)
    }

    /// The same without giving it anything.
    pub fn start_bare(system: System, folder: &Path) -> Result<Server> {
        std::fs::create_dir_all(folder)?;
        let (address, key) = (free_address()?, String::new());
        let folder = folder.to_owned();
        let mut server = Server { system, folder, address, key, children: Vec::new(), postgres: None };
        match system {
            System::Trackway => server.start_trackway()?,
            System::Restate => server.start_restate()?,
            System::Dbos => server.start_dbos()?,
            System::Obelisk => server.start_obelisk()?,
            System::Floor => bail!("the floor is no server"),
        }
        Ok(server)
    }

    fn start_trackway(&mut self) -> Result<()> {
        let mut command = Command::new(trackway());
        command.args(["server", "--listen", &self.address, "--data"]).arg(self.folder.join("data"));
        command.arg("--key-file").arg(self.folder.join("key")).env("TRACKWAY_LOG", "warn");
        self.spawn(&mut command)?;
        let address = self.address.clone();
        self.wait_until(|_| answers(&address, "GET /v1/health"))?;
        let key = std::fs::read_to_string(self.folder.join("key")).context("the key of the server")?;
        let key = key.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
        self.key = key.trim().to_owned();
        Ok(())
    }

    fn deploy(&self, world: &str) -> Result<()> {
        let mut deploy = self.typed(&self.key);
        deploy.arg("deploy").arg(tree::guests().join("work.wasm")).args(["--name", "work", "--allow-host"]);
        output(deploy.arg(format!("http://{world}"))).map(drop)
    }

    /// The command line of the host, as whoever has the key.
    pub fn typed(&self, key: &str) -> Command {
        let mut command = Command::new(trackway());
        command.current_dir(&self.folder).env("TRACKWAY_SERVER", format!("http://{}", self.address));
        command.env("TRACKWAY_KEY", key);
        command
    }

    fn start_restate(&mut self) -> Result<()> {
        let (_, app) = self.node("restate.mjs")?;
        let (admin, between) = (free_address()?, free_address()?);
        let mut command = Command::new(peers::restate_server().context("restate-server is not installed")?);
        command.args(["--node-name", "bench", "--no-logo", "--bind-ip", "127.0.0.1", "--listen-mode", "tcp"]);
        command.arg("--base-dir").arg(self.folder.join("data"));
        command.env("RESTATE_INGRESS__BIND_PORT", port(&self.address)).env("RESTATE_ADMIN__BIND_PORT", port(&admin));
        command.env("RESTATE_BIND_PORT", port(&between)).env("DO_NOT_TRACK", "1").env("RUST_LOG", "warn");
        self.spawn(&mut command)?;
        self.wait_until(|_| answers(&admin, "GET /health"))?;
        std::fs::write(self.folder.join("admin"), &admin)?;
        std::fs::write(self.folder.join("app"), &app)?;
        Ok(())
    }

    /// Tells the server where the service is. It takes a moment until the server takes it.
    fn register(&self) -> Result<()> {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name));
        let (admin, app) = (read("admin")?, read("app")?);
        let body = serde_json::json!({ "uri": format!("http://{app}") }).to_string();
        self.wait_until(|_| is_good(&admin, &format!("POST /deployments\n{body}")))?;
        let input = serde_json::json!({ "n": 1, "url": "" }).to_string();
        self.wait_until(|server| is_good(&server.address, &format!("POST /work/chain_pure\n{input}")))
    }

    fn start_dbos(&mut self) -> Result<()> {
        let postgres = Postgres::start()?;
        let url = postgres.url("dbos");
        self.postgres = Some(postgres);
        let mut command = self.node_command("dbos.mjs", &self.address.clone())?;
        self.spawn(command.env("DBOS_SYSTEM_DATABASE_URL", url))?;
        let input = serde_json::json!({ "n": 1, "url": "" }).to_string();
        self.wait_until(|server| is_good(&server.address, &format!("POST /work/chain_pure\n{input}")))
    }

    fn start_obelisk(&mut self) -> Result<()> {
        let [server, deployment] = obelisk::configure(&self.folder, &self.address, &peers::obelisk_folder())?;
        let mut command = Command::new(peers::obelisk_program().context("obelisk is not installed")?);
        command.args(["server", "run", "--server-config"]).arg(server).arg("--deployment").arg(deployment);
        self.spawn(&mut command)?;
        let request = obelisk::request("chain_pure", 1, "");
        self.wait_until(|server| {
            exchange(&server.address, "", &request).is_ok_and(|(_, answer)| obelisk::is_good(&answer))
        })
    }

    /// Starts an app of ours for a peer on a free address.
    fn node(&mut self, app: &str) -> Result<(u32, String)> {
        let address = free_address()?;
        let mut command = self.node_command(app, &address)?;
        self.spawn(&mut command)?;
        Ok((self.children.last().map_or(0, Child::id), address))
    }

    fn node_command(&self, app: &str, address: &str) -> Result<Command> {
        let (node, _) = setup::node()?;
        let mut command = Command::new(node.join("node"));
        command.arg(app).arg(port(address)).current_dir(peers::node_folder()).env("NODE_ENV", "production");
        Ok(command)
    }

    fn spawn(&mut self, command: &mut Command) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.children.push(command.spawn().with_context(|| format!("cannot start {}", self.system.name()))?);
        Ok(())
    }

    fn wait_until(&self, mut is_up: impl FnMut(&Server) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !is_up(self) {
            ensure!(begun.elapsed() < UP_WITHIN, "{} does not come up:\n{}", self.system.name(), self.log_tail());
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// The program that measures it.
    pub fn load(&self, works: &str, world: &str) -> Command {
        let mut load = program("load");
        load.args(["--system", self.system.name(), "--address", &self.address, "--world", world, "--works", works]);
        if !self.key.is_empty() {
            load.args(["--key", &self.key]);
        }
        load
    }

    /// The processes that were started for it.
    pub fn processes(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    /// All that it needs to run: also the app of a peer, and its database.
    pub fn all_processes(&self) -> Result<Vec<u32>> {
        let mut all = self.engine_processes()?;
        all.extend(self.processes().into_iter().filter(|process| !all.contains(process)).collect::<Vec<_>>());
        Ok(all)
    }

    /// Those that keep what survives a crash, without the code that runs for users.
    pub fn engine_processes(&self) -> Result<Vec<u32>> {
        match &self.postgres {
            Some(postgres) => {
                let text = std::fs::read_to_string(postgres.folder.join("data/postmaster.pid"))?;
                with_children(text.lines().next().context("an empty postmaster.pid")?.trim().parse()?)
            }
            // The app of a peer is started before its server.
            None => Ok(self.children.last().map(Child::id).into_iter().collect()),
        }
    }

    /// Where the system keeps what survives a crash.
    pub fn data_folder(&self) -> PathBuf {
        match &self.postgres {
            Some(postgres) => postgres.folder.join("data"),
            None => self.folder.join("data"),
        }
    }

    pub fn stop(mut self) -> Result<()> {
        while let Some(mut child) = self.children.pop() {
            works(Command::new("kill").args(["-TERM", &child.id().to_string()]));
            let status = child.wait()?;
            let is_ours = self.system == System::Trackway;
            ensure!(status.success() || !is_ours, "the host did not stop well ({status}):\n{}", self.log_tail());
        }
        Ok(())
    }
}

fn end(child: &mut Child) {
    // Already gone where everything went well.
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Server {
    fn drop(&mut self) {
        self.children.iter_mut().for_each(end);
    }
}

pub fn trackway() -> PathBuf {
    tree::target().join("release/trackway")
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or(address)
}

fn answers(address: &str, request: &str) -> bool {
    exchange(address, "", request).is_ok()
}

/// Whether a request is answered with 2xx.
fn is_good(address: &str, request: &str) -> bool {
    exchange(address, "", request).is_ok_and(|(status, _)| (200..300).contains(&status))
}

/// `METHOD PATH`, and a JSON body on the next line; status and body of the answer.
pub fn exchange(address: &str, key: &str, request: &str) -> Result<(u16, String)> {
    let (line, body) = request.split_once('\n').unwrap_or((request, ""));
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
    let key = if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\n{key}content-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).context("an answer without a status")?.parse()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// A cluster of its own, as Debian would set it up: `fsync` and `synchronous_commit` are on.
struct Postgres {
    folder: PathBuf,
    programs: PathBuf,
    port: String,
}

impl Postgres {
    fn start() -> Result<Postgres> {
        let programs = peers::postgres()?;
        // Its user has to reach the folder, which it may not below somebody's home.
        let folder = PathBuf::from(format!("/var/tmp/trackway-bench-postgres-{}", std::process::id()));
        let port = port(&free_address()?).to_owned();
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        let cluster = Postgres { folder, programs, port };
        output(cluster.as_user("mkdir").arg(&cluster.folder))?;
        let data = cluster.folder.join("data");
        let mut init = cluster.as_user(&cluster.programs.join("initdb").to_string_lossy());
        output(init.args(["--auth=trust", "--username=postgres", "-D"]).arg(&data))?;
        let (folder, port) = (cluster.folder.display(), &cluster.port);
        let options =
            format!("-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=on -c synchronous_commit=on");
        let mut start = cluster.as_user(&cluster.programs.join("pg_ctl").to_string_lossy());
        start.args(["start", "-w", "-o", &options, "-D"]).arg(&data).arg("-l").arg(cluster.folder.join("log"));
        // It leaves its standard streams to the server.
        ensure!(works(&mut start), "PostgreSQL does not start: see {folder}/log");
        Ok(cluster)
    }

    /// It refuses to run as root.
    fn as_user(&self, command: &str) -> Command {
        let is_root = works(Command::new("test").args(["-w", "/usr/bin"]));
        let mut words = Command::new(if is_root { "runuser" } else { "env" });
        if is_root {
            words.args(["-u", "postgres", "--"]);
        }
        words.arg(command).current_dir("/");
        words
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.as_user(&self.programs.join("pg_ctl").to_string_lossy());
        works(stop.args(["stop", "-m", "fast", "-w", "-D"]).arg(self.folder.join("data")));
        // It is in a folder for what may be removed.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
