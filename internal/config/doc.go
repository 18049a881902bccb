// Package config turns the YAML of the Zuul configuration language, and of the tenant file, into
// declarations: what a file says, with the exact place of every attribute, and everything that is
// wrong with it at once. It is pure: Parse depends only on its arguments, and what it returns is never
// changed afterwards, so callers keep results by the hash of the content and use them for every
// branch, tenant and speculative layout in which that content appears.
//
// A file knows nothing of the others. Whether a job, project or label that it names exists, and
// whether the file may declare what it declares, is decided by package layout, which reports its
// findings as the same Problems.
package config
