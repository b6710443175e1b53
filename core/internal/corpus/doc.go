// Package corpus is traffic together with what is true of it: attacks of every
// kind and ordinary traffic that looks like one, each on an address of its
// own. It is made from a seed; four instances in ten play frames that foreign
// tools or real attacks made, recorded by Record. Tests of detection and of
// evidence use it, and the report that README.md quotes.
package corpus
