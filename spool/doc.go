// Package spool is the durable log of one container. It keeps the byte stream that dockerd
// wrote into the container's FIFO, verbatim, in segments of checksummed blocks, and it records
// what has been delivered. DESIGN.md in this directory describes the byte layout, and what a
// crash at each step leaves behind.
//
// One goroutine appends. Any number of readers read from any position. Ranges are
// acknowledged in any order. Segments in which everything is acknowledged are kept as
// history, as far as the limits allow, and then removed. A History reads everything that
// is there, delivered or not.
//
// The package must not know containers, the limits of CloudWatch, or the content of a frame
// except its length and time.
package spool
