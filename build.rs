//! Sets `heap_aside` in sanitizer builds: their own allocators find the bugs, so ours must not stand before them. The compiler tells build scripts which sanitizers are on.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(heap_aside)");
    let sanitizers = std::env::var("CARGO_CFG_SANITIZE").unwrap_or_default();
    if !sanitizers.is_empty() {
        println!("cargo:rustc-cfg=heap_aside");
    }
}
