//! Sets `heap_aside` in sanitizer builds: their own allocators find the bugs, so ours must not stand before them; and `asan` or `tsan`, for what their runtimes must be told (`sys::sanitizer`). The compiler tells build scripts which sanitizers are on.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(heap_aside, asan, tsan)");
    let sanitizers = std::env::var("CARGO_CFG_SANITIZE").unwrap_or_default();
    if !sanitizers.is_empty() {
        println!("cargo:rustc-cfg=heap_aside");
    }
    for sanitizer in sanitizers.split(',') {
        match sanitizer {
            "address" => println!("cargo:rustc-cfg=asan"),
            "thread" => println!("cargo:rustc-cfg=tsan"),
            _ => {}
        }
    }
}
