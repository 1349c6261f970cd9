use super::*;
use std::collections::BTreeMap;

/// A folder with a project and a user's file, and an environment that points there.
struct Place {
    folder: tempfile::TempDir,
    env: BTreeMap<&'static str, String>,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("the folder for temporary files is writable");
        let env = BTreeMap::from([("XDG_CONFIG_HOME", folder.path().join("config").display().to_string())]);
        Place { folder, env }
    }

    fn with(self, path: &str, text: &str) -> Place {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("writable");
        std::fs::write(path, text).expect("writable");
        self
    }

    fn env(mut self, name: &'static str, value: &str) -> Place {
        self.env.insert(name, value.to_owned());
        self
    }

    fn read(&self) -> Result<Config> {
        let deep = self.folder.path().join("project/src/deep");
        std::fs::create_dir_all(&deep).expect("writable");
        Config::read(&deep, |name| self.env.get(name).cloned())
    }

    fn config(&self) -> Config {
        self.read().expect("the files are right")
    }
}

fn server_of(config: &Config, flag: Option<&str>) -> String {
    config.connection(flag.map(str::to_owned), None).expect("an address").server.value
}

const DEV: &str = r#"{"server": "http://127.0.0.1:9003", "key": "dev-key"}"#;

#[test]
fn flags_win_over_environment_over_project_over_dev_over_user_over_default() {
    let place = Place::new();
    assert_eq!(server_of(&place.config(), None), format!("http://{LISTEN_DEFAULT}"));
    let place = place.with("config/trackway/config.toml", "server = 'http://user:1'");
    assert_eq!(server_of(&place.config(), None), "http://user:1");
    let place = place.with("project/trackway.toml", "").with("project/.trackway/dev.json", DEV);
    assert_eq!(server_of(&place.config(), None), "http://127.0.0.1:9003");
    let place = place.with("project/trackway.toml", "server = 'http://project:2'");
    assert_eq!(server_of(&place.config(), None), "http://project:2");
    let place = place.env("TRACKWAY_SERVER", "http://environment:3");
    assert_eq!(server_of(&place.config(), None), "http://environment:3");
    assert_eq!(server_of(&place.config(), Some("flag:4")), "http://flag:4");
}

#[test]
fn the_data_folder_follows_the_same_order_and_counts_from_the_file_that_names_it() {
    let place = Place::new().with("project/trackway.toml", "data = 'store'");
    let data = |place: &Place, flag: Option<&str>| place.config().data(flag.map(PathBuf::from)).map(|data| data.value);
    assert_eq!(data(&place, None), Some(place.folder.path().join("project/store")));
    let place = place.env("TRACKWAY_DATA", "/env");
    assert_eq!(data(&place, None), Some(PathBuf::from("/env")));
    assert_eq!(data(&place, Some("/flag")), Some(PathBuf::from("/flag")));
}

#[test]
fn a_key_that_was_left_for_one_server_is_never_sent_to_another() {
    let key = |place: &Place, server: Option<&str>| {
        let connection = place.config().connection(server.map(str::to_owned), None).expect("an address");
        connection.key.map(|key| key.value)
    };
    let place = Place::new()
        .with("project/trackway.toml", "")
        .with("project/.trackway/dev.json", DEV)
        .with("config/trackway/config.toml", "server = 'https://mine'\nkey = 'user-key'");
    assert_eq!(key(&place, None).as_deref(), Some("dev-key"));
    assert_eq!(key(&place, Some("http://127.0.0.1:9003/")).as_deref(), Some("dev-key"));
    assert_eq!(key(&place, Some("https://mine")).as_deref(), Some("user-key"));
    assert_eq!(key(&place, Some("http://elsewhere")), None);
    let place = place.with("project/trackway.toml", "server = 'http://from-a-stranger'");
    assert_eq!(key(&place, None), None);
    let place = place.env("TRACKWAY_KEY", "env-key");
    assert_eq!(key(&place, None).as_deref(), Some("env-key"));
}

