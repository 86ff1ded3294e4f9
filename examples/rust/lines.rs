//! Says how many lines standard input has and how long the longest one is, as JSON: a plain Rust program.

use std::io::{self, BufRead};

fn main() -> io::Result<()> {
    let (mut lines, mut longest) = (0u64, 0usize);
    for line in io::stdin().lock().lines() {
        lines += 1;
        longest = longest.max(line?.chars().count());
    }
    println!("{{\"lines\": {}, \"longest\": {}}}", lines, longest);
    Ok(())
}
