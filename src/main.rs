//! The program: the library's command line, and nothing else.

fn main() -> std::process::ExitCode {
    kinora::cli::main()
}
