//! The program: the library's command line, and nothing else.

// Folding makes and drops many small values, on several threads: it takes half the time with this allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    kinora::cli::main()
}
