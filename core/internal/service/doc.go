// Package service is what makes a program a service of its host: where its log
// goes, how it tells the service manager of its state (sd_notify), its PID
// file, and how it goes into the background without a service manager.
//
// It knows nothing of the rest of the core.
package service