#[test]
fn an_empty_variable_is_no_setting() {
    let place = Place::new().env("TRACKWAY_SERVER", "").env("TRACKWAY_KEY", "");
    let connection = place.config().connection(None, None).expect("an address");
    assert_eq!((connection.server.source, connection.key), (Source::Default, None));
}

#[test]
fn a_wrong_file_is_refused_by_its_path_and_line() {
    let place = Place::new().with("project/trackway.toml", "nmae = 'x'");
    let error = place.read().expect_err("a wrong field");
    assert_eq!(error.code, Code::BadConfig);
    assert!(error.message.contains("trackway.toml") && error.message.contains("nmae"), "{}", error.message);
}

#[test]
fn a_key_in_the_project_file_is_refused_with_the_place_where_it_belongs() {
    let error = Place::new().with("project/trackway.toml", "key = 'x'").read().expect_err("a key");
    assert!(error.hint.is_some_and(|hint| hint.contains("TRACKWAY_KEY")));
}

#[test]
fn a_key_of_a_provider_is_refused_with_the_place_where_it_belongs() {
    let text = "[providers.mine]\nkey = 'sk-1'";
    let error = Place::new().with("project/trackway.toml", text).read().expect_err("a key");
    assert!(error.hint.is_some_and(|hint| hint.contains("key_env")), "{}", error.message);
}

#[test]
fn providers_of_a_file_win_over_those_of_the_project_over_those_of_the_user() {
    let table = |name: &str, url: &str| format!("[providers.{name}]\nprotocol = 'openai-chat'\nurl = '{url}'\n");
    let user = table("a", "http://user") + &table("b", "http://user") + &table("c", "http://user");
    let place = Place::new()
        .with("config/trackway/config.toml", &user)
        .with("project/trackway.toml", &(table("a", "http://project") + &table("b", "http://project")))
        .with("more.toml", &table("a", "http://file"));
    let file = place.folder.path().join("more.toml");
    let providers = |file: Option<&Path>| place.config().providers(file, |_| None).expect("nothing is wrong");
    let shown = format!("{:?}", providers(Some(&file)));
    let urls = |shown: &str| ["file", "project", "user"].map(|host| shown.matches(&format!("\"{host}\"")).count());
    assert_eq!(urls(&shown), [1, 1, 1], "{shown}");
    assert_eq!(urls(&format!("{:?}", providers(None))), [0, 2, 1]);
    let error = place.config().providers(Some(Path::new("/nowhere.toml")), |_| None).expect_err("no file");
    assert_eq!(error.code, Code::File);
}

#[test]
fn an_address_that_is_none_is_refused_with_its_source() {
    let place = Place::new().env("TRACKWAY_SERVER", "ftp://somewhere");
    let error = place.config().connection(None, None).expect_err("not http");
    assert_eq!(error.code, Code::BadConfig);
    assert!(error.message.contains("TRACKWAY_SERVER"), "{}", error.message);
}

#[test]
fn brackets_that_are_never_closed_are_an_error_and_no_crash() {
    let crossed = "a= [::1]l={ ::\"]\n".repeat(2_000);
    let in_text = "a={x=\"}\",y=".repeat(2_000);
    let opened = ["a={".repeat(20_000), "a = ".to_owned() + &"[".repeat(20_000), "x={ a ={ [::1]m={".repeat(2_000)];
    for text in opened.into_iter().chain([crossed, in_text]) {
        let error = parse_toml::<ProjectFile>(&text).expect_err("nobody means that");
        assert!(error.contains("brackets"), "{error}");
    }
    for most in ["a={x=\"}\",y=".repeat(BRACKETS_MAX), "a= [::1]l={ ::\"]\n".repeat(BRACKETS_MAX / 2)] {
        parse_toml::<ProjectFile>(&most).expect_err("it is read, and is no project");
    }
    let ours = "name = \"a\"\nallow_hosts = [\"[::1]:80\", \"b.example\"]\n";
    assert_eq!(parse_toml::<ProjectFile>(ours).map(|file| file.allow_hosts.len()), Ok(2));
}
