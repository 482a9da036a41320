//! Arguments of every command that serves HTTP: `dev`, `project`, `serve`.

use crate::config::Flag;

/// Arguments of a command that serves HTTP.
#[derive(clap::Args, Debug)]
pub struct ServerArguments {
    /// Address and port to listen on [default: `serve.listen`, which is 127.0.0.1:4000; of `project` `project.listen`, which is
    /// 127.0.0.1:4001]; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The form of what is logged: `text` or `json` [default: `log.format`, which is `text`].
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
}

impl ServerArguments {
    /// The settings that these arguments override; `listen` is that of the address.
    pub fn flags(&self, listen: &'static str) -> Vec<Flag> {
        let flag = |name, key, value: &Option<String>| Some(Flag { name, key, value: value.clone()? });
        let flags =
            [flag("--listen", listen, &self.listen), flag("--log-format", "log.format", &self.log_format)];
        flags.into_iter().flatten().collect()
    }
}
