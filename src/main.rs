//! The program: the library's command line, and nothing else.

mod allocator;

fn main() -> std::process::ExitCode {
    allocator::set_up();
    kinora::cli::main()
}
