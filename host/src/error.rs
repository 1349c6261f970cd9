//! What went wrong with the host, its input or its surroundings: a stable code, what happened, and
//! what to do next. Never what went wrong with a guest: that is a [`trackway_replay::Failure`].

use std::fmt;
use std::time::Duration;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $title:literal;)*) => {
        /// Every code, each with a page `docs/errors/CODE.md` that `trackway explain CODE` prints.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $name,)* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            pub fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// A few words, the same for every error of this code.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    // TW00: not told apart further.
    /// A bug or an unforeseen answer of the operating system.
    Internal = "TW0001", "internal error";

    // TW01: the command line and the project.
    /// Arguments that do not fit.
    Usage = "TW0101", "wrong usage";
    /// `trackway.toml`, the user file or the environment holds something wrong.
    BadConfig = "TW0102", "bad configuration";
    /// No project here, or nothing to build.
    NoProject = "TW0103", "no project here";
    /// The guest could not be built.
    BuildFailed = "TW0104", "build failed";
    /// No toolchain for the guest's target.
    NoToolchain = "TW0105", "toolchain missing";
    /// A file that was named cannot be read or written.
    File = "TW0106", "file cannot be used";

    // TW02: uploads.
    /// Text, ELF, an archive: anything but Wasm.
    NotWasm = "TW0201", "not WebAssembly";
    /// Wasm that is cut off or breaks the format.
    BadWasm = "TW0202", "malformed WebAssembly";
    /// Larger than an upload may be.
    UploadTooLarge = "TW0203", "upload too large";
    /// More of something (functions, memories, nesting) than the gate lets in.
    TooComplex = "TW0204", "component over a structural limit";
    /// An import outside the contract.
    ForeignImport = "TW0205", "import outside the contract";
    /// An export of the contract is missing or has another type.
    WrongWorld = "TW0206", "not a Trackway component";
    /// The compiler refused, crashed or went over its limits.
    CompileFailed = "TW0207", "cannot be compiled";
    /// `describe` trapped, or its manifest breaks the contract.
    BadManifest = "TW0208", "bad manifest";
    /// No component with that digest.
    NoSuchComponent = "TW0209", "no such component";

    /// No signature of a trusted key, or none at all where one is wanted.
    BadSignature = "TW0210", "signature missing or wrong";

    // TW03: deployments and runs.
    /// No deployment of that name, or none that has the workflow.
    NoSuchDeployment = "TW0301", "no such deployment";
    /// The deployment has no workflow of that name.
    NoSuchWorkflow = "TW0302", "no such workflow";
    /// No run with that id or prefix.
    NoSuchRun = "TW0303", "no such run";
    /// A prefix that fits several runs.
    AmbiguousRun = "TW0304", "ambiguous run id";
    /// Input that is not JSON.
    InputNotJson = "TW0305", "input is not JSON";
    /// Input that breaks the workflow's schema.
    InputBreaksSchema = "TW0306", "input breaks the schema";
    /// Input over its limit.
    InputTooLarge = "TW0307", "input too large";
    /// The run has ended, so it takes nothing any more.
    RunEnded = "TW0308", "run has ended";
    /// The idempotency key was used with another request.
    KeyConflict = "TW0309", "idempotency key used for another request";
    /// The run's inbox is full.
    InboxFull = "TW0310", "inbox full";
    /// A deployment changed while it was being changed.
    DeploymentConflict = "TW0311", "deployment changed meanwhile";
    /// Several deployments have the workflow.
    AmbiguousWorkflow = "TW0312", "workflow in several deployments";
    /// A pattern of a grant that cannot be read.
    BadGrant = "TW0313", "bad grant";
    /// What a deployment is granted goes beyond what its tenant may grant.
    OverPolicy = "TW0319", "beyond the tenant's policy";
    /// The workflow declares its signals, and that is none of them.
    NoSuchSignal = "TW0314", "no such signal";
    /// The run asked no question there.
    NoSuchQuestion = "TW0317", "no such question";
    /// Somebody answered before, or the time was over.
    QuestionSettled = "TW0316", "question settled already";
    /// No run made a promise with that token.
    NoSuchPromise = "TW0331", "no such promise";
    /// Somebody settled it before, its time was over, or nobody waits for it.
    PromiseSettled = "TW0332", "promise settled already";
    /// The run has published nothing under that key.
    NoSuchState = "TW0333", "nothing published under that key";
    /// The workflow declares its updates, and that is none of them.
    NoSuchUpdate = "TW0334", "no such update";
    /// The run ended and had not answered the update.
    UpdateUnanswered = "TW0335", "update not answered";
    /// The run has no such step, or cannot go on from there.
    CannotRestart = "TW0320", "cannot be restarted from there";
    /// Other code does not do what is on record of the run.
    CannotMove = "TW0321", "cannot go on with other code";
    /// It has not ended, so it cannot be removed.
    RunOpen = "TW0322", "run has not ended";
    /// A version, a proposal or an open run has it, so it cannot be removed.
    ComponentInUse = "TW0323", "component in use";
    /// No step of the run waits for a person or for its next attempt.
    NothingToRetry = "TW0315", "nothing to try again";
    /// No entity of that name and key.
    NoSuchEntity = "TW0350", "no such entity";
    /// It was to be written at another version than it has.
    EntityConflict = "TW0351", "entity at another version";
    /// The tenant has as many as it may have.
    TooManyEntities = "TW0352", "too many entities";
    /// The tenant has no secret of that name.
    NoSuchSecret = "TW0360", "no such secret";
    /// A name or value that no secret has, or one secret more than there may be.
    BadSecret = "TW0361", "bad secret";
    /// The server was started without a key to keep secrets with.
    NoSecretKey = "TW0362", "no key for secrets";

    // TW04: the store.
    /// Another process uses the data folder.
    DataInUse = "TW0401", "data folder in use";
    /// The data folder is of a newer version.
    DataNewer = "TW0402", "data folder of a newer version";
    /// A checksum or structure in the store is wrong.
    DataDamaged = "TW0403", "stored data damaged";
    /// Acknowledged data is missing from the store.
    DataBehind = "TW0404", "store behind its own counter";
    /// No room left.
    DiskFull = "TW0405", "disk full";
    /// Writes do not become durable here.
    NotDurable = "TW0406", "disk does not keep its promises";
    /// The store stopped.
    StoreClosed = "TW0407", "store closed";
    /// Any other error of the disk.
    StoreIo = "TW0408", "disk error";
    /// Something is sealed under a key of the server that is not there.
    NoDataKey = "TW0409", "no key for sealed data";

    // TW05: replay.
    /// The code does not do what the journal says.
    Diverged = "TW0501", "replay diverged";
    /// Recalling the run brought the worker down again and again.
    Quarantined = "TW0502", "run quarantined";
    /// Something in the run's journal cannot be read.
    JournalUnreadable = "TW0503", "journal unreadable";
    /// The code trapped while it was being recalled.
    RecallTrapped = "TW0504", "trap while recalling";
    /// The component of a run is missing or cannot be loaded.
    CodeMissing = "TW0505", "code of the run unavailable";

    // TW06: server and network.
    /// The address is taken.
    PortInUse = "TW0601", "address in use";
    /// Nobody answers there.
    Unreachable = "TW0602", "server not reachable";
    /// No key, or one that is not known.
    Unauthorized = "TW0603", "not authorized";
    /// The request is malformed.
    BadRequest = "TW0604", "bad request";
    /// There is no such path.
    NoSuchPath = "TW0605", "no such path";
    /// The server is stopping and takes no new work.
    Stopping = "TW0606", "server is stopping";
    /// The request's body is too large.
    RequestTooLarge = "TW0607", "request too large";
    /// Too much is going on; try again.
    Overloaded = "TW0608", "too many requests";
    /// Waited as long as was asked for; the run goes on.
    GaveUpWaiting = "TW0609", "gave up waiting";
    /// As many runs are active as may be, and none made room in time.
    NoRoom = "TW0610", "no room for another run";

    // TW07: who may use the server.
    /// The key is known and has not the scope that the request needs.
    NoScope = "TW0701", "key not allowed to do that";
    /// No tenant of that name, or none that the caller may know of.
    NoSuchTenant = "TW0702", "no such tenant";
    /// The name is taken, by a tenant that is there or is being deleted.
    TenantExists = "TW0703", "tenant exists";
    /// Its keys are refused until it is enabled again.
    TenantDisabled = "TW0704", "tenant disabled";
    /// The tenant has no key of that id.
    NoSuchKey = "TW0705", "no such key";
    /// Too many requests from that address showed no key that is known.
    TooManyTries = "TW0706", "too many refused attempts";
    /// There are as many tenants, or keys of one, as there may be.
    TooManyIdentities = "TW0707", "too many tenants or keys";
    /// The tenant uses as much of something as it may: for now, for today, or at once.
    QuotaExceeded = "TW0708", "quota exceeded";
    /// The tenant stores as much as it may.
    StorageQuotaExceeded = "TW0709", "storage quota exceeded";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// An error of the host.
#[derive(Debug, Clone)]
pub struct Error {
    pub code: Code,
    /// What happened, where and why.
    pub message: String,
    /// What to do next, where there is something to say beyond the code's page.
    pub hint: Option<String>,
    /// Of one that passes by itself: when to try again, where that is known.
    pub retry_after: Option<Duration>,
    /// Of one that says that a quota is used up.
    pub quota: Option<Box<QuotaUse>>,
}

/// A quota as it stood when it was used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUse {
    pub name: &'static str,
    pub limit: u64,
    pub used: u64,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, message: message.into(), hint: None, retry_after: None, quota: None }
    }

    pub fn hint(self, hint: impl Into<String>) -> Error {
        Error { hint: Some(hint.into()), ..self }
    }

    pub fn retry_after(self, wait: Duration) -> Error {
        Error { retry_after: Some(wait), ..self }
    }

    pub fn quota(self, name: &'static str, limit: u64, used: u64) -> Error {
        Error { quota: Some(Box::new(QuotaUse { name, limit, used })), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.code.title(), self.message)
    }
}

impl std::error::Error for Error {}

const HINT_NO_KEY: &str = "nothing was changed; name the keys with --secrets-key-file FILE, or in TRACKWAY_SECRETS_KEY. \
                           A data key that is missing is put back into the folder";

impl From<trackway_storage::StorageError> for Error {
    fn from(error: trackway_storage::StorageError) -> Error {
        use trackway_storage::StorageErrorKind as Kind;
        let code = match error.kind {
            Kind::InUse => Code::DataInUse,
            Kind::Newer => Code::DataNewer,
            Kind::NoKey => Code::NoDataKey,
            Kind::Damaged => Code::DataDamaged,
            Kind::Behind => Code::DataBehind,
            Kind::Full => Code::DiskFull,
            Kind::NotDurable => Code::NotDurable,
            Kind::Closed => Code::StoreClosed,
            Kind::Invalid => Code::Internal,
            Kind::Io => Code::StoreIo,
        };
        let error_of = Error::new(code, error.message);
        match code {
            Code::NoDataKey => error_of.hint(HINT_NO_KEY),
            _ => error_of,
        }
    }
}
