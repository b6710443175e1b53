package main

import gobgplog "github.com/osrg/gobgp/v3/pkg/log"

// quiet takes gobgp's log: what it has to say about a session is seen in the
// messages that pass, and told once.
type quiet struct{}

func (quiet) Panic(msg string, _ gobgplog.Fields) { panic("gobgp: " + msg) }
func (quiet) Fatal(msg string, _ gobgplog.Fields) { panic("gobgp: " + msg) }
func (quiet) Error(string, gobgplog.Fields)       {}
func (quiet) Warn(string, gobgplog.Fields)        {}
func (quiet) Info(string, gobgplog.Fields)        {}
func (quiet) Debug(string, gobgplog.Fields)       {}
func (quiet) SetLevel(gobgplog.LogLevel)          {}
func (quiet) GetLevel() gobgplog.LogLevel         { return gobgplog.ErrorLevel }
