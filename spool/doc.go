// Package spool is the durable log of one container: the byte stream that dockerd wrote into the
// container's FIFO, verbatim, in segments of checksummed blocks, with the record of what has been
// delivered from it. DESIGN.md beside this file has the byte layout and what a crash at each step
// leaves behind.
//
// One goroutine appends; any number of readers read from any position; what has been dealt with is
// acknowledged by ranges, in any order, and segments in which everything is acknowledged are kept as history as
// far as there is room for them, and then removed. A History reads all that is there, delivered or not.
//
// The package must not know containers, the limits of CloudWatch, or what is inside a frame, its
// length and time apart.
package spool
