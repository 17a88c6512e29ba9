"""Sections of docs/benchmarks.md, a module for each.

`FILES`: which results it shows; `TITLE`, which may name the file (`{stem}`, or what comes behind its first dash,
`{rest}`); `ABOUT`: what is compared, with which settings and caveats; `body`: lines made of a result.
"""
