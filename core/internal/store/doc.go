// Package store keeps what has to survive a restart: files of the state
// directory in bbolt's format, each with a schema version that later programs
// bring up to date. What is wrong with a file is an error that says what to
// do, never a panic; a damaged file is set aside, not deleted.
package store
