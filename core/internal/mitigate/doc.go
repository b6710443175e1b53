// Package mitigate keeps what is done about attacks: a desired state, guarded,
// journalled, and handed whole to every plugin that acts on the network, until
// each plugin has said that it is so.
//
// Machine is the pure part. It knows no clock, file or process: whoever calls it
// says what time it is, what attacks there are and what plugins report. Manager
// stands around it with queues, deadlines and a journal, and never keeps
// detection waiting.
//
// A mitigation is one thing for one target, direction and action:
//
//	requested  asked for; not in force yet, the cause says why
//	held       a guard keeps it back until a person says what is to be done
//	sent       told to somebody who does not acknowledge
//	active     truly there
//	releasing  to be taken back; the plugin has not said yet that it is gone
//	failed     the plugin has given up; it is told again with growing pauses
//	released   over, and gone
package mitigate
